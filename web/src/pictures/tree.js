/**
 * What a picture is before anything draws it: a tree of SVG elements as plain data. Pure.
 *
 * The page grows nodes of it (`elements/picture.js`), an export writes it as text (`markup.js`), and both show the same.
 *
 * @typedef {{ tag: string, attributes: Record<string, string|number>, children: (Tree|string)[] }} Tree
 *
 * @typedef {{ x: number, y: number, width: number, height: number }} Box
 * @typedef {{ box: Box, text: string }} Target what a reader can point at, and what is then read out
 *
 * @typedef {object} Drawing
 * @property {number} width may be more than was asked for: the picture then scrolls
 * @property {number} height
 * @property {Tree[]} nodes
 * @property {() => Target[]} targets from left to right and from top to bottom
 *
 * @typedef {string|number|null} Cell
 * @typedef {{ name: string, unit: string, show: (cell: any) => string, text?: boolean }} Column
 * @typedef {{ caption: string, columns: Column[], rows: Cell[][] }} Table
 *
 * @typedef {object} Picture
 * @property {string} name of its files, and part of ids
 * @property {string} caption its heading
 * @property {string} title what it shows, in a sentence
 * @property {string} desc what it says, in words
 * @property {(width: number) => Drawing} draw
 * @property {Table} table the same numbers
 */

/**
 * Makes an element; children that are null are left out, and numbers lose what no screen shows.
 * @param {string} tag
 * @param {Record<string, string|number|null>} [attributes]
 * @param {...(Tree|string|null)} children
 * @returns {Tree}
 */
export function el(tag, attributes = {}, ...children) {
  /** @type {Record<string, string|number>} */
  const kept = {};
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) continue;
    kept[name] = typeof value === "number" ? Math.round(value * 10) / 10 : value;
  }
  return {
    tag,
    attributes: kept,
    children: /** @type {(Tree|string)[]} */ (children.filter((child) => child !== null)),
  };
}

/** From the middle of a line of text down to its base line: not every reader of SVG knows `dy`. */
export const HALF_LETTER = 4;

/**
 * Makes a line of text.
 * @param {number} x
 * @param {number} y of the base line
 * @param {"start"|"middle"|"end"} anchor
 * @param {string} content
 * @param {string} [look]
 * @param {Record<string, string|number|null>} [more]
 */
export function words(x, y, anchor, content, look = "pic-tick", more = {}) {
  return el("text", { class: look, x, y, "text-anchor": anchor, ...more }, content);
}

/** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {string} look */
export function stroke(x1, y1, x2, y2, look) {
  return el("line", { class: look, x1, y1, x2, y2 });
}

/** @param {Box} box @param {string} look @param {Record<string, string|number|null>} [more] */
export function area({ x, y, width, height }, look, more = {}) {
  return el("rect", { class: look, x, y, width, height, ...more });
}

/**
 * Names the places at which a value is marked, so that colour is never the only sign.
 * @typedef {"circle"|"square"|"diamond"|"triangle"} Shape
 */

/**
 * Makes a mark.
 * @param {Shape} shape
 * @param {number} x
 * @param {number} y
 * @param {string} look
 * @param {number} [size] half of its width
 */
export function marker(shape, x, y, look, size = 3.5) {
  if (shape === "circle") return el("circle", { class: look, cx: x, cy: y, r: size });
  if (shape === "square")
    return area({ x: x - size, y: y - size, width: 2 * size, height: 2 * size }, look);
  const s = size * 1.6;
  const corners =
    shape === "diamond"
      ? [
          [x, y - s],
          [x + s, y],
          [x, y + s],
          [x - s, y],
        ]
      : [
          [x, y - s],
          [x + s, y + s * 0.75],
          [x - s, y + s * 0.75],
        ];
  const path = corners.map((corner) => corner.map((value) => value.toFixed(1)).join(" "));
  return el("path", { class: look, d: `M${path.join("L")}Z` });
}

/**
 * Puts a drawing into an `svg` element with its name and description.
 * @param {Picture} picture
 * @param {Drawing} drawing
 * @param {string} id stem of the ids by which the name is found
 * @returns {Tree}
 */
export function svgOf({ title, desc }, { width, height, nodes }, id) {
  return el(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      class: "pic",
      role: "img",
      viewBox: `0 0 ${round(width)} ${round(height)}`,
      "aria-labelledby": `${id}-title`,
      "aria-describedby": `${id}-desc`,
      "font-family": "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    },
    el("title", { id: `${id}-title` }, title),
    el("desc", { id: `${id}-desc` }, desc),
    ...nodes,
  );
}

/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10;

/**
 * Finds the target nearest to a point, none where there is none.
 * @param {Target[]} targets
 * @param {number} x
 * @param {number} y
 */
export function nearest(targets, x, y) {
  const beside = (
    /** @type {number} */ at,
    /** @type {number} */ from,
    /** @type {number} */ size,
  ) => Math.max(from - at, 0, at - from - size);
  let best = -1;
  let least = Infinity;
  targets.forEach(({ box }, index) => {
    const distance = Math.hypot(beside(x, box.x, box.width), beside(y, box.y, box.height));
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}
