/** A line chart as SVG: axes, curves, one mark. Used by the learning curves and the privacy reading. */

import { h, svg } from "../dom.js";
import { linePath, plotArea, scale, ticks } from "../geometry.js";

/** @typedef {import("../geometry.js").Point} Point */
/** @typedef {{ name: string, points: Point[], marks: boolean }} Curve `name` is the class of its look */
/** @typedef {{ domain: [number, number], tick: (value: number) => string }} Axis */
/** @typedef {{ title: string, curves: Curve[], x: Axis & { name: string }, y: Axis, mark: { x: number, name: string }|null }} Plot */

const HEIGHT = 240;
/** Room for the name of a mark beside it. */
const MARK_WIDTH = 60;

/**
 * Makes an empty chart with its legend.
 * @param {string} caption
 * @param {Record<string, string>} names by class of curve
 */
export function figure(caption, names) {
  const drawing = svg("svg", { class: "plot", role: "img", height: HEIGHT });
  const key = (/** @type {string} */ name, /** @type {string} */ text) =>
    h(
      "li",
      {},
      svg(
        "svg",
        { class: "key-line", width: 26, height: 8, "aria-hidden": "true" },
        svg("path", { class: `curve curve-${name}`, d: "M1 4H25" }),
      ),
      text,
    );
  const node = h(
    "figure",
    {},
    h(
      "figcaption",
      {},
      h("strong", {}, caption),
      h("ul", { class: "legend" }, ...Object.entries(names).map(([name, text]) => key(name, text))),
    ),
    drawing,
  );
  return { node, drawing };
}

/**
 * Draws a chart at the width of its figure.
 * @param {any} drawing
 * @param {Plot} plot
 */
export function paint(drawing, { title, curves, x, y, mark }) {
  const width = Math.max(220, Math.round(drawing.parentElement.clientWidth));
  const area = plotArea(width, HEIGHT);
  const toX = scale(x.domain, [area.left, area.right]);
  const toY = scale(y.domain, [area.bottom, area.top]);
  const nodes = [
    ...ticks(...y.domain, 6).flatMap((value) => yTick(area, toY(value), y.tick(value))),
    ...ticks(...x.domain, width < 360 ? 4 : 6).map((value) =>
      text(toX(value), area.bottom + 16, "middle", x.tick(value)),
    ),
    text((area.left + area.right) / 2, area.bottom + 34, "middle", x.name),
    ...(mark === null ? [] : markLine(area, toX(mark.x), mark.name)),
    ...curves.flatMap((curve) => line(curve, toX, toY)),
  ];
  drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  drawing.setAttribute("aria-label", title);
  drawing.replaceChildren(...nodes);
}

/** @typedef {ReturnType<typeof plotArea>} Area */

/** @param {number} x @param {number} y @param {"start"|"middle"|"end"} anchor @param {string} content */
function text(x, y, anchor, content) {
  return svg(
    "text",
    { class: "tick", x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor },
    content,
  );
}

/** @param {Area} area @param {number} y @param {string} name */
function yTick(area, y, name) {
  const at = y.toFixed(1);
  const label = text(area.left - 6, y, "end", name);
  label.setAttribute("dy", "0.32em");
  return [svg("line", { class: "grid", x1: area.left, x2: area.right, y1: at, y2: at }), label];
}

/** @param {Area} area @param {number} x @param {string} name */
function markLine(area, x, name) {
  const at = x.toFixed(1);
  const nearEnd = x > area.right - MARK_WIDTH;
  return [
    svg("line", { class: "mark-line", x1: at, x2: at, y1: area.top, y2: area.bottom }),
    text(x + (nearEnd ? -5 : 5), area.bottom - 6, nearEnd ? "end" : "start", name),
  ];
}

/** @param {Curve} curve @param {(x: number) => number} toX @param {(y: number) => number} toY */
function line({ name, points, marks }, toX, toY) {
  const path = svg("path", { class: `curve curve-${name}`, d: linePath(points, toX, toY) });
  if (!marks) return [path];
  const dots = points.map(({ x, y }) =>
    svg("circle", {
      class: `dot dot-${name}`,
      cx: toX(x).toFixed(1),
      cy: toY(y).toFixed(1),
      r: 3,
    }),
  );
  return [path, ...dots];
}
