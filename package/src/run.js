/** A run as its caller sees it: events to read one after the other, a result to wait for, three ways to steer it. */

import { CallError } from "../../web/src/messages.js";
import { createBuffer } from "./buffer.js";

/** @typedef {import("./index.d.ts").Run} Run */
/** @typedef {import("./index.d.ts").RunResult} RunResult */
/** @typedef {import("./index.d.ts").Traffic} Traffic */

/**
 * What the work behind a run says of it.
 * @typedef {object} Progress
 * @property {(event: any) => void} report an event of this run
 * @property {() => void} goOn throws when the run is not to begin
 * @property {() => void} begun the client has been asked to train, so that it can be steered
 */

/**
 * Starts a run.
 * @param {object} parts
 * @param {AbortSignal|undefined} parts.signal
 * @param {(name: "pause"|"resume"|"cancel") => Promise<void>} parts.steer
 * @param {(progress: Progress) => Promise<Traffic>} parts.work
 * @returns {Run}
 */
export function createRun({ signal, steer, work }) {
  const buffer = createBuffer();
  /** @type {CallError|null} why it ends before its work does */
  let stopped = null;
  let isSteerable = false;
  let isHeld = false;
  /** @type {import("./index.d.ts").ValidationEvent|null} */
  let best = null;
  /** @type {import("./index.d.ts").DoneEvent|null} */
  let done = null;
  /** @type {(error: CallError) => void} */
  let giveUp = () => {};

  /** @type {Progress} */
  const progress = {
    report(event) {
      if (event.type === "validation" && event.best) best = event;
      if (event.type === "train_done") done = event;
      buffer.push(event.type === "step" ? { ...event, merged: 1 } : event);
    },
    goOn() {
      if (stopped !== null) throw stopped;
    },
    begun() {
      isSteerable = true;
      if (isHeld) steer("pause").catch(nothing);
    },
  };

  /** @param {Traffic} traffic @returns {RunResult} */
  function summary(traffic) {
    if (done === null) throw stoppedEarly();
    const { steps, best_step, reason } = done;
    return { steps, best_step, reason, validation: best, traffic };
  }

  function abort() {
    if (isSteerable) steer("cancel").catch(nothing);
    giveUp(aborted(signal));
  }

  /** @type {Promise<RunResult>} */
  const result = new Promise((resolve, reject) => {
    giveUp = (error) => {
      stopped = error;
      buffer.end(error);
      reject(error);
    };
    work(progress)
      .then(summary)
      .finally(() => {
        isSteerable = false;
        signal?.removeEventListener("abort", abort);
      })
      .then(
        (summed) => {
          buffer.end(null);
          resolve(summed);
        },
        (error) => {
          buffer.end(error);
          reject(error);
        },
      );
  });
  result.catch(nothing); // who reads the events is told there
  if (signal?.aborted) abort();
  else signal?.addEventListener("abort", abort, { once: true });

  /** @param {"pause"|"resume"} name */
  async function hold(name) {
    isHeld = name === "pause";
    if (isSteerable) await steer(name);
  }

  /** @type {AsyncIterator<import("./index.d.ts").RunEvent, undefined>} */
  const events = { next: () => buffer.next(), return: () => buffer.leave() };

  return {
    result,
    get dropped() {
      return buffer.dropped();
    },
    pause: () => hold("pause"),
    resume: () => hold("resume"),
    async cancel() {
      if (isSteerable) await steer("cancel");
      else giveUp(stoppedEarly());
    },
    [Symbol.asyncIterator]: () => events,
  };
}

/**
 * Lets a promise go when a signal says so.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal|undefined} signal
 * @returns {Promise<T>}
 */
export function abortable(promise, signal) {
  if (signal === undefined) return promise;
  promise.catch(nothing); // nobody may be listening any more
  return new Promise((resolve, reject) => {
    const abort = () => reject(aborted(signal));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    const leave = () => signal.removeEventListener("abort", abort);
    promise.finally(leave).then(resolve, reject);
  });
}

/** @param {AbortSignal|undefined} signal */
function aborted(signal) {
  const error = new CallError("AbortError", "It was aborted.");
  error.cause = signal?.reason;
  return error;
}

/** As the client says it, `client-wasm/src/error.rs`. */
function stoppedEarly() {
  return new CallError("Stopped", "It was stopped before anything was trained.");
}

function nothing() {}
