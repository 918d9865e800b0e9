/** Numbers and times as a reader sees them: always with a unit, in the language of the page. */

import { dates, NBSP, say, written } from "./language.js";

/**
 * Formats a count with thousands separators.
 * @param {number} value
 */
export function number(value) {
  return written(value, { maximumFractionDigits: 0 });
}

/**
 * Formats a count with its noun: `1 row`, `6,000 rows`.
 * @param {number} value
 * @param {string} noun one with a text `count.NOUN`
 */
export function count(value, noun) {
  return say(`count.${noun}`, { n: value });
}

/**
 * Formats a number of bytes in decimal units.
 * @param {number} bytes
 */
export function bytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${fixed(value, digits)}${NBSP}${units[unit]}`;
}

/**
 * Formats a share in 0..1 as a percentage.
 * @param {number} share
 * @param {number} [digits]
 */
export function percent(share, digits = 0) {
  if (!Number.isFinite(share)) return say("unknown");
  return `${fixed(share * 100, digits)}${NBSP}%`;
}

/**
 * Formats a duration with at most two units: `2 min 5 s`.
 * @param {number} millis
 */
export function duration(millis) {
  if (!Number.isFinite(millis) || millis < 0) return say("unknown");
  if (millis < 1000) return say("duration.under", { n: 1 });
  const seconds = Math.round(millis / 1000);
  if (seconds < 60) return `${seconds}${NBSP}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return pair(minutes, "min", seconds % 60, "s");
  return pair(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

/**
 * @param {number} large
 * @param {string} largeUnit
 * @param {number} small
 * @param {string} smallUnit
 */
function pair(large, largeUnit, small, smallUnit) {
  const first = `${number(large)}${NBSP}${largeUnit}`;
  return small === 0 ? first : `${first} ${small}${NBSP}${smallUnit}`;
}

/**
 * Formats a day: `25 Nov 2026`.
 * @param {number} millis since 1970
 */
export function day(millis) {
  const style = /** @type {const} */ ({ day: "numeric", month: "short", year: "numeric" });
  return dates(style).format(millis);
}

/**
 * Formats a pace: per second where that is at least one, else the time of one.
 * @param {number} perSecond
 * @param {string} noun one with texts `rate.NOUN` and `rate.NOUN.slow`
 */
export function rate(perSecond, noun) {
  if (!Number.isFinite(perSecond) || perSecond <= 0) return say("unknown");
  if (perSecond >= 10) return say(`rate.${noun}`, { n: perSecond });
  if (perSecond >= 1) return say(`rate.${noun}`, { n: fixed(perSecond, 1) });
  return say(`rate.${noun}.slow`, { n: fixed(1 / perSecond, 1) });
}

/**
 * Formats a measured value with three significant digits.
 * @param {number} value
 */
export function decimal(value) {
  if (!Number.isFinite(value)) return say("unknown");
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.001) {
    const [digits, exponent] = value.toExponential(1).split("e");
    return `${fixed(Number(digits), 1)}e${exponent}`;
  }
  return written(value, { maximumSignificantDigits: 3 });
}

/**
 * Formats a value with a fixed number of digits after the decimal point.
 * @param {number} value
 * @param {number} digits
 */
export function fixed(value, digits) {
  return written(value, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    useGrouping: false,
  });
}

/**
 * Shortens text for a place that cannot hold it all.
 * @param {string} text
 * @param {number} charsMax
 */
export function shorten(text, charsMax) {
  const chars = Array.from(text);
  if (chars.length <= charsMax) return text;
  return `${chars
    .slice(0, charsMax - 1)
    .join("")
    .trimEnd()}…`;
}
