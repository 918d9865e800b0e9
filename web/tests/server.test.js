import assert from "node:assert/strict";
import test from "node:test";
import { findServer, serverOrigin, withServer } from "../src/server.js";

const PAGE = "https://page.example";
/** @param {string|null} meta @param {string} hash */
const find = (meta, hash) => findServer({ meta, hash, origin: PAGE });

test("a page that says nothing works with the server that it came from", () => {
  for (const found of [find(null, ""), find("", "#cut=1"), find(" ", "")])
    assert.deepEqual(found, { origin: PAGE, linked: false, problem: null });
});

test("the page's own word is before that of the address", () => {
  const found = find("https://train.example", "#server=https://evil.example");
  assert.deepEqual(found, { origin: "https://train.example", linked: false, problem: null });
  const linked = find(null, "#cut=1&server=https%3A%2F%2Ftrain.example");
  assert.deepEqual(linked, { origin: "https://train.example", linked: true, problem: null });
});

test("only an encrypted server, or one on this machine, can be named", () => {
  for (const [text, expected] of [
    ["https://Train.Example:443", "https://train.example"],
    ["https://train.example:8443/", "https://train.example:8443"],
    ["http://localhost:8420", "http://localhost:8420"],
    ["http://127.0.0.1:8420", "http://127.0.0.1:8420"],
    ["http://[::1]:8420", "http://[::1]:8420"],
  ])
    assert.equal(serverOrigin(text), expected, text);
  for (const text of [
    "http://train.example",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "//train.example",
    "train.example",
    "https://",
    "https://train.example/path",
    "https://train.example?x=1",
    "https://user@train.example",
    "https://a.example\\@b.example",
    "javascript:alert(1)",
    "wss://train.example",
    "https://a b",
  ]) {
    assert.equal(serverOrigin(text), null, text);
    const found = find(null, `#server=${encodeURIComponent(text)}`);
    assert.equal(found.origin, PAGE, text);
    assert.ok(found.problem?.includes("https://"), text);
  }
});

test("a server that the address names stays in it", () => {
  const linked = find(null, "#server=https://train.example");
  assert.equal(withServer("", linked), "#server=https%3A%2F%2Ftrain.example");
  assert.equal(withServer("#cut=1", linked), "#cut=1&server=https%3A%2F%2Ftrain.example");
  assert.deepEqual(find(null, withServer("#cut=1", linked)), linked);
  assert.equal(withServer("#cut=1", find("https://train.example", "")), "#cut=1");
});
