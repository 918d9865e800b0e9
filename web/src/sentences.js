/** What the page says when something happens: advice for errors, announcements for screen readers. Words are in `languages/`. */

import { isBusy } from "./derived.js";
import { bytes, count, decimal, duration, percent } from "./format.js";
import { FIRST, has, language, say } from "./language.js";
import { bestValidation, millisLeft } from "./run.js";

/** Errors after which the client cannot go on and has to connect again. */
const FATAL = new Set([
  "Crashed",
  "DeviceLost",
  "Disconnected",
  "NotConnected",
  "ProgramMissing",
  "Unreachable",
  "WorkerFailed",
]);

/** @param {string} name */
export function isFatal(name) {
  return FATAL.has(name);
}

/** @typedef {"connect"|"file"|"columns"|"privacy"|"reading"|"train"|"steer"|"predict"|"evaluate"} Place where an action failed */

/**
 * Says what to do after an error.
 * @param {string} name the stable name of an error, or the code of a refusal
 * @param {Place} place
 */
export function adviceFor(name, place) {
  return has(`advice.${name}`) ? say(`advice.${name}`) : say(`advice.at.${place}`);
}

/**
 * Says what happened. The client speaks English, and more exactly than a name can; a reader of another language gets
 * the words for the name, and the sentence beside it.
 * @param {{ name: string, sentence: string }} failure
 * @returns {{ sentence: string, original: string|null }}
 */
export function failureWords({ name, sentence }) {
  if (language() === FIRST || !has(`error.${name}`)) return { sentence, original: null };
  return { sentence: say(`error.${name}`), original: sentence };
}

/** The stages of loading, in the order in which they begin; files come side by side. A name is asked for where it is shown. */
export const LOADING_STAGES = [
  "catalogue",
  "program",
  "device",
  "tokenizer",
  "bottom",
  "warmup",
].map((stage) => ({
  stage,
  get name() {
    return say(`stage.${stage}`);
  },
}));

/** How the weights of the first part may be fetched, the usual way first. @type {import("./contract.js").Precision[]} */
export const PRECISIONS = ["f16", "f32", "int8"];
/**
 * What a precision costs in accuracy: the key of a few words. Only what has been measured and stands in docs/results, with
 * the name of the file; nothing is said of the others.
 * @type {Partial<Record<string, string>>}
 */
const MEASURED_COSTS = {};

/**
 * Names a precision, with the size of the download where it is known.
 * @param {import("./contract.js").Precision} precision
 * @param {number} [bottomBytes]
 */
export function precisionName(precision, bottomBytes) {
  const size = bottomBytes === undefined ? "" : bytes(bottomBytes);
  const cost = MEASURED_COSTS[precision];
  const parts = [say(`status.weights.${precision}`), size, cost === undefined ? "" : say(cost)];
  return parts.filter((part) => part !== "").join(", ");
}

/**
 * Sums up what is kept.
 * @param {import("./initial.js").Kept} kept
 */
export function keptSummary({ files }) {
  if (files.length === 0) return say("kept.nothing");
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  return say("kept.summary", { files: count(files.length, "file"), bytes: bytes(total) });
}

/**
 * Says how much room there is; empty where the browser does not say.
 * @param {import("./initial.js").Kept} kept
 */
export function keptRoom({ usage, quota }) {
  if (usage === null || quota === null) return "";
  return say("kept.room", { used: bytes(usage), allowed: bytes(quota) });
}

/** Names a kept file: `MODEL FILE`, or the program. @param {string} label */
export function keptName(label) {
  return label === "program" ? say("kept.program") : label.replace("_", " ");
}

/** @type {Record<string, string>} */
const REASONS = {
  Finished: "result.finished",
  StoppedEarly: "result.stopped-early",
  Cancelled: "result.cancelled",
};

/** @param {string} reason */
export function doneSentence(reason) {
  return say(REASONS[reason] ?? "result.ended");
}

/** The sections of the page in order, and when the locked ones open. */
export const STEPS = ["file", "data", "protection", "training", "try"].map((id) => ({
  id,
  get name() {
    return say(`step.${id}`);
  },
  get locked() {
    return has(`step.${id}.locked`) ? say(`step.${id}.locked`) : "";
  },
}));

/**
 * Sums up the state for a screen reader; the page decides how often it is spoken.
 * @param {import("./initial.js").State} state
 */
export function announcement(state) {
  const { run } = state;
  if (run && run.attempt > 0 && isBusy(state.phase)) return say("told.lost");
  switch (state.phase) {
    case "loading":
      return say("told.loading");
    case "ready":
      return say("told.ready");
    case "dataset":
      if (state.report === null) return say("told.read");
      return say("told.rows", { rows: count(state.report.rows, "row") });
    case "privacy":
      return say("told.protected");
    case "preparing":
      return say("told.preparing") + left(run);
    case "training": {
      if (!run || run.loss === null) return say("told.started");
      const { step, stepsTotal: total } = run;
      return say("told.step", { step, total, loss: decimal(run.loss) }) + left(run);
    }
    case "paused":
      return say("told.paused");
    case "done": {
      const best = run && bestValidation(run);
      if (!best) return say("told.done");
      return say("told.accuracy", { accuracy: percent(best.accuracy, 1) });
    }
    default:
      return "";
  }
}

/** @param {import("./run.js").Run|null} run */
function left(run) {
  const millis = run && millisLeft(run);
  return millis === null ? "" : ` ${say("told.left", { time: duration(millis) })}`;
}
