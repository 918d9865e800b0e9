/** How wide text will be, without asking a screen: cautious estimates, so that nothing overlaps. Pure. */

import { shorten } from "../format.js";

/** Pixels of a letter of system-ui at 12 px, a little more than the usual mean. */
const LETTER = 6.8;
/** Pixels of a letter of a monospace font at 13 px. */
export const MONO_LETTER = 7.9;
/** Letters that take two places: CJK, Hangul, full-width forms, emoji. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f000}-\u{1faff}]/u;

/** @param {string} text in places */
export function places(text) {
  return Array.from(text).reduce((sum, letter) => sum + (WIDE.test(letter) ? 2 : 1), 0);
}

/** @param {string} text in pixels at 12 px */
export function textWidth(text) {
  return places(text) * LETTER;
}

/** @param {string} text in pixels at 13 px monospace */
export function monoWidth(text) {
  return places(text) * MONO_LETTER;
}

/**
 * Shortens text to a width.
 * @param {string} text
 * @param {number} width pixels at 12 px
 */
export function fitted(text, width) {
  if (textWidth(text) <= width) return text;
  let kept = Math.max(1, Math.floor(width / LETTER));
  while (kept > 1 && textWidth(shorten(text, kept)) > width) kept -= 1;
  return shorten(text, kept);
}
