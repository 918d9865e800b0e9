import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import {
  addLeft,
  csvOf,
  MESSAGE_PURPOSES,
  NOTHING_LEFT,
  ofAddress,
  PIECES_MAX,
  PURPOSES,
  sumOf,
} from "../src/left.js";
import { captionOf, contentOf, purposeName, sizeOf, summaryOf } from "../src/left-sentences.js";
import { initialState } from "../src/initial.js";
import { hasLeft } from "../src/requests.js";
import { DEFAULT_SETTINGS } from "../src/settings.js";
import { reduce } from "../src/state.js";

const ORIGINS = { page: "https://page.example", server: "https://train.example" };
const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

/** @param {string} message @param {number} bytes @param {any} [rest] */
const message = (message, bytes, rest = {}) => ({
  type: "left",
  message,
  bytes,
  counts: [],
  tensor: null,
  time: TIME,
  ...rest,
});
/** @param {string} address */
const request = (address) => ({ type: "left", address, time: TIME });
/** @param {any[]} events */
const record = (...events) =>
  events.reduce((left, event) => addLeft(left, event, ORIGINS), NOTHING_LEFT);
/** @param {string} text */
const plain = (text) => text.replaceAll("\u00a0", " ");

const UPLOAD = message("Upload", 812, {
  counts: [
    { name: "examples", value: 2 },
    { name: "class_numbers", value: 0 },
  ],
  tensor: { dtype: "f16", rows: 3, columns: 128, bytes: 768, first: [-0.5, 0.125] },
});

test("sums are of everything and by purpose", () => {
  const left = record(
    request("https://page.example/src/main.js"),
    message("Connection", 0),
    message("Hello", 100),
    UPLOAD,
    UPLOAD,
  );
  assert.deepEqual(left.sums, {
    page: { messages: 0, requests: 1, bytes: 0 },
    session: { messages: 1, requests: 1, bytes: 100 },
    examples: { messages: 2, requests: 0, bytes: 1624 },
  });
  assert.deepEqual(sumOf(left), { messages: 3, requests: 2, bytes: 1724 });
  assert.equal(plain(summaryOf(sumOf(left))), "So far 2 requests and 3 messages with 1.7 kB");
});

test("memory is bounded and the sums are not", () => {
  const left = record(...Array.from({ length: PIECES_MAX + 5 }, () => message("Pause", 20)));
  assert.equal(left.pieces.length, PIECES_MAX);
  assert.equal(left.pieces[0].id, 6);
  assert.equal(left.count, PIECES_MAX + 5);
  assert.equal(sumOf(left).bytes, 20 * (PIECES_MAX + 5));
  assert.ok(plain(captionOf(left)).startsWith("The latest 300 of 305"));
  const long = ofAddress(`https://elsewhere.example/${"a".repeat(9999)}`, ORIGINS);
  assert.equal(long.name.length, 200);
});

test("every message of the protocol has a purpose, and no other name has one", () => {
  const source = new URL("../../shared/src/protocol/names.rs", import.meta.url);
  const names = [...readFileSync(source, "utf8").matchAll(/=> "(\w+)"/g)].map(([, name]) => name);
  assert.ok(names.length > 10);
  assert.deepEqual([...names, "Connection"].sort(), Object.keys(MESSAGE_PURPOSES).sort());
  for (const purpose of PURPOSES) assert.ok(purposeName(purpose).length > 0);
  assert.equal(record(message("Unreadable", 5)).pieces[0].purpose, "unknown");
  assert.equal(record(message("toString", 5)).pieces[0].purpose, "unknown");
});

test("a request to anywhere else stands out", () => {
  const purpose = (/** @type {string} */ address) => ofAddress(address, ORIGINS).purpose;
  assert.equal(purpose("https://page.example/client_wasm_bg.wasm"), "page");
  assert.equal(purpose("https://train.example/v1/artifacts/bottom-1-f16.safetensors"), "model");
  assert.equal(purpose("https://train.example/other"), "elsewhere");
  assert.equal(purpose("https://page.example.evil.net/v1/catalogue"), "elsewhere");
  assert.equal(purpose("https://page.example:8443/src/main.js"), "elsewhere");
  assert.equal(purpose("not an address ://"), "page"); // the browser resolves it against the page
  assert.equal(purpose("http://["), "elsewhere");
  const same = { page: "https://a.example", server: "https://a.example" };
  assert.equal(ofAddress("https://a.example/v1/catalogue?x=1", same).name, "/v1/catalogue?x=1");
  assert.equal(ofAddress("https://a.example/v1/catalogue", same).purpose, "model");
});

test("what came from the cache has not left, what was only confirmed has", () => {
  const entry = { name: "https://a.example/a.js", transferSize: 300, decodedBodySize: 9 };
  assert.equal(hasLeft(entry), true);
  assert.equal(hasLeft({ ...entry, transferSize: 0 }), false);
  assert.equal(hasLeft({ ...entry, deliveryType: "cache" }), false);
  // Another origin that tells no sizes, or a request that failed.
  assert.equal(hasLeft({ ...entry, transferSize: 0, decodedBodySize: 0 }), true);
  assert.equal(hasLeft({ ...entry, name: "blob:https://a.example/1" }), false);
});

test("a piece says what is in it in words and numbers", () => {
  const [piece] = record(UPLOAD).pieces;
  const content = plain(contentOf(piece));
  assert.equal(content, "2 texts; no label; 3 × 128 numbers (f16), beginning -0.500, 0.125 …");
  assert.equal(plain(sizeOf(piece)), "812 B");
  const [asked] = record(request("https://page.example/")).pieces;
  assert.equal(sizeOf(asked), "headers");
  const [empty] = record(message("Pause", 20)).pieces;
  assert.equal(contentOf(empty), "Nothing but its name");
});

test("every count of the client has words", () => {
  const source = new URL("../../client-wasm/src/outgoing.rs", import.meta.url);
  const shipped = readFileSync(source, "utf8").split("#[cfg(test)]")[0];
  const named = /(?:count|length|large)\("(\w+)"/g;
  const names = [...shipped.matchAll(named)].map(([, name]) => name);
  assert.ok(names.length > 10);
  for (const name of names) {
    const counts = [{ name, value: 1 }];
    const [piece] = record(message("Train", 9, { counts })).pieces;
    assert.notEqual(contentOf(piece), `${name} 1`, name);
  }
});

test("the file has the sums, then what is kept, and no cell is a formula", () => {
  const left = record(request('https://page.example/a?b="c",d'), UPLOAD, message("=1+1", 3));
  const lines = csvOf(left).split("\r\n");
  assert.ok(lines[0].startsWith("number,time,kind,name,bytes,purpose"));
  assert.equal(lines[1], ",,sum,,0,page,,,,,,messages=0 requests=1");
  assert.equal(lines[2], ",,sum,,812,examples,,,,,,messages=1 requests=0");
  assert.equal(lines[4], '1,2026-01-02T03:04:05.678Z,request,"/a?b=%22c%22,d",,page,,,,,,');
  assert.equal(
    lines[5],
    "2,2026-01-02T03:04:05.678Z,message,Upload,812,examples,f16,3,128,768,[-0.5 0.125],examples=2 class_numbers=0",
  );
  assert.ok(lines[6].includes(",'=1+1,"));
  assert.equal(lines.length, 8);
});

test("what has left is remembered whatever the page does next", () => {
  const event = { ...message("Hello", 100), origins: ORIGINS };
  let state = reduce(initialState(DEFAULT_SETTINGS), event);
  for (const type of ["connect_started", "start_over"]) {
    state = reduce(state, { type });
    assert.equal(state.left.count, 1, type);
  }
});
