/** The events of a run between the worker, which does not wait, and a reader, who may be slow: bounded. Pure. */

/** @typedef {import("./index.d.ts").RunEvent} RunEvent */
/** @typedef {import("./index.d.ts").StepEvent} StepEvent */

/** Unread events at most: a screen of a chart, and a few kilobytes. */
export const EVENTS_MAX = 256;

/**
 * Makes a buffer with one reader.
 *
 * When it is full, neighbouring steps become one. Where there are none, the oldest event makes room.
 * @param {number} [eventsMax]
 */
export function createBuffer(eventsMax = EVENTS_MAX) {
  /** @type {RunEvent[]} */
  let unread = [];
  /** @type {{ resolve: (result: IteratorResult<RunEvent, undefined>) => void, reject: (error: Error) => void }[]} */
  const waiting = [];
  let ended = false;
  /** @type {Error|null} what the reader is still to be told */
  let failure = null;
  let dropped = 0;

  /** @type {IteratorReturnResult<undefined>} */
  const over = Object.freeze({ done: true, value: undefined });

  function makeRoom() {
    unread = mergeSteps(unread);
    if (unread.length <= eventsMax) return;
    unread.shift();
    dropped += 1;
  }

  return {
    /** Takes an event in. @param {RunEvent} event */
    push(event) {
      if (ended) return;
      const reader = waiting.shift();
      if (reader !== undefined) {
        reader.resolve({ done: false, value: event });
        return;
      }
      if (event.type === "progress" && unread.at(-1)?.type === "progress") unread.pop();
      unread.push(event);
      if (unread.length > eventsMax) makeRoom();
    },
    /** Ends the events; what is unread can still be read, then the error is thrown. @param {Error|null} error */
    end(error) {
      if (ended) return;
      ended = true;
      const reader = waiting.shift();
      if (reader === undefined) failure = error;
      else if (error === null) reader.resolve(over);
      else reader.reject(error);
      for (const { resolve } of waiting.splice(0)) resolve(over);
    },
    /** @returns {Promise<IteratorResult<RunEvent, undefined>>} */
    next() {
      const event = unread.shift();
      if (event !== undefined) return Promise.resolve({ done: false, value: event });
      if (failure !== null) {
        const error = failure;
        failure = null;
        return Promise.reject(error);
      }
      if (ended) return Promise.resolve(over);
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
      });
    },
    /** The reader has left: nothing is kept for it any more. @returns {Promise<IteratorResult<RunEvent, undefined>>} */
    leave() {
      this.end(null);
      unread = [];
      failure = null;
      return Promise.resolve(over);
    },
    /** How many events made room for others. */
    dropped: () => dropped,
  };
}

/**
 * Halves the resolution of steps: each two that follow each other become one.
 * @param {RunEvent[]} events
 * @returns {RunEvent[]}
 */
function mergeSteps(events) {
  /** @type {RunEvent[]} */
  const merged = [];
  let isSingle = false;
  for (const event of events) {
    const before = merged.at(-1);
    if (isSingle && before?.type === "step" && event.type === "step") {
      merged[merged.length - 1] = together(before, event);
      isSingle = false;
    } else {
      merged.push(event);
      isSingle = true;
    }
  }
  return merged;
}

/**
 * Makes one of two: the later one, with the means of both.
 * @param {StepEvent} before
 * @param {StepEvent} after
 * @returns {StepEvent}
 */
function together(before, after) {
  const merged = before.merged + after.merged;
  const mean = (/** @type {number} */ left, /** @type {number} */ right) =>
    (left * before.merged + right * after.merged) / merged;
  return {
    ...after,
    merged,
    loss: mean(before.loss, after.loss),
    step_millis: mean(before.step_millis, after.step_millis),
  };
}
