import assert from "node:assert/strict";
import test from "node:test";
import { createController, FILE_BYTES_MAX } from "../src/controller.js";
import { initialState } from "../src/initial.js";
import { DEFAULT_SETTINGS } from "../src/settings.js";
import { reduce } from "../src/state.js";
import { MECHANISMS, privacyOf, READING, REPORT, wantedOf } from "./samples.js";
import { Client } from "./stub-client.js";

/** A page without a document: a real controller and reducer over a worker that is a table of answers. */
function page(/** @type {Record<string, (...args: any[]) => any>} */ overrides = {}) {
  /** @type {any} */
  const own = { state: initialState(DEFAULT_SETTINGS), calls: [], workers: [] };
  const answers = {
    connect: () => ({ models: [], model_id: "m", cut: 0 }),
    mechanisms: () => MECHANISMS,
    read_file: () => REPORT,
    choose_columns: () => REPORT,
    set_privacy: privacyOf,
    preview: () => ({ examples: [], shares: {}, tokens_counted: 1 }),
    reading: () => READING,
    stop_reading: () => undefined,
    train: () => undefined,
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
  assert.deepEqual(own.names(), ["connect", "mechanisms", "read_file", "set_privacy", "preview"]);
  assert.equal(own.state.phase, "privacy");
});

test("a connection that is made again reads the file again with the same choices", async () => {
  const own = page();
  await own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  const columns = { text: "text", pair: null, label: "label" };
  await own.controller.chooseColumns(columns);
  await own.controller.setPrivacy(wantedOf({ mechanism: "second", protection: 0.2 }));
  own.workers[0].onmessage({ data: { event: { type: "disconnected", sentence: "Gone." } } });
  assert.equal(own.state.phase, "error");
  own.calls.length = 0;
  await own.controller.connect();
  assert.equal(own.workers[0].ended, true);
  assert.deepEqual(own.names(), [
    "connect",
    "mechanisms",
    "read_file",
    "choose_columns",
    "set_privacy",
    "preview",
  ]);
  assert.deepEqual(own.calls[3][1], columns);
  assert.equal(own.calls[4][1].mechanism, "second");
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
  await own.controller.setPrivacy(wantedOf({ protection: 0.9 }));
  waiting[0](privacyOf(wantedOf()));
  await new Promise(setImmediate);
  assert.equal(own.state.privacy, null);
  waiting[1](privacyOf(wantedOf({ protection: 0.9 })));
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
  assert.deepEqual(own.names(), ["connect", "mechanisms"]);
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

/** A client whose measurement lasts until it is stopped. */
function slowReading() {
  /** @type {(error: Error) => void} */
  let stop = () => {};
  return {
    reading: () => new Promise((_, reject) => (stop = reject)),
    stop_reading: () => stop(Object.assign(new Error("stopped"), { name: "Stopped" })),
  };
}

test("a measurement covers the current level and is known as that of these settings", async () => {
  const own = page();
  await own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  await own.controller.setPrivacy(wantedOf({ protection: 0.42 }));
  await own.controller.measure();
  const [, { levels }] = own.calls.at(-1);
  assert.deepEqual(levels, [0.1, 0.3, 0.42, 0.5, 0.7, 0.9]);
  assert.equal(own.state.reading.result, READING);
  assert.deepEqual(own.state.reading.measured, { wanted: own.state.wanted, level: 0.42 });
});

test("a measurement that is stopped is no failure and keeps the one before", async () => {
  const slow = slowReading();
  let first = true;
  const reading = () => {
    const answer = first ? READING : slow.reading();
    first = false;
    return answer;
  };
  const own = page({ ...slow, reading });
  await own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  await own.controller.measure();
  const measuring = own.controller.measure();
  await own.controller.stopReading();
  await measuring;
  const { pending, stopped, result } = own.state.reading;
  assert.deepEqual([pending, stopped, result], [false, true, READING]);
  assert.equal(own.state.failure, null);
});

test("whatever comes next stops a measurement first", async () => {
  const own = page(slowReading());
  await own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  const steps = [
    () => own.controller.setPrivacy(wantedOf({ protection: 0.8 })),
    () => own.controller.chooseColumns({ text: "text", pair: null, label: "label" }),
    () => own.controller.openFile(file("b.tsv")),
    () => own.controller.train(/** @type {any} */ ({})),
  ];
  for (const step of steps) {
    const measuring = own.controller.measure();
    own.calls.length = 0;
    await step();
    await measuring;
    assert.equal(own.names()[0], "stop_reading");
    assert.equal(own.state.reading.pending, false);
  }
});

test("a measurement of a file that was replaced is dropped", async () => {
  /** @type {(reading: any) => void} */
  let finish = () => {};
  const own = page({
    read_file: () => ({ ...REPORT }),
    reading: () => new Promise((resolve) => (finish = resolve)),
  });
  await own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  const measuring = own.controller.measure();
  await own.controller.openFile(file("b.tsv"));
  finish(READING);
  await measuring;
  assert.equal(own.state.reading.result, null);
});

test("the calls of the page are those of a client, from a file of pairs to answers", async () => {
  /** @type {any} */
  let client = null;
  const names = Object.getOwnPropertyNames(Client.prototype).filter(
    (each) => each !== "constructor",
  );
  const passed = names.map((name) => [
    name,
    (/** @type {any[]} */ ...args) => client[name](...args),
  ]);
  const own = page({
    ...Object.fromEntries(passed),
    connect: async () => {
      const emit = (/** @type {any} */ event) => own.workers[0].onmessage({ data: { event } });
      client = await Client.connect("", {}, emit);
      return client.catalogue();
    },
  });
  await own.controller.connect();
  await own.controller.openFile(file("pairs.tsv"));
  await own.controller.measure();
  assert.equal(own.state.reading.result.points.length, 5);
  await own.controller.train(
    /** @type {any} */ ({ epochs: 1, labels: "client", bottom: "frozen" }),
  );
  assert.equal(own.state.phase, "done");
  await own.controller.predict([["one", "two"]]);
  const [answer] = own.state.prediction.answers;
  assert.deepEqual([answer.text, answer.pair], ["one", "two"]);
  // Each text between the two marks that the model puts around it.
  assert.equal(answer.preview.examples[0].tokens.length, 4);
  await own.controller.evaluate(file("test.tsv"));
  assert.equal(own.state.evaluation.result.examples, 400);
  assert.equal(own.state.history.runs.length, 1);
  assert.equal(own.state.failure, null);
});

test("a run that the client refuses at once leaves the options and its sentence", async () => {
  const train = () => {
    throw Object.assign(new Error("This does not go together."), { name: "Option" });
  };
  const own = page({ train });
  await own.controller.connect();
  await own.controller.openFile(file("a.tsv"));
  await own.controller.train(/** @type {any} */ ({}));
  assert.equal(own.state.phase, "privacy");
  assert.equal(own.state.run, null);
  assert.equal(own.state.failure.sentence, "This does not go together.");
});

test("a test file is classified with the columns of the first, and one that fails says so in its place", async () => {
  const evaluation = { examples: 2, bad_rows_total: 0, accuracy: 1, macro_f1: 1, confusion: [1] };
  const own = page({ evaluate: () => evaluation });
  await own.controller.connect();
  await own.controller.evaluate(file("too-early.tsv"));
  assert.ok(!own.names().includes("evaluate"));
  await own.controller.openFile(file("a.tsv"));
  await own.controller.evaluate(file("b.tsv"));
  const [, name, content, columns] = own.calls.find(([call]) => call === "evaluate");
  assert.deepEqual([name, content.length], ["b.tsv", 3]);
  assert.deepEqual(columns, { text: "text", pair: null, label: "label" });
  assert.deepEqual(own.state.evaluation, { pending: false, result: evaluation });
  await own.controller.evaluate(file("c.tsv", FILE_BYTES_MAX + 1));
  assert.equal(own.state.failure.place, "evaluate");
  assert.equal(own.state.evaluation.pending, false);
});
