/** A state in which every picture can be drawn, with a class name that is markup and words that are nowhere else. */

import { initialState } from "../src/initial.js";
import { reduce } from "../src/state.js";
import { DEFAULT_SETTINGS } from "../src/settings.js";
import { MECHANISMS, privacyOf, READING, REPORT, wantedOf } from "./samples.js";

export const CANARY = "quazzimort";
export const FILE_NAME = "wardnotes-krellington.tsv";
export const COLUMN_NAME = "frobnicals";
export const CLASS_NAME = '<script>alert("1")</script>';

const LABELS = [
  { name: CLASS_NAME, count: 3 },
  { name: "b & 'c'", count: 1 },
];

/** @param {string} text @param {import("../src/contract.js").TokenKind} kind */
const token = (text, kind) => ({
  text,
  seen: kind === "removed" ? "" : text,
  kind,
  continues: false,
});

const PREVIEW = {
  examples: [{ tokens: [token("[CLS]", "special"), token(CANARY, "far"), token("ok", "removed")] }],
  shares: { unchanged: 0, near: 0, far: 0.5, removed: 0.5 },
  tokens_counted: 2,
};

const WORD = { text: CANARY, label: CLASS_NAME, importance: 2, count: 3, factor: 0.5 };

const OPTIONS = {
  epochs: 2,
  batch_size: 2,
  learning_rate: 0.001,
  rank: 8,
  alpha: 16,
  dropout: 0,
  validation_share: 0.5,
  class_weights: "none",
  patience: 4,
  dtype: "f16",
  labels: "server",
  bottom: "frozen",
  label_noise: 0,
};

const wanted = wantedOf({
  contribution: { reading: "floor", parameter: null, label_dependent: false },
});
const report = {
  ...REPORT,
  labels: LABELS,
  columns: [COLUMN_NAME, "label"],
  text_column: COLUMN_NAME,
};
const reading = {
  ...READING,
  survivors: { ...READING.survivors, examples: [{ text: CANARY, times: 2 }] },
};

/** @param {number} step @param {number[]} confusion @param {boolean} best */
const validation = (step, confusion, best) => ({
  type: "validation",
  step,
  loss: 0.5,
  accuracy: (confusion[0] + confusion[3]) / 4,
  macro_f1: 0.4,
  confusion,
  best,
});

/** @param {number} step @param {number} epoch @param {number} loss */
const step = (step, epoch, loss) => ({
  type: "step",
  step,
  epoch,
  loss,
  learning_rate: 0.1,
  step_millis: 1,
});

/** A run of four steps in two epochs, of which the first pass was the best: 3 of 4 rows right. */
export const EVENTS = [
  {
    type: "connected",
    catalogue: {
      models: [{ model_id: "m", family: "bert", n_layers: 2, d_model: 8, cuts: [1] }],
      model_id: "m",
      cut: 1,
    },
    mechanisms: MECHANISMS,
  },
  { type: "file_opened", name: FILE_NAME, bytes: 9 },
  { type: "file_read", report },
  { type: "privacy_wanted", wanted },
  { type: "privacy_set", privacy: { ...privacyOf(wanted), contributing: [WORD] } },
  { type: "previewed", preview: PREVIEW },
  { type: "reading_requested" },
  { type: "reading_done", result: reading, measured: { wanted, level: 0.5 } },
  { type: "train_requested", options: OPTIONS },
  { type: "progress", stage: "upload", done: 4, total: 4, bytes_sent: 10 },
  { type: "train_started", steps_total: 4 },
  step(1, 1, 1),
  step(2, 1, 0.5),
  validation(2, [2, 1, 0, 1], true),
  step(3, 2, 0.4),
  step(4, 2, 0.2),
  validation(4, [1, 2, 0, 1], false),
  { type: "train_done", steps: 4, best_step: 2, reason: "Finished" },
  { type: "traffic", traffic: { bytes_sent: 1500, bytes_received: 700, frames_sent: 9 } },
];

const EVALUATION = {
  examples: 4,
  bad_rows_total: 1,
  accuracy: 0.5,
  macro_f1: 0.4,
  confusion: [1, 1, 1, 1],
};

/** @param {...any} more */
export const after = (...more) =>
  [...EVENTS, ...more].reduce(
    (state, event, at) => reduce(state, { ...event, at }),
    initialState(DEFAULT_SETTINGS),
  );

export const STATE = after({ type: "evaluated", evaluation: EVALUATION });
