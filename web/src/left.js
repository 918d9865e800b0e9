/**
 * The record of what has left this page: the latest pieces, and totals of all. Pure.
 *
 * Pieces come from two places. Messages are described by the client from the bytes that its socket is given
 * (`outgoing.rs`); requests are what the browser itself says it has made (`requests.js`). Neither is what the page
 * meant to send.
 */

import { textField } from "./pictures/table.js";

/** @typedef {"page"|"model"|"session"|"examples"|"corrections"|"control"|"predict"|"elsewhere"|"unknown"} Purpose */
/** @typedef {{ dtype: string, rows: number, columns: number, bytes: number, first: number[] }} Tensor */
/** @typedef {{ name: string, value: number }} Count */

/**
 * @typedef {object} Piece
 * @property {number} id counts from 1 for the whole life of the page
 * @property {number} time milliseconds since 1970
 * @property {"message"|"request"} kind
 * @property {string} name a message's name, or the address that was asked for
 * @property {number|null} bytes of a message; null for a request, of which the browser tells no size
 * @property {Purpose} purpose
 * @property {Count[]} counts
 * @property {Tensor|null} tensor
 */

/**
 * @typedef {object} Sums
 * @property {number} messages
 * @property {number} requests
 * @property {number} bytes of messages
 */

/**
 * @typedef {object} Left
 * @property {Piece[]} pieces the latest ones, the newest last
 * @property {number} count all that were ever told
 * @property {Partial<Record<Purpose, Sums>>} sums by purpose, of all
 */

/** Pieces that are kept; of older ones only the sums remain. */
export const PIECES_MAX = 300;
/** An address is cut here: data could otherwise make the record grow. */
const ADDRESS_CHARS_MAX = 200;

/** What the messages of docs/protocol.md are for. @type {Readonly<Record<string, Purpose>>} */
export const MESSAGE_PURPOSES = Object.freeze({
  Connection: "session",
  Hello: "session",
  Resume: "session",
  Received: "session",
  UseAdapter: "session",
  Goodbye: "session",
  Upload: "examples",
  BatchActivations: "examples",
  PooledGradient: "corrections",
  Verdict: "corrections",
  Train: "control",
  Pause: "control",
  Continue: "control",
  Cancel: "control",
  Predict: "predict",
});

/** In the order in which they are shown. @type {readonly Purpose[]} */
export const PURPOSES = [
  "page",
  "model",
  "session",
  "examples",
  "corrections",
  "control",
  "predict",
  "elsewhere",
  "unknown",
];

/** @type {Readonly<Left>} */
export const NOTHING_LEFT = Object.freeze({ pieces: [], count: 0, sums: {} });

/**
 * Adds what was told: a message `{ message, bytes, counts, tensor, time }` or a request `{ address, time }`.
 * @param {Left} left
 * @param {any} event
 * @param {{ page: string, server: string }} origins of this page, and of the server that it works with
 * @returns {Left}
 */
export function addLeft(left, event, origins) {
  const piece = { id: left.count + 1, time: event.time, ...described(event, origins) };
  const before = left.sums[piece.purpose] ?? { messages: 0, requests: 0, bytes: 0 };
  const sums = {
    messages: before.messages + (piece.kind === "message" ? 1 : 0),
    requests: before.requests + (piece.kind === "request" ? 1 : 0),
    bytes: before.bytes + (piece.bytes ?? 0),
  };
  return {
    pieces: [...left.pieces.slice(-(PIECES_MAX - 1)), piece],
    count: piece.id,
    sums: { ...left.sums, [piece.purpose]: sums },
  };
}

/**
 * @param {any} event
 * @param {{ page: string, server: string }} origins
 * @returns {Omit<Piece, "id"|"time">}
 */
function described(event, origins) {
  if (event.address !== undefined) {
    const { name, purpose } = ofAddress(event.address, origins);
    return { kind: "request", name, bytes: null, purpose, counts: [], tensor: null };
  }
  const { message, bytes, counts, tensor } = event;
  const known = Object.hasOwn(MESSAGE_PURPOSES, message);
  return {
    kind: message === "Connection" ? "request" : "message",
    name: message,
    bytes: message === "Connection" ? null : bytes,
    purpose: known ? MESSAGE_PURPOSES[message] : "unknown",
    counts,
    tensor,
  };
}

/**
 * Says what a request is for, by where it went.
 * @param {string} address
 * @param {{ page: string, server: string }} origins
 * @returns {{ name: string, purpose: Purpose }}
 */
export function ofAddress(address, { page, server }) {
  const url = URL.canParse(address, page) ? new URL(address, page) : null;
  if (url === null || (url.origin !== page && url.origin !== server))
    return { name: address.slice(0, ADDRESS_CHARS_MAX), purpose: "elsewhere" };
  const path = `${url.pathname}${url.search}`;
  const name = (url.origin === page ? path : `${url.origin}${path}`).slice(0, ADDRESS_CHARS_MAX);
  if (url.origin === server && url.pathname.startsWith("/v1/")) return { name, purpose: "model" };
  return { name, purpose: url.origin === page ? "page" : "elsewhere" };
}

/** Adds up all purposes. @param {Left} left @returns {Sums} */
export function sumOf({ sums }) {
  const sum = { messages: 0, requests: 0, bytes: 0 };
  for (const each of Object.values(sums)) {
    sum.messages += each.messages;
    sum.requests += each.requests;
    sum.bytes += each.bytes;
  }
  return sum;
}

const COLUMNS = [
  "number",
  "time",
  "kind",
  "name",
  "bytes",
  "purpose",
  "dtype",
  "rows",
  "columns",
  "tensor_bytes",
  "first_numbers",
  "counts",
];

/**
 * Writes the record as CSV (RFC 4180): the sums of all first, then the pieces that are kept.
 * @param {Left} left
 */
export function csvOf(left) {
  const sums = PURPOSES.flatMap((purpose) => {
    const sum = left.sums[purpose];
    if (sum === undefined) return [];
    const counts = `messages=${sum.messages} requests=${sum.requests}`;
    return [["", "", "sum", "", sum.bytes, purpose, "", "", "", "", "", counts]];
  });
  const pieces = left.pieces.map((piece) => {
    const { tensor } = piece;
    return [
      piece.id,
      new Date(piece.time).toISOString(),
      piece.kind,
      piece.name,
      piece.bytes ?? "",
      piece.purpose,
      tensor?.dtype ?? "",
      tensor?.rows ?? "",
      tensor?.columns ?? "",
      tensor?.bytes ?? "",
      // Brackets: a number below zero at the start of a cell is a formula to some programs.
      tensor ? `[${tensor.first.join(" ")}]` : "",
      piece.counts.map(({ name, value }) => `${name}=${value}`).join(" "),
    ];
  });
  return [COLUMNS, ...sums, ...pieces].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** Bytes are counted exactly, so numbers stay as they are. @param {string|number} value */
function cell(value) {
  return typeof value === "number" ? String(value) : textField(value);
}
