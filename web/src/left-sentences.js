/** The words of the panel "What has left this page". Pure. */

import { bytes, count, decimal, number } from "./format.js";

/** @typedef {import("./left.js").Piece} Piece */
/** @typedef {import("./left.js").Purpose} Purpose */

export const CLAIM =
  "Every message to the server, read back from the bytes that were given to the connection, and every request that the browser says it has made. Your file, its texts, its words as numbers of a vocabulary, and the names of labels are in none of them.";

/** What the panel cannot show, said as plainly as what it can. */
export const NOT_COVERED = [
  "It is part of this page: a page that was made to deceive could show something else. Check that this is the page that was released, or watch the network in the browser’s own tools.",
  "The numbers of protected texts leave, and something can be read back from them. “What an attacker could read back” above measures how much.",
  "When something is sent, and how much, is visible to whoever carries it.",
  "Headers that the browser adds to each request (address, language, kind of browser), a token that you entered, and the browser’s answers to the server’s “are you there” are not listed.",
  "What other programs, extensions of the browser and the browser itself send is not seen.",
];

/** @type {Record<Purpose, string>} */
const PURPOSES = {
  page: "The files of this page",
  model: "The model’s files",
  session: "Opening and keeping the connection",
  examples: "Numbers of protected texts, to train",
  corrections: "Corrections and verdicts, computed here from labels",
  control: "Training options, pause and stop",
  predict: "Numbers of protected texts, to classify",
  elsewhere: "Requests to other places",
  unknown: "Not a message of the protocol",
};

/** @param {Purpose} purpose */
export function purposeName(purpose) {
  return PURPOSES[purpose];
}

/** @type {Record<string, (value: number) => string>} */
const COUNTS = {
  protocol_version: (value) => `version ${value} of the protocol`,
  blocks_here: (value) => `${count(value, "block")} of the model here`,
  classes: (value) => count(value, "class", "classes"),
  rank: (value) => `adapter of rank ${value}`,
  labels_travel: (value) => (value === 1 ? "labels travel as numbers" : "labels stay here"),
  examples: (value) => count(value, "text"),
  training: (value) => `${number(value)} to train`,
  validation: (value) => `${number(value)} to validate`,
  class_numbers: (value) =>
    value === 0 ? "no label" : count(value, "label as a number", "labels as numbers"),
  positions: (value) => `${count(value, "token position")} in all`,
  epochs: (value) => count(value, "pass", "passes"),
  batch_size: (value) => `${count(value, "text")} a step`,
  learning_rate: (value) => `learning rate ${decimal(value)}`,
  class_weights: (value) => count(value, "weight of a class", "weights of classes"),
  step: (value) => `for step ${number(value)}`,
  confirmed: (value) => `${count(value, "message")} of the server confirmed`,
};

/**
 * Says what is in a piece.
 * @param {Piece} piece
 */
export function contentOf({ kind, counts, tensor }) {
  if (kind === "request") return "An address; headers of the browser";
  const parts = counts.map(({ name, value }) => COUNTS[name]?.(value) ?? `${name} ${value}`);
  if (tensor !== null && tensor.rows > 0) {
    parts.push(
      `${number(tensor.rows)} × ${number(tensor.columns)} numbers (${tensor.dtype}), beginning ${tensor.first
        .map(shown)
        .join(", ")} …`,
    );
  } else if (tensor !== null) parts.push("no numbers of texts yet");
  return parts.length === 0 ? "Nothing but its name" : parts.join("; ");
}

/** Numbers of a text in the form in which a recording is easily compared with them. @param {number} value */
function shown(value) {
  return Number.isFinite(value) ? value.toPrecision(3) : "unreadable";
}

/** @param {Piece} piece */
export function sizeOf(piece) {
  return piece.bytes === null ? "headers" : bytes(piece.bytes);
}

/**
 * The one line that is shown while the panel is closed.
 * @param {import("./left.js").Sums} sum
 */
export function summaryOf(sum) {
  const messages = `${count(sum.messages, "message")} with ${bytes(sum.bytes)}`;
  return `So far ${count(sum.requests, "request")} and ${messages}`;
}

/** The caption of the list. @param {import("./left.js").Left} left */
export function captionOf({ pieces, count: all }) {
  if (pieces.length === all) return "All of it, the newest first";
  return `The latest ${number(pieces.length)} of ${number(all)}, the newest first; the sums above are of all`;
}
