import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { createClient, CutlayerError, FILE_BYTES_MAX } from "../src/index.js";
import { PRIVACY_KEYS, TRAINING_KEYS } from "../src/options.js";
import { fakeWorker, file, finish, gate, settle, step, validation } from "./fake-worker.js";

/** @param {Parameters<typeof fakeWorker>[0]} [answers] @param {any} [settings] */
function client(answers, settings = {}) {
  const worker = fakeWorker(answers);
  const made = createClient({ server: "http://there", createWorker: () => worker, ...settings });
  return { ...made, worker };
}

/** @param {AsyncIterable<any>} run */
async function read(run) {
  const events = [];
  for await (const event of run) events.push(event);
  return events;
}

test("a run reads, protects and trains, and says so in order", async () => {
  const { train, worker } = client();
  const run = train(file("a.csv"), { epochs: 2, protection: 0.3, columns: { text: "review" } });
  const events = await read(run);
  assert.deepEqual(worker.names(), [
    "connect",
    "mechanisms",
    "read_file",
    "choose_columns",
    "set_privacy",
    "train",
    "traffic",
  ]);
  assert.deepEqual(worker.calls[0].slice(1), [
    "http://there",
    { device: "auto", cut: null, precision: "f16", token: null },
  ]);
  assert.deepEqual(worker.calls[4][1], { mechanism: "first", protection: 0.3 });
  assert.deepEqual(worker.calls[5][1], { epochs: 2 });
  assert.deepEqual(
    events.map(({ type }) => type),
    [
      "data_read",
      "privacy_set",
      "progress",
      "train_started",
      "step",
      "step",
      "validation",
      "train_done",
    ],
  );
  assert.equal(events[0].data.format, "chosen");
  assert.equal(events[4].merged, 1);
  const { validation, traffic, ...rest } = await run.result;
  assert.deepEqual(rest, { steps: 2, best_step: 2, reason: "Finished" });
  assert.equal(validation?.accuracy, 0.75);
  assert.equal(traffic.bytes_sent, 5);
});

test("the result has the best validation, which is not always the last one", async () => {
  const { train } = client({
    train(_options, emit) {
      emit(validation(1, 0.9, true));
      emit(validation(2, 0.6, false));
      emit({ type: "train_done", steps: 2, best_step: 1, reason: "StoppedEarly" });
    },
  });
  assert.equal((await train(file("a.csv")).result).validation?.accuracy, 0.9);
});

test("what is asked for is done one after the other, and nothing of another run comes between", async () => {
  const training = gate();
  const { train, predict, worker } = client({
    async train(_options, emit) {
      await training.promise;
      finish(emit);
    },
  });
  const first = train(file("a.csv"));
  const second = train(file("b.csv"), { mechanism: "second" });
  const predicted = predict(["one", ["two", "parts"]]);
  await settle();
  assert.equal(worker.names().at(-1), "train");
  training.resolve();
  const [events] = await Promise.all([read(first), first.result, second.result]);
  assert.equal(events.filter(({ type }) => type === "train_done").length, 1);
  assert.equal((await predicted).length, 2);
  assert.deepEqual(worker.names().slice(2), [
    "read_file",
    "set_privacy",
    "train",
    "traffic",
    "read_file",
    "set_privacy",
    "train",
    "traffic",
    "predict",
  ]);
  assert.deepEqual(worker.calls.at(-1), [
    "predict",
    [
      ["one", null],
      ["two", "parts"],
    ],
  ]);
});

test("a file that is trained on again is neither read nor protected again: it is not sent again", async () => {
  const { train, preview, worker } = client();
  const same = file("a.csv");
  const shown = await preview(same, { protection: 0.4, examples: 2 });
  assert.equal(shown.examples.length, 2);
  assert.equal(shown.privacy.guarantee, "g");
  await train(same, { protection: 0.4 }).result;
  await train(same, { protection: 0.4, epochs: 9 }).result;
  const count = (/** @type {string} */ name) =>
    worker.names().filter((/** @type {string} */ each) => each === name).length;
  assert.deepEqual([count("read_file"), count("set_privacy"), count("train")], [1, 1, 2]);
  await train(same, { protection: 0.5 }).result;
  assert.deepEqual([count("read_file"), count("set_privacy")], [1, 2]);
  await train(file("a.csv"), { protection: 0.5 }).result; // another file of the same name
  assert.deepEqual([count("read_file"), count("set_privacy")], [2, 3]);
});

test("a protection that failed is asked for again", async () => {
  let fails = true;
  const { train } = client({
    set_privacy() {
      if (fails) throw new CutlayerError("Privacy", "Out of range.");
      return {};
    },
  });
  const same = file("a.csv");
  await assert.rejects(train(same).result, { name: "Privacy", message: "Out of range." });
  fails = false;
  assert.equal((await train(same).result).reason, "Finished");
});

test("errors are of one class with stable names, in the loop and in the result", async () => {
  const { train, predict } = client({
    train() {
      throw new CutlayerError("Diverged", "A number is not finite.");
    },
    predict() {
      throw new CutlayerError("NotYet", "Train first.");
    },
  });
  const run = train(file("a.csv"));
  await assert.rejects(read(run), { name: "Diverged" });
  const error = await run.result.catch((error) => error);
  assert.ok(error instanceof CutlayerError);
  await assert.rejects(predict(["x"]), { name: "NotYet" });
});

test("a misspelt option is refused before anything is read", async () => {
  const { train, preview, worker } = client();
  const misspelt = /** @type {any} */ ({ protecton: 0.9 });
  await assert.rejects(train(file("a.csv"), misspelt).result, /protecton/);
  await assert.rejects(preview(file("a.csv"), misspelt), { name: "Option" });
  await assert.rejects(preview(file("a.csv"), /** @type {any} */ ({ epochs: 1 })), /epochs/);
  assert.ok(!worker.names().includes("read_file"));
});

test("a file that is too large or cannot be read is not asked for, and the next one is", async () => {
  const { train } = client();
  await assert.rejects(train(file("a.csv", FILE_BYTES_MAX + 1)).result, { name: "FileTooLarge" });
  const broken = { ...file("b.csv"), arrayBuffer: () => Promise.reject(new Error("moved")) };
  await assert.rejects(train(broken).result, { name: "FileUnreadable" });
  await train(file("c.csv", FILE_BYTES_MAX)).result;
});

test("pause, resume and cancel reach the run that trains", async () => {
  const training = gate();
  const { train, worker } = client({
    async train(_options, emit) {
      await training.promise;
      emit({ type: "train_done", steps: 1, best_step: 1, reason: "Cancelled" });
    },
    cancel: () => training.resolve(),
  });
  const run = train(file("a.csv"));
  await run.pause(); // before it trains: kept until it does
  await settle();
  assert.deepEqual(worker.names().slice(-2), ["train", "pause"]);
  await run.resume();
  await run.cancel();
  assert.equal((await run.result).reason, "Cancelled");
  const calls = worker.calls.length;
  await run.pause(); // it is over
  assert.equal(worker.calls.length, calls);
});

test("a run that is cancelled while it waits never begins", async () => {
  const training = gate();
  const { train, worker } = client({
    async train(_options, emit) {
      await training.promise;
      finish(emit);
    },
  });
  const first = train(file("a.csv"));
  const second = train(file("b.csv"));
  await settle();
  await second.cancel();
  await assert.rejects(second.result, { name: "Stopped" });
  training.resolve();
  await first.result;
  await settle();
  assert.ok(!worker.calls.some(([, name]) => name === "b.csv"));
  assert.ok(!worker.names().includes("cancel"));
});

test("a run that was stopped before it trained has no result", async () => {
  const { train } = client({ train: () => undefined });
  await assert.rejects(train(file("a.csv")).result, { name: "Stopped" });
});

test("a signal cancels the run, and both ends are told at once", async () => {
  const training = gate();
  const { train, predict, worker } = client({ train: () => training.promise });
  const controller = new AbortController();
  const run = train(file("a.csv"), { signal: controller.signal });
  const reading = read(run);
  await settle();
  controller.abort("bored");
  await assert.rejects(reading, { name: "AbortError" });
  const error = await run.result.catch((error) => error);
  assert.ok(error instanceof CutlayerError && error.name === "AbortError");
  assert.equal(error.cause, "bored");
  assert.equal(worker.names().at(-1), "cancel");
  // The client is still at it; what comes next waits for its end.
  const predicted = predict(["x"]);
  await settle();
  assert.ok(!worker.names().includes("predict"));
  training.resolve();
  assert.equal((await predicted).length, 1);
});

test("a signal that was given before ends everything before it begins", async () => {
  const signal = AbortSignal.abort();
  const { train, preview, predict, worker } = client();
  await assert.rejects(train(file("a.csv"), { signal }).result, { name: "AbortError" });
  await assert.rejects(preview(file("a.csv"), { signal }), { name: "AbortError" });
  await assert.rejects(predict(["x"], { signal }), { name: "AbortError" });
  await settle();
  assert.ok(!worker.names().includes("train"));
});

test("who leaves the loop leaves the run alone", async () => {
  const { train, worker } = client();
  const run = train(file("a.csv"));
  for await (const event of run) if (event.type === "train_started") break;
  assert.equal((await run.result).steps, 2);
  assert.ok(!worker.names().includes("cancel"));
  assert.deepEqual(await read(run), []);
});

test("a run that nobody reads holds a bounded number of events", async () => {
  const { train } = client({
    train(_options, emit) {
      for (let number = 1; number <= 5000; number += 1) emit(step(number));
      emit({ type: "train_done", steps: 5000, best_step: 1, reason: "Finished" });
    },
  });
  const run = train(file("a.csv"));
  await run.result;
  const events = await read(run);
  assert.ok(events.length <= 256, `${events.length} events`);
  const steps = events.filter(({ type }) => type === "step");
  assert.equal(
    steps.reduce((sum, { merged }) => sum + merged, 0),
    5000,
  );
  assert.equal(run.dropped, 0);
});

test("a crash ends everything that is under way, and the worker", async () => {
  const { train, predict, worker } = client({ train: () => new Promise(() => {}) });
  const run = train(file("a.csv"));
  await settle();
  worker.emit({ type: "crashed" });
  await assert.rejects(run.result, { name: "Crashed" });
  await assert.rejects(predict(["x"]), { name: "Crashed" });
  assert.equal(worker.ended, true);
});

test("a worker that fails, a client that is closed: whoever waits is told", async () => {
  const failed = client({ connect: () => new Promise(() => {}) });
  failed.worker.onerror({});
  await assert.rejects(failed.ready, { name: "WorkerFailed" });
  const closed = client({ train: () => new Promise(() => {}) });
  const run = closed.train(file("a.csv"));
  await settle();
  closed.close();
  await assert.rejects(run.result, { name: "Closed" });
  const controller = new AbortController();
  const aborted = client({}, { signal: controller.signal });
  await aborted.ready;
  controller.abort();
  await assert.rejects(aborted.predict(["x"]), { name: "Closed" });
  assert.equal(aborted.worker.ended, true);
});

test("a server with another model is refused, one without a choice is not", async () => {
  const { ready, train, worker } = client({}, { model: "other" });
  await assert.rejects(ready, { name: "UnknownModel" });
  await assert.rejects(train(file("a.csv")).result, { name: "UnknownModel" });
  assert.equal(worker.ended, true);
  const any = client({}, { model: "m" });
  assert.equal((await any.ready).model_id, "m");
  const { mechanisms, catalogue } = await any.options();
  assert.deepEqual([mechanisms.length, catalogue.model_id], [2, "m"]);
});

test("loading is told to whoever asked to be", async () => {
  /** @type {any[]} */
  const told = [];
  const { ready } = client(
    {
      connect(_server, _options, emit) {
        emit({ type: "loading", stage: "bottom", bytes: 1, bytes_total: 2 });
        emit({ type: "device", kind: "cpu", name: "cpu", notice: null });
        return { model_id: "m" };
      },
    },
    { onEvent: (/** @type {any} */ event) => told.push(event.type) },
  );
  await ready;
  assert.deepEqual(told, ["loading", "device"]);
});

test("an address without a scheme is refused, and a path of it is kept", () => {
  const createWorker = fakeWorker;
  for (const server of ["", "train.example.org", "ftp://a.example", "javascript:1"]) {
    assert.throws(() => createClient({ server, createWorker }), { name: "Option" });
  }
  const worker = fakeWorker();
  createClient({ server: "https://a.example/train/", createWorker: () => worker });
  assert.equal(worker.calls[0][1], "https://a.example/train");
});

/** Breaks when the client in Rust learns an option that this package refuses. */
test("the options are those of the client", async () => {
  const path = new URL("../../client-wasm/src/options.rs", import.meta.url);
  const source = await readFile(path, "utf8");
  const fields = (/** @type {string} */ name) => {
    const [, body] = source.match(new RegExp(`pub struct ${name} \\{([^}]*)\\}`)) ?? ["", ""];
    return [...body.matchAll(/^ {4}pub (\w+):/gm)].map(([, field]) => field);
  };
  assert.deepEqual(fields("PrivacyOptions"), [...PRIVACY_KEYS]);
  assert.deepEqual(fields("TrainOptions"), [...TRAINING_KEYS]);
});

/** Breaks when an error of the client has a name that the declarations do not have. */
test("the names of errors are declared", async () => {
  const read = (/** @type {string} */ path) => readFile(new URL(path, import.meta.url), "utf8");
  const declared = await read("../src/index.d.ts");
  const named = (await read("../../client-wasm/src/error.rs")).matchAll(/=> "(\w+)"/g);
  const names = [...named].map(([, name]) => name);
  assert.ok(names.length > 15, `${names.length} names`);
  for (const name of names) assert.ok(declared.includes(`| "${name}"`), name);
});

/** Breaks when what has left the tab takes the room of a run's events. */
test("what has left is told to whoever asked to be, and is no event of a run", async () => {
  /** @type {any[]} */
  const told = [];
  const left = { type: "left", message: "Upload", bytes: 9, counts: [], tensor: null, time: 1 };
  const { train } = client(
    {
      train: (_options, emit) => {
        emit(left);
        finish(emit);
      },
    },
    { onEvent: (/** @type {any} */ event) => told.push(event) },
  );
  const events = await read(train(file("a.csv")));
  assert.deepEqual(told, [left]);
  assert.ok(events.every(({ type }) => type !== "left"));
});
