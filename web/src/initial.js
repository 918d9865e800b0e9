/** What the page knows, and what it knows before anything has happened. Pure. */

import { wantedFrom } from "./derived.js";
import { NOTHING_LEFT } from "./left.js";
import { NO_HISTORY } from "./history.js";

/** @typedef {"loading"|"ready"|"dataset"|"privacy"|"preparing"|"training"|"paused"|"done"|"error"} Phase */
/** @typedef {{ place: import("./sentences.js").Place, name: string, sentence: string, fatal: boolean }} Failure */

/**
 * @typedef {object} State
 * @property {Phase} phase
 * @property {string[]} missing what this browser lacks; empty when it is supported
 * @property {import("./settings.js").Settings} settings
 * @property {Record<string, { bytes: number, bytesTotal: number }>} loading by stage
 * @property {Kept|null} kept what the browser keeps of models; null while that is not known, or where it keeps nothing
 * @property {import("./contract.js").DeviceInfo|null} device
 * @property {import("./contract.js").Catalogue|null} catalogue
 * @property {import("./contract.js").Mechanism[]} mechanisms empty while they are not known
 * @property {{ name: string, bytes: number, read: boolean }|null} file
 * @property {import("./contract.js").DatasetReport|null} report
 * @property {import("./contract.js").Columns|null} columns what the reader chose, null: what was detected
 * @property {import("./contract.js").PrivacyWanted} wanted
 * @property {import("./contract.js").Privacy|null} privacy null while it is being calculated
 * @property {import("./contract.js").Preview|null} preview
 * @property {ReadingState} reading what an attacker could read back
 * @property {TrainChoice} choice
 * @property {boolean} released whether this session may have sent examples
 * @property {string[]} releasedFiles keys of the files of which earlier sessions may have sent examples
 * @property {import("./run.js").Run|null} run
 * @property {boolean} stopping
 * @property {{ pending: boolean, answers: Answer[] }} prediction
 * @property {import("./left.js").Left} left what has left this page since it was opened
 * @property {Failure|null} failure
 * @property {import("./history.js").History} history runs and readings of this tab, whatever was started over
 * @property {{ pending: boolean, result: import("./contract.js").Evaluation|null }} evaluation on a labelled test file
 */

/** @typedef {import("./contract.js").Prediction & { text: string, pair: string|null, preview: import("./contract.js").Preview|null }} Answer */
/** @typedef {{ labels: import("./contract.js").LabelPlace, bottom: import("./contract.js").BottomTraining }} TrainChoice the training options that change what leaves */

/**
 * @typedef {object} Kept
 * @property {import("./models/store.js").StoredFile[]} files
 * @property {number|null} usage bytes that the browser counts for this site, in all; null where it does not say
 * @property {number|null} quota bytes that it allows
 * @property {boolean} persisted whether it removes them only when asked to
 * @property {string|null} problem why the last wish was not granted, with words `kept.problem.NAME`
 */

/**
 * @typedef {object} ReadingState
 * @property {boolean} pending
 * @property {boolean} stopping
 * @property {number} done
 * @property {number} total 0 while it is not known
 * @property {boolean} stopped whether the last measurement was ended early
 * @property {import("./contract.js").Reading|null} result
 * @property {import("./reading.js").Measured|null} measured what the result is of
 */

/** @type {Readonly<ReadingState>} */
export const NO_READING = Object.freeze({
  pending: false,
  stopping: false,
  done: 0,
  total: 0,
  stopped: false,
  result: null,
  measured: null,
});

/** @param {import("./settings.js").Settings} settings @returns {State} */
export function initialState(settings) {
  return {
    phase: "loading",
    missing: [],
    settings,
    loading: {},
    kept: null,
    device: null,
    catalogue: null,
    mechanisms: [],
    file: null,
    report: null,
    columns: null,
    wanted: wantedFrom(settings, []),
    privacy: null,
    preview: null,
    reading: NO_READING,
    choice: { labels: "server", bottom: "frozen" },
    released: false,
    releasedFiles: [],
    run: null,
    stopping: false,
    prediction: { pending: false, answers: [] },
    left: NOTHING_LEFT,
    failure: null,
    history: NO_HISTORY,
    evaluation: { pending: false, result: null },
  };
}
