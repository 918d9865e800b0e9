/** The arithmetic of the charts: ticks, scales, paths. Pure; knows no DOM. */

/** @typedef {{ x: number, y: number }} Point */

/**
 * Chooses round tick values that lie within a range.
 * @param {number} low
 * @param {number} high
 * @param {number} ticksMax
 * @returns {number[]}
 */
export function ticks(low, high, ticksMax) {
  if (!(high > low) || ticksMax < 2) return [low];
  const step = roundStep((high - low) / (ticksMax - 1));
  const values = [];
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  for (let index = first; index <= last; index += 1) {
    values.push(Number((index * step).toPrecision(12)));
  }
  return values;
}

/**
 * Rounds a step up to 1, 2 or 5 times a power of ten.
 * @param {number} rough
 */
export function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  for (const nice of [1, 2, 5]) {
    if (lead <= nice + 1e-9) return nice * power;
  }
  return 10 * power;
}

/**
 * Maps a range of values onto a range of pixels.
 * @param {[number, number]} domain
 * @param {[number, number]} range
 * @returns {(value: number) => number}
 */
export function scale([low, high], [from, to]) {
  const width = high - low;
  if (width === 0) return () => (from + to) / 2;
  return (value) => from + ((value - low) / width) * (to - from);
}

/**
 * Finds a range for losses: from zero to a little above the largest finite value.
 * @param {number[]} values
 * @returns {[number, number]}
 */
export function lossDomain(values) {
  const finite = values.filter(Number.isFinite);
  const largest = Math.max(0, ...finite);
  return [0, largest === 0 ? 1 : largest * 1.08];
}

/**
 * Draws a line through points; a value that is not finite breaks the line.
 * @param {Point[]} points
 * @param {(x: number) => number} toX
 * @param {(y: number) => number} toY
 */
export function linePath(points, toX, toY) {
  let path = "";
  let open = false;
  for (const { x, y } of points) {
    if (!Number.isFinite(y)) {
      open = false;
      continue;
    }
    path += `${open ? "L" : "M"}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`;
    open = true;
  }
  return path;
}

/**
 * Smooths a curve: each point is the mean of those around it within a window.
 * @param {Point[]} points
 * @param {number} window points on either side
 * @returns {Point[]}
 */
export function smooth(points, window) {
  return points.map(({ x }, index) => {
    const near = points.slice(Math.max(0, index - window), index + window + 1);
    return { x, y: near.reduce((sum, { y }) => sum + y, 0) / near.length };
  });
}

/**
 * Places the plot inside a drawing of a given size.
 * @param {number} width
 * @param {number} height
 */
export function plotArea(width, height) {
  const left = 46;
  const right = Math.max(left + 40, width - 14);
  return { left, right, top: 10, bottom: Math.max(50, height - 40) };
}
