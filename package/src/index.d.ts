/** The client of Cutlayer for pages of others. Fields of data are named as the client names them. */

/** Connects to a server and loads the lower part of its model in a worker. */
export function createClient(settings: ClientSettings): Client;

/** Largest file that a tab reads. */
export const FILE_BYTES_MAX: number;

/** What every promise here is rejected with. */
export class CutlayerError extends Error {
  constructor(name: string, message: string);
  /** Stable, for programs: one of `ErrorName`, or a later one. */
  name: string;
}

export type ErrorName =
  | "AbortError" // a signal; its reason is the `cause`
  | "Audit"
  | "Closed" // the client was closed
  | "Crashed" // the program stopped; make another client
  | "Device"
  | "Disconnected"
  | "Diverged" // a number is not finite any more
  | "Fetch" // a file of the server; of another origin without leave, too
  | "FileTooLarge"
  | "FileUnreadable"
  | "Model"
  | "NoRandomness"
  | "NotYet" // predicting before training
  | "OneClassOnly"
  | "Option"
  | "Privacy"
  | "ProgramMissing" // the package is not served whole
  | "Protocol"
  | "Refused" // by the server; the message says why
  | "RepeatedRelease"
  | "SessionGone"
  | "Stopped" // before anything was trained
  | "Text" // the file
  | "TokenizerMismatch"
  | "TokenNeeded"
  | "TurnedAway" // the server opens no session for this page
  | "UnknownModel" // the server offers another one than `model`
  | "WorkerFailed"
  | "WrongArtifact";

export interface ClientSettings {
  /** Address of the server, which must allow the page's origin: `--cors-origin`. */
  server: string;
  /** What the server must offer; without it, whatever it offers. */
  model?: string;
  /** What lets the page in, where the server asks for it. */
  token?: string;
  device?: DeviceChoice;
  /** Blocks that run in the tab; the fewest on offer without it. */
  cut?: number;
  precision?: Precision;
  /** Closes the client. */
  signal?: AbortSignal;
  /** Told of what happens outside of runs. */
  onEvent?: (event: LoadingEvent | DeviceEvent | LeftEvent) => void;
  /** Makes the worker, where a bundler or a policy wants it made otherwise. */
  createWorker?: () => Worker;
}

export interface Client {
  /** Fulfilled when the model is loaded. */
  readonly ready: Promise<Catalogue>;
  options(): Promise<{ mechanisms: Mechanism[]; catalogue: Catalogue }>;
  /** Shows rows of the file beside what the server would see of them; sends nothing of it. */
  preview(file: FileLike, options?: PreviewOptions): Promise<FilePreview>;
  /** Protects the file, sends it once, and trains. */
  train(file: FileLike, options?: TrainOptions): Run;
  /** Asks the classifier that was trained last. */
  predict(texts: Sentence[], options?: { signal?: AbortSignal }): Promise<Prediction[]>;
  /** Ends the worker and everything that is under way. A run at the server may go on there. */
  close(): void;
}

/** A run. Its events have one reader; who leaves the loop stops reading, not the run. */
export interface Run extends AsyncIterable<RunEvent, undefined> {
  readonly result: Promise<RunResult>;
  /** Events that made room for later ones because nobody read them. */
  readonly dropped: number;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends it; the best adapter so far is kept. */
  cancel(): Promise<void>;
}

export interface RunResult {
  steps: number;
  best_step: number;
  reason: "Finished" | "StoppedEarly" | "Cancelled";
  /** The best one. */
  validation: ValidationEvent | null;
  traffic: Traffic;
}

export interface FileLike {
  /** Its ending says how the rows are written, where they do not say it themselves. */
  name: string;
  size: number;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** A text, or a pair. */
export type Sentence = string | [text: string, pair: string | null];

export interface ProtectionOptions {
  /** A name of the table; its first line without it. */
  mechanism?: string;
  /** Above 0 and below 1; 0.5 without it. */
  protection?: number;
  /** The mechanism's own parameter, in place of `protection`. */
  eta?: number;
  contribution?: Partial<Contribution>;
}

interface FileOptions extends ProtectionOptions {
  /** Those that are left out are found. */
  columns?: Partial<Columns>;
  signal?: AbortSignal;
}

export interface PreviewOptions extends FileOptions {
  /** Rows; 4 without it. */
  examples?: number;
}

export interface TrainOptions extends FileOptions, Partial<TrainingOptions> {}

export interface TrainingOptions {
  epochs: number;
  batch_size: number;
  learning_rate: number;
  warmup_share: number;
  weight_decay: number;
  gradient_norm_max: number;
  rank: number;
  alpha: number;
  targets: "query-value" | "all";
  dropout: number;
  validation_share: number;
  class_weights: "none" | "balanced";
  patience: number;
  validations_per_epoch: number;
  dtype: "f16" | "f32" | "int8";
  labels: "server" | "client";
  bottom: "frozen" | "lora";
  label_noise: number;
}

export type DeviceChoice = "auto" | "cpu" | "gpu";

/** Of the lower part's weights: fewer bits are fewer bytes to fetch. */
export type Precision = "f16" | "f32" | "int8";

export interface Contribution {
  reading: "off" | "floor" | "top" | "sigmoid";
  parameter: number | null;
  label_dependent: boolean;
}

export interface Columns {
  text: string;
  pair: string | null;
  label: string | null;
}

export interface Model {
  model_id: string;
  family: string;
  n_layers: number;
  d_model: number;
  cuts: number[];
  /** What can be fetched: one for each cut and precision. */
  bottoms: { cut: number; precision: Precision; bytes: number }[];
}

export interface Catalogue {
  models: Model[];
  model_id: string;
  /** Blocks that run in the tab. */
  cut: number;
}

export interface Mechanism {
  name: string;
  title: string;
  about: string;
  /** What the level means; empty where there is none. */
  level: string;
  guarantee: string;
  takes_contribution: boolean;
  ranks_tokens: boolean;
  why?: string;
}

export interface DatasetReport {
  format: string;
  encoding: string;
  rows: number;
  columns: string[];
  text_column: string | null;
  pair_column: string | null;
  label_column: string | null;
  labels: { name: string; count: number }[];
  bad_rows: { row: number; reason: string }[];
  bad_rows_total: number;
  /** Why this file cannot be trained on. */
  problem: string | null;
  examples: { text: string; pair: string | null; label: string | null }[];
}

export interface ContributingWord {
  text: string;
  label: string;
  importance: number;
  count: number;
  factor: number | null;
}

/** What a protection was set to. Show `sentence`, `guarantee` and `caveats` to whoever owns the text. */
export interface Privacy {
  mechanism: string;
  eta: number | null;
  protection: number | null;
  sentence: string;
  guarantee: string;
  caveats: string[];
  contributing: ContributingWord[];
}

export interface Token {
  text: string;
  /** Empty when removed. */
  seen: string;
  kind: "unchanged" | "near" | "far" | "removed" | "special";
  continues: boolean;
}

export interface Shares {
  unchanged: number;
  near: number;
  far: number;
  removed: number;
}

export interface Preview {
  examples: { tokens: Token[] }[];
  shares: Shares;
  tokens_counted: number;
}

export interface FilePreview extends Preview {
  data: DatasetReport;
  privacy: Privacy;
}

export interface Prediction {
  label: string;
  probabilities: { label: string; probability: number }[];
}

export interface Traffic {
  bytes_sent: number;
  bytes_received: number;
  frames_sent: number;
}

export interface LoadingEvent {
  type: "loading";
  stage: "program" | "catalogue" | "device" | "bottom" | "tokenizer" | "warmup";
  bytes: number;
  /** 0 when nothing is fetched. */
  bytes_total: number;
}

export interface DeviceEvent {
  type: "device";
  kind: "webgpu" | "cpu";
  name: string;
  /** Why it is not a GPU, where one was hoped for. */
  notice: string | null;
}

/** Something has left the worker: a message, read back from the bytes that its socket was given, or a request. */
export type LeftEvent = LeftMessage | LeftRequest;

export interface LeftMessage {
  type: "left";
  /** Its name in the protocol. */
  message: string;
  bytes: number;
  counts: { name: string; value: number }[];
  /** Numbers of protected texts in it, and the first of them. */
  tensor: { dtype: string; rows: number; columns: number; bytes: number; first: number[] } | null;
  /** Milliseconds since 1970. */
  time: number;
}

/** As the browser records it: what came from its cache is none. */
export interface LeftRequest {
  type: "left";
  address: string;
  time: number;
}

/** In this order, of which what does not happen is left out: the first four, steps and validations, the last. */
export type RunEvent =
  | { type: "data_read"; data: DatasetReport }
  | { type: "privacy_set"; privacy: Privacy }
  | { type: "progress"; stage: "upload"; done: number; total: number; bytes_sent: number }
  | { type: "train_started"; steps_total: number }
  | StepEvent
  | ValidationEvent
  | { type: "reconnecting"; attempt: number; attempts_max: number }
  | { type: "reconnected" }
  | { type: "paused" }
  | { type: "continued" }
  | DoneEvent;

export interface StepEvent {
  type: "step";
  step: number;
  epoch: number;
  /** Nats; the mean where steps were merged. */
  loss: number;
  learning_rate: number;
  /** At the server; the mean where steps were merged. */
  step_millis: number;
  /** How many steps this event stands for: 1, or more where nobody read them in time. */
  merged: number;
}

export interface ValidationEvent {
  type: "validation";
  step: number;
  loss: number;
  accuracy: number;
  macro_f1: number;
  /** `confusion[truth * n + answer]` */
  confusion: number[];
  /** The best so far. */
  best: boolean;
}

export interface DoneEvent {
  type: "train_done";
  steps: number;
  best_step: number;
  reason: "Finished" | "StoppedEarly" | "Cancelled";
}
