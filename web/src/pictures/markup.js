/** Trees and text as markup: XML that is also HTML. Pure. Everything that comes in leaves escaped. */

/** @typedef {import("./tree.js").Tree} Tree */

/** @type {Record<string, string>} */
const SAFE = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
/** What XML cannot hold, not even escaped. */
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

/** Elements of HTML that have no end; SVG has none of these names. */
const VOID = new Set(["br", "meta"]);

/**
 * Makes text safe between tags and in quoted attributes.
 * @param {string} text
 */
export function escaped(text) {
  return text.replace(NOT_XML, "\ufffd").replace(/[&<>"']/g, (each) => SAFE[each]);
}

/**
 * Writes a tree.
 * @param {Tree|string} tree
 * @returns {string}
 */
export function markup(tree) {
  if (typeof tree === "string") return escaped(tree);
  const attributes = Object.entries(tree.attributes)
    .map(([name, value]) => ` ${name}="${escaped(String(value))}"`)
    .join("");
  if (VOID.has(tree.tag)) return `<${tree.tag}${attributes}>`;
  return `<${tree.tag}${attributes}>${tree.children.map(markup).join("")}</${tree.tag}>`;
}
