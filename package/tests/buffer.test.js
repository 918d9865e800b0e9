import assert from "node:assert/strict";
import test from "node:test";
import { createBuffer, EVENTS_MAX } from "../src/buffer.js";
import { step, validation } from "./fake-worker.js";

/** @param {ReturnType<typeof createBuffer>} buffer */
async function rest(buffer) {
  buffer.end(null);
  const events = [];
  for (let next = await buffer.next(); !next.done; next = await buffer.next())
    events.push(next.value);
  return events;
}

const one = (/** @type {number} */ number) => /** @type {any} */ (step(number, { merged: 1 }));

test("events are read in the order in which they came, before and after the reader asks", async () => {
  const buffer = createBuffer();
  buffer.push(one(1));
  assert.equal((await buffer.next()).value?.type, "step");
  const [second, third] = [buffer.next(), buffer.next()];
  buffer.push(one(2));
  buffer.push(one(3));
  assert.deepEqual(
    [await second, await third].map(({ value }) => /** @type {any} */ (value).step),
    [2, 3],
  );
  buffer.end(null);
  assert.deepEqual(await buffer.next(), { done: true, value: undefined });
});

test("of a progress that nobody has read only the latest is kept", async () => {
  const buffer = createBuffer();
  for (const done of [1, 2, 3]) {
    buffer.push({ type: "progress", stage: "upload", done, total: 3, bytes_sent: 0 });
  }
  buffer.push(one(1));
  const events = await rest(buffer);
  assert.deepEqual(
    events.map(({ type }) => type),
    ["progress", "step"],
  );
  assert.equal(/** @type {any} */ (events[0]).done, 3);
});

test("a full buffer makes one of two steps, with their mean, and loses no validation", async () => {
  const buffer = createBuffer(4);
  buffer.push(one(1));
  buffer.push(one(2));
  buffer.push(/** @type {any} */ (validation(2, 0.5, true)));
  buffer.push(one(3));
  buffer.push(one(4)); // the fifth
  const events = /** @type {any[]} */ (await rest(buffer));
  assert.deepEqual(
    events.map(({ type, step, loss, merged }) => [type, step, loss, merged]),
    [
      ["step", 2, 1.5, 2],
      ["validation", 2, 1, undefined],
      ["step", 4, 3.5, 2],
    ],
  );
  assert.equal(buffer.dropped(), 0);
});

test("steps that were merged before count as many as they stand for", async () => {
  const buffer = createBuffer(2);
  for (const number of [1, 2, 3, 4]) buffer.push(one(number));
  // 1 2 3 -> [1 2] 3, then [1 2] 3 4 -> [1 2 3] 4
  const events = /** @type {any[]} */ (await rest(buffer));
  assert.deepEqual(
    events.map(({ loss, merged }) => [loss, merged]),
    [
      [2, 3],
      [4, 1],
    ],
  );
});

test("it never holds more than its bound, whatever comes, and what was left out is counted", async () => {
  const buffer = createBuffer(3);
  for (let number = 1; number <= 5; number += 1) {
    buffer.push(/** @type {any} */ (validation(number, 0.5, true)));
  }
  assert.equal(buffer.dropped(), 2);
  const events = /** @type {any[]} */ (await rest(buffer));
  assert.deepEqual(
    events.map(({ step }) => step),
    [3, 4, 5],
  );

  const long = createBuffer();
  for (let number = 1; number <= 100_000; number += 1) long.push(one(number));
  const steps = /** @type {any[]} */ (await rest(long));
  assert.ok(steps.length <= EVENTS_MAX && steps.length >= EVENTS_MAX / 2, `${steps.length}`);
  assert.equal(
    steps.reduce((sum, { merged }) => sum + merged, 0),
    100_000,
  );
  assert.equal(steps.at(-1).step, 100_000);
});

test("an error comes after what was unread, and once", async () => {
  const buffer = createBuffer();
  buffer.push(one(1));
  buffer.end(new Error("gone"));
  assert.equal((await buffer.next()).done, false);
  await assert.rejects(buffer.next(), { message: "gone" });
  assert.equal((await buffer.next()).done, true);
});

test("an error wakes the reader that waits", async () => {
  const buffer = createBuffer();
  const [first, second] = [buffer.next(), buffer.next()];
  buffer.end(new Error("gone"));
  await assert.rejects(first, { message: "gone" });
  assert.equal((await second).done, true);
});

test("a reader that has left gets nothing and holds nothing", async () => {
  const buffer = createBuffer();
  buffer.push(one(1));
  await buffer.leave();
  buffer.push(one(2));
  assert.equal((await buffer.next()).done, true);
});
