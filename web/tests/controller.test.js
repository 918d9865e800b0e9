import assert from "node:assert/strict";
import test from "node:test";
import { createController, FILE_BYTES_MAX } from "../src/controller.js";
import { initialState } from "../src/initial.js";
import { DEFAULT_SETTINGS } from "../src/settings.js";
import { reduce } from "../src/state.js";

const REPORT = {
  columns: ["text", "label"],
  text_column: "text",
  label_column: "label",
  labels: [
    { name: "a", count: 1 },
    { name: "b", count: 1 },
  ],
  problem: null,
};

/** A page without a document: a real controller and reducer over a worker that is a table of answers. */
function page(/** @type {Record<string, (...args: any[]) => any>} */ overrides = {}) {
  /** @type {any} */
  const own = { state: initialState(DEFAULT_SETTINGS), calls: [], workers: [] };
  const answers = {
    connect: () => ({ models: [], model_id: "m", cut: 0 }),
    read_file: () => REPORT,
    choose_columns: () => REPORT,
    set_privacy: (/** @type {any} */ wanted) => ({ ...wanted, eta: 70, sentence: "" }),
    preview: () => ({ examples: [], shares: { unchanged: 1, near: 0, far: 0 }, tokens_counted: 1 }),
    traffic: () => ({ bytes_sent: 5, bytes_received: 5, frames_sent: 1 }),
    ...overrides,
  };
  const startWorker = () => {
    /** @type {any} */
    const worker = { onmessage: null, onerror: null, ended: false };
    worker.terminate = () => (worker.ended = true);
    worker.postMessage = async (/** @type {any} */ { id, call, args }) => {
      own.calls.push([call, ...args]);
      try {
        const ok = await /** @type {any} */ (answers)[call](...args);
        worker.onmessage({ data: { id, ok } });
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        worker.onmessage({ data: { id, error: { name, message } } });
      }
    };
    own.workers.push(worker);
    return worker;
  };
  own.controller = createController({
    dispatch: (event) => (own.state = reduce(own.state, { ...event, at: 0 })),
    getState: () => own.state,
    startWorker,
    origin: "http://here",
  });
  own.names = () => own.calls.map(([/** @type {string} */ name]) => name);
  return own;
}

/** @param {string} name @param {number} [size] */
const file = (name, size = 3) => ({
  name,
  size,
  arrayBuffer: async () => new Uint8Array([1, 2, 3]).buffer,
});

test("a file that is chosen while the model loads is read as soon as it is ready", async () => {
  const own = page();
  const connecting = own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  await connecting;
  assert.deepEqual(own.names(), ["connect", "read_file", "set_privacy", "preview"]);
  assert.equal(own.state.phase, "privacy");
});

test("a connection that is made again reads the file again with the same choices", async () => {
  const own = page();
  await own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  const columns = { text: "text", pair: null, label: "label" };
  await own.controller.chooseColumns(columns);
  await own.controller.setPrivacy({ mechanism: "vector", protection: 0.2, eta: null });
  own.workers[0].onmessage({ data: { event: { type: "disconnected", sentence: "Gone." } } });
  assert.equal(own.state.phase, "error");
  own.calls.length = 0;
  await own.controller.connect();
  assert.equal(own.workers[0].ended, true);
  assert.deepEqual(own.names(), [
    "connect",
    "read_file",
    "choose_columns",
    "set_privacy",
    "preview",
  ]);
  assert.deepEqual(own.calls[2][1], columns);
  assert.equal(own.calls[3][1].mechanism, "vector");
  assert.equal(own.state.phase, "privacy");
});

test("of two files the one that was chosen last is kept, whichever is read first", async () => {
  /** @type {(report: any) => void} */
  let finishFirst = () => {};
  const read_file = (/** @type {string} */ name) =>
    name === "slow.tsv"
      ? new Promise((resolve) => (finishFirst = resolve))
      : { ...REPORT, format: name };
  const own = page({ read_file });
  await own.controller.connect();
  const slow = own.controller.openFile(file("slow.tsv"));
  await new Promise(setImmediate);
  await own.controller.openFile(file("fast.tsv"));
  finishFirst({ ...REPORT, format: "slow.tsv" });
  await slow;
  assert.equal(own.state.report.format, "fast.tsv");
  assert.equal(own.state.file.name, "fast.tsv");
});

test("a wish that changes during the calculation is the one that counts", async () => {
  /** @type {((privacy: any) => void)[]} */
  const waiting = [];
  const set_privacy = () => new Promise((resolve) => waiting.push(resolve));
  const own = page({ set_privacy });
  await own.controller.connect();
  const opening = own.controller.openFile(file("a.tsv"));
  await new Promise(setImmediate);
  await own.controller.setPrivacy({ mechanism: "token", protection: 0.9, eta: null });
  waiting[0]({ mechanism: "token", protection: 0.5, eta: 70, sentence: "" });
  await new Promise(setImmediate);
  assert.equal(own.state.privacy, null);
  waiting[1]({ mechanism: "token", protection: 0.9, eta: 50, sentence: "" });
  await opening;
  assert.equal(own.state.privacy.protection, 0.9);
});

test("a file that is too large is refused without being read", async () => {
  const own = page();
  await own.controller.connect();
  await own.controller.openFile({
    ...file("huge.csv", 2_147_483_648),
    arrayBuffer: () => assert.fail("read"),
  });
  assert.ok(FILE_BYTES_MAX < 2_147_483_648);
  assert.equal(own.state.failure.name, "FileTooLarge");
  assert.ok(own.state.failure.sentence.includes("2.1"));
  assert.deepEqual(own.names(), ["connect"]);
});

test("a server that does not answer is told, and a second try works", async () => {
  let tries = 0;
  const connect = () => {
    tries += 1;
    if (tries > 1) return { models: [], model_id: "m", cut: 0 };
    throw Object.assign(new Error("The server does not answer."), { name: "Unreachable" });
  };
  const own = page({ connect });
  await own.controller.connect();
  assert.equal(own.state.phase, "error");
  assert.equal(own.state.failure.name, "Unreachable");
  await own.controller.connect();
  assert.equal(own.state.phase, "ready");
});

test("a worker that dies ends the phase in an error that says so", async () => {
  const own = page({ connect: () => new Promise(() => {}) });
  own.controller.connect();
  own.workers[0].onerror({});
  assert.equal(own.state.phase, "error");
  assert.equal(own.state.failure.name, "WorkerFailed");
});
