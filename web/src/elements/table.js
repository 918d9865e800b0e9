/** A table of numbers as nodes. */

import { h } from "../dom.js";

/**
 * Makes a table; its first column names the rows.
 * @param {import("../pictures/tree.js").Table} table
 */
export function tableOf({ caption, columns, rows }) {
  const look = (/** @type {boolean|undefined} */ text) => (text ? "cell-text" : null);
  const head = columns.map(({ name, text }) => h("th", { scope: "col", class: look(text) }, name));
  const lines = rows.map((row) =>
    h(
      "tr",
      {},
      ...row.map((cell, index) => {
        const { show, text } = columns[index];
        const tag = index === 0 ? "th" : "td";
        return h(tag, { scope: index === 0 ? "row" : null, class: look(text) }, show(cell));
      }),
    ),
  );
  return h(
    "div",
    { class: "scroll scroll-tall", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...head)),
      h("tbody", {}, ...lines),
    ),
  );
}
