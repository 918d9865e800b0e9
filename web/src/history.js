/**
 * What this tab has learnt so far: the runs that ended and the readings, also of sessions that are over. Pure.
 *
 * Each entry belongs to the data that it is of: another file, or other columns of it, is another picture.
 */

import { currentLevel, lawOf } from "./reading.js";
import { bestValidation, majorityShare } from "./run.js";

/** @typedef {import("./initial.js").State} State */

/**
 * @typedef {object} FinishedRun
 * @property {number} number from 1, in the order in which they ended
 * @property {string} data which data it was trained on
 * @property {string} mechanism its name
 * @property {string} law mechanism and words that matter: what a reading of it must share with it
 * @property {number|null} level null without one
 * @property {number|null} eta
 * @property {number} accuracy
 * @property {number} macroF1
 * @property {number} majority accuracy of always the same answer
 * @property {number} rows held-out rows
 * @property {number} steps
 *
 * @typedef {{ data: string, law: string, reading: import("./contract.js").Reading }} KeptReading
 * @typedef {{ runs: FinishedRun[], readings: KeptReading[] }} History
 */

/** Runs and readings that are kept. */
const KEPT_MAX = 200;

/** @type {Readonly<History>} */
export const NO_HISTORY = Object.freeze({ runs: [], readings: [] });

/**
 * Names the data at hand among those of this tab; null without any. It never leaves the state.
 * @param {State} state
 * @returns {string|null}
 */
export function dataKey({ file, report }) {
  if (file === null || report === null) return null;
  const { text_column, pair_column, label_column } = report;
  return JSON.stringify([file.name, file.bytes, text_column, pair_column, label_column]);
}

/**
 * Notes what an event has brought to an end.
 * @param {State} before the event
 * @param {State} state after it
 * @param {any} event
 * @returns {State}
 */
export function remember(before, state, event) {
  const data = dataKey(state);
  if (data === null) return state;
  const ended = event.type === "train_done" && before.run?.done === null;
  if (ended) return withRun(state, data);
  if (event.type === "reading_done") return withReading(state, data);
  return state;
}

/** @param {State} state @param {string} data @returns {State} */
function withRun(state, data) {
  const { run, history, wanted, privacy } = state;
  const best = run === null || run.done === null ? null : bestValidation(run);
  if (run === null || run.done === null || best === null) return state;
  /** @type {FinishedRun} */
  const ended = {
    number: (history.runs.at(-1)?.number ?? 0) + 1,
    data,
    mechanism: wanted.mechanism,
    law: lawOf(wanted),
    level: currentLevel(state),
    eta: privacy?.eta ?? null,
    accuracy: best.accuracy,
    macroF1: best.macro_f1,
    majority: majorityShare(best.confusion),
    rows: best.confusion.reduce((sum, value) => sum + value, 0),
    steps: run.done.steps,
  };
  return { ...state, history: { ...history, runs: [...history.runs, ended].slice(-KEPT_MAX) } };
}

/** @param {State} state @param {string} data @returns {State} */
function withReading(state, data) {
  const { result, measured } = state.reading;
  if (result === null || measured === null) return state;
  const law = lawOf(measured.wanted);
  const others = state.history.readings.filter((each) => each.data !== data || each.law !== law);
  const readings = [...others, { data, law, reading: result }].slice(-KEPT_MAX);
  return { ...state, history: { ...state.history, readings } };
}

/**
 * Finds what belongs on one picture with the data and the mechanism at hand.
 * @param {State} state
 * @returns {{ reading: import("./contract.js").Reading|null, runs: FinishedRun[], law: string }}
 */
export function ofThisData(state) {
  const data = dataKey(state);
  const law = lawOf(state.wanted);
  const { runs, readings } = state.history;
  const reading = readings.find((each) => each.data === data && each.law === law)?.reading ?? null;
  return { reading, runs: runs.filter((run) => run.data === data), law };
}
