import assert from "node:assert/strict";
import test from "node:test";
import {
  appendLoss,
  bestValidation,
  foldRun,
  LOSS_POINTS_MAX,
  majorityShare,
  millisLeft,
  newRun,
  stagePace,
  stepPace,
} from "../src/run.js";

/** @param {any[]} events */
const runOf = (events) => events.reduce(foldRun, newRun(0));
const step = (/** @type {number} */ n, /** @type {number} */ at) => ({
  type: "step",
  step: n,
  epoch: 1,
  loss: 1,
  learning_rate: 0.001,
  step_millis: 5,
  at,
});
const progress = (
  /** @type {string} */ stage,
  /** @type {number} */ done,
  /** @type {number} */ at,
) => ({
  type: "progress",
  stage,
  done,
  total: 100,
  bytes_sent: done * 10,
  at,
});

test("the time left of preparing is that of the upload", () => {
  const run = runOf([
    progress("upload", 0, 0),
    progress("another", 90, 500),
    progress("upload", 20, 1000),
  ]);
  assert.equal(stagePace(run.upload), 20);
  assert.equal(millisLeft(run), 4000);
  assert.equal(run.bytesSent, 200);
});

test("nothing is estimated from a single report", () => {
  assert.equal(millisLeft(newRun(0)), null);
  assert.equal(millisLeft(runOf([progress("upload", 0, 0)])), null);
});

test("the time left of training follows the latest steps", () => {
  const run = runOf([
    { type: "train_started", steps_total: 10, at: 0 },
    step(1, 200),
    step(2, 400),
  ]);
  assert.equal(stepPace(run), 5);
  assert.equal(millisLeft(run), 1600);
});

test("a lost connection is known until there is another one, and does not slow the pace", () => {
  const lost = [
    { type: "train_started", steps_total: 10, at: 0 },
    step(1, 100),
    { type: "reconnecting", attempt: 1, attempts_max: 10, at: 150 },
    { type: "reconnecting", attempt: 2, attempts_max: 10, at: 400 },
  ];
  assert.equal(runOf(lost).attempt, 2);
  const run = runOf([...lost, { type: "reconnected", at: 60_000 }, step(2, 60_100)]);
  assert.equal(run.attempt, 0);
  assert.equal(stepPace(run), 10);
});

test("a pause does not slow the pace", () => {
  const run = runOf([
    { type: "train_started", steps_total: 10, at: 0 },
    step(1, 100),
    { type: "paused", at: 150 },
    { type: "continued", at: 60_000 },
    step(2, 60_100),
  ]);
  assert.equal(stepPace(run), 10);
});

test("a long run keeps a bounded curve with the same mean", () => {
  let series = newRun(0).losses;
  for (let n = 1; n <= 10 * LOSS_POINTS_MAX; n += 1) series = appendLoss(series, n, n % 2);
  assert.ok(series.points.length < LOSS_POINTS_MAX);
  assert.ok(series.stride >= 10);
  for (const { loss } of series.points) assert.equal(loss, 0.5);
  const steps = series.points.map((point) => point.step);
  assert.deepEqual(
    steps,
    [...steps].sort((a, b) => a - b),
  );
});

test("the kept validation is that of best_step, even if a later one claims to be best", () => {
  const validation = (/** @type {number} */ at, /** @type {boolean} */ best) => ({
    type: "validation",
    step: at,
    loss: 1,
    accuracy: 0.5,
    macro_f1: 0.5,
    confusion: [1, 1, 1, 1],
    best,
  });
  const events = [validation(5, true), validation(10, true), validation(15, false)];
  assert.equal(bestValidation(runOf(events))?.step, 10);
  const done = { type: "train_done", steps: 15, best_step: 5, reason: "Finished", at: 9 };
  assert.equal(bestValidation(runOf([...events, done]))?.step, 5);
  assert.equal(bestValidation(newRun(0)), null);
});

test("the majority share counts true classes, not answers", () => {
  assert.equal(majorityShare([3, 0, 1, 0]), 0.75);
  assert.equal(majorityShare([]), 0);
});
