import assert from "node:assert/strict";
import test from "node:test";
import { dataKey, ofThisData } from "../src/history.js";
import { reduce } from "../src/state.js";
import { after, EVENTS, STATE } from "./drawn.js";

const OVER = [{ type: "start_over" }, { type: "connect_started" }];
/** The events up to the reading, and from it on. */
const AT = EVENTS.findIndex(({ type }) => type === "reading_requested");
const BEFORE = EVENTS.slice(0, AT);

/** @param {any} state @param {any[]} events */
const fold = (state, events) => events.reduce(reduce, state);

test("a run that ends is kept with its level and what it got right", () => {
  const [run] = STATE.history.runs;
  assert.equal(STATE.history.runs.length, 1);
  const { number, mechanism, level, eta, accuracy, majority, rows, steps } = run;
  assert.deepEqual(
    { number, mechanism, level, eta, accuracy, majority, rows, steps },
    {
      number: 1,
      mechanism: "first",
      level: 0.5,
      eta: 70,
      accuracy: 0.75,
      majority: 0.75,
      rows: 4,
      steps: 4,
    },
  );
});

test("an end that comes twice counts once", () => {
  const done = EVENTS.find(({ type }) => type === "train_done");
  assert.equal(after(done).history.runs.length, 1);
});

test("runs and readings outlive a session, and are found with the same data only", () => {
  const over = fold(STATE, OVER);
  assert.equal(over.history.runs.length, 1);
  assert.equal(dataKey(over), null);
  const back = fold(over, BEFORE);
  assert.equal(ofThisData(back).runs.length, 1);
  assert.equal(ofThisData(back).reading?.points.length, 2);
  const opened = (/** @type {any} */ event) =>
    event.type === "file_opened" ? { ...event, bytes: 10 } : event;
  const other = fold(over, BEFORE.map(opened));
  assert.deepEqual(ofThisData(other).runs, []);
  assert.equal(ofThisData(other).reading, null);
});

test("a reading belongs to its mechanism, and a new one takes its place", () => {
  const wanted = { ...STATE.wanted, mechanism: "second" };
  assert.equal(ofThisData(reduce(STATE, { type: "privacy_wanted", wanted })).reading, null);
  const [requested, done] = EVENTS.slice(AT, AT + 2);
  const again = fold(STATE, [requested, done]);
  assert.equal(again.history.readings.length, 1);
  const moved = { ...done, measured: { wanted, level: 0.5 } };
  assert.equal(fold(STATE, [requested, moved]).history.readings.length, 2);
});

test("a run that fails or measured nothing is none", () => {
  const without = EVENTS.filter(({ type }) => type !== "validation");
  assert.deepEqual(fold(fold(STATE, OVER), without).history.runs.length, 1);
});
