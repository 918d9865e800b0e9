/** The numbers of a picture as CSV (RFC 4180). Pure. */

import { say } from "../language.js";

/** @typedef {import("./tree.js").Table} Table */

/** Digits that a share or a loss keeps: more is noise of the arithmetic. */
const SIGNIFICANT = 7;
/** With these a spreadsheet would take text for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/**
 * Writes a table, with the unit of each column in its heading.
 * @param {Table} table
 */
export function csv({ columns, rows }) {
  const head = columns.map(({ name, unit }) => quoted(unit === "" ? name : `${name} (${unit})`));
  const lines = rows.map((row) => row.map(field).join(","));
  return `${[head.join(","), ...lines].join("\r\n")}\r\n`;
}

/** @param {import("./tree.js").Cell} cell */
function field(cell) {
  if (cell === null) return "";
  if (typeof cell === "string") return textField(cell);
  return Number.isFinite(cell) ? String(Number(cell.toPrecision(SIGNIFICANT))) : "";
}

/** Writes a text, which no spreadsheet then takes for a formula. @param {string} text */
export function textField(text) {
  return quoted(FORMULA.test(text) ? `'${text}` : text);
}

/** @param {string} text */
function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * A column of text.
 * @param {string} name
 * @returns {import("./tree.js").Column}
 */
export function textColumn(name) {
  return { name, unit: "", show: (cell) => cell ?? say("table.none"), text: true };
}

/**
 * A column of numbers.
 * @param {string} name
 * @param {string} unit
 * @param {(value: number) => string} show
 * @param {string} [missing] stands where there is no value
 * @returns {import("./tree.js").Column}
 */
export function numberColumn(name, unit, show, missing = say("table.not-measured")) {
  return { name, unit, show: (cell) => (cell === null ? missing : show(cell)) };
}
