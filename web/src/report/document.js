/** Writes a report as one HTML file: no script, nothing from elsewhere, made to be read and printed. Pure. */

import { say } from "../language.js";
import { embedded } from "../pictures/look.js";
import { markup } from "../pictures/markup.js";
import { el } from "../pictures/tree.js";
import { STYLE, STYLE_HASH } from "./style.js";

/** @typedef {import("../pictures/tree.js").Tree} Tree */
/** @typedef {import("../pictures/tree.js").Picture} Picture */
/** @typedef {import("../pictures/tree.js").Table} Table */

/**
 * @typedef {{ kind: "text", text: string, faint?: boolean }} Paragraph
 * @typedef {import("../language.js").Language} Language
 * @typedef {{ kind: "list", items: string[], language?: Language }} List
 * @typedef {[name: string, value: string, language?: Language]} Fact where a language is named, the value is in it
 * @typedef {{ kind: "facts", facts: Fact[] }} Facts two columns of words
 * @typedef {{ kind: "figures", figures: [name: string, value: string][] }} Figures what is read first
 * @typedef {{ kind: "picture", picture: Picture, rowsMax?: number }} Pictured a picture with its table
 * @typedef {{ kind: "table", table: Table }} Tabled
 * @typedef {Paragraph|List|Facts|Figures|Pictured|Tabled} Part
 * @typedef {{ heading: string, parts: Part[] }} Section
 * @typedef {{ language: Language, title: string, made: string, sections: Section[] }} Report
 */

/** The file may show itself and nothing else. */
const POLICY = `default-src 'none'; style-src '${STYLE_HASH}'; base-uri 'none'; form-action 'none'`;

/**
 * Writes the file.
 * @param {Report} report
 */
export function reportHtml({ language, title, made, sections }) {
  const head = el(
    "head",
    {},
    el("meta", { charset: "utf-8" }),
    el("meta", { "http-equiv": "Content-Security-Policy", content: POLICY }),
    el("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
    el("meta", { name: "referrer", content: "no-referrer" }),
    el("title", {}, title),
  );
  const main = el(
    "main",
    {},
    el("h1", {}, title),
    el("p", { class: "faint" }, made),
    ...sections.map(section),
  );
  // The sheet is not escaped: it is the constant of this program that the policy names.
  const sheet = `<style>${STYLE}</style></head>`;
  const start = markup(head).replace(/<\/head>$/, () => sheet);
  return `<!doctype html>\n<html lang="${language}">${start}<body>${markup(main)}</body></html>\n`;
}

/** @param {Section} section */
function section({ heading, parts }) {
  return el("section", {}, el("h2", {}, heading), ...parts.flatMap(part));
}

/** @param {Part} part @returns {Tree[]} */
function part(part) {
  switch (part.kind) {
    case "text":
      return [el("p", part.faint ? { class: "faint" } : {}, part.text)];
    case "list":
      return [
        el("ul", { lang: part.language ?? null }, ...part.items.map((item) => el("li", {}, item))),
      ];
    case "facts":
      return [facts(part.facts)];
    case "figures":
      return [
        el(
          "dl",
          { class: "figures" },
          ...part.figures.map(([name, value]) =>
            el("div", {}, el("dt", {}, name), el("dd", {}, value)),
          ),
        ),
      ];
    case "picture":
      return pictured(part);
    default:
      return [tabled(part.table)];
  }
}

/** @param {Fact[]} list */
function facts(list) {
  const rows = list.map(([name, value, language]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", class: "text" }, name),
      el("td", { class: "text", lang: language ?? null }, value),
    ),
  );
  return el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows)));
}

/** @param {Pictured} part */
function pictured({ picture, rowsMax = Infinity }) {
  const { table } = picture;
  const kept = table.rows.length > rowsMax ? everyFew(table.rows, rowsMax) : table.rows;
  const caption =
    kept.length === table.rows.length
      ? table.caption
      : say("report.chosen", {
          caption: table.caption,
          shown: kept.length,
          all: table.rows.length,
        });
  return [
    el("h3", {}, picture.caption),
    el("figure", {}, embedded(picture)),
    el("p", { class: "faint" }, picture.desc),
    tabled({ ...table, caption, rows: kept }),
  ];
}

/** Some of many rows, the first and the last among them. @template T @param {T[]} rows @param {number} count */
function everyFew(rows, count) {
  const last = rows.length - 1;
  return Array.from(
    { length: count },
    (_, index) => rows[Math.round((index * last) / (count - 1))],
  );
}

/** @param {Table} table */
function tabled({ caption, columns, rows }) {
  const look = (/** @type {boolean|undefined} */ text) => ({ class: text ? "text" : null });
  const head = columns.map(({ name, text }) => el("th", { scope: "col", ...look(text) }, name));
  const lines = rows.map((row) =>
    el(
      "tr",
      {},
      ...row.map((cell, index) =>
        index === 0
          ? el("th", { scope: "row", ...look(columns[0].text) }, columns[0].show(cell))
          : el("td", look(columns[index].text), columns[index].show(cell)),
      ),
    ),
  );
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...head)),
      el("tbody", {}, ...lines),
    ),
  );
}
