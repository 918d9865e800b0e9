/**
 * Words in the reader's language: `say(key, values)`. The tables are in `languages/`, text and nothing else.
 * The language is chosen for the page as a whole; without a choice it is English.
 */

import { DE } from "../languages/de.js";
import { EN } from "../languages/en.js";

/** @typedef {string | { one: string, other: string }} Text what `Intl.PluralRules` says of `n` chooses */
/** @typedef {Record<string, Text>} Texts */
/** @typedef {"en"|"de"} Language */

/** Every language by its code: how it calls itself, and its words. @type {Record<Language, { name: string, texts: Texts }>} */
export const LANGUAGES = {
  en: { name: "English", texts: EN },
  de: { name: "Deutsch", texts: DE },
};

/** The language whose table is complete, and that the client speaks. @type {Language} */
export const FIRST = "en";

/** No-break space: a number never parts from its noun or unit. */
export const NBSP = "\u00a0";

/** @type {Language} */
let current = FIRST;

/** The language of the page. */
export function language() {
  return current;
}

/** @param {Language} code */
export function setLanguage(code) {
  current = code;
}

/**
 * Finds the language for a reader: the chosen one, else the first of the browser's that there is, else English.
 * @param {string|null} chosen
 * @param {readonly string[]} wished as in `navigator.languages`, such as `de-AT`
 * @returns {Language}
 */
export function chooseLanguage(chosen, wished) {
  const codes = [chosen ?? "", ...wished].map((tag) => tag.toLowerCase().split("-")[0]);
  return codes.find(isLanguage) ?? FIRST;
}

/** @param {string} code @returns {code is Language} */
export function isLanguage(code) {
  return Object.hasOwn(LANGUAGES, code);
}

/** Says whether there are words for a key. @param {string} key */
export function has(key) {
  return Object.hasOwn(LANGUAGES[FIRST].texts, key);
}

/**
 * Says something in the language of the page. A number is written as one; text is put in as it is.
 * @param {string} key
 * @param {Record<string, string|number>} [values] for the placeholders; `n` is a number that chooses between forms
 */
export function say(key, values = {}) {
  const text = LANGUAGES[current].texts[key] ?? LANGUAGES[FIRST].texts[key];
  if (text === undefined) return key;
  return formOf(text, values.n).replace(/\{(\w+)\}( ?)/g, (_, name, blank) => {
    const value = values[name] ?? "";
    const filled = typeof value === "number" ? whole(value) : value;
    return filled + (name === "n" && blank !== "" ? NBSP : blank);
  });
}

/** @param {Text} text @param {string|number|undefined} n */
function formOf(text, n) {
  if (typeof text === "string") return text;
  const category = new Intl.PluralRules(current).select(Number(n ?? 0));
  return category === "one" ? text.one : text.other;
}

/** How days and times are written; in English as most of the world does. @type {Record<Language, string>} */
const DATES = { en: "en-GB", de: "de" };

/**
 * Writes days and times as the language of the page does.
 * @param {Intl.DateTimeFormatOptions} options
 */
export function dates(options) {
  return new Intl.DateTimeFormat(DATES[current], options);
}

/** @param {number} value */
function whole(value) {
  return written(value, { maximumFractionDigits: 0 });
}

/**
 * Writes a number as the language of the page does.
 * @param {number} value
 * @param {Intl.NumberFormatOptions} options
 */
export function written(value, options) {
  return new Intl.NumberFormat(current, options).format(value);
}
