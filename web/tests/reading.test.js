import assert from "node:assert/strict";
import test from "node:test";
import { initialState } from "../src/initial.js";
import { currentLevel, curveText, pointAt, readingLevels, strongest } from "../src/reading.js";
import { DEFAULT_SETTINGS } from "../src/settings.js";
import { MECHANISMS, point, privacyOf, READING, wantedOf } from "./samples.js";

const stateOf = (/** @type {any} */ wanted, /** @type {any} */ privacy = null) => ({
  ...initialState(DEFAULT_SETTINGS),
  mechanisms: MECHANISMS,
  wanted,
  privacy,
});

test("the level is the slider's, or with an eta what the client says it means", () => {
  assert.equal(currentLevel(stateOf(wantedOf({ protection: 0.3 }))), 0.3);
  const byEta = wantedOf({ protection: null, eta: 50 });
  assert.equal(currentLevel(stateOf(byEta)), null);
  const privacy = { ...privacyOf(byEta), protection: 0.62 };
  assert.equal(currentLevel(stateOf(byEta, privacy)), 0.62);
  assert.equal(currentLevel(stateOf(byEta, { ...privacy, protection: 1.7 })), 0.99);
});

test("a mechanism without a level is measured once", () => {
  const level = currentLevel(stateOf(wantedOf({ mechanism: "bare", protection: null })));
  assert.equal(level, null);
  assert.equal(readingLevels(level).length, 1);
});

test("the levels are in order, none twice, all above 0 and below 1", () => {
  assert.deepEqual(readingLevels(0.5), [0.1, 0.3, 0.5, 0.7, 0.9]);
  assert.deepEqual(readingLevels(0.05), [0.05, 0.1, 0.3, 0.5, 0.7, 0.9]);
});

test("the point of a level is the nearest one", () => {
  assert.equal(pointAt(READING.points, 0.42)?.level, 0.5);
  assert.equal(pointAt(READING.points, 0.1)?.level, 0.1);
  assert.equal(pointAt([], 0.1), null);
});

test("the stronger attacker counts, also where one was not tried", () => {
  assert.equal(strongest(point(0.5, 0.4, 0.6)), 0.6);
  assert.equal(strongest(point(0.5, 0.7, 0.6)), 0.7);
  assert.equal(strongest(point(0.5, 0.4, null)), 0.4);
});

test("a curve can be read out", () => {
  const text = curveText(READING.points).replaceAll("\u00a0", " ");
  assert.ok(text.endsWith(": 95 % at 10 %, 60 % at 50 %"), text);
});
