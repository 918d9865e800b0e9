/**
 * The state of the page and the one function that changes it: `(state, event) -> state`.
 * Pure: no clock, no DOM, no calls. Events are those of the client (contract.js) and those of the page.
 */

import { foldRun, newRun } from "./run.js";
import { adviceFor, isFatal } from "./sentences.js";

/** @typedef {import("./contract.js").TrainOptions} TrainOptions */
/** @typedef {"loading"|"ready"|"dataset"|"privacy"|"preparing"|"training"|"paused"|"done"|"error"} Phase */
/** @typedef {{ place: import("./sentences.js").Place, name: string, sentence: string, advice: string, fatal: boolean }} Failure */

/**
 * @typedef {object} State
 * @property {Phase} phase
 * @property {string[]} missing what this browser lacks; empty when it is supported
 * @property {import("./settings.js").Settings} settings
 * @property {Record<string, { bytes: number, bytesTotal: number }>} loading by stage
 * @property {string|null} loadingStage
 * @property {import("./contract.js").DeviceInfo|null} device
 * @property {import("./contract.js").Catalogue|null} catalogue
 * @property {{ name: string, bytes: number, read: boolean }|null} file
 * @property {import("./contract.js").DatasetReport|null} report
 * @property {import("./contract.js").Columns|null} columns what the reader chose, null: what was detected
 * @property {import("./contract.js").PrivacyWanted} wanted
 * @property {import("./contract.js").Privacy|null} privacy null while it is being calculated
 * @property {import("./contract.js").Preview|null} preview
 * @property {boolean} released whether this session may have sent examples
 * @property {boolean} releasedBefore whether an earlier session may have sent them
 * @property {import("./run.js").Run|null} run
 * @property {boolean} stopping
 * @property {{ pending: boolean, answers: Answer[] }} prediction
 * @property {Failure|null} failure
 */

/** @typedef {import("./contract.js").Prediction & { text: string, preview: import("./contract.js").Preview|null }} Answer */

/** @param {import("./settings.js").Settings} settings @returns {State} */
export function initialState(settings) {
  return {
    phase: "loading",
    missing: [],
    settings,
    loading: {},
    loadingStage: null,
    device: null,
    catalogue: null,
    file: null,
    report: null,
    columns: null,
    wanted: wantedFrom(settings, null),
    privacy: null,
    preview: null,
    released: false,
    releasedBefore: false,
    run: null,
    stopping: false,
    prediction: { pending: false, answers: [] },
    failure: null,
  };
}

/**
 * Applies one event.
 * @param {State} state
 * @param {any} event
 * @returns {State}
 */
export function reduce(state, event) {
  switch (event.type) {
    case "unsupported":
      return { ...state, phase: "error", missing: event.missing };
    case "connect_started":
      return connectStarted(state);
    case "start_over":
      return initialState(state.settings);
    case "loading":
      return {
        ...state,
        loadingStage: event.stage,
        loading: { ...state.loading, [event.stage]: { bytes: event.bytes, bytesTotal: event.bytes_total } },
      };
    case "device":
      return { ...state, device: { kind: event.kind, name: event.name, notice: event.notice } };
    case "connected":
      return { ...state, phase: "ready", catalogue: event.catalogue, loadingStage: null };
    case "settings_changed":
      return settingsChanged(state, event.settings);
    case "file_opened":
      return fileOpened(state, event);
    case "file_read":
    case "columns_chosen":
      return reportArrived(state, event);
    case "privacy_wanted":
      return privacyWanted(state, event.wanted);
    case "privacy_set":
      return { ...state, privacy: event.privacy, phase: trainable(state.phase), failure: clear(state, "privacy") };
    case "previewed":
      return { ...state, preview: event.preview };
    case "predict_requested":
      return { ...state, prediction: { ...state.prediction, pending: true }, failure: clear(state, "predict") };
    case "predicted":
      return { ...state, prediction: { pending: false, answers: event.answers } };
    case "failed":
      return callFailed(state, event);
    case "refused":
      return failed(state, state.phase === "done" ? "predict" : "steer", event.code, event.sentence, event.closes);
    case "disconnected":
      return failed(state, "connect", "Disconnected", event.sentence);
    case "crashed":
      return failed(state, "connect", "Crashed", "The program in this tab stopped unexpectedly.");
    default:
      return trainingEvent(state, event);
  }
}

/** @param {State} state @param {any} event @returns {State} */
function trainingEvent(state, event) {
  if (event.type === "train_requested") {
    const run = newRun(event.at);
    return { ...state, run, phase: "preparing", released: true, stopping: false, failure: null };
  }
  if (state.run === null) return state;
  if (event.type === "traffic") return { ...state, run: { ...state.run, bytesSent: event.traffic.bytes_sent } };
  if (!isBusy(state.phase)) return state;
  const run = foldRun(state.run, event);
  switch (event.type) {
    case "train_started":
      return { ...state, run, phase: "training" };
    case "paused":
      return { ...state, run, phase: "paused" };
    case "continued":
      return { ...state, run, phase: "training" };
    case "stop_requested":
      return { ...state, stopping: true };
    case "train_done":
      return { ...state, run, phase: event.steps > 0 ? "done" : "privacy", stopping: false };
    case "train_returned":
      return { ...state, run, phase: "privacy", stopping: false };
    default:
      return { ...state, run };
  }
}

/** @param {State} state @returns {State} */
function connectStarted(state) {
  const fresh = initialState(state.settings);
  const { file, columns, wanted } = state;
  const releasedBefore = state.releasedBefore || state.released;
  return { ...fresh, file: file && { ...file, read: false }, columns, wanted, releasedBefore };
}

/** @param {State} state @param {import("./settings.js").Settings} settings @returns {State} */
function settingsChanged(state, settings) {
  const before = state.settings;
  const next = { ...state, settings };
  if (settings.mechanism === before.mechanism && settings.protection === before.protection) return next;
  return privacyWanted(next, wantedFrom(settings, null));
}

/** @param {State} state @param {any} event @returns {State} */
function fileOpened(state, event) {
  const same = state.file?.name === event.name && state.file?.bytes === event.bytes;
  return {
    ...state,
    file: { name: event.name, bytes: event.bytes, read: false },
    columns: same ? state.columns : null,
    phase: state.phase === "loading" ? "loading" : "ready",
    report: null,
    privacy: null,
    preview: null,
    releasedBefore: same && state.releasedBefore,
    failure: state.failure?.fatal ? state.failure : null,
  };
}

/** @param {State} state @param {any} event @returns {State} */
function reportArrived(state, event) {
  return {
    ...state,
    file: state.file && { ...state.file, read: true },
    report: event.report,
    columns: event.columns ?? state.columns,
    phase: "dataset",
    privacy: null,
    preview: null,
    failure: null,
  };
}

/** @param {State} state @param {import("./contract.js").PrivacyWanted} wanted @returns {State} */
function privacyWanted(state, wanted) {
  const settings = { ...state.settings, mechanism: wanted.mechanism };
  if (wanted.protection !== null) settings.protection = wanted.protection;
  const phase = state.phase === "privacy" ? "dataset" : state.phase;
  return { ...state, wanted, settings, privacy: null, phase, failure: clear(state, "privacy") };
}

/**
 * A call was rejected: unlike a refusal of one message, this ends what the call had begun.
 * @param {State} state
 * @param {any} event
 * @returns {State}
 */
function callFailed(state, event) {
  const next = failed(state, event.place, event.name, event.sentence);
  return event.place === "train" && isBusy(next.phase) ? { ...next, phase: "privacy" } : next;
}

/**
 * @param {State} state
 * @param {import("./sentences.js").Place} place
 * @param {string} name
 * @param {string} sentence
 * @param {boolean} [closes]
 * @returns {State}
 */
function failed(state, place, name, sentence, closes = false) {
  if (state.failure?.fatal) return state;
  const fatal = place === "connect" || closes || isFatal(name);
  const failure = { place, name, sentence, advice: adviceFor(name, place), fatal };
  const prediction = { ...state.prediction, pending: false };
  const file = place === "file" ? null : state.file;
  const phase = fatal ? "error" : state.phase;
  return { ...state, failure, prediction, file, phase, stopping: false };
}

/** @param {State} state @param {string} place */
function clear(state, place) {
  return state.failure?.place === place && !state.failure.fatal ? null : state.failure;
}

/** @param {Phase} phase @returns {Phase} */
const trainable = (phase) => (phase === "dataset" ? "privacy" : phase);

/**
 * @param {import("./settings.js").Settings} settings
 * @param {number|null} eta
 * @returns {import("./contract.js").PrivacyWanted}
 */
export function wantedFrom({ mechanism, protection }, eta) {
  const plain = mechanism === "none";
  return { mechanism, protection: plain || eta !== null ? null : protection, eta: plain ? null : eta };
}

/** Says whether leaving the page now would lose work. @param {Phase} phase */
export function isBusy(phase) {
  return phase === "preparing" || phase === "training" || phase === "paused";
}

/** Says whether the data can be trained on. @param {State} state */
export function isUsable({ report }) {
  return report !== null && report.problem === null && report.label_column !== null && report.labels.length >= 2;
}

/** Finds the number of open steps, 1 to 5. @param {State} state */
export function openSteps(state) {
  if (state.run?.done && state.run.done.steps > 0 && !isBusy(state.phase)) return 5;
  if (state.run !== null || state.phase === "privacy") return 4;
  if (isUsable(state)) return state.privacy === null ? 3 : 4;
  return state.report === null ? 1 : 2;
}

/** Finds the step that the reader is at, 1 to 5. @param {State} state */
export function currentStep(state) {
  if (state.phase === "privacy") return 3;
  return openSteps(state);
}
