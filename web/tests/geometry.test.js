import assert from "node:assert/strict";
import test from "node:test";
import {
  linePath,
  lossDomain,
  plotArea,
  roundStep,
  scale,
  smooth,
  ticks,
} from "../src/geometry.js";

test("ticks are round and inside the range", () => {
  assert.deepEqual(ticks(0, 1, 6), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(0, 100, 6), [0, 20, 40, 60, 80, 100]);
  assert.deepEqual(ticks(0, 585, 6), [0, 200, 400]);
  assert.deepEqual(ticks(3, 3, 6), [3]);
});

test("steps round up to 1, 2 or 5", () => {
  assert.equal(roundStep(0.13), 0.2);
  assert.equal(roundStep(2), 2);
  assert.equal(roundStep(6), 10);
});

test("a scale maps ends to ends, also upside down", () => {
  const toY = scale([0, 10], [200, 0]);
  assert.equal(toY(0), 200);
  assert.equal(toY(10), 0);
  assert.equal(toY(5), 100);
  assert.equal(scale([3, 3], [0, 10])(3), 5);
});

test("a loss range starts at zero and ignores what is not finite", () => {
  assert.deepEqual(lossDomain([]), [0, 1]);
  assert.deepEqual(lossDomain([1, Number.NaN, Number.POSITIVE_INFINITY]), [0, 1.08]);
});

test("a value that is not finite breaks the line", () => {
  const same = (/** @type {number} */ value) => value;
  const points = [1, 2, Number.NaN, 4].map((y, x) => ({ x, y }));
  assert.equal(linePath(points, same, same), "M0.0 1.0L1.0 2.0M3.0 4.0");
  assert.equal(linePath([], same, same), "");
});

test("smoothing is the mean of the neighbours, fewer at the ends", () => {
  const points = [0, 3, 6, 0].map((y, x) => ({ x, y }));
  assert.deepEqual(
    smooth(points, 1).map(({ y }) => y),
    [1.5, 3, 3, 3],
  );
});

test("the plot keeps an area even in a tiny drawing", () => {
  const area = plotArea(10, 10);
  assert.ok(area.right > area.left && area.bottom > area.top);
});
