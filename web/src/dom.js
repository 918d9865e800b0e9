/** The few helpers with which elements build and change nodes. Text is always set as text, never as markup. */

import { FIRST } from "./language.js";
import { adviceFor, failureWords } from "./sentences.js";

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Record<string, string|number|boolean|null|undefined|((event: any) => void)>} Attributes */
/** @typedef {Node|string|null} Child */

/**
 * Makes an element. `onclick: f` listens, `false` and `null` leave an attribute out.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * Makes an SVG element.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** @param {Element} node @param {Attributes} attributes @param {Child[]} children */
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") node.addEventListener(name.replace(/^on/, ""), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Sets text only where it differs, so that selections and screen readers are left alone. @param {Element} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Calls back whenever a node has another size. @param {Element} node @param {() => void} draw */
export function observe(node, draw) {
  const observer = new ResizeObserver(draw);
  observer.observe(node);
  return observer;
}

/** @param {HTMLElement} node @param {boolean} shown */
export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/** A custom element that is built once and rendered from the state ever after. */
export class View extends HTMLElement {
  /** @type {Record<string, any>} values of the last rendering, see `changed` */
  #last = {};
  #built = false;

  connectedCallback() {
    if (this.#built) return;
    this.#built = true;
    this.build();
  }

  build() {}

  /** Builds it anew, in another language; what the reader has entered and unfolded stays. */
  rebuild() {
    if (!this.#built) return;
    const fields = [...this.querySelectorAll("input, select, textarea")].map(fieldOf);
    const folds = [...this.querySelectorAll("details")].map(({ open }) => open);
    this.replaceChildren();
    this.#last = {};
    this.build();
    for (const { id, checked, value } of fields) {
      const field = /** @type {any} */ (id && this.querySelector(`#${CSS.escape(id)}`));
      if (!field || field.type === "file") continue;
      field.checked = checked;
      field.value = value;
    }
    this.querySelectorAll("details").forEach((fold, index) => (fold.open = folds[index] ?? false));
  }

  /** @param {import("./initial.js").State} _state */
  render(_state) {}

  /**
   * Says whether a value differs from the one given at the last call with this key.
   * @param {string} key
   * @param {any} value
   */
  changed(key, value) {
    if (key in this.#last && this.#last[key] === value) return false;
    this.#last[key] = value;
    return true;
  }

  /**
   * Asks the page for an action.
   * @param {string} action
   * @param {any} [value]
   */
  ask(action, value) {
    this.dispatchEvent(new CustomEvent("ask", { bubbles: true, detail: { action, value } }));
  }
}

/** @param {any} field */
const fieldOf = ({ id, checked, value }) => ({ id, checked, value });

/** @param {import("./initial.js").Failure} failure */
export function failureBox(failure) {
  const { sentence, original } = failureWords(failure);
  return h(
    "div",
    { class: "box box-error", role: "alert", "data-testid": "error", "data-name": failure.name },
    h("p", { class: "box-title" }, sentence),
    original === null ? null : h("p", { class: "hint", lang: FIRST }, original),
    h("p", {}, adviceFor(failure.name, failure.place)),
  );
}
