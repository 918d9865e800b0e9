import assert from "node:assert/strict";
import test from "node:test";
import { createShelf } from "../src/models/shelf.js";
import { createStore, openStore } from "../src/models/store.js";
import { fakeDirectory } from "./models-samples.js";

const SUM = "ab".repeat(32);
const bytes = (/** @type {number[]} */ ...numbers) => Uint8Array.from(numbers);

test("a file grows, is listed by its sum and is found again under it", async () => {
  const directory = fakeDirectory();
  const store = createStore(directory);
  assert.equal(await store.bytes(SUM), 0);
  const kept = await store.keep(SUM, "bert-tiny bottom/1");
  kept?.append(bytes(1, 2, 3));
  kept?.append(bytes(4));
  assert.equal(kept?.bytes(), 4);
  const into = new Uint8Array(3);
  assert.equal(kept?.read(2, into), 2);
  assert.deepEqual([...into], [3, 4, 0]);
  kept?.close();
  const [file] = await store.list();
  assert.equal(file.name, `${SUM}-bert-tiny_bottom_1`);
  assert.deepEqual([file.sha256, file.bytes, file.at], [SUM, 4, 1000]);
  // The same file under another label is the same file.
  const again = await store.keep(SUM, "another label");
  assert.equal(again?.bytes(), 4);
  again?.clear();
  assert.equal(await store.bytes(SUM), 0);
});

test("what does not fit is not there in part", async () => {
  const directory = fakeDirectory(4);
  const kept = await createStore(directory).keep(SUM, "file");
  kept?.append(bytes(1, 2, 3));
  assert.throws(() => kept?.append(bytes(4, 5)));
  assert.equal(kept?.bytes(), 3);
  assert.deepEqual(
    [...directory.files.values()].map((file) => file.length),
    [3],
  );
});

test("a file that another worker has open is not waited for for ever", async () => {
  const directory = fakeDirectory();
  const store = createStore(directory);
  const first = await store.keep(SUM, "file");
  assert.equal(await store.keep(SUM, "file"), undefined);
  first?.close();
  assert.notEqual(await store.keep(SUM, "file"), undefined);
});

test("a page without a file system keeps nothing and does not fail", async () => {
  assert.equal(await openStore(undefined), null);
  const events = [];
  const shelf = createShelf({ dispatch: (event) => events.push(event), storage: undefined });
  await shelf.refresh();
  assert.deepEqual(events, []);
});

test("the list follows what is removed, and says why something stays", async () => {
  const directory = fakeDirectory();
  const store = createStore(directory);
  for (const [sum, label] of [
    [SUM, "one"],
    ["cd".repeat(32), "two"],
  ])
    (await store.keep(sum, label))?.close();
  directory.files.set("something else", new Uint8Array(9));
  /** @type {any[]} */
  const events = [];
  /** @type {any} */
  const storage = {
    getDirectory: async () => ({ getDirectoryHandle: async () => directory }),
    estimate: async () => ({ usage: 5, quota: 50 }),
    persisted: async () => false,
    persist: async () => false,
  };
  const shelf = createShelf({ dispatch: (event) => events.push(event), storage });
  await shelf.refresh();
  const labels = () => events.at(-1).kept.files.map((/** @type {any} */ file) => file.label);
  assert.deepEqual(labels(), ["one", "two"]);
  assert.deepEqual([events[0].kept.usage, events[0].kept.quota], [5, 50]);
  await shelf.remove(`${SUM}-one`);
  assert.deepEqual(labels(), ["two"]);
  directory.locked.add(`${"cd".repeat(32)}-two`);
  await shelf.removeAll();
  assert.deepEqual([labels(), events.at(-1).kept.problem], [["two"], "in_use"]);
  directory.locked.clear();
  await shelf.removeAll();
  assert.deepEqual([labels(), events.at(-1).kept.problem], [[], null]);
  assert.ok(directory.files.has("something else"), "what is not ours stays");
  await shelf.persist();
  assert.equal(events.at(-1).kept.problem, "not_persisted");
});
