import assert from "node:assert/strict";
import test from "node:test";
import { CallError, createStub, errorFields, serveCalls } from "../src/messages.js";

/** Two ports that deliver to each other like a page and its worker. @returns {any[]} */
function portPair() {
  const make = () => ({ onmessage: null, postMessage: (/** @type {any} */ _message) => {} });
  const [left, right] = [/** @type {any} */ (make()), /** @type {any} */ (make())];
  left.postMessage = (/** @type {any} */ data) =>
    queueMicrotask(() => right.onmessage?.({ data: structuredClone(data) }));
  right.postMessage = (/** @type {any} */ data) =>
    queueMicrotask(() => left.onmessage?.({ data: structuredClone(data) }));
  return [left, right];
}

test("a call returns what the handler returned", async () => {
  const [page, worker] = portPair();
  serveCalls(worker, { add: async (a, b) => a + b });
  const stub = createStub(page, () => {});
  assert.equal(await stub.call("add", [2, 3]), 5);
});

test("answers find their calls in any order", async () => {
  const [page, worker] = portPair();
  /** @type {Record<string, (value: string) => void>} */
  const release = {};
  serveCalls(worker, { wait: (name) => new Promise((resolve) => (release[name] = resolve)) });
  const stub = createStub(page, () => {});
  const first = stub.call("wait", ["first"]);
  const second = stub.call("wait", ["second"]);
  await new Promise(setImmediate);
  release.second("2");
  release.first("1");
  assert.deepEqual(await Promise.all([first, second]), ["1", "2"]);
});

test("an error keeps its name and its sentence", async () => {
  const [page, worker] = portPair();
  serveCalls(worker, {
    fail() {
      throw new CallError("OneClassOnly", "All rows have the same label.");
    },
  });
  const stub = createStub(page, () => {});
  await assert.rejects(stub.call("fail"), {
    name: "OneClassOnly",
    message: "All rows have the same label.",
  });
});

test("a call that nobody serves is an error, also one that every object has", async () => {
  const [page, worker] = portPair();
  serveCalls(worker, {});
  const stub = createStub(page, () => {});
  await assert.rejects(stub.call("nothing"), { name: "UnknownCall" });
  await assert.rejects(stub.call("toString"), { name: "UnknownCall" });
});

test("events arrive without a call", async () => {
  const [page, worker] = portPair();
  /** @type {any[]} */
  const seen = [];
  createStub(page, (event) => seen.push(event));
  worker.postMessage({ event: { type: "paused" } });
  await new Promise(setImmediate);
  assert.deepEqual(seen, [{ type: "paused" }]);
});

test("closing fails the open calls and silences what comes later", async () => {
  const [page, worker] = portPair();
  /** @type {any[]} */
  const seen = [];
  serveCalls(worker, { never: () => new Promise(() => {}) });
  const stub = createStub(page, (event) => seen.push(event));
  const open = stub.call("never");
  stub.close(new CallError("Disconnected", "The connection was replaced."));
  await assert.rejects(open, { name: "Disconnected" });
  await assert.rejects(stub.call("never"), { name: "Disconnected" });
  worker.postMessage({ event: { type: "paused" } });
  await new Promise(setImmediate);
  assert.deepEqual(seen, []);
});

test("anything that is thrown becomes a name and a sentence", () => {
  assert.deepEqual(errorFields("plain"), { name: "Error", message: "plain" });
  assert.equal(errorFields(undefined).name, "Error");
  assert.equal(errorFields(new WebAssembly.RuntimeError("unreachable")).name, "Crashed");
  assert.ok(
    !errorFields(new WebAssembly.RuntimeError("unreachable")).message.includes("unreachable"),
  );
});
