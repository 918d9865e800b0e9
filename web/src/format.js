/** Numbers and times as a reader sees them: always with a unit. Pure. */

const LOCALE = "en";
/** No-break space: a number never parts from its unit. */
const NBSP = "\u00a0";

/**
 * Formats a count with thousands separators.
 * @param {number} value
 */
export function number(value) {
  return new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 }).format(value);
}

/**
 * Formats a count with its noun: `1 row`, `6,000 rows`.
 * @param {number} value
 * @param {string} noun
 * @param {string} [plural]
 */
export function count(value, noun, plural = `${noun}s`) {
  return `${number(value)}${NBSP}${value === 1 ? noun : plural}`;
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
  return `${value.toFixed(digits)}${NBSP}${units[unit]}`;
}

/**
 * Formats a share in 0..1 as a percentage.
 * @param {number} share
 * @param {number} [digits]
 */
export function percent(share, digits = 0) {
  if (!Number.isFinite(share)) return "unknown";
  return `${(share * 100).toFixed(digits)}${NBSP}%`;
}

/**
 * Formats a duration with at most two units: `2 min 5 s`.
 * @param {number} millis
 */
export function duration(millis) {
  if (!Number.isFinite(millis) || millis < 0) return "unknown";
  if (millis < 1000) return "under 1" + NBSP + "s";
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
  return new Intl.DateTimeFormat("en-GB", style).format(millis);
}

/**
 * Formats a pace: per second where that is at least one, else the time of one.
 * @param {number} perSecond
 * @param {string} noun
 */
export function rate(perSecond, noun) {
  if (!Number.isFinite(perSecond) || perSecond <= 0) return "unknown";
  if (perSecond >= 10) return `${number(perSecond)}${NBSP}${noun}s/s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)}${NBSP}${noun}s/s`;
  return `${(1 / perSecond).toFixed(1)}${NBSP}s per ${noun}`;
}

/**
 * Formats a measured value with three significant digits.
 * @param {number} value
 */
export function decimal(value) {
  if (!Number.isFinite(value)) return "unknown";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.001) return value.toExponential(1);
  return new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 3 }).format(value);
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
