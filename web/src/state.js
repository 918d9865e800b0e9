/**
 * The state of the page and the one function that changes it: `(state, event) -> state`.
 * Pure: no clock, no DOM, no calls. Events are those of the client (contract.js) and those of the page.
 */

import { remember } from "./history.js";
import { fileKey, isBusy, mechanismOf, wantedFrom } from "./derived.js";
import { initialState, NO_READING } from "./initial.js";
import { addLeft } from "./left.js";
import { foldRun, newRun } from "./run.js";
import { isFatal } from "./sentences.js";

/** @typedef {import("./initial.js").State} State */
/** @typedef {import("./initial.js").Phase} Phase */

/**
 * Applies one event.
 * @param {State} state
 * @param {any} event
 * @returns {State}
 */
export function reduce(state, event) {
  return remember(state, applied(state, event), event);
}

/** @param {State} state @param {any} event @returns {State} */
function applied(state, event) {
  switch (event.type) {
    case "unsupported":
      return { ...state, phase: "error", missing: event.missing };
    case "connect_started":
      return connectStarted(state);
    case "start_over":
      return {
        ...initialState(state.settings),
        releasedFiles: releasedFiles(state),
        history: state.history,
        left: state.left,
      };
    case "left":
      return { ...state, left: addLeft(state.left, event, event.origins) };
    case "loading":
      return {
        ...state,
        loading: {
          ...state.loading,
          [event.stage]: loadedBytes(state.loading[event.stage], event),
        },
      };
    case "kept_listed":
      return { ...state, kept: event.kept };
    case "device":
      return { ...state, device: { kind: event.kind, name: event.name, notice: event.notice } };
    case "connected":
      return connected(state, event);
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
      return {
        ...state,
        privacy: event.privacy,
        phase: trainable(state.phase),
        failure: clear(state, "privacy"),
      };
    case "previewed":
      return { ...state, preview: event.preview };
    case "reading_requested":
    case "reading":
    case "reading_stop_requested":
    case "reading_stopped":
    case "reading_done":
      return { ...state, ...readingEvent(state, event) };
    case "training_chosen":
      return { ...state, choice: event.choice };
    case "predict_requested":
      return {
        ...state,
        prediction: { ...state.prediction, pending: true },
        failure: clear(state, "predict"),
      };
    case "predicted":
      return { ...state, prediction: { pending: false, answers: event.answers } };
    case "evaluate_requested":
      return {
        ...state,
        evaluation: { ...state.evaluation, pending: true },
        failure: clear(state, "evaluate"),
      };
    case "evaluated":
      return { ...state, evaluation: { pending: false, result: event.evaluation } };
    case "failed":
      return callFailed(state, event);
    case "refused":
      return failed(
        state,
        state.phase === "done" ? "predict" : "steer",
        event.code,
        event.sentence,
        event.closes,
      );
    case "disconnected":
      return failed(state, "connect", "Disconnected", event.sentence);
    case "crashed":
      return failed(state, "connect", "Crashed", "The program in this tab stopped unexpectedly.");
    default:
      return trainingEvent(state, event);
  }
}

/** @param {State} state @param {any} event @returns {Partial<State>} */
function readingEvent({ reading, failure }, event) {
  switch (event.type) {
    case "reading_requested":
      return {
        reading: {
          ...NO_READING,
          result: reading.result,
          measured: reading.measured,
          pending: true,
        },
        failure: failure?.place === "reading" ? null : failure,
      };
    case "reading":
      return { reading: { ...reading, done: event.done, total: event.total } };
    case "reading_stop_requested":
      return { reading: { ...reading, stopping: true } };
    case "reading_stopped":
      return { reading: { ...reading, pending: false, stopping: false, stopped: true } };
    default:
      return { reading: { ...NO_READING, result: event.result, measured: event.measured } };
  }
}

/** @param {State} state @param {any} event @returns {State} */
function trainingEvent(state, event) {
  if (event.type === "train_requested") {
    const run = newRun(event.at, event.options ?? null);
    const evaluation = { pending: false, result: null };
    return { ...state, run, evaluation, phase: "preparing", stopping: false, failure: null };
  }
  if (state.run === null) return state;
  if (event.type === "traffic")
    return {
      ...state,
      run: { ...state.run, bytesSent: event.traffic.bytes_sent, traffic: event.traffic },
    };
  if (!isBusy(state.phase)) return state;
  return runEvent({ ...state, released: state.released || releases(event) }, event);
}

/**
 * Says whether examples may have left this tab with this event; in doubt, yes.
 * @param {any} event
 */
function releases(event) {
  if (event.type === "train_started") return true;
  return (
    event.type === "progress" &&
    event.stage === "upload" &&
    (event.done > 0 || event.bytes_sent > 0)
  );
}

/** @param {State} state @param {any} event @returns {State} */
function runEvent(state, event) {
  const run = foldRun(/** @type {import("./run.js").Run} */ (state.run), event);
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

/**
 * Bytes are told twice: as they come, and as the client takes them. They do not go back, unless 0 begins anew.
 * @param {{ bytes: number, bytesTotal: number }|undefined} known
 * @param {any} event
 */
function loadedBytes(known, event) {
  const bytes = event.bytes === 0 ? 0 : Math.max(known?.bytes ?? 0, event.bytes);
  return { bytes, bytesTotal: event.bytes_total };
}

/** @param {State} state @returns {State} */
function connectStarted(state) {
  const fresh = initialState(state.settings);
  const { columns, wanted, choice, kept, left, history } = state;
  const file = state.file && { ...state.file, read: false };
  const stays = { file, columns, wanted, choice, kept, left, history };
  return { ...fresh, ...stays, releasedFiles: releasedFiles(state) };
}

/**
 * The table of mechanisms arrives: a wish that it does not know becomes the one that it recommends.
 * @param {State} state
 * @param {any} event
 * @returns {State}
 */
function connected(state, { catalogue, mechanisms }) {
  const next = { ...state, phase: /** @type {Phase} */ ("ready"), catalogue, mechanisms };
  const entry = mechanismOf(mechanisms, state.wanted.mechanism);
  const kept = entry !== null && entry.level !== "";
  const wanted = kept ? state.wanted : wantedFrom(state.settings, mechanisms);
  return privacyWanted(next, wanted);
}

/** @param {State} state */
function releasedFiles({ released, file, releasedFiles }) {
  if (!released || file === null || releasedFiles.includes(fileKey(file))) return releasedFiles;
  return [...releasedFiles, fileKey(file)];
}

/** @param {State} state @param {import("./settings.js").Settings} settings @returns {State} */
function settingsChanged(state, settings) {
  const before = state.settings;
  const next = { ...state, settings };
  if (settings.mechanism === before.mechanism && settings.protection === before.protection)
    return next;
  return privacyWanted(next, wantedFrom(settings, state.mechanisms));
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
    reading: NO_READING,
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
    reading: NO_READING,
    failure: null,
  };
}

/** @param {State} state @param {import("./contract.js").PrivacyWanted} wanted @returns {State} */
function privacyWanted(state, wanted) {
  // A link without a name follows the recommendation.
  const recommended = ["", state.mechanisms.at(0)?.name].includes(wanted.mechanism);
  const settings = { ...state.settings, mechanism: recommended ? null : wanted.mechanism };
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
  if (event.place !== "train" || !isBusy(next.phase)) return next;
  const begun = next.run !== null && (next.run.upload !== null || next.run.stepsTotal > 0);
  return { ...next, phase: "privacy", run: begun ? next.run : null };
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
  const failure = { place, name, sentence, fatal };
  const prediction = { ...state.prediction, pending: false };
  const evaluation = { ...state.evaluation, pending: false };
  const file = place === "file" ? null : state.file;
  const phase = fatal ? "error" : state.phase;
  const reading =
    place === "reading" ? { ...state.reading, pending: false, stopping: false } : state.reading;
  return { ...state, failure, prediction, evaluation, reading, file, phase, stopping: false };
}

/** @param {State} state @param {string} place */
function clear(state, place) {
  return state.failure?.place === place && !state.failure.fatal ? null : state.failure;
}

/** @param {Phase} phase @returns {Phase} */
const trainable = (phase) => (phase === "dataset" ? "privacy" : phase);
