/** What the page says when something happens: advice for errors, announcements for screen readers. Pure. */

import { isBusy } from "./derived.js";
import { count, decimal, duration, percent } from "./format.js";
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

/** What to do, by the stable name of an error or the code of a refusal. @type {Record<string, string>} */
const ADVICE = {
  BadSettings: "Change the training options and try again.",
  Busy: "The server is full for now. Wait a few minutes, then connect again.",
  Crashed: "Connect again. If it happens again, choose the CPU under “Model and device”.",
  DeviceLost: "Connect again, or choose the CPU under “Model and device”.",
  Disconnected: "Check your network, then connect again.",
  FileTooLarge:
    "Use a part of the file, or the command line client `cutlayer train`, which has no such limit.",
  Forbidden: "Ask whoever runs the server for a token that allows this.",
  Internal: "You did nothing wrong. Try again; if it happens again, tell whoever runs the server.",
  LimitExceeded: "Use fewer rows or smaller settings, then try again.",
  OneClassOnly: "Choose another label column, or a file with at least two different labels.",
  ProgramMissing: "Reload the page. If it happens again, tell whoever runs the server.",
  SessionGone: "Train again: the examples have to be sent once more.",
  TokenNeeded: "Whoever runs the server gives you one. It stays in this tab until you close it.",
  TurnedAway: "Trying again will not help. Ask whoever runs the server.",
  UnknownAdapter: "Ask the server for its list of adapters, and choose one of them.",
  UnknownCut: "Choose another cut under “Model and device”.",
  Unreachable: "Check that the server is running and that you are online, then connect again.",
  WorkerFailed: "Reload the page. If it happens again, try another browser.",
  WrongBottom: "Reload the page to get the server’s current model.",
  WrongVersion: "Reload the page to get the server’s current version.",
};

const ADVICE_BY_PLACE = {
  connect: "Check that the server is running, then connect again.",
  file: "Choose another file, or correct this one and choose it again.",
  columns: "Choose other columns.",
  privacy: "Choose another level or way of protection.",
  reading: "Measure again, or choose another way of protection.",
  train: "Change the options or try again.",
  steer: "Training goes on; try again.",
  predict: "Try again.",
};

/** @typedef {keyof typeof ADVICE_BY_PLACE} Place */

/**
 * Says what to do after an error.
 * @param {string} name
 * @param {Place} place
 */
export function adviceFor(name, place) {
  return ADVICE[name] ?? ADVICE_BY_PLACE[place];
}

/** @type {Record<string, string>} */
const STAGE_NAMES = {
  program: "Program",
  catalogue: "Model list",
  device: "Device",
  bottom: "First part of the model",
  tokenizer: "Tokenizer",
  warmup: "Warm-up",
};

/** The stages of loading, in the order in which they happen. */
export const LOADING_STAGES = Object.entries(STAGE_NAMES).map(([stage, name]) => ({ stage, name }));

/** @type {Record<string, string>} */
const REASONS = {
  Finished: "Training is finished",
  StoppedEarly: "Training stopped early: the last passes brought no improvement",
  Cancelled: "Training was stopped",
};

/** @param {string} reason */
export function doneSentence(reason) {
  return REASONS[reason] ?? "Training has ended";
}

/** The sections of the page in order, and when the locked ones open. */
export const STEPS = [
  { id: "file", name: "File", locked: "" },
  { id: "data", name: "Data", locked: "Opens when a file has been read." },
  {
    id: "protection",
    name: "Protection",
    locked: "Opens when the data has text and at least two labels.",
  },
  { id: "training", name: "Training", locked: "Opens when the protection has been calculated." },
  { id: "try", name: "Try it", locked: "Opens when training has ended." },
];

/**
 * Sums up the state for a screen reader; the page decides how often it is spoken.
 * @param {import("./initial.js").State} state
 */
export function announcement(state) {
  const { run } = state;
  if (run && run.attempt > 0 && isBusy(state.phase))
    return "The connection was lost. Trying again; nothing is lost.";
  switch (state.phase) {
    case "loading":
      return "Loading the model.";
    case "ready":
      return "Ready. Choose a file.";
    case "dataset":
      return state.report ? `${count(state.report.rows, "row")} read.` : "File read.";
    case "privacy":
      return "Protection is calculated. Training can start.";
    case "preparing":
      return `Protecting and sending examples.${left(run)}`;
    case "training":
      if (!run || run.loss === null) return "Training has started.";
      return `Step ${run.step} of ${run.stepsTotal}, loss ${decimal(run.loss)}.${left(run)}`;
    case "paused":
      return "Training is paused.";
    case "done": {
      const best = run && bestValidation(run);
      return best
        ? `Training has ended. Accuracy ${percent(best.accuracy, 1)}.`
        : "Training has ended.";
    }
    default:
      return "";
  }
}

/** @param {import("./run.js").Run|null} run */
function left(run) {
  const millis = run && millisLeft(run);
  return millis === null ? "" : ` About ${duration(millis)} left.`;
}
