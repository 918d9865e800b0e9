import assert from "node:assert/strict";
import test from "node:test";
import { createDownloads } from "../src/models/downloads.js";
import { listedProgram, loadProgram } from "../src/models/program.js";
import { createStore } from "../src/models/store.js";
import { fakeDirectory, fakeFetch, sumOf } from "./models-samples.js";

const CONTENT = Uint8Array.from({ length: 200 }, (_, index) => (index * 7) % 256);
const FILE = { path: "/program", sha256: sumOf(CONTENT), bytes: CONTENT.length };
const NAME = `${FILE.sha256}-program`;

/** One visit: the bytes that were compiled, and what the server was asked. @param {any} parts */
async function visit({ directory, sent = CONTENT, how = {} }) {
  const { fetch, asked } = fakeFetch(sent, how);
  const downloads = createDownloads({ origin: "http://here", token: null, keeps: true, fetch });
  const store = directory === null ? null : createStore(directory);
  const compile = async (/** @type {ReadableStream} */ stream) =>
    new Uint8Array(await new Response(stream).arrayBuffer());
  const wait = async () => {};
  const from = () =>
    asked.map(({ headers }) => Number(/\d+/.exec(headers.Range ?? "bytes=0-")?.[0]));
  try {
    const module = await loadProgram({
      file: FILE,
      store,
      downloads,
      onBytes: () => {},
      compile,
      wait,
    });
    const all = module && [.../** @type {any} */ (module)];
    return { module: all, from: from(), error: null };
  } catch (error) {
    return { module: null, from: from(), error: /** @type {Error} */ (error).name };
  }
}

test("a second visit asks for nothing", async () => {
  const directory = fakeDirectory();
  assert.deepEqual(await visit({ directory }), { module: [...CONTENT], from: [0], error: null });
  assert.deepEqual(await visit({ directory }), { module: [...CONTENT], from: [], error: null });
  assert.equal(directory.locked.size, 0);
});

test("a download that was cut goes on where it ended, in this visit and in the next", async () => {
  for (const had of [0, 1, 60, 120, 198, 199]) {
    const directory = fakeDirectory();
    directory.files.set(NAME, CONTENT.slice(0, had));
    const { module, from } = await visit({ directory, how: { cuts: [20, 0, 33] } });
    assert.deepEqual(module, [...CONTENT]);
    assert.equal(from[0], had);
    assert.deepEqual(
      from,
      [...from].sort((a, b) => a - b),
    );
    assert.deepEqual([...(directory.files.get(NAME) ?? [])], [...CONTENT]);
  }
});

test("a kept program that was changed is dropped and fetched again", async () => {
  for (const had of [50, 200]) {
    const directory = fakeDirectory();
    const wrong = CONTENT.slice(0, had);
    wrong[11] ^= 4;
    directory.files.set(NAME, wrong);
    const { module, from } = await visit({ directory });
    assert.deepEqual(module, [...CONTENT]);
    assert.equal(from.at(-1), 0);
    assert.deepEqual([...(directory.files.get(NAME) ?? [])], [...CONTENT]);
  }
});

test("a server that sends other bytes is found out, and none of them stay", async () => {
  const sent = CONTENT.slice();
  sent[3] ^= 1;
  const directory = fakeDirectory();
  const how = { listed: `W/"${FILE.sha256}"` };
  assert.deepEqual(await visit({ directory, sent, how }), {
    module: null,
    from: [0],
    error: "WrongArtifact",
  });
  assert.equal(directory.files.get(NAME)?.length, 0);
  const longer = Uint8Array.from([...CONTENT, 1]);
  assert.equal((await visit({ directory: null, sent: longer, how })).error, "WrongArtifact");
});

/** Breaks when a server decides what runs in a page that somebody else serves, or a page cannot find its own program. */
test("the list is about the program of pages that its server serves, wherever it says that is", () => {
  const listed = { path: "/elsewhere.wasm", sha256: FILE.sha256, bytes: 200 };
  const address = new URL("https://here.example/app/client_wasm_bg.wasm");
  const of = (/** @type {any} */ program, server = "https://here.example/behind") =>
    listedProgram({ program }, address, server);
  const path = `/app/client_wasm_bg.wasm?sha256=${FILE.sha256}`;
  assert.deepEqual(of(listed), { ...listed, path });
  assert.equal(of(listed, "https://there.example"), null);
  assert.equal(of(listed, "http://here.example"), null);
  for (const other of [
    null,
    undefined,
    {},
    { ...listed, sha256: "../x" },
    { ...listed, bytes: -0.5 },
  ])
    assert.equal(of(other), null);
  assert.equal(listedProgram(null, address, "https://here.example"), null);
});

test("a page of somebody else's has a program that the list is not about", async () => {
  const directory = fakeDirectory();
  const sent = Uint8Array.from([1, 2, 3]);
  for (const listed of [undefined, '"1a-2b"', ""]) {
    const { module, error } = await visit({ directory, sent, how: { listed } });
    assert.deepEqual([module, error], [null, null]);
  }
  assert.equal(directory.files.get(NAME)?.length, 0);
});

test("a server without ranges sends all of it once more", async () => {
  const directory = fakeDirectory();
  directory.files.set(NAME, CONTENT.slice(0, 90));
  const { module, from } = await visit({ directory, how: { ranges: false } });
  assert.deepEqual([module, from], [[...CONTENT], [90, 0]]);
});

test("a server that does not answer is not asked for ever, and what came stays", async () => {
  const directory = fakeDirectory();
  const { error, from } = await visit({ directory, how: { cuts: [30, 0, 0, 0, 0, 0, 0] } });
  assert.equal(error, "Fetch");
  assert.equal(from.length, 5);
  assert.ok((directory.files.get(NAME)?.length ?? 0) <= 30);
  assert.equal((await visit({ directory: null, how: { status: 404 } })).error, "Fetch");
});

test("without room, or without a store, the program runs all the same", async () => {
  const small = fakeDirectory(100);
  assert.deepEqual((await visit({ directory: small })).module, [...CONTENT]);
  assert.equal(small.files.get(NAME)?.length, 0);
  assert.deepEqual((await visit({ directory: null })).module, [...CONTENT]);
});

test("the program of an earlier build goes, and nothing else", async () => {
  const directory = fakeDirectory();
  const [old, model] = [`${"0".repeat(64)}-program`, `${"1".repeat(64)}-bert-tiny_bottom`];
  for (const name of [old, model]) directory.files.set(name, new Uint8Array(9));
  await visit({ directory });
  assert.deepEqual([...directory.files.keys()].sort(), [model, NAME].sort());
});
