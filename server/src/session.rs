//! One session as a pure state machine: a client's message in, effects out.
//!
//! This is the server's half of `client-wasm/src/session.rs`. It decides what is legal and what
//! follows; it does not touch sockets, files, the trainer or the clock. `connection` reads frames
//! for it and carries its effects out, one after the other, before it brings the next message.
//!
//! The phase moves when a request is accepted, not when the trainer reports it: a second `Pause`
//! before the first has taken effect is refused, and nothing can be uploaded between `Train` and
//! `TrainStarted`. A run that was held or continued by somebody else moves it by its report.

mod awaited;
mod names;
mod offer;
mod order;

use std::collections::HashSet;
use std::sync::Arc;

use awaited::Awaited;
use names::phase_name;
pub use offer::{CutOffer, Offer};
use order::Place;
use shared::protocol::codec::ClientFrame;
use shared::protocol::examples::ExampleForm;
use shared::protocol::message::{
    Acknowledged, AdapterInUse, BottomTraining, ClientMessage, Hello, LabelPlace, PROTOCOL_VERSION,
    PooledPrediction, Predict, Prediction, Refused, ServerMessage, Split, TrainSettings, Upload,
    UseAdapter, Welcome,
};
use shared::protocol::phase::Phase;
use shared::protocol::refusal::CLOSE_DONE;
use shared::protocol::resume::{Inbox, Received};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use crate::error::Fault;
use crate::limits::{PREDICTIONS_IN_FLIGHT_MAX, REFUSALS_MAX};
use crate::state::{AdapterFit, AdapterKey, ExampleCounts};
use crate::trainer::{Ask, Payload, Predicted, TrainerEvent};

/// What a session wants done, in this order.
#[derive(Debug, PartialEq)]
pub enum Effect<'a> {
    /// Send this.
    Send(ServerMessage),
    /// Send this with its tensor.
    SendTensor(ServerMessage, Payload),
    /// Store these examples, then call `stored` or `not_done`.
    Store {
        /// Of the `Upload`.
        sequence: u64,
        /// The message.
        upload: Upload,
        /// Its payload.
        payload: &'a [u8],
    },
    /// Begin a run on everything stored; its reports go to `report`.
    Start(Run),
    /// Compute probabilities, then call `predicted`.
    Predict {
        /// Of the `Predict`.
        sequence: u64,
        /// The message.
        predict: Predict,
        /// Its payload.
        payload: &'a [u8],
    },
    /// Give the run what it waits for.
    Answer {
        /// The message: `BatchActivations`, `PooledGradient` or `Verdict`.
        message: ClientMessage,
        /// Its payload.
        payload: &'a [u8],
    },
    /// The client has processed this and what was sent before it.
    Confirmed(Received),
    /// Find this adapter for this session, then call `adapter_found`.
    UseAdapter {
        /// Of the `UseAdapter`.
        sequence: u64,
        /// Its key; the tenant's default without one.
        adapter: Option<AdapterKey>,
        /// What it has to fit.
        fit: AdapterFit,
    },
    /// Hold the run.
    Pause,
    /// Go on with the run.
    Continue,
    /// End the run and keep its best adapter.
    Cancel,
    /// Leave the run, delete what nobody needs, and close with this code.
    Close(u16),
}

/// What is to be trained, apart from the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What both sides agreed on: cut, classes, adapter, where labels are and what trains.
    pub hello: Hello,
    /// How to train.
    pub settings: TrainSettings,
    /// What there is to train on.
    pub examples: ExampleCounts,
}

/// What the session has stored; the activations themselves are in the store.
#[derive(Debug, Default)]
struct Stored {
    ids: HashSet<u32>,
    counts: ExampleCounts,
    /// Of every example, where the bottom is trained: a batch of them must fit a frame.
    seq_lengths: Vec<u16>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    offer: Arc<Offer>,
    token: [u8; 16],
    phase: Phase,
    closed: bool,
    inbox: Inbox,
    refusals: u32,
    /// What both sides agreed on.
    hello: Option<Hello>,
    stored: Stored,
    /// Of the `Train` whose run goes on.
    train_sequence: Option<u64>,
    /// What the run has asked the client for.
    awaited: Option<Awaited>,
    predictions_in_flight: usize,
}

impl Session {
    /// Begins a session that awaits its `Hello`. `token` is random and known to this client only.
    pub fn new(offer: Arc<Offer>, token: [u8; 16]) -> Self {
        Self {
            offer,
            token,
            phase: Phase::Handshake,
            closed: false,
            inbox: Inbox::default(),
            refusals: 0,
            hello: None,
            stored: Stored::default(),
            train_sequence: None,
            awaited: None,
            predictions_in_flight: 0,
        }
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the run waits for an answer of the client.
    pub fn awaits_answer(&self) -> bool {
        self.awaited.is_some()
    }

    /// Takes the next message of the client. One that was processed before has no effect.
    pub fn handle<'a>(&mut self, frame: ClientFrame<'a>) -> Vec<Effect<'a>> {
        if self.closed {
            return Vec::new();
        }
        let ClientFrame {
            sequence,
            message,
            payload,
        } = frame;
        match self.place(sequence, &message) {
            Ok(Place::Next) => self.inbox.take(payload.len()),
            Ok(Place::Uncounted) => {}
            Ok(Place::Again) => return Vec::new(),
            Err(fault) => return self.refuse(Some(sequence), &fault),
        }
        match self.accept(sequence, message, payload) {
            Ok(effect) => vec![effect],
            Err(fault) => self.refuse(Some(sequence), &fault),
        }
    }

    /// Ends the session over bytes that are not a message.
    pub fn unreadable(&mut self, refused: Refused) -> Vec<Effect<'static>> {
        if self.closed {
            return Vec::new();
        }
        self.send_refused(refused.closing())
    }

    /// Acknowledges an upload that is on disk.
    pub fn stored(&mut self, sequence: u64, upload: &Upload) -> Vec<Effect<'static>> {
        let trains = |hello: &Hello| hello.bottom == BottomTraining::Lora;
        if self.hello.as_ref().is_some_and(trains) {
            let seq_lengths = upload.examples.iter().map(|example| example.seq_length);
            self.stored.seq_lengths.extend(seq_lengths);
        }
        for example in &upload.examples {
            self.stored.ids.insert(example.example_id);
            match example.split {
                Split::Train => self.stored.counts.train += 1,
                Split::Validation => self.stored.counts.validation += 1,
            }
        }
        self.stored.counts.bytes += payload_bytes(upload);
        let examples_stored = self.examples_stored();
        self.send(ServerMessage::Acknowledged(Acknowledged {
            sequence,
            examples_stored,
        }))
    }

    /// Tells the client that an accepted message could not be carried out; the session goes on
    /// without it.
    pub fn not_done(&mut self, sequence: Option<u64>, fault: &Fault) -> Vec<Effect<'static>> {
        if self.closed {
            return Vec::new();
        }
        self.refuse(sequence, fault)
    }

    /// Answers a prediction.
    pub fn predicted(
        &mut self,
        sequence: u64,
        request_id: u32,
        answer: Result<Predicted, Fault>,
    ) -> Vec<Effect<'static>> {
        self.predictions_in_flight = self.predictions_in_flight.saturating_sub(1);
        match answer {
            Ok(Predicted::Probabilities(probabilities)) => {
                self.send(ServerMessage::Prediction(Prediction {
                    request_id,
                    probabilities,
                }))
            }
            Ok(Predicted::Pooled(values)) => self.pooled_prediction(sequence, request_id, &values),
            Err(fault) => self.not_done(Some(sequence), &fault),
        }
    }

    fn pooled_prediction(
        &mut self,
        sequence: u64,
        request_id: u32,
        values: &[f32],
    ) -> Vec<Effect<'static>> {
        let d_model = self.offer.d_model as usize;
        match TensorDescriptor::encode_rows(ActivationDtype::F32, d_model, values) {
            Ok((pooled, payload)) => {
                let prediction = PooledPrediction { request_id, pooled };
                self.send_tensor(
                    ServerMessage::PooledPrediction(prediction),
                    Payload(payload),
                )
            }
            Err(_) => self.not_done(Some(sequence), &Fault::RunFailed),
        }
    }

    /// Tells the client whether the adapter that it asked for predicts from now on.
    pub fn adapter_found(
        &mut self,
        sequence: u64,
        found: Result<AdapterKey, Fault>,
    ) -> Vec<Effect<'static>> {
        match found {
            Ok(AdapterKey(adapter)) => {
                self.phase = Phase::Trained;
                self.send(ServerMessage::AdapterInUse(AdapterInUse { adapter }))
            }
            Err(fault) => self.not_done(Some(sequence), &fault),
        }
    }

    /// Passes a report of the run on, and moves the phase when the run is over.
    pub fn report(&mut self, event: TrainerEvent) -> Vec<Effect<'static>> {
        if !matches!(self.phase, Phase::Training | Phase::Held) {
            return Vec::new();
        }
        match event {
            TrainerEvent::Started { steps_total } => {
                self.send(ServerMessage::TrainStarted { steps_total })
            }
            // Only a run without a session is taken up again.
            TrainerEvent::Resumed { .. } => Vec::new(),
            TrainerEvent::Step(report) => self.send(ServerMessage::Step(report)),
            TrainerEvent::Validation(report) => self.send(ServerMessage::Validation(report)),
            // It may have been held or continued from outside the session.
            TrainerEvent::Paused => {
                self.phase = Phase::Held;
                self.send(ServerMessage::Paused)
            }
            TrainerEvent::Continued => {
                self.phase = Phase::Training;
                self.send(ServerMessage::Continued)
            }
            TrainerEvent::Ask(ask) => self.ask(ask),
            TrainerEvent::CutGradient(gradient, payload) => {
                self.send_tensor(ServerMessage::CutGradient(gradient), payload)
            }
            TrainerEvent::Done(done) => {
                self.phase = Phase::Trained;
                self.awaited = None;
                self.send(ServerMessage::TrainDone(done))
            }
            TrainerEvent::Failed => self.run_failed(&Fault::RunFailed),
        }
    }

    /// Goes back to collecting after a run that failed or did not begin; the examples stay.
    pub fn run_failed(&mut self, fault: &Fault) -> Vec<Effect<'static>> {
        self.phase = Phase::Collecting;
        self.awaited = None;
        let sequence = self.train_sequence.take();
        self.not_done(sequence, fault)
    }

    /// Asks the client, and remembers for what.
    fn ask(&mut self, ask: Ask) -> Vec<Effect<'static>> {
        self.awaited = Some(Awaited::by(&ask));
        match ask {
            Ask::Activations { batch, .. } => self.send(ServerMessage::Batch(batch)),
            Ask::Gradient {
                pooled, payload, ..
            }
            | Ask::Verdict {
                pooled, payload, ..
            } => self.send_tensor(ServerMessage::Pooled(pooled), payload),
        }
    }

    fn accept<'a>(
        &mut self,
        sequence: u64,
        message: ClientMessage,
        payload: &'a [u8],
    ) -> Result<Effect<'a>, Fault> {
        if !self.phase.allows(&message) {
            let (message, phase) = (message.name(), phase_name(self.phase));
            return Err(Fault::WrongPhase { message, phase });
        }
        match message {
            ClientMessage::Hello(hello) => self.hello(hello),
            ClientMessage::Upload(upload) => {
                self.check_upload(&upload, payload)?;
                Ok(Effect::Store {
                    sequence,
                    upload,
                    payload,
                })
            }
            ClientMessage::Train(settings) => self.train(sequence, settings),
            ClientMessage::Pause => Ok(self.steer(Phase::Held, Effect::Pause)),
            ClientMessage::Continue => Ok(self.steer(Phase::Training, Effect::Continue)),
            ClientMessage::Cancel => Ok(Effect::Cancel),
            ClientMessage::BatchActivations(_)
            | ClientMessage::PooledGradient(_)
            | ClientMessage::Verdict(_) => {
                awaited::check(self.awaited.as_ref(), &message, payload, self.offer.d_model)?;
                self.awaited = None;
                Ok(Effect::Answer { message, payload })
            }
            ClientMessage::Predict(predict) => {
                predict.check(payload, self.offer.d_model, &self.offer.limits)?;
                if self.predictions_in_flight == PREDICTIONS_IN_FLIGHT_MAX {
                    let expected = PREDICTIONS_IN_FLIGHT_MAX;
                    return Err(Fault::PredictionsInFlight { expected });
                }
                self.predictions_in_flight += 1;
                Ok(Effect::Predict {
                    sequence,
                    predict,
                    payload,
                })
            }
            ClientMessage::UseAdapter(asked) => self.use_adapter(sequence, asked),
            ClientMessage::Goodbye => {
                self.closed = true;
                Ok(Effect::Close(CLOSE_DONE))
            }
            ClientMessage::Received(received) => Ok(Effect::Confirmed(received)),
            // Those that are known are found before anything gets here.
            ClientMessage::Resume(_) => Err(Fault::UnknownSession),
        }
    }

    fn hello<'a>(&mut self, hello: Hello) -> Result<Effect<'a>, Fault> {
        self.offer.check(&hello)?;
        self.phase = Phase::Collecting;
        let welcome = Welcome {
            protocol_version: PROTOCOL_VERSION,
            session_token: self.token,
            model_id: hello.model_id.clone(),
            bottom_sha256: hello.bottom_sha256,
            cut: hello.cut,
            d_model: self.offer.d_model,
            limits: self.offer.limits,
            device: self.offer.device.clone(),
            trains_dense: self.offer.trains_dense,
        };
        self.hello = Some(hello);
        Ok(Effect::Send(ServerMessage::Welcome(welcome)))
    }

    fn check_upload(&self, upload: &Upload, payload: &[u8]) -> Result<(), Fault> {
        let Offer {
            d_model, limits, ..
        } = &*self.offer;
        let form = ExampleForm::from(self.agreed()?);
        limits.check_examples(self.examples_stored(), upload.examples.len())?;
        limits.check_store_bytes(self.stored.counts.bytes, payload.len() as u64)?;
        let mut fresh = HashSet::with_capacity(upload.examples.len());
        for (position, example) in upload.examples.iter().enumerate() {
            let id = example.example_id;
            if self.stored.ids.contains(&id) || !fresh.insert(id) {
                return Err(Fault::DuplicateExample { position });
            }
        }
        Ok(upload.check(payload, *d_model, &form, limits)?)
    }

    fn train<'a>(&mut self, sequence: u64, settings: TrainSettings) -> Result<Effect<'a>, Fault> {
        let examples = self.stored.counts;
        let (train, validation) = (examples.train, examples.validation);
        let hello = self.agreed()?.clone();
        settings.check(hello.n_classes, &self.offer.limits)?;
        settings.check_labels(hello.labels)?;
        if train == 0 || validation == 0 {
            return Err(Fault::NoExamples { train, validation });
        }
        self.offer.limits.check_steps(settings.steps_total(train))?;
        settings.check_batch_bytes(
            &self.stored.seq_lengths,
            self.offer.d_model,
            ActivationDtype::F16.value_bytes(), // as what a gradient is sent at most, but for F32
            &self.offer.limits,
        )?;
        if self.predictions_in_flight > 0 {
            return Err(Fault::PredictionsOpen {
                actual: self.predictions_in_flight,
            });
        }
        self.phase = Phase::Training;
        self.train_sequence = Some(sequence);
        Ok(Effect::Start(Run {
            hello,
            settings,
            examples,
        }))
    }

    /// An adapter that the server keeps has its head here and nothing in the bottom.
    fn use_adapter<'a>(
        &self,
        sequence: u64,
        UseAdapter { adapter }: UseAdapter,
    ) -> Result<Effect<'a>, Fault> {
        let hello = self.agreed()?;
        if hello.labels != LabelPlace::Server || hello.bottom != BottomTraining::Frozen {
            return Err(Fault::AdapterInParts);
        }
        Ok(Effect::UseAdapter {
            sequence,
            adapter: adapter.map(AdapterKey),
            fit: AdapterFit {
                model_id: hello.model_id.clone(),
                cut: hello.cut,
                n_classes: hello.n_classes,
            },
        })
    }

    /// What both sides agreed on.
    ///
    /// # Errors
    ///
    /// Before `Hello`; the phase table lets nobody get here, and it is refused all the same.
    fn agreed(&self) -> Result<&Hello, Fault> {
        self.hello.as_ref().ok_or(Fault::WrongPhase {
            message: "this message",
            phase: phase_name(Phase::Handshake),
        })
    }

    fn steer<'a>(&mut self, phase: Phase, effect: Effect<'a>) -> Effect<'a> {
        self.phase = phase;
        effect
    }

    fn examples_stored(&self) -> u32 {
        self.stored.counts.train + self.stored.counts.validation
    }

    fn send(&self, message: ServerMessage) -> Vec<Effect<'static>> {
        if self.closed {
            Vec::new()
        } else {
            vec![Effect::Send(message)]
        }
    }

    fn send_tensor(&self, message: ServerMessage, payload: Payload) -> Vec<Effect<'static>> {
        if self.closed {
            Vec::new()
        } else {
            vec![Effect::SendTensor(message, payload)]
        }
    }

    fn refuse<'a>(&mut self, sequence: Option<u64>, fault: &Fault) -> Vec<Effect<'a>> {
        self.refusals += 1;
        let refused = fault.refuse(sequence);
        let ends = self.phase == Phase::Handshake || self.refusals >= REFUSALS_MAX;
        self.send_refused(if ends { refused.closing() } else { refused })
    }

    fn send_refused<'a>(&mut self, refused: Refused) -> Vec<Effect<'a>> {
        let (closes, code) = (refused.closes, refused.code.close_code());
        let mut effects = vec![Effect::Send(ServerMessage::Refused(refused))];
        if closes {
            self.closed = true;
            effects.push(Effect::Close(code));
        }
        effects
    }
}

/// Bytes that an upload takes in the store. `check_upload` has held the payload against its
/// descriptor.
fn payload_bytes(upload: &Upload) -> u64 {
    upload
        .activations
        .payload_bytes()
        .map_or(0, |bytes| bytes as u64)
}

#[cfg(test)]
mod tests;
