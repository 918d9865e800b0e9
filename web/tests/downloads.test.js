import assert from "node:assert/strict";
import test from "node:test";
import { createDownloads, wantedFiles } from "../src/models/downloads.js";
import { fakeFetch, sumOf } from "./models-samples.js";

const CONTENT = Uint8Array.from({ length: 23 }, (_, index) => index);
const FILE = { path: "/f?sha256=1", sha256: sumOf(CONTENT), bytes: CONTENT.length };
const CATALOGUE = {
  cuts: [
    { cut: 2, artifacts: [{ precision: "f16", path: "/b2" }] },
    {
      cut: 1,
      artifacts: [
        { precision: "f16", path: "/b1" },
        { precision: "int8", path: "/b1-int8" },
      ],
    },
  ],
  tokenizer: { path: "/t" },
  config: { path: "/c" },
};

/** @param {any} how @param {any} [rest] */
function downloads(how, rest = {}) {
  const { fetch, asked } = fakeFetch(CONTENT, how);
  const parts = { origin: "http://here", token: null, keeps: true, fetch, ...rest };
  return { own: createDownloads(parts), asked };
}

/** All bytes of an answer; `lost` says whether it ended early. @param {any} answer */
async function read(answer) {
  const all = [];
  try {
    for (let part = await answer.next(); part !== undefined; part = await answer.next())
      all.push(...part);
    return { all, lost: false };
  } catch {
    return { all, lost: true };
  }
}

test("the files of a connection are those that the client will ask for", () => {
  const paths = (/** @type {any} */ options) =>
    wantedFiles(CATALOGUE, options).map(({ stage, file }) => `${stage} ${file.path}`);
  assert.deepEqual(paths({ cut: null, precision: "f16" }), [
    "catalogue /c",
    "tokenizer /t",
    "bottom /b1",
  ]);
  assert.deepEqual(paths({ cut: 1, precision: "int8" }).at(-1), "bottom /b1-int8");
  assert.deepEqual(paths({ cut: 2, precision: "int8" }), []);
  assert.deepEqual(paths({ cut: 7, precision: "f16" }), []);
  for (const odd of [null, {}, { cuts: 3 }, { cuts: [{}] }])
    assert.deepEqual(wantedFiles(odd, { cut: null, precision: "f16" }), []);
});

test("a download that has begun is taken over with the bytes that came meanwhile", async () => {
  const { own, asked } = downloads({}, { token: "ctl_x" });
  /** @type {number[]} */
  const told = [];
  own.begin(FILE, 3, (bytes) => told.push(bytes));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const answer = await own.open(FILE.path, FILE.sha256, 3);
  assert.deepEqual([answer.status, answer.range], [206, "bytes 3-22/23"]);
  assert.deepEqual((await read(answer)).all, [...CONTENT.subarray(3)]);
  assert.deepEqual(told, [8, 13, 18, 23]);
  assert.equal(asked.length, 1);
  assert.deepEqual(asked[0].headers, {
    Range: "bytes=3-",
    "If-Range": `"${FILE.sha256}"`,
    Authorization: "Bearer ctl_x",
  });
  assert.equal(asked[0].cache, "no-store");
});

test("a download that has begun elsewhere is of no use", async () => {
  const { own, asked } = downloads({});
  own.begin(FILE, 3, () => {});
  const answer = await own.open(FILE.path, FILE.sha256, 0);
  assert.deepEqual((await read(answer)).all, [...CONTENT]);
  assert.equal(asked.length, 2);
  assert.deepEqual(asked[1].headers, {});
});

test("what came before the connection was lost is given first", async () => {
  const { own } = downloads({ cuts: [12] });
  const { all, lost } = await read(await own.open(FILE.path, FILE.sha256, 0));
  assert.equal(lost, true);
  // A stream that fails may drop what nobody has read yet; it never gives other bytes.
  assert.deepEqual(all, [...CONTENT.subarray(0, all.length)]);
  assert.ok(all.length <= 12);
});

test("without a store the browser's own cache is used, and not believed twice", async () => {
  const { own, asked } = downloads({}, { keeps: false });
  for (let time = 0; time < 2; time += 1) await own.open(FILE.path, FILE.sha256, 0);
  assert.deepEqual(
    asked.map(({ cache }) => cache),
    ["default", "reload"],
  );
});

test("a catalogue that does not come has the client's names for it", async () => {
  const named = async (/** @type {any} */ how, /** @type {any} */ fetch) => {
    const { own } = downloads(how, fetch && { fetch });
    return own.catalogue().then(
      () => "",
      ({ name }) => name,
    );
  };
  assert.equal(await named({ status: 401 }, undefined), "TokenNeeded");
  assert.equal(await named({ status: 500 }, undefined), "Fetch");
  const nobody = async () => Promise.reject(new TypeError("network error"));
  assert.equal(await named({}, nobody), "Fetch");
  const { own } = downloads({});
  assert.equal((await own.catalogue()).catalogue, null, "no JSON is the client's to judge");
});
