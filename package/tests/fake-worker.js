/** A worker that is a table of answers: the client's logic without wasm, a server or a browser. */

/** @typedef {(...args: any[]) => any} Answer */

/**
 * Makes a worker. An answer gets the arguments of the call, and the worker's `emit` as its last one.
 * @param {Record<string, Answer>} [overrides]
 */
export function fakeWorker(overrides = {}) {
  /** @type {Record<string, Answer>} */
  const answers = {
    connect: () => ({ models: [], model_id: "m", cut: 0 }),
    mechanisms: () => [{ name: "first" }, { name: "second" }],
    read_file: (name) => ({ rows: 4, format: name }),
    choose_columns: () => ({ rows: 4, format: "chosen" }),
    set_privacy: (wanted) => ({ mechanism: wanted.mechanism, guarantee: "g" }),
    preview: ({ examples }) => ({ examples: Array(examples).fill({ tokens: [] }) }),
    train: (_options, emit) => finish(emit),
    pause: () => undefined,
    resume: () => undefined,
    cancel: () => undefined,
    predict: (sentences) => sentences.map(() => ({ label: "a", probabilities: [] })),
    traffic: () => ({ bytes_sent: 5, bytes_received: 6, frames_sent: 7 }),
    ...overrides,
  };
  /** @type {any} */
  const worker = { onmessage: null, onerror: null, ended: false, calls: [] };
  const emit = (/** @type {any} */ event) => worker.onmessage({ data: { event } });
  worker.emit = emit;
  worker.terminate = () => (worker.ended = true);
  worker.postMessage = async (/** @type {any} */ { id, call, args }) => {
    worker.calls.push([call, ...args]);
    await null; // as a message does, it arrives later
    try {
      worker.onmessage({ data: { id, ok: await answers[call](...args, emit) } });
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      worker.onmessage({ data: { id, error: { name, message } } });
    }
  };
  worker.names = () => worker.calls.map(([/** @type {string} */ name]) => name);
  return worker;
}

/** @param {number} number @param {any} [rest] */
export const step = (number, rest = {}) => ({
  type: "step",
  step: number,
  epoch: 1,
  loss: number,
  learning_rate: 0.001,
  step_millis: 10,
  ...rest,
});

/** @param {number} number @param {number} accuracy @param {boolean} best */
export const validation = (number, accuracy, best) => ({
  type: "validation",
  step: number,
  loss: 1,
  accuracy,
  macro_f1: accuracy,
  confusion: [1, 0, 0, 1],
  best,
});

/** A whole run of two steps. @param {(event: any) => void} emit */
export function finish(emit) {
  emit({ type: "progress", stage: "upload", done: 4, total: 4, bytes_sent: 100 });
  emit({ type: "train_started", steps_total: 2 });
  emit(step(1));
  emit(step(2));
  emit(validation(2, 0.75, true));
  emit({ type: "train_done", steps: 2, best_step: 2, reason: "Finished" });
}

/** @param {string} name @param {number} [size] */
export const file = (name, size = 3) => ({
  name,
  size,
  arrayBuffer: async () => new Uint8Array([1, 2, 3]).buffer,
});

/** A promise and its ends. */
export function gate() {
  /** @type {any} */
  const own = {};
  own.promise = new Promise((resolve, reject) => Object.assign(own, { resolve, reject }));
  return own;
}

/** Lets everything happen that can. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
