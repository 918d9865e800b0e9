import assert from "node:assert/strict";
import test from "node:test";
import { keptName, keptRoom, keptSummary, precisionName } from "../src/sentences.js";

const plain = (/** @type {string} */ text) => text.replaceAll("\u00a0", " ");

test("a precision is named with its bytes, and with nothing that nobody has measured", () => {
  assert.equal(plain(precisionName("int8", 13_663_232)), "8 bit, 13.7 MB");
  assert.equal(plain(precisionName("f16", undefined)), "16 bit");
});

test("what is kept is summed up, and named by model and file", () => {
  const file = { name: "", sha256: "", label: "", bytes: 1_500_000, at: 0 };
  const kept = { files: [file, file], usage: 3e6, quota: 2e9, persisted: false, problem: null };
  assert.equal(plain(keptSummary(kept)), "Kept in this browser: 2 files, 3.0 MB");
  assert.equal(keptSummary({ ...kept, files: [] }), "Kept in this browser: nothing");
  const room = "This site uses 3.0 MB of the 2.0 GB that the browser allows it.";
  assert.equal(plain(keptRoom(kept)), room);
  assert.equal(keptRoom({ ...kept, quota: null }), "");
  assert.equal(
    keptName("bert-tiny_bottom-1-f16.safetensors"),
    "bert-tiny bottom-1-f16.safetensors",
  );
  assert.equal(keptName("program"), "Program of this page");
});
