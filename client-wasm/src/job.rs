//! One fine-tuning run over any transport: upload once, train, predict.

mod predict;

use std::cell::Cell;
use std::rc::Rc;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use shared::model::CutActivations;
use shared::protocol::message::{
    AdapterSettings, BottomTraining, ClientMessage, ExampleHeader, Hello, LabelPlace,
    ServerMessage, Split, TrainDone, TrainSettings, Upload,
};
use shared::protocol::phase::Phase;
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use crate::error::ClientError;
use crate::events::{Event, ProgressStage};
use crate::exchange::{Exchange, KeptExamples, Reply, TrainedHere};
use crate::link::{Incoming, Link};
use crate::pipeline::{Pipeline, TextPair};
use crate::seed::Seed;
use crate::session::Session;
use crate::transport::Transport;
use shared::privacy::BottomInput;

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
    /// The class; the server learns it unless labels stay here.
    pub label: u32,
}

/// How a run is to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For both sides; the class weights stay here where the labels do.
    pub settings: TrainSettings,
    /// Strength of the noise on gradients that tell of labels; 0 for none.
    pub label_noise: f64,
    /// Stands for the system's randomness, in experiments only.
    pub seed: Option<Seed>,
}

/// Bytes and frames of a session, those that had to be sent again too. Without what only says what
/// has arrived.
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
    link: Link<T>,
    traffic: Rc<Cell<Traffic>>,
    dtype: ActivationDtype,
    next_request: u32,
    kept: KeptExamples,
    trained: TrainedHere,
}

/// A message of the server and the bytes of its tensor.
struct Received {
    message: ServerMessage,
    payload: Vec<u8>,
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
        let mut session = Session::new(hello);
        let frame = session.hello()?;
        let mut job = Self {
            session,
            link: Link::new(transport, Rc::clone(&traffic)),
            traffic,
            dtype,
            next_request: 0,
            kept: KeptExamples::default(),
            trained: TrainedHere::default(),
        };
        job.send(frame).await?;
        match job.receive(&mut |_| {}).await?.message {
            ServerMessage::Welcome(_) => Ok(job),
            _ => Err(ClientError::Protocol(
                "it did not welcome this client".to_owned(),
            )),
        }
    }

    /// The adapter that this session trains.
    pub fn adapter(&self) -> &AdapterSettings {
        &self.session.agreed().adapter
    }

    /// Releases every example once and stores it at the server; returns when all are acknowledged.
    /// Where the bottom is trained the release stays here, and the server learns of the examples.
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
            let (seq_lengths, tensor, payload) = self.released(pipeline, &texts).await?;
            let labels = self.session.agreed().labels;
            let mut headers = Vec::with_capacity(batch.len());
            for (example, seq_length) in batch.iter().zip(seq_lengths) {
                let Labelled { split, label, .. } = *example;
                headers.push(ExampleHeader {
                    example_id,
                    split,
                    label: (labels == LabelPlace::Server).then_some(label),
                    seq_length,
                });
                self.kept.splits.push(split);
                self.kept.labels.push(label);
                example_id += 1;
            }
            while !self.session.may_upload() {
                self.receive(&mut on_event).await?;
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
            self.receive(&mut on_event).await?;
        }
        Ok(())
    }

    /// What an upload says of some texts: their lengths, and their activations unless those come
    /// later.
    async fn released(
        &mut self,
        pipeline: &Pipeline,
        texts: &[TextPair<'_>],
    ) -> Result<(Vec<u16>, TensorDescriptor, Vec<u8>), ClientError> {
        match self.session.agreed().bottom {
            BottomTraining::Frozen => {
                let activations = pipeline.release(texts).await?;
                let (tensor, payload) = self.payload(&activations)?;
                Ok((activations.seq_lengths().to_vec(), tensor, payload))
            }
            BottomTraining::Lora => {
                let inputs = pipeline.inputs(texts).await?;
                let seq_lengths = inputs.iter().map(BottomInput::seq_length).collect();
                self.kept.inputs.extend(inputs);
                let d_model = pipeline.bottom.config().d_model;
                let (tensor, payload) = TensorDescriptor::encode_rows(self.dtype, d_model, &[])
                    .map_err(|error| ClientError::Protocol(error.to_string()))?;
                Ok((seq_lengths, tensor, payload))
            }
        }
    }

    fn payload(
        &self,
        activations: &CutActivations,
    ) -> Result<(TensorDescriptor, Vec<u8>), ClientError> {
        activations
            .to_payload(self.dtype)
            .map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// Runs the training to its end: passes reports on, obeys commands, and does what of the
    /// training is done here.
    ///
    /// # Errors
    ///
    /// When the server refuses or fails, the connection ends, or the training diverges.
    pub async fn train(
        &mut self,
        pipeline: &Pipeline,
        plan: Plan,
        commands: &mut UnboundedReceiver<Command>,
        mut on_event: impl FnMut(Event),
    ) -> Result<TrainDone, ClientError> {
        let mut exchange = Exchange::begin(&self.session, pipeline, &plan, &self.kept, self.dtype)?;
        let mut settings = plan.settings;
        if self.session.agreed().labels == LabelPlace::Client {
            settings.class_weights = Vec::new(); // they tell how often each class is
        }
        let frame = self.session.train(settings)?;
        self.send(frame).await?;
        loop {
            let next = self.next(commands, &mut on_event).await?;
            let Some(Received { message, payload }) = next else {
                continue;
            };
            match message {
                ServerMessage::TrainStarted { steps_total } => {
                    check_steps(exchange.as_ref(), steps_total)?;
                    on_event(Event::TrainStarted { steps_total });
                }
                ServerMessage::Step(report) => {
                    let own = exchange.as_ref().and_then(|own| own.loss(report.step));
                    let loss = own.or(report.loss).ok_or_else(not_a_report)?;
                    on_event(Event::step(report, loss));
                }
                ServerMessage::Validation(report) => {
                    if let Some(exchange) = &mut exchange {
                        exchange.measured(&report);
                    }
                    on_event(report.into());
                }
                ServerMessage::Paused => on_event(Event::Paused),
                ServerMessage::Continued => on_event(Event::Continued),
                ServerMessage::TrainDone(done) => {
                    self.trained = exchange.map(Exchange::into_trained).unwrap_or_default();
                    on_event(done.into());
                    return Ok(done);
                }
                asked => {
                    let exchange = exchange.as_mut().ok_or_else(not_a_report)?;
                    self.take_part(exchange, pipeline, asked, &payload, &mut on_event)
                        .await?;
                }
            }
        }
    }

    /// Does what the server asks for in a run, and answers.
    async fn take_part(
        &mut self,
        exchange: &mut Exchange,
        pipeline: &Pipeline,
        asked: ServerMessage,
        payload: &[u8],
        on_event: &mut impl FnMut(Event),
    ) -> Result<(), ClientError> {
        let kept = &self.kept;
        let reply = match asked {
            ServerMessage::Batch(batch) => exchange.batch(pipeline, kept, batch).await?,
            ServerMessage::Pooled(pooled) => {
                exchange.pooled(pipeline, kept, &pooled, payload).await?
            }
            ServerMessage::CutGradient(gradient) => {
                return exchange.cut_gradient(pipeline, &gradient, payload).await;
            }
            _ => return Err(not_a_report()),
        };
        let Reply {
            message,
            payload,
            validation,
        } = reply;
        if let Some(report) = validation {
            on_event(report.into());
        }
        let frame = self.session.answer(&message, &payload)?;
        self.send(frame).await
    }

    /// The next message of the server; none for one that says nothing, after a command, and after
    /// news of the connection.
    async fn next(
        &mut self,
        commands: &mut UnboundedReceiver<Command>,
        on_event: &mut impl FnMut(Event),
    ) -> Result<Option<Received>, ClientError> {
        let message = {
            let command = std::pin::pin!(commands.next());
            let message = std::pin::pin!(self.link.receive());
            // Commands first: a server that always has something to say must not delay a stop.
            match select(command, message).await {
                Either::Left((command, _)) => Either::Right(command),
                Either::Right((incoming, _)) => Either::Left(incoming?),
            }
        };
        let incoming = match message {
            Either::Left(incoming) => incoming,
            Either::Right(Some(command)) => {
                self.steer(command).await?;
                return Ok(None);
            }
            // Nobody can command any more; what is left is to listen.
            Either::Right(None) => self.link.receive().await?,
        };
        match incoming {
            Incoming::Frame(frame) => self.accept(&frame),
            Incoming::News(event) => {
                on_event(event);
                Ok(None)
            }
        }
    }

    /// Ends the session; the server deletes what it stored for it, once no run needs it.
    pub async fn goodbye(mut self) {
        if let Ok(frame) = self.session.steer(&ClientMessage::Goodbye) {
            // A server that is gone has deleted it already.
            let _ = self.send(frame).await;
        }
        self.link.close().await;
    }

    /// Between two batches of an upload a person can stop or hold the work; nothing needs to be
    /// told to the server.
    async fn obey_while_uploading(
        &mut self,
        commands: &mut UnboundedReceiver<Command>,
    ) -> Result<(), ClientError> {
        self.link.breathe().await;
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
        self.link.send(frame).await
    }

    /// The next message of the server that says something.
    async fn receive(&mut self, on_event: &mut impl FnMut(Event)) -> Result<Received, ClientError> {
        loop {
            match self.link.receive().await? {
                Incoming::Frame(frame) => {
                    if let Some(received) = self.accept(&frame)? {
                        return Ok(received);
                    }
                }
                Incoming::News(event) => on_event(event),
            }
        }
    }

    /// The message of a frame; none for a refusal that only says that a command or an answer came
    /// too late.
    fn accept(&mut self, frame: &[u8]) -> Result<Option<Received>, ClientError> {
        match self.session.receive(frame) {
            Ok(frame) => Ok(Some(Received {
                message: frame.message,
                payload: frame.payload.to_vec(),
            })),
            Err(ClientError::Refused(refused)) if self.session.came_too_late(&refused) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn not_a_report() -> ClientError {
    ClientError::Protocol("not a report of a run".to_owned())
}

/// Both sides follow one schedule: they must agree on its length.
fn check_steps(exchange: Option<&Exchange>, steps_total: u32) -> Result<(), ClientError> {
    if exchange.is_none_or(|exchange| exchange.steps_total() == steps_total) {
        return Ok(());
    }
    let what = "a run of another length than agreed".to_owned();
    Err(ClientError::Protocol(what))
}
