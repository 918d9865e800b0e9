import assert from "node:assert/strict";
import test from "node:test";
import { DEFAULT_SETTINGS, needsReconnect, parseHash, printHash } from "../src/settings.js";

test("an empty address gives the defaults and the defaults an empty address", () => {
  assert.deepEqual(parseHash(""), { ...DEFAULT_SETTINGS });
  assert.equal(printHash(DEFAULT_SETTINGS), "");
});

test("settings survive the way through the address", () => {
  const hash = "#device=cpu&cut=2&precision=f32&mechanism=vector&language=de&protection=35";
  const settings = parseHash(hash);
  assert.deepEqual(settings, {
    device: "cpu",
    cut: 2,
    precision: "f32",
    mechanism: "vector",
    language: "de",
    protection: 0.35,
  });
  assert.equal(printHash(settings), hash);
});

test("every percentage survives the way through the address", () => {
  for (let percent = 1; percent <= 99; percent += 1) {
    const settings = { ...DEFAULT_SETTINGS, protection: percent / 100 };
    assert.equal(parseHash(printHash(settings)).protection, percent / 100);
  }
});

test("any name of a mechanism is taken, what cannot be one is not", () => {
  assert.equal(parseHash("#mechanism=to_come-2").mechanism, "to_come-2");
  for (const name of ["", "Token", "a b", "<b>", "a".repeat(33)])
    assert.equal(parseHash(`#mechanism=${encodeURIComponent(name)}`).mechanism, null);
});

test("what is not allowed keeps its default", () => {
  const settings = parseHash(
    "#device=tpu&cut=-1&mechanism=9&language=xx&protection=101&precision=f8&x=1",
  );
  assert.deepEqual(settings, { ...DEFAULT_SETTINGS });
  for (const level of ["0.5", "0", "100"])
    assert.equal(parseHash(`#protection=${level}`).protection, DEFAULT_SETTINGS.protection);
  assert.equal(parseHash("#cut=256").cut, null);
});

test("only the client's own settings need a new connection", () => {
  assert.equal(needsReconnect(DEFAULT_SETTINGS, { ...DEFAULT_SETTINGS, protection: 0.1 }), false);
  assert.equal(needsReconnect(DEFAULT_SETTINGS, { ...DEFAULT_SETTINGS, cut: 1 }), true);
  assert.equal(needsReconnect(DEFAULT_SETTINGS, { ...DEFAULT_SETTINGS, device: "cpu" }), true);
});
