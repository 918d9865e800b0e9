/** Which words the panel "What has left this page" says of what. Words are in `languages/`. */

import { bytes, count, decimal, number } from "./format.js";
import { has, say } from "./language.js";

/** @typedef {import("./left.js").Piece} Piece */

/** What the panel cannot show, said as plainly as what it can: the parts of `left.not.PART`. */
export const NOT_COVERED = ["page", "numbers", "when", "headers", "others"];

/** @param {import("./left.js").Purpose} purpose */
export function purposeName(purpose) {
  return say(`left.purpose.${purpose}`);
}

/**
 * Says what is in a piece.
 * @param {Piece} piece
 */
export function contentOf({ kind, counts, tensor }) {
  if (kind === "request") return say("left.request");
  const parts = counts.map(countOf);
  if (tensor !== null && tensor.rows > 0) {
    const { rows, columns, dtype, first } = tensor;
    const numbers = first.map(shown).join(", ");
    parts.push(say("left.tensor", { rows, columns, dtype, numbers }));
  } else if (tensor !== null) parts.push(say("left.no-tensor"));
  return parts.length === 0 ? say("left.nothing") : parts.join("; ");
}

/** @param {import("./left.js").Count} count */
function countOf({ name, value }) {
  if (name === "labels_travel" && value !== 1) return say("left.labels-stay");
  if (name === "class_numbers" && value === 0) return say("left.no-label");
  if (!has(`left.count.${name}`)) return `${name} ${value}`;
  return say(`left.count.${name}`, { n: name === "learning_rate" ? decimal(value) : value });
}

/** Numbers of a text in the form in which a recording is easily compared with them. @param {number} value */
function shown(value) {
  return Number.isFinite(value) ? value.toPrecision(3) : say("left.unreadable");
}

/** @param {Piece} piece */
export function sizeOf(piece) {
  return piece.bytes === null ? say("left.headers") : bytes(piece.bytes);
}

/**
 * The one line that is shown while the panel is closed.
 * @param {import("./left.js").Sums} sum
 */
export function summaryOf(sum) {
  return say("left.summary", {
    requests: count(sum.requests, "request"),
    messages: count(sum.messages, "message"),
    bytes: bytes(sum.bytes),
  });
}

/** The caption of the list. @param {import("./left.js").Left} left */
export function captionOf({ pieces, count: all }) {
  if (pieces.length === all) return say("left.all");
  return say("left.latest", { shown: number(pieces.length), all: number(all) });
}
