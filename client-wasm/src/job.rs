//! One fine-tuning run over any transport: upload once, train, predict.

use std::cell::Cell;
use std::rc::Rc;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use shared::protocol::message::{
    AdapterSettings, ClientMessage, ExampleHeader, Hello, Predict, ServerMessage, Split, TrainDone,
    TrainSettings, Upload,
};
use shared::protocol::phase::Phase;
use shared::protocol::tensor::ActivationDtype;

use crate::error::ClientError;
use crate::events::{Event, ProgressStage};
use crate::pipeline::{Pipeline, TextPair};
use crate::session::Session;
use crate::transport::Transport;

/// What a person asks for while a run lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Hold.
    Pause,
    /// Go on.
    Resume,
    /// End, and keep the best adapter so far.
    Cancel,
}

/// An example on its way to the server.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// The text; stays here.
    pub text: TextPair<'a>,
    /// Train or validation; the server learns it.
    pub split: Split,
    /// The class; the server learns it.
    pub label: u32,
}

/// Bytes and frames of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Bytes of frames sent.
    pub bytes_sent: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
}

/// Examples released at a time: bounds the memory of the bottom's activations and keeps "stop"
/// responsive.
const RELEASE_BATCH: usize = 16;

/// A session and its connection.
#[derive(Debug)]
pub struct Job<T> {
    session: Session,
    transport: T,
    traffic: Rc<Cell<Traffic>>,
    adapter: AdapterSettings,
    dtype: ActivationDtype,
    next_request: u32,
}

impl<T: Transport> Job<T> {
    /// Opens a session. `traffic` counts from zero and can be read from elsewhere while the job
    /// works.
    ///
    /// # Errors
    ///
    /// When the server refuses, or the connection ends.
    pub async fn open(
        transport: T,
        hello: Hello,
        dtype: ActivationDtype,
        traffic: Rc<Cell<Traffic>>,
    ) -> Result<Self, ClientError> {
        traffic.set(Traffic::default());
        let adapter = hello.adapter.clone();
        let mut session = Session::new(hello);
        let frame = session.hello()?;
        let mut job = Self {
            session,
            transport,
            traffic,
            adapter,
            dtype,
            next_request: 0,
        };
        job.send(frame).await?;
        match job.receive().await? {
            ServerMessage::Welcome(_) => Ok(job),
            _ => Err(ClientError::Protocol(
                "it did not welcome this client".to_owned(),
            )),
        }
    }

    /// The adapter that this session trains.
    pub fn adapter(&self) -> &AdapterSettings {
        &self.adapter
    }

    /// Releases every example once and stores it at the server; returns when all are acknowledged.
    ///
    /// # Errors
    ///
    /// When a text cannot be released, the server refuses, the connection ends, or the person
    /// stops.
    pub async fn upload(
        &mut self,
        pipeline: &Pipeline,
        examples: &[Labelled<'_>],
        commands: &mut UnboundedReceiver<Command>,
        mut on_event: impl FnMut(Event),
    ) -> Result<(), ClientError> {
        let total = u32::try_from(examples.len()).unwrap_or(u32::MAX);
        let mut example_id = 0;
        for batch in examples.chunks(RELEASE_BATCH) {
            self.obey_while_uploading(commands).await?;
            let texts: Vec<TextPair<'_>> = batch.iter().map(|example| example.text).collect();
            let activations = pipeline.release(&texts).await?;
            let (tensor, payload) = activations
                .to_payload(self.dtype)
                .map_err(|error| ClientError::Protocol(error.to_string()))?;
            let mut headers = Vec::with_capacity(batch.len());
            for (example, seq_length) in batch.iter().zip(activations.seq_lengths()) {
                let Labelled { split, label, .. } = *example;
                headers.push(ExampleHeader {
                    example_id,
                    split,
                    label,
                    seq_length: *seq_length,
                });
                example_id += 1;
            }
            while !self.session.may_upload() {
                self.receive().await?;
            }
            let upload = Upload {
                examples: headers,
                activations: tensor,
            };
            let frame = self.session.upload(upload, &payload)?;
            self.send(frame).await?;
            on_event(Event::Progress {
                stage: ProgressStage::Upload,
                done: example_id,
                total,
                bytes_sent: self.traffic.get().bytes_sent,
            });
        }
        while self.session.uploads_in_flight() > 0 {
            self.receive().await?;
        }
        Ok(())
    }

    /// Runs the training to its end, passing reports on and obeying commands.
    ///
    /// # Errors
    ///
    /// When the server refuses or fails, or the connection ends.
    pub async fn train(
        &mut self,
        settings: TrainSettings,
        commands: &mut UnboundedReceiver<Command>,
        mut on_event: impl FnMut(Event),
    ) -> Result<TrainDone, ClientError> {
        let frame = self.session.train(settings)?;
        self.send(frame).await?;
        loop {
            let message = {
                let command = std::pin::pin!(commands.next());
                let message = std::pin::pin!(self.transport.receive());
                // Commands first: a server that always has something to say must not delay a stop.
                match select(command, message).await {
                    Either::Left((command, _)) => Either::Right(command),
                    Either::Right((frame, _)) => Either::Left(frame?),
                }
            };
            let frame = match message {
                Either::Left(frame) => frame,
                Either::Right(Some(command)) => {
                    self.steer(command).await?;
                    continue;
                }
                // Nobody can command any more; what is left is to listen.
                Either::Right(None) => self.transport.receive().await?,
            };
            let Some(message) = self.accept(&frame)? else {
                continue;
            };
            match message {
                ServerMessage::TrainStarted { steps_total } => {
                    on_event(Event::TrainStarted { steps_total });
                }
                ServerMessage::Step(report) => on_event(report.into()),
                ServerMessage::Validation(report) => on_event(report.into()),
                ServerMessage::Paused => on_event(Event::Paused),
                ServerMessage::Continued => on_event(Event::Continued),
                ServerMessage::TrainDone(done) => {
                    on_event(done.into());
                    return Ok(done);
                }
                _ => return Err(ClientError::Protocol("not a report of a run".to_owned())),
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
        let mut probabilities = Vec::new();
        for batch in texts.chunks(RELEASE_BATCH) {
            let activations = pipeline.release(batch).await?;
            let (tensor, payload) = activations
                .to_payload(self.dtype)
                .map_err(|error| ClientError::Protocol(error.to_string()))?;
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
            match self.receive().await? {
                ServerMessage::Prediction(answer) if answer.request_id == request_id => {
                    probabilities.extend(answer.probabilities);
                }
                _ => {
                    return Err(ClientError::Protocol(
                        "not the answer to this request".to_owned(),
                    ));
                }
            }
        }
        Ok(probabilities)
    }

    /// Ends the session; the server deletes what it stored for it.
    pub async fn goodbye(mut self) {
        if let Ok(frame) = self.session.steer(&ClientMessage::Goodbye) {
            // A server that is gone has deleted it already.
            let _ = self.send(frame).await;
        }
        self.transport.close().await;
    }

    /// Between two batches of an upload a person can stop or hold the work; nothing needs to be
    /// told to the server.
    async fn obey_while_uploading(
        &mut self,
        commands: &mut UnboundedReceiver<Command>,
    ) -> Result<(), ClientError> {
        self.transport.breathe().await;
        let mut held = false;
        loop {
            let command = if held {
                commands.next().await
            } else {
                match commands.try_recv() {
                    Ok(command) => Some(command),
                    Err(_) => return Ok(()),
                }
            };
            match command {
                Some(Command::Pause) => held = true,
                Some(Command::Resume) => held = false,
                Some(Command::Cancel) => return Err(ClientError::Stopped),
                None => return Ok(()),
            }
        }
    }

    /// Passes a command on; one that makes no sense at this point does nothing.
    async fn steer(&mut self, command: Command) -> Result<(), ClientError> {
        let message = match (command, self.session.phase()) {
            (Command::Pause, Phase::Training) => ClientMessage::Pause,
            (Command::Resume, Phase::Held) => ClientMessage::Continue,
            (Command::Cancel, Phase::Training | Phase::Held) => ClientMessage::Cancel,
            _ => return Ok(()),
        };
        let frame = self.session.steer(&message)?;
        self.send(frame).await
    }

    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        let mut traffic = self.traffic.get();
        traffic.bytes_sent += frame.len() as u64;
        traffic.frames_sent += 1;
        self.traffic.set(traffic);
        self.transport.send(frame).await
    }

    async fn receive(&mut self) -> Result<ServerMessage, ClientError> {
        loop {
            let frame = self.transport.receive().await?;
            if let Some(message) = self.accept(&frame)? {
                return Ok(message);
            }
        }
    }

    /// The message of a frame; none for a refusal that only says that a command came too late.
    fn accept(&mut self, frame: &[u8]) -> Result<Option<ServerMessage>, ClientError> {
        let mut traffic = self.traffic.get();
        traffic.bytes_received += frame.len() as u64;
        self.traffic.set(traffic);
        match self.session.receive(frame) {
            Ok(message) => Ok(Some(message)),
            Err(ClientError::Refused(refused)) if self.session.came_too_late(&refused) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
