//! The messages of `cutlayer.v1`, in the words of docs/protocol.md.
//!
//! These are wire types: twins of the domain types, never the domain types themselves. Nothing here can hold text or
//! token ids. `codec` turns a message into a frame; `tensor` describes the raw bytes that follow a header.

use serde::{Deserialize, Serialize};

use super::grow::vec_as_it_arrives;
use super::limits::Limits;
pub use super::resume::{Received, Resume};
use super::tensor::TensorDescriptor;

/// The version that both sides state in their first message.
pub const PROTOCOL_VERSION: u16 = 1;

/// The WebSocket subprotocol that both sides must name in the handshake.
pub const SUBPROTOCOL: &str = "cutlayer.v1";

/// What a second subprotocol begins with, behind which a token stands: a browser's WebSocket sets no
/// headers.
pub const TOKEN_SUBPROTOCOL: &str = "cutlayer.token.";

/// A message from the client, with the raw bytes that follow its header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// Opens the session; must be first and only first.
    Hello(Hello),
    /// Stores examples; the payload holds their activations.
    Upload(Upload),
    /// Starts the fine-tuning run on everything that was uploaded.
    Train(TrainSettings),
    /// Holds the run after the current step.
    Pause,
    /// Goes on with a held run.
    Continue,
    /// Ends the run and keeps the best adapter so far.
    Cancel,
    /// Asks for class probabilities; the payload holds the activations.
    Predict(Predict),
    /// Ends the session; the server deletes what it stored for it.
    Goodbye,
    /// Answers `Batch`; the payload holds the activations.
    BatchActivations(BatchActivations),
    /// Answers `Pooled` of training examples; the payload holds the gradient.
    PooledGradient(PooledGradient),
    /// Answers `Pooled` of validation examples.
    Verdict(Verdict),
    /// Goes on with a session whose connection was lost; must be first and only first, and is not
    /// counted.
    Resume(Resume),
    /// Confirms what the client has processed; not counted.
    Received(Received),
    /// Predicts with an adapter that the server keeps, instead of training one.
    UseAdapter(UseAdapter),
}

/// A message from the server, with the raw bytes that follow its header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// Answers `Hello`.
    Welcome(Welcome),
    /// The examples of one `Upload` are on disk.
    Acknowledged(Acknowledged),
    /// The run has begun.
    TrainStarted {
        /// Optimizer steps in the whole run, if it is not stopped early.
        steps_total: u32,
    },
    /// One optimizer step is done.
    Step(StepReport),
    /// One pass over the validation examples is done.
    Validation(ValidationReport),
    /// The run is held.
    Paused,
    /// The run goes on.
    Continued,
    /// The run is over; the adapter of `best_step` is the one that predicts.
    TrainDone(TrainDone),
    /// Answers `Predict`.
    Prediction(Prediction),
    /// Something was not accepted.
    Refused(Refused),
    /// Asks for the activations of some examples (`bottom = lora`).
    Batch(Batch),
    /// What the client's head reads of some examples (`labels = client`); the payload holds it.
    Pooled(Pooled),
    /// The gradient at the cut of the step's batch (`bottom = lora`); the payload holds it.
    CutGradient(CutGradient),
    /// Answers `Predict` where the labels are at the client; the payload holds the pooled outputs.
    PooledPrediction(PooledPrediction),
    /// Answers `Resume` with what the server has processed; not counted.
    Resumed(Received),
    /// Confirms what the server has processed; not counted.
    Received(Received),
    /// Answers `UseAdapter`: this adapter predicts.
    AdapterInUse(AdapterInUse),
}

/// Where the labels, the trained part of the task head and the loss are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LabelPlace {
    /// At the server: labels travel with the examples.
    Server,
    /// At the client: labels never leave it.
    Client,
}

/// Whether anything is trained in the bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BottomTraining {
    /// Nothing: activations are uploaded once.
    Frozen,
    /// An adapter: activations are computed anew for each batch, and the gradient at the cut is
    /// sent back.
    Lora,
}

/// What the client wants from this session. Every field that both sides must agree on is stated by both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// `PROTOCOL_VERSION` of the client.
    pub protocol_version: u16,
    /// The model's name in the server's catalogue.
    pub model_id: String,
    /// sha256 of the bottom artifact that the client runs.
    pub bottom_sha256: [u8; 32],
    /// Number of transformer blocks that the client runs.
    pub cut: u32,
    /// Number of classes of the task, at least 2.
    pub n_classes: u32,
    /// The adapter to train.
    pub adapter: AdapterSettings,
    /// Where the labels are.
    pub labels: LabelPlace,
    /// Whether the bottom has an adapter of these settings, too.
    pub bottom: BottomTraining,
}

/// The server's answer: the session's identity, and what it will accept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// `PROTOCOL_VERSION` of the server.
    pub protocol_version: u16,
    /// Names this session; known to this client only.
    pub session_token: [u8; 16],
    /// As in `Hello`.
    pub model_id: String,
    /// As in `Hello`.
    pub bottom_sha256: [u8; 32],
    /// As in `Hello`.
    pub cut: u32,
    /// Width of an activation.
    pub d_model: u32,
    /// What the server accepts.
    pub limits: Limits,
    /// What the server computes on, for the reader: `cpu` or the GPU adapter's name.
    pub device: String,
    /// Whether the dense layer of the task head is trained, and so is the client's where the labels
    /// are.
    pub trains_dense: bool,
}

/// The low-rank adapter of a session. Source: LoRA, arXiv 2106.09685, section 4.1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterSettings {
    /// Inner dimension r of the two factors.
    pub rank: u32,
    /// The product is scaled by `alpha / rank`.
    pub alpha: f32,
    /// Probability of zeroing an input of the adapter in training.
    pub dropout: f32,
    /// Which projections of each block of the top have an adapter.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub targets: Vec<AdapterTarget>,
}

/// A projection of a transformer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AdapterTarget {
    /// Attention, query.
    Query,
    /// Attention, key.
    Key,
    /// Attention, value.
    Value,
    /// Attention, output.
    AttentionOutput,
    /// Feed-forward, first.
    FeedForwardUp,
    /// Feed-forward, second.
    FeedForwardDown,
}

/// Which part of the data an example belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Split {
    /// Trains the adapter.
    Train,
    /// Measures it.
    Validation,
}

/// What the server learns of an example beside its activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExampleHeader {
    /// Chosen by the client, unique in the session, without meaning elsewhere.
    pub example_id: u32,
    /// Train or validation.
    pub split: Split,
    /// Class index below `n_classes`; absent where the labels stay at the client.
    pub label: Option<u32>,
    /// Rows that belong to this example, padding excluded.
    pub seq_length: u16,
}

/// A batch of examples. The payload is `[sum of seq_length, d_model]`, examples in the order of `examples`; it has no
/// row where the bottom is trained, since `Batch` asks for activations later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    /// One header an example.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub examples: Vec<ExampleHeader>,
    /// Shape and dtype of the payload.
    pub activations: TensorDescriptor,
}

/// The examples of the message with this sequence number are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Sequence number of the client's message.
    pub sequence: u64,
    /// Examples stored in the session so far.
    pub examples_stored: u32,
}

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// Passes over the training examples.
    pub epochs: u32,
    /// Examples an optimizer step.
    pub batch_size: u32,
    /// Peak learning rate, reached after the warm-up and decayed linearly to zero.
    pub learning_rate: f32,
    /// Share of all steps that warms up.
    pub warmup_share: f32,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f32,
    /// Largest L2 norm of all gradients together; 0 for no clipping.
    pub gradient_norm_max: f32,
    /// Weight of each class in the loss; empty for equal weights.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub class_weights: Vec<f32>,
    /// Validations without improvement after which the run stops; 0 for never.
    pub patience: u32,
    /// Validations an epoch.
    pub validations_per_epoch: u32,
}

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// From 1.
    pub step: u32,
    /// From 1.
    pub epoch: u32,
    /// Mean cross-entropy of the batch, nats; absent where the labels are at the client, which knows
    /// it.
    pub loss: Option<f32>,
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Wall time of this step.
    pub step_millis: u32,
}

/// One pass over the validation examples, computed where the labels are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// After this step.
    pub step: u32,
    /// Mean cross-entropy, nats.
    pub loss: f32,
    /// Share of right answers.
    pub accuracy: f32,
    /// Unweighted mean of the classes' F1.
    pub macro_f1: f32,
    /// `confusion[truth * n_classes + answer]` = examples.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub confusion: Vec<u32>,
    /// Whether this is the best so far.
    pub best: bool,
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainDone {
    /// Steps that were taken.
    pub steps: u32,
    /// The step whose adapter was kept.
    pub best_step: u32,
    /// Why the run ended.
    pub reason: DoneReason,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoneReason {
    /// All epochs are done.
    Finished,
    /// `patience` ran out.
    StoppedEarly,
    /// The client cancelled.
    Cancelled,
}

/// Asks for the class probabilities of some examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predict {
    /// Returned in the answer.
    pub request_id: u32,
    /// Rows of the payload that belong to each example.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub seq_lengths: Vec<u16>,
    /// Shape and dtype of the payload.
    pub activations: TensorDescriptor,
}

/// Answers `Predict`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// As in `Predict`.
    pub request_id: u32,
    /// `probabilities[example * n_classes + class]`.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub probabilities: Vec<f32>,
}

/// Asks for the activations of some examples, computed with the client's adapter as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Training: the step that they are for, from 1. Validation: the step that they are measured
    /// after.
    pub step: u32,
    /// Train or validation, all of them.
    pub split: Split,
    /// The examples, in the order of the answer.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub example_ids: Vec<u32>,
}

/// Answers `Batch`. The payload is `[sum of seq_lengths, d_model]`, examples in the order asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchActivations {
    /// As in `Batch`.
    pub step: u32,
    /// Rows of each example, as in its header.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub seq_lengths: Vec<u16>,
    /// Shape and dtype of the payload.
    pub activations: TensorDescriptor,
    /// Sum of squares of the gradients in the bottom at the step before this message, told in the
    /// first one after it; absent without clipping.
    pub gradient_square: Option<f32>,
}

/// What the trained part of the head reads. The payload is `[example_ids, d_model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// As in `Batch`.
    pub step: u32,
    /// Train or validation, all of them.
    pub split: Split,
    /// The examples, in the order of the rows.
    #[serde(deserialize_with = "vec_as_it_arrives")]
    pub example_ids: Vec<u32>,
    /// Shape and dtype of the payload.
    pub pooled: TensorDescriptor,
    /// Sum of squares of the gradients in the top at the step before this message, told in the first
    /// one after it; absent without clipping, and where `CutGradient` has told it.
    pub gradient_square: Option<f32>,
}

/// Answers `Pooled` of training examples. The payload is the gradient of the batch's loss, of the shape that came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PooledGradient {
    /// As in `Pooled`.
    pub step: u32,
    /// Shape and dtype of the payload.
    pub gradient: TensorDescriptor,
    /// Sum of squares of this step's gradients in the head; absent without clipping.
    pub gradient_square: Option<f32>,
}

/// The gradient at the cut, of the shape of the activations. A number of the payload is multiplied by `scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CutGradient {
    /// As in `Batch`.
    pub step: u32,
    /// Shape and dtype of the payload: that of the activations, F16 where those were Int8.
    pub gradient: TensorDescriptor,
    /// Brings small gradients into the range of F16; 1 in F32.
    pub scale: f32,
    /// Sum of squares of this step's gradients in the top; absent without clipping.
    pub gradient_square: Option<f32>,
}

/// Answers `Pooled` of validation examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// As in `Pooled`.
    pub step: u32,
    /// What the client says.
    pub judgement: Judgement,
}

/// What the client says of its validation, computed where the labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Judgement {
    /// Not all validation examples were seen yet.
    Unfinished,
    /// All were seen; this is the best so far, and both sides keep it.
    Best,
    /// All were seen; an earlier one was better.
    NotBest,
    /// As `NotBest`, and `patience` has run out: the run ends.
    Stop,
}

/// Answers `Predict`. The payload is `[examples, d_model]`, what the client's head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PooledPrediction {
    /// As in `Predict`.
    pub request_id: u32,
    /// Shape and dtype of the payload.
    pub pooled: TensorDescriptor,
}

/// Asks for an adapter that the server keeps for this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseAdapter {
    /// Its key; the tenant's default for this model and cut when absent.
    pub adapter: Option<[u8; 16]>,
}

/// Answers `UseAdapter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterInUse {
    /// Its key.
    pub adapter: [u8; 16],
}

/// A message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Sequence number of the message, if it had one.
    pub sequence: Option<u64>,
    /// Stable code for programs.
    pub code: RefusalCode,
    /// One sentence for people: what was expected and what came. Never holds data of the client.
    pub sentence: String,
    /// Whether the server closes the connection after this message.
    pub closes: bool,
}

/// Why a message was not accepted. The numbers are part of the protocol (docs/protocol.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusalCode {
    /// The frame is not a frame of this protocol.
    MalformedFrame,
    /// The two sides speak different versions.
    WrongVersion,
    /// The catalogue has no such model.
    UnknownModel,
    /// The bottom's sha256 is not the one that the server offers for this cut.
    WrongBottom,
    /// The server does not offer this cut.
    UnknownCut,
    /// A setting is outside what the server accepts.
    BadSettings,
    /// The message is not allowed in this phase of the session.
    WrongPhase,
    /// The sequence number is not the next one.
    OutOfOrder,
    /// The payload's shape or size is not what the header says or the model needs.
    WrongShape,
    /// The payload holds NaN or an infinity.
    NotFinite,
    /// The example id was used before.
    DuplicateExample,
    /// The label is not below `n_classes`, is missing, or is there though labels stay at the client.
    BadLabel,
    /// A named limit is exceeded.
    LimitExceeded,
    /// The server has no room now; try again later.
    Busy,
    /// The server failed; the client did nothing wrong.
    Internal,
    /// The run does not wait for this message, or not for this step.
    NotAwaited,
    /// The token does not allow this.
    Forbidden,
    /// No session of this tenant has this token, or it cannot go on where the client wants to.
    UnknownSession,
    /// The tenant has no such adapter, or no default.
    UnknownAdapter,
}
