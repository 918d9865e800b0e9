//! Predictions of a job: by the server's head, or by the one here.

use shared::model::CutActivations;
use shared::protocol::exchange::check_tensor;
use shared::protocol::message::{Predict, ServerMessage};

use super::{Job, RELEASE_BATCH, Received};
use crate::error::ClientError;
use crate::head::probabilities;
use crate::pipeline::{Pipeline, TextPair};
use crate::transport::Transport;

impl<T: Transport> Job<T> {
    /// Predicts with an adapter that the server keeps, from now on; with its default without a key.
    /// Gives the key.
    ///
    /// # Errors
    ///
    /// When the server refuses, or the connection ends.
    pub async fn use_adapter(&mut self, asked: Option<[u8; 16]>) -> Result<[u8; 16], ClientError> {
        let frame = self.session.use_adapter(asked)?;
        self.send(frame).await?;
        match self.receive(&mut |_| {}).await?.message {
            ServerMessage::AdapterInUse(used) if asked.is_none_or(|key| key == used.adapter) => {
                Ok(used.adapter)
            }
            _ => {
                let what = "not the adapter that was asked for".to_owned();
                Err(ClientError::Protocol(what))
            }
        }
    }

    /// Class probabilities of some texts, `[texts, n_classes]`.
    ///
    /// # Errors
    ///
    /// When a text cannot be released, the server refuses, or the connection ends.
    pub async fn predict(
        &mut self,
        pipeline: &Pipeline,
        texts: &[TextPair<'_>],
    ) -> Result<Vec<f32>, ClientError> {
        let mut all = Vec::new();
        for batch in texts.chunks(RELEASE_BATCH) {
            let activations = self.activations(pipeline, batch).await?;
            let (tensor, payload) = self.payload(&activations)?;
            let request_id = self.next_request;
            self.next_request = request_id.wrapping_add(1);
            let seq_lengths = activations.seq_lengths().to_vec();
            let predict = Predict {
                request_id,
                seq_lengths,
                activations: tensor,
            };
            let frame = self.session.predict(predict, &payload)?;
            self.send(frame).await?;
            let answer = self.receive(&mut |_| {}).await?;
            all.extend(
                self.probabilities(pipeline, request_id, batch.len(), answer)
                    .await?,
            );
        }
        Ok(all)
    }

    /// Activations of some texts by the best adapter, where the bottom has one.
    async fn activations(
        &self,
        pipeline: &Pipeline,
        texts: &[TextPair<'_>],
    ) -> Result<CutActivations, ClientError> {
        let Some(adapter) = &self.trained.bottom else {
            return pipeline.release(texts).await;
        };
        let inputs = pipeline.inputs(texts).await?;
        let tokens = pipeline.token_batch(&inputs)?;
        let pass = pipeline.bottom.pass(&tokens, Some(adapter));
        Ok(pass.activations().await?)
    }

    /// The probabilities that an answer holds, or that the head here makes of it.
    async fn probabilities(
        &self,
        pipeline: &Pipeline,
        asked: u32,
        texts: usize,
        answer: Received,
    ) -> Result<Vec<f32>, ClientError> {
        let n_classes = self.session.agreed().n_classes as usize;
        let found = match (answer.message, &self.trained.head) {
            (ServerMessage::Prediction(answer), None) if answer.request_id == asked => {
                answer.probabilities
            }
            (ServerMessage::PooledPrediction(shown), Some(head)) if shown.request_id == asked => {
                let model = pipeline.bottom.config();
                let d_model = u32::try_from(model.d_model).unwrap_or(u32::MAX);
                check_tensor(&shown.pooled, &answer.payload, texts as u64, d_model)?;
                let pooled = shown.pooled.decode(&answer.payload);
                let pooled = pooled.map_err(|error| ClientError::Protocol(error.to_string()))?;
                probabilities(head, model, pooled).await?
            }
            _ => Vec::new(),
        };
        if found.len() == texts * n_classes {
            Ok(found)
        } else {
            let what = "not the answer to this request".to_owned();
            Err(ClientError::Protocol(what))
        }
    }
}
