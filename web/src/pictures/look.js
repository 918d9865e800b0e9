/**
 * How the parts of pictures look. Pure.
 *
 * One table for two uses: on the page it is a style sheet (`styles/pictures.css`, which a test holds against this table)
 * in the reader's light or dark; in an export its values are written into each element, in light.
 */

import { markup } from "./markup.js";
import { area, el, svgOf } from "./tree.js";

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {Record<string, string|number>} Look values that begin with `--` are names of colours */

/** The light colours of `styles/base.css`. @type {Record<string, string>} */
export const LIGHT = {
  "--surface": "#ffffff",
  "--ink": "#1c2427",
  "--soft": "#566268",
  "--line": "#d8d8d0",
  "--edge": "#82898b",
  "--accent": "#0b5563",
  "--second": "#9a4b0c",
  "--third": "#5b3a8c",
  "--sunken": "#efeee8",
  "--near": "#fbefd5",
  "--near-edge": "#8a5a00",
  "--far": "#d9ecef",
  "--far-edge": "#0b5563",
};

/** @type {Record<string, Look>} by class */
export const LOOK = {
  "pic-tick": { fill: "--soft", "font-size": "12px" },
  "pic-text": { fill: "--ink", "font-size": "12px" },
  "pic-strong": { fill: "--ink", "font-size": "13px", "font-weight": 650 },
  "pic-title": { fill: "--ink", "font-size": "16px", "font-weight": 650 },
  "pic-mono": { fill: "--ink", "font-size": "13px", "font-family": "ui-monospace, monospace" },
  "pic-mono-soft": {
    fill: "--soft",
    "font-size": "13px",
    "font-family": "ui-monospace, monospace",
  },
  "pic-grid": { stroke: "--line" },
  "pic-axis": { stroke: "--edge" },
  "pic-mark": { stroke: "--edge", "stroke-dasharray": "2 3" },
  "pic-level": { stroke: "--soft", "stroke-dasharray": "7 3 2 3" },
  "pic-casing": { stroke: "--surface", "stroke-width": 5 },
  "pic-faint": { fill: "none", stroke: "--accent", "stroke-width": 1, "stroke-opacity": 0.4 },
  "pic-one": { fill: "none", stroke: "--accent", "stroke-width": 2 },
  "pic-two": { fill: "none", stroke: "--second", "stroke-width": 2, "stroke-dasharray": "6 3" },
  "pic-dot-one": { fill: "--accent" },
  "pic-dot-two": { fill: "--second" },
  "pic-dot-three": { fill: "--third", stroke: "--surface", "stroke-width": 1.5 },
  "pic-ring": { fill: "none", stroke: "--ink", "stroke-width": 1.5 },
  "pic-cell": { fill: "none", stroke: "--line" },
  "pic-right": { fill: "--accent" },
  "pic-wrong": { fill: "--second" },
  "pic-with": { fill: "--accent" },
  "pic-without": { fill: "none", stroke: "--second", "stroke-width": 1.5 },
  "pic-unchanged": { fill: "--surface", stroke: "--edge", "stroke-width": 1.5 },
  "pic-near": {
    fill: "--near",
    stroke: "--near-edge",
    "stroke-width": 1.5,
    "stroke-dasharray": "4 2",
  },
  "pic-far": { fill: "--far", stroke: "--far-edge", "stroke-width": 1.5 },
  "pic-removed": {
    fill: "--sunken",
    stroke: "--edge",
    "stroke-width": 1.5,
    "stroke-dasharray": "1.5 2",
  },
  "pic-special": { fill: "none" },
  "pic-matters": { stroke: "--third", "stroke-width": 2 },
};

/** Writes the table as a style sheet that follows the reader's colours. */
export function sheet() {
  const value = (/** @type {string|number} */ each) =>
    String(each).startsWith("--") ? `var(${each})` : String(each);
  const rules = Object.entries(LOOK).map(([name, look]) => {
    const lines = Object.entries(look).map(([key, each]) => `  ${key}: ${value(each)};`);
    return `.${name} {\n${lines.join("\n")}\n}\n`;
  });
  return rules.join("\n");
}

/**
 * Replaces classes by what they look like in light.
 * @param {Tree} tree
 * @returns {Tree}
 */
export function resolved({ tag, attributes, children }) {
  const { class: name, ...rest } = attributes;
  const look = LOOK[String(name ?? "")] ?? {};
  const light = Object.fromEntries(
    Object.entries(look).map(([key, value]) => [key, LIGHT[String(value)] ?? value]),
  );
  return {
    tag,
    attributes: { ...light, ...rest },
    children: children.map((child) => (typeof child === "string" ? child : resolved(child))),
  };
}

/** Room around an export, and for its heading. */
const MARGIN = 20;
const HEADING = 34;

/** The width of a picture that is not made for a screen. */
const EXPORT_WIDTH = 840;

/**
 * Makes a picture for a document: in light, without a heading.
 * @param {import("./tree.js").Picture} picture
 */
export function embedded(picture) {
  return resolved(svgOf(picture, picture.draw(EXPORT_WIDTH), `figure-${picture.name}`));
}

/**
 * Writes a picture as a file that stands alone: with its heading, on white, in light.
 * @param {import("./tree.js").Picture} picture
 */
export function svgFile(picture) {
  const drawing = picture.draw(EXPORT_WIDTH);
  const tree = standalone(picture, svgOf(picture, drawing, picture.name), drawing);
  const { width, height } = tree.attributes;
  return { text: markup(tree), width: Number(width), height: Number(height) };
}

/**
 * @param {import("./tree.js").Picture} picture
 * @param {Tree} svg as `svgOf` gives it
 * @param {import("./tree.js").Drawing} drawing
 */
function standalone({ caption }, svg, { width, height }) {
  const [outerWidth, outerHeight] = [width + 2 * MARGIN, height + 2 * MARGIN + HEADING];
  const named = svg.children.slice(0, 2);
  const rest = svg.children.slice(2);
  const tree = {
    ...svg,
    attributes: {
      ...svg.attributes,
      width: Math.ceil(outerWidth),
      height: Math.ceil(outerHeight),
      viewBox: `0 0 ${Math.ceil(outerWidth)} ${Math.ceil(outerHeight)}`,
    },
    children: [
      ...named,
      area({ x: 0, y: 0, width: Math.ceil(outerWidth), height: Math.ceil(outerHeight) }, "", {
        fill: LIGHT["--surface"],
      }),
      el("text", { class: "pic-title", x: MARGIN, y: MARGIN + 14 }, caption),
      /** @type {Tree} */ ({
        tag: "g",
        attributes: { transform: `translate(${MARGIN} ${MARGIN + HEADING})` },
        children: rest,
      }),
    ],
  };
  return resolved(tree);
}
