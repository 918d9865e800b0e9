/** What charts have in common: the legend, two axes with units, curves, marks. Pure. */

import { linePath, scale, ticks } from "../geometry.js";
import { fitted, textWidth } from "./measure.js";
import { el, HALF_LETTER, marker, stroke, words } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {import("./tree.js").Shape} Shape */
/** @typedef {import("../geometry.js").Point} Point */

/**
 * @typedef {object} Curve
 * @property {string} name in the legend
 * @property {string} [short] the same where there is little room
 * @property {string|null} line class of its line, null: none
 * @property {string|null} dot class of its marks, null: none
 * @property {Shape} shape of its marks
 * @property {Point[]} points
 */
/** @typedef {{ domain: [number, number], tick: (value: number) => string, name: string }} Axis */
/** @typedef {{ x: number, name: string }} Mark a place of the x axis */
/** @typedef {{ y: number, name: string }} Level a height that everything is compared with */
/** @typedef {{ from: number, to: number, name: string, short: string }} Band a part of the x axis */
/** @typedef {{ curves: Curve[], x: Axis, y: Axis, marks?: Mark[], levels?: Level[], bands?: Band[], rings?: Point[] }} Chart */
/** @typedef {{ left: number, right: number, top: number, bottom: number }} Area */

const PLOT_HEIGHT = 210;
const WIDTH_MIN = 220;
const KEY_WIDTH = 30;
const LINE = 19;
/** Below this width fewer ticks fit. */
const NARROW = 420;

/**
 * Lays a legend out, line after line.
 * @param {number} width
 * @param {{ name: string, short?: string, key: (x: number, y: number) => Tree[] }[]} entries
 */
export function legend(width, entries) {
  let x = 0;
  let y = 10;
  /** @type {Tree[]} */
  const nodes = [];
  for (const { name: long, short, key } of entries) {
    const most = width - KEY_WIDTH - 6;
    const name = fitted(short !== undefined && textWidth(long) > most ? short : long, most);
    const room = KEY_WIDTH + 6 + textWidth(name) + 16;
    if (x > 0 && x + room > width) {
      x = 0;
      y += LINE;
    }
    nodes.push(...key(x, y), words(x + KEY_WIDTH + 6, y + HALF_LETTER, "start", name, "pic-text"));
    x += room;
  }
  return { nodes, height: entries.length === 0 ? 0 : y + 14 };
}

/** @param {Curve} curve */
function curveKey({ name, short, line, dot, shape }) {
  const key = (/** @type {number} */ x, /** @type {number} */ y) => [
    ...(line === null ? [] : [stroke(x + 1, y, x + KEY_WIDTH - 1, y, line)]),
    ...(dot === null ? [] : [marker(shape, x + KEY_WIDTH / 2, y, dot)]),
  ];
  return { name, short, key };
}

/**
 * Draws a chart.
 * @param {number} asked
 * @param {Chart} chart
 */
export function chart(asked, { curves, x, y, marks = [], levels = [], bands = [], rings = [] }) {
  const width = Math.max(WIDTH_MIN, Math.round(asked));
  const levelKey = (/** @type {Level} */ { name }) => ({
    name,
    key: (/** @type {number} */ at, /** @type {number} */ height) => [
      stroke(at + 1, height, at + KEY_WIDTH - 1, height, "pic-level"),
    ],
  });
  const keys = legend(width, [...curves.map(curveKey), ...levels.map(levelKey)]);
  const yTicks = ticks(...y.domain, 6);
  const left = 12 + Math.max(...yTicks.map((value) => textWidth(y.tick(value))));
  const top = keys.height + 24;
  const lastTick = textWidth(x.tick(x.domain[1])) / 2;
  /** @type {Area} */
  const plot = { left, right: width - Math.max(12, lastTick), top, bottom: top + PLOT_HEIGHT };
  const toX = scale(x.domain, [plot.left, plot.right]);
  const toY = scale(y.domain, [plot.bottom, plot.top]);
  const below = bands.length > 0 ? 18 : 0;
  const nodes = [
    ...keys.nodes,
    words(0, keys.height + 12, "start", y.name),
    ...yTicks.flatMap((value) => yTick(plot, toY(value), y.tick(value))),
    ...xTicks(plot, x, toX, width < NARROW ? 4 : 7),
    ...bandMarks(plot, bands, toX),
    words((plot.left + plot.right) / 2, plot.bottom + below + 36, "middle", x.name),
    ...levels.map((level) =>
      stroke(plot.left, toY(level.y), plot.right, toY(level.y), "pic-level"),
    ),
    ...marks.flatMap((mark) => markLine(plot, toX(mark.x), mark.name)),
    ...curves.flatMap((curve) => line(curve, toX, toY)),
    ...rings.map((ring) => marker("circle", toX(ring.x), toY(ring.y), "pic-ring", 7)),
  ];
  return { width, height: plot.bottom + below + 44, nodes, plot, toX, toY };
}

/**
 * A target as high as the plot.
 * @param {Area} plot
 * @param {number} x
 * @param {string} text
 * @returns {import("./tree.js").Target}
 */
export function column({ top, bottom }, x, text) {
  return { box: { x, y: top, width: 0, height: bottom - top }, text };
}

/** @param {Area} plot @param {number} y @param {string} name */
function yTick(plot, y, name) {
  return [
    stroke(plot.left, y, plot.right, y, "pic-grid"),
    words(plot.left - 6, y + HALF_LETTER, "end", name),
  ];
}

/** @param {Area} plot @param {Axis} x @param {(value: number) => number} toX @param {number} most */
function xTicks(plot, { domain, tick }, toX, most) {
  return ticks(...domain, most).flatMap((value) => [
    stroke(toX(value), plot.bottom, toX(value), plot.bottom + 4, "pic-axis"),
    words(toX(value), plot.bottom + 17, "middle", tick(value)),
  ]);
}

/** @param {Area} plot @param {Band[]} bands @param {(value: number) => number} toX */
function bandMarks(plot, bands, toX) {
  let free = -Infinity;
  return bands.flatMap(({ from, to, name, short }) => {
    const [start, end] = [toX(from), toX(to)];
    const middle = (start + end) / 2;
    const fit = [name, short].find((each) => textWidth(each) + 6 <= end - start) ?? short;
    const half = textWidth(fit) / 2;
    const shown = middle - half > free;
    if (shown) free = middle + half + 6;
    return [
      stroke(end, plot.bottom + 23, end, plot.bottom + 36, "pic-axis"),
      ...(shown ? [words(middle, plot.bottom + 33, "middle", fit)] : []),
    ];
  });
}

/** @param {Area} plot @param {number} x @param {string} name */
function markLine(plot, x, name) {
  const nearEnd = x + textWidth(name) + 8 > plot.right;
  return [
    stroke(x, plot.top, x, plot.bottom, "pic-mark"),
    words(x + (nearEnd ? -5 : 5), plot.bottom - 6, nearEnd ? "end" : "start", name),
  ];
}

/** @param {Curve} curve @param {(x: number) => number} toX @param {(y: number) => number} toY */
function line({ line: look, dot, shape, points }, toX, toY) {
  const path = look === null ? [] : [el("path", { class: look, d: linePath(points, toX, toY) })];
  if (dot === null) return path;
  const seen = points.filter((point) => Number.isFinite(point.y));
  return [...path, ...seen.map((point) => marker(shape, toX(point.x), toY(point.y), dot))];
}
