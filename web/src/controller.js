/**
 * What the page does, in order: each action calls the client and reports what happened as events.
 * Knows the calls and the state; does not know the DOM.
 */

import { CallError, createStub } from "./messages.js";
import { bytes, percent } from "./format.js";
import { isUsable } from "./derived.js";
import { currentLevel, measuredNow, READING_EXAMPLES, readingLevels } from "./reading.js";

/** A tab holds the whole file in memory, in the worker as text too: more than this risks the tab. */
export const FILE_BYTES_MAX = 200_000_000;
/** Sentences that are shown as a preview. */
const PREVIEW_EXAMPLES = 4;
/** Sentences that are predicted at once. */
export const PREDICT_LINES_MAX = 20;
/** The name of the failure with which a measurement ends early. */
const STOPPED = "Stopped";

/** @typedef {{ name: string, size: number, arrayBuffer: () => Promise<ArrayBuffer> }} FileLike */
/** @typedef {import("./messages.js").Port & { terminate: () => void, onerror: ((event: any) => void)|null }} WorkerLike */

/**
 * Makes the controller.
 * @param {object} parts
 * @param {(event: any) => void} parts.dispatch
 * @param {() => import("./initial.js").State} parts.getState
 * @param {() => WorkerLike} parts.startWorker
 * @param {string} parts.origin
 */
export function createController({ dispatch, getState, startWorker, origin }) {
  /** @type {import("./messages.js").Stub|null} */
  let stub = null;
  /** @type {WorkerLike|null} */
  let worker = null;
  /** @type {FileLike|null} */
  let file = null;
  /** @type {string|null} what lets this page in, where the server asks for it */
  let token = null;
  /** @type {import("./messages.js").Stub|null} the connection on which protection is being calculated */
  let calculatingOn = null;

  /** @param {string} name @param {any[]} [args] @param {any[]} [transfer] */
  const call = (name, args, transfer) => {
    if (stub === null)
      return Promise.reject(new CallError("NotConnected", "The client is not connected yet."));
    return stub.call(name, args, transfer);
  };

  /**
   * Runs an action; a failure of the current connection becomes an event, one of an old connection nothing.
   * @param {string} place
   * @param {(isCurrent: () => boolean) => Promise<void>} action
   */
  async function attempt(place, action) {
    const begunOn = stub;
    try {
      await action(() => stub === begunOn);
    } catch (error) {
      if (stub !== begunOn || !(error instanceof Error)) return;
      dispatch({ type: "failed", place, name: error.name, sentence: error.message });
    }
  }

  function disconnect() {
    stub?.close(new CallError("Disconnected", "The connection was replaced."));
    worker?.terminate();
  }

  /** @param {string} [offered] a token, kept for as long as the page is open and nowhere else */
  async function connect(offered) {
    token = offered ?? token;
    disconnect();
    dispatch({ type: "connect_started" });
    worker = startWorker();
    const own = createStub(worker, (event) => {
      if (stub === own) dispatch(event);
    });
    stub = own;
    worker.onerror = () => {
      const sentence = "The part of the page that does the work stopped.";
      if (stub === own)
        dispatch({ type: "failed", place: "connect", name: "WorkerFailed", sentence });
      own.close(new CallError("WorkerFailed", sentence));
    };
    const { device, cut, precision } = getState().settings;
    await attempt("connect", async (isCurrent) => {
      const catalogue = await call("connect", [origin, { device, cut, precision, token }]);
      const mechanisms = await call("mechanisms");
      if (!isCurrent()) return;
      dispatch({ type: "connected", catalogue, mechanisms });
      if (file !== null) await readFile(file);
    });
  }

  /** @param {FileLike} chosen */
  async function openFile(chosen) {
    stopReading();
    file = chosen;
    dispatch({ type: "file_opened", name: chosen.name, bytes: chosen.size });
    if (getState().phase === "ready") await readFile(chosen);
  }

  /** @param {FileLike} chosen */
  async function readFile(chosen) {
    await attempt("file", async (isCurrent) => {
      const isLatest = () => isCurrent() && file === chosen;
      try {
        if (chosen.size > FILE_BYTES_MAX) throw tooLarge(chosen.size);
        const content = await readBytes(chosen);
        let report = await call("read_file", [chosen.name, content], [content.buffer]);
        const { columns } = getState();
        if (columns !== null && isLatest()) report = await call("choose_columns", [columns]);
        if (!isLatest()) return;
        dispatch({ type: "file_read", report });
      } catch (error) {
        if (!isLatest()) return;
        file = null;
        throw error;
      }
    });
    await calculate();
  }

  /** @param {import("./contract.js").Columns} columns */
  async function chooseColumns(columns) {
    stopReading();
    await attempt("columns", async (isCurrent) => {
      const report = await call("choose_columns", [columns]);
      if (isCurrent()) dispatch({ type: "columns_chosen", report, columns });
    });
    await calculate();
  }

  /** @param {import("./contract.js").PrivacyWanted} wanted */
  async function setPrivacy(wanted) {
    stopReading();
    dispatch({ type: "privacy_wanted", wanted });
    await calculate();
  }

  /** Calculates the wanted protection and its preview; a wish that changes meanwhile is calculated next. */
  async function calculate() {
    if (calculatingOn === stub || !isUsable(getState())) return;
    const own = stub;
    calculatingOn = own;
    await attempt("privacy", async (isCurrent) => {
      let settled = false;
      while (!settled) {
        const { wanted, report } = getState();
        const isWanted = () => getState().wanted === wanted && getState().report === report;
        const privacy = await call("set_privacy", [wanted]);
        if (!isCurrent()) return;
        if (isWanted()) dispatch({ type: "privacy_set", privacy });
        const preview = isWanted() ? await call("preview", [{ examples: PREVIEW_EXAMPLES }]) : null;
        if (!isCurrent()) return;
        settled = isWanted() || !isUsable(getState());
        if (settled && preview !== null) dispatch({ type: "previewed", preview });
      }
    });
    if (calculatingOn === own) calculatingOn = null;
  }

  /** Measures what an attacker could read back; sends nothing. */
  async function measure() {
    const before = getState();
    const { report, privacy, reading } = before;
    if (privacy === null || reading.pending) return;
    dispatch({ type: "reading_requested" });
    await attempt("reading", async (isCurrent) => {
      try {
        const levels = readingLevels(currentLevel(before));
        const result = await call("reading", [{ levels, examples: READING_EXAMPLES }]);
        if (!isCurrent() || getState().report !== report) return;
        dispatch({ type: "reading_done", result, measured: measuredNow(before) });
      } catch (error) {
        if (!(error instanceof Error) || error.name !== STOPPED) throw error;
        if (isCurrent()) dispatch({ type: "reading_stopped" });
      }
    });
  }

  /** The client does one thing at a time: whatever comes next must not wait for a measurement. */
  async function stopReading() {
    const { pending, stopping } = getState().reading;
    if (!pending || stopping) return;
    dispatch({ type: "reading_stop_requested" });
    await attempt("reading", async () => {
      await call("stop_reading");
    });
  }

  /** @param {import("./contract.js").TrainOptions} options */
  async function train(options) {
    stopReading();
    dispatch({ type: "train_requested", options });
    await attempt("train", async (isCurrent) => {
      await call("train", [options]);
      if (isCurrent()) dispatch({ type: "train_returned" });
      await reportTraffic(isCurrent);
    });
  }

  /** @param {() => boolean} isCurrent */
  async function reportTraffic(isCurrent) {
    const traffic = await call("traffic");
    if (isCurrent()) dispatch({ type: "traffic", traffic });
  }

  /** @param {"pause"|"resume"|"cancel"} name */
  async function steer(name) {
    if (name === "cancel") dispatch({ type: "stop_requested" });
    await attempt("steer", async () => {
      await call(name);
    });
  }

  /** @param {import("./contract.js").Sentence[]} sentences */
  async function predict(sentences) {
    stopReading();
    dispatch({ type: "predict_requested" });
    await attempt("predict", async (isCurrent) => {
      const predictions = await call("predict", [sentences]);
      const answers = [];
      for (const [index, prediction] of predictions.entries()) {
        const [text, pair] = sentences[index];
        const preview = await call("preview_text", [text, pair]);
        answers.push({ ...prediction, text, pair, preview });
      }
      if (!isCurrent()) return;
      dispatch({ type: "predicted", answers });
      await reportTraffic(isCurrent);
    });
  }

  /** Classifies a labelled file that was not trained on. @param {FileLike} chosen */
  async function evaluate(chosen) {
    const { report } = getState();
    if (report === null || report.text_column === null) return;
    stopReading();
    dispatch({ type: "evaluate_requested" });
    await attempt("evaluate", async (isCurrent) => {
      if (chosen.size > FILE_BYTES_MAX) throw tooLarge(chosen.size);
      const content = await readBytes(chosen);
      const { text_column: text, pair_column: pair, label_column: label } = report;
      const args = [chosen.name, content, { text, pair, label }];
      const evaluation = await call("evaluate", args, [content.buffer]);
      if (!isCurrent()) return;
      dispatch({ type: "evaluated", evaluation });
      await reportTraffic(isCurrent);
    });
  }

  async function startOver() {
    file = null;
    dispatch({ type: "start_over" });
    await connect();
  }

  return {
    connect,
    startOver,
    openFile,
    chooseColumns,
    setPrivacy,
    measure,
    stopReading,
    train,
    predict,
    evaluate,
    pause: () => steer("pause"),
    resume: () => steer("resume"),
    stop: () => steer("cancel"),
  };
}

/** @typedef {ReturnType<typeof createController>} Controller */

/** @param {number} size */
function tooLarge(size) {
  const limit = `${bytes(FILE_BYTES_MAX)} (${percent(FILE_BYTES_MAX / size)} of it)`;
  return new CallError(
    "FileTooLarge",
    `This file has ${bytes(size)}; a tab can read at most ${limit}.`,
  );
}

/** @param {FileLike} chosen */
async function readBytes(chosen) {
  try {
    return new Uint8Array(await chosen.arrayBuffer());
  } catch {
    throw new CallError(
      "FileUnreadable",
      "The browser could not read this file; it may have been moved or changed.",
    );
  }
}
