/** What an attacker could read back: which levels are measured, and what a measurement is of. Pure. */

import { mechanismOf } from "./derived.js";
import { percent } from "./format.js";
import { say } from "./language.js";

/** @typedef {import("./contract.js").ReadingPoint} ReadingPoint */

/**
 * @typedef {object} Measured
 * @property {import("./contract.js").PrivacyWanted} wanted
 * @property {number} level the level of the point that stands for it
 */

/** Texts that are attacked: enough for a share to be exact to some points, few enough to wait for. */
export const READING_EXAMPLES = 60;
/** Levels of the curve. */
const CURVE_LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9];
const LEVEL_MIN = 0.01;
const LEVEL_MAX = 0.99;
/** Stands for the level of a mechanism that has none. */
const ANY_LEVEL = 0.5;

/**
 * Finds the level that the current protection means, null where the mechanism has none.
 * @param {import("./initial.js").State} state
 * @returns {number|null}
 */
export function currentLevel({ wanted, privacy, mechanisms }) {
  if (!mechanismOf(mechanisms, wanted.mechanism)?.level) return null;
  const level = wanted.protection ?? privacy?.protection ?? null;
  return level === null ? null : Math.min(LEVEL_MAX, Math.max(LEVEL_MIN, level));
}

/**
 * Lists the levels to measure: those of the curve and the current one.
 * @param {number|null} level
 * @returns {number[]}
 */
export function readingLevels(level) {
  if (level === null) return [ANY_LEVEL];
  return [...new Set([...CURVE_LEVELS, level])].sort((left, right) => left - right);
}

/**
 * Names what is about to be measured.
 * @param {import("./initial.js").State} state
 * @returns {Measured}
 */
export function measuredNow(state) {
  return { wanted: state.wanted, level: currentLevel(state) ?? ANY_LEVEL };
}

/**
 * Finds the point of a level: the nearest one.
 * @param {ReadingPoint[]} points
 * @param {number} level
 * @returns {ReadingPoint|null}
 */
export function pointAt(points, level) {
  const distance = (/** @type {ReadingPoint} */ point) => Math.abs(point.level - level);
  return points.reduce(
    (best, point) => (best === null || distance(point) < distance(best) ? point : best),
    /** @type {ReadingPoint|null} */ (null),
  );
}

/**
 * Finds the share of tokens that the stronger attack reads back.
 * @param {ReadingPoint} point
 */
export function strongest({ nn, bayes }) {
  return Math.max(nn, bayes ?? 0);
}

/**
 * Says a curve in words.
 * @param {ReadingPoint[]} points
 */
export function curveText(points) {
  const read = points.map((point) =>
    say("reading.curve.point", {
      share: percent(strongest(point)),
      level: percent(point.level),
    }),
  );
  return say("reading.curve.text", { points: read.join(", ") });
}

/**
 * Says whether the settings have changed since the measurement.
 * @param {import("./initial.js").State} state
 */
export function isOutdated({ reading, wanted }) {
  return (
    reading.measured !== null && JSON.stringify(reading.measured.wanted) !== JSON.stringify(wanted)
  );
}

/**
 * Says whether the curve is that of the current mechanism, whatever its level.
 * @param {import("./initial.js").State} state
 */
export function isSameCurve({ reading, wanted }) {
  return reading.measured !== null && lawOf(reading.measured.wanted) === lawOf(wanted);
}

/**
 * Names a mechanism with what it does for words that matter, whatever its level.
 * @param {import("./contract.js").PrivacyWanted} wanted
 */
export function lawOf({ mechanism, contribution }) {
  return JSON.stringify([mechanism, contribution]);
}

/**
 * Names a mechanism with the level at which it was measured.
 * @param {import("./contract.js").Mechanism|null} entry
 * @param {{ mechanism: string }} wanted
 * @param {{ level: number }} point
 */
export function settingName(entry, { mechanism }, { level }) {
  const title = entry?.title ?? mechanism;
  return entry?.level
    ? say("reading.setting.level", { title, level: percent(level) })
    : say("reading.setting", { title });
}
