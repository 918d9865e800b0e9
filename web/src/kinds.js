/** What a mechanism can make of a token, in words and signs, so that colour is never the only mark. Pure. */

import { fixed } from "./format.js";
import { say } from "./language.js";

/** @typedef {import("./contract.js").Token} Token */
/** @typedef {import("./contract.js").ContributingWord} ContributingWord */

/** Their words are `kind.KIND`. */
export const KINDS = [
  { kind: "unchanged", sign: "=" },
  { kind: "near", sign: "≈" },
  { kind: "far", sign: "≠" },
  { kind: "removed", sign: "∅" },
];

/** @param {string} kind */
export function kindName(kind) {
  return say(`kind.${kind}`);
}

/** What a kind is, as an entry of a legend. @param {string} kind */
export function kindAbout(kind) {
  return `${kindName(kind)}: ${say(`kind.${kind}.about`)}`;
}

/** @param {string} kind */
export function signOf(kind) {
  return KINDS.find((each) => each.kind === kind)?.sign ?? "";
}

/**
 * Says why a token is what it became.
 * @param {Token} token
 */
export function whyOf({ kind }) {
  return say(`kind.${kind}.why`);
}

/**
 * What is done for words that matter.
 * @typedef {{ words: ContributingWord[], spared: boolean, ranked: boolean }} Matters
 */

/**
 * Gathers what is done for the words that matter.
 * @param {import("./contract.js").Privacy} privacy
 * @param {import("./contract.js").PrivacyWanted} wanted
 * @param {import("./contract.js").Mechanism|null} entry
 * @returns {Matters}
 */
export function mattersFor({ contributing }, { contribution }, entry) {
  const spared = contribution.reading !== "off";
  return { words: contributing, spared, ranked: entry?.ranks_tokens === true };
}

/**
 * Finds the entry of a token among the words that matter, null where it is not on that list.
 * @param {Token} token
 * @param {Matters} matters
 * @returns {ContributingWord|null}
 */
export function mattersOf({ text, kind }, { words }) {
  if (kind === "special") return null;
  const own = text.trim();
  return words.find((word) => word.text.trim() === own) ?? null;
}

/**
 * Says what is done for a word that matters.
 * @param {ContributingWord} word
 * @param {Matters} matters
 */
export function matterWords({ label, factor }, { spared, ranked }) {
  if (spared && factor === null) return say("matters.kept", { label });
  if (spared && factor !== null && factor !== 1)
    return say("matters.noise", { label, factor: fixed(1 / factor, 2) });
  return say(ranked ? "matters.ranked" : "matters", { label });
}
