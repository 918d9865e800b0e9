import assert from "node:assert/strict";
import test from "node:test";
import { currentStep, isSecondRelease, isUsable, openSteps, stageOf } from "../src/derived.js";
import { initialState } from "../src/initial.js";
import { DEFAULT_SETTINGS } from "../src/settings.js";
import { isOutdated, isSameCurve } from "../src/reading.js";
import { reduce } from "../src/state.js";
import { MECHANISMS, privacyOf, READING, REPORT, wantedOf } from "./samples.js";

const CONNECTED = {
  type: "connected",
  catalogue: { models: [], model_id: "m", cut: 0 },
  mechanisms: MECHANISMS,
};
const OPENED = { type: "file_opened", name: "a.tsv", bytes: 9 };
const READ = { type: "file_read", report: REPORT };
const SET = {
  type: "privacy_set",
  privacy: privacyOf(wantedOf()),
};
const TRAIN = { type: "train_requested", at: 0 };
const UPLOADING = { type: "progress", stage: "upload", done: 1, total: 4, bytes_sent: 10, at: 1 };
const STARTED = { type: "train_started", steps_total: 2, at: 2 };
const STEP = { type: "step", step: 1, epoch: 1, loss: 1, learning_rate: 1, step_millis: 1, at: 3 };
const DONE = { type: "train_done", steps: 2, best_step: 1, reason: "Finished", at: 4 };
const LOST = { type: "disconnected", sentence: "The connection was lost." };

/** @param {...any} events */
const after = (...events) => events.reduce(reduce, initialState(DEFAULT_SETTINGS));

test("a whole run goes through the phases in order", () => {
  const events = [CONNECTED, OPENED, READ, SET, TRAIN, UPLOADING, STARTED, STEP, DONE];
  let state = initialState(DEFAULT_SETTINGS);
  const phases = events.map((event) => {
    state = reduce(state, event);
    return state.phase;
  });
  assert.deepEqual(phases, [
    "ready",
    "ready",
    "dataset",
    "privacy",
    "preparing",
    "preparing",
    "training",
    "training",
    "done",
  ]);
  assert.equal(openSteps(state), 5);
  assert.equal(currentStep(state), 5);
});

test("steps open one after the other", () => {
  assert.equal(openSteps(after(CONNECTED)), 1);
  assert.equal(
    openSteps(after(CONNECTED, OPENED, { ...READ, report: { ...REPORT, problem: "x" } })),
    2,
  );
  assert.equal(openSteps(after(CONNECTED, OPENED, READ)), 3);
  assert.equal(openSteps(after(CONNECTED, OPENED, READ, SET)), 4);
});

test("data with one label, a problem or no label column cannot be trained on", () => {
  const usable = (/** @type {any} */ change) =>
    isUsable(after(CONNECTED, OPENED, { ...READ, report: { ...REPORT, ...change } }));
  assert.equal(usable({}), true);
  assert.equal(usable({ labels: REPORT.labels.slice(1) }), false);
  assert.equal(usable({ problem: "Every text is empty." }), false);
  assert.equal(usable({ label_column: null }), false);
});

test("a new wish for protection closes training until it is calculated", () => {
  const wanted = wantedOf({ mechanism: "second", protection: 0.2 });
  const state = after(CONNECTED, OPENED, READ, SET, { type: "privacy_wanted", wanted });
  assert.equal(state.phase, "dataset");
  assert.equal(state.privacy, null);
  assert.equal(state.settings.mechanism, "second");
  assert.equal(state.settings.protection, 0.2);
});

test("examples count as released from the first upload on, not before", () => {
  const asked = after(CONNECTED, OPENED, READ, SET, TRAIN);
  assert.equal(asked.released, false);
  assert.equal(reduce(asked, { ...UPLOADING, done: 0, bytes_sent: 0 }).released, false);
  assert.equal(reduce(asked, UPLOADING).released, true);
  assert.equal(reduce(asked, STARTED).released, true);
});

test("a lost connection keeps file, columns and wishes, and remembers the release", () => {
  const columns = { text: "text", pair: null, label: "label" };
  const chosen = { type: "columns_chosen", report: REPORT, columns };
  const choice = { labels: "client", bottom: "frozen" };
  const kept = { type: "training_chosen", choice };
  const lost = after(CONNECTED, OPENED, READ, chosen, SET, kept, TRAIN, UPLOADING, STARTED, LOST);
  assert.equal(lost.phase, "error");
  assert.equal(lost.failure?.fatal, true);
  const back = [{ type: "connect_started" }, CONNECTED, OPENED].reduce(reduce, lost);
  assert.equal(back.phase, "ready");
  assert.equal(back.failure, null);
  assert.deepEqual(back.columns, columns);
  assert.deepEqual(back.wanted, lost.wanted);
  assert.deepEqual(back.choice, choice);
  assert.equal(isSecondRelease(back), true);
  const other = reduce(back, { ...OPENED, name: "b.tsv" });
  assert.equal(other.columns, null);
  assert.equal(isSecondRelease(other), false);
});

test("starting over with a file that was sent before is known as a second release", () => {
  const released = after(CONNECTED, OPENED, READ, SET, TRAIN, UPLOADING, STARTED, STEP, DONE);
  const over = [{ type: "start_over" }, { type: "connect_started" }, CONNECTED].reduce(
    reduce,
    released,
  );
  assert.equal(isSecondRelease(over), false);
  assert.equal(isSecondRelease(reduce(over, OPENED)), true);
  assert.equal(isSecondRelease(reduce(over, { ...OPENED, bytes: 10 })), false);
});

test("the first fatal failure is the one that is told", () => {
  const state = after(CONNECTED, LOST, {
    type: "failed",
    place: "train",
    name: "Refused",
    sentence: "second",
  });
  assert.equal(state.failure?.sentence, LOST.sentence);
});

test("a refusal that does not close lets training go on, one that closes ends it", () => {
  const refused = { type: "refused", code: "WrongPhase", sentence: "Not now.", closes: false };
  const running = after(CONNECTED, OPENED, READ, SET, TRAIN, STARTED);
  assert.equal(reduce(running, refused).phase, "training");
  assert.equal(reduce(running, { ...refused, closes: true }).phase, "error");
});

test("a rejected run leads back to the options with the reason", () => {
  const failed = {
    type: "failed",
    place: "train",
    name: "BadSettings",
    sentence: "Rank 9000 is too large.",
  };
  const state = after(CONNECTED, OPENED, READ, SET, TRAIN, failed);
  assert.equal(state.phase, "privacy");
  assert.equal(state.failure?.place, "train");
  assert.equal(reduce(state, TRAIN).failure, null);
});

test("a run that was stopped before its first step has no result", () => {
  const state = after(CONNECTED, OPENED, READ, SET, TRAIN, {
    ...DONE,
    steps: 0,
    reason: "Cancelled",
  });
  assert.equal(state.phase, "privacy");
  assert.equal(openSteps(state), 4);
  const silent = after(CONNECTED, OPENED, READ, SET, TRAIN, { type: "train_returned", at: 1 });
  assert.equal(silent.phase, "privacy");
});

test("pause and continue; late events of a finished run change nothing", () => {
  const paused = after(CONNECTED, OPENED, READ, SET, TRAIN, STARTED, { type: "paused", at: 3 });
  assert.equal(paused.phase, "paused");
  assert.equal(reduce(paused, { type: "continued", at: 4 }).phase, "training");
  const done = after(CONNECTED, OPENED, READ, SET, TRAIN, STARTED, STEP, DONE);
  assert.equal(reduce(done, { type: "paused", at: 5 }), done);
  assert.equal(reduce(done, { type: "train_returned", at: 5 }), done);
});

test("a bad file leaves the page ready for another", () => {
  const failed = { type: "failed", place: "file", name: "UnknownFormat", sentence: "Not a table." };
  const state = after(CONNECTED, OPENED, failed);
  assert.equal(state.phase, "ready");
  assert.equal(state.file, null);
  assert.equal(state.failure?.fatal, false);
});

test("the state before an event is never changed", () => {
  const events = [CONNECTED, OPENED, READ, SET, TRAIN, UPLOADING, STARTED, STEP, DONE, LOST];
  let state = initialState(DEFAULT_SETTINGS);
  for (const event of events) {
    const copy = structuredClone(state);
    const next = reduce(state, event);
    assert.deepEqual(state, copy);
    state = next;
  }
});

test("a table of mechanisms decides what a name in the address means", () => {
  const connectedWith = (/** @type {string|null} */ mechanism) =>
    reduce(initialState({ ...DEFAULT_SETTINGS, mechanism }), CONNECTED);
  const known = connectedWith("second");
  assert.equal(known.wanted.mechanism, "second");
  assert.equal(known.settings.mechanism, "second");
  for (const name of [null, "unheard-of", "first"]) {
    const state = connectedWith(name);
    assert.equal(state.wanted.mechanism, "first");
    assert.equal(state.settings.mechanism, null);
  }
});

test("a mechanism without a level gets none", () => {
  const state = reduce(initialState({ ...DEFAULT_SETTINGS, mechanism: "bare" }), CONNECTED);
  assert.equal(state.wanted.protection, null);
});

test("a measurement outlives other settings, as out of date, but not another file", () => {
  const wanted = wantedOf();
  const set = [CONNECTED, OPENED, READ, { type: "privacy_wanted", wanted }, SET];
  const done = { type: "reading_done", result: READING, measured: { wanted, level: 0.5 } };
  const measured = after(...set, { type: "reading_requested" }, done);
  assert.equal(isOutdated(measured), false);
  const moved = reduce(measured, {
    type: "privacy_wanted",
    wanted: wantedOf({ protection: 0.6 }),
  });
  assert.equal(moved.reading.result, READING);
  assert.equal(isOutdated(moved), true);
  assert.equal(isSameCurve(moved), true);
  const other = { type: "privacy_wanted", wanted: wantedOf({ mechanism: "second" }) };
  assert.equal(isSameCurve(reduce(measured, other)), false);
  const back = reduce(moved, { type: "privacy_wanted", wanted: wantedOf() });
  assert.equal(isOutdated(back), false);
  for (const event of [{ ...OPENED, name: "b.tsv" }, READ])
    assert.equal(reduce(measured, event).reading.result, null);
});

test("a measurement that fails ends, and says so in its place", () => {
  const asked = after(CONNECTED, OPENED, READ, SET, { type: "reading_requested" });
  const failed = { type: "failed", place: "reading", name: "Device", sentence: "Out of memory." };
  const state = reduce(asked, failed);
  assert.equal(state.reading.pending, false);
  assert.equal(state.failure?.place, "reading");
  assert.equal(state.phase, "privacy");
  assert.equal(reduce(state, { type: "reading_requested" }).failure, null);
});

test("loading counts side by side, and does not go back unless it begins anew", () => {
  const loading = (/** @type {string} */ stage, /** @type {number} */ bytes, total = 100) => ({
    type: "loading",
    stage,
    bytes,
    bytes_total: total,
  });
  const begun = after(loading("catalogue", 0, 0), loading("program", 40), loading("bottom", 70));
  const stages = (/** @type {any} */ state) =>
    ["catalogue", "program", "bottom", "tokenizer", "device"].map((stage) => stageOf(state, stage));
  assert.deepEqual(stages(begun), ["done", "current", "current", "waiting", "waiting"]);
  // The client takes the bytes that have come already.
  const taken = reduce(begun, loading("bottom", 10));
  assert.equal(taken.loading.bottom.bytes, 70);
  assert.equal(reduce(taken, loading("bottom", 0)).loading.bottom.bytes, 0);
  const later = [loading("program", 100), loading("device", 0, 0), loading("bottom", 100)].reduce(
    reduce,
    begun,
  );
  assert.deepEqual(stages(later), ["done", "done", "done", "waiting", "current"]);
  const opened = reduce(later, { type: "device", kind: "cpu", name: "", notice: null });
  assert.equal(stageOf(opened, "device"), "done");
});
