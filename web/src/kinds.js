/** What a mechanism can make of a token, in words and signs, so that colour is never the only mark. Pure. */

/** @typedef {import("./contract.js").Token} Token */
/** @typedef {import("./contract.js").ContributingWord} ContributingWord */

export const KINDS = [
  { kind: "unchanged", sign: "=", name: "unchanged", text: "the word itself" },
  { kind: "near", sign: "≈", name: "near", text: "a similar word" },
  { kind: "far", sign: "≠", name: "far", text: "an unrelated word" },
  { kind: "removed", sign: "∅", name: "removed", text: "a blank, an average or nothing" },
];

/** @param {string} kind */
export function signOf(kind) {
  return KINDS.find((each) => each.kind === kind)?.sign ?? "";
}

/** @type {Record<import("./contract.js").TokenKind, string>} */
const WHY = {
  unchanged: "it came out as it went in, so the server can read it",
  near: "it became one of its nearest words",
  far: "it became an unrelated word",
  removed: "it was blanked, left out or averaged with others",
  special: "a marker that the model needs, not a word of yours",
};

/**
 * Says why a token is what it became.
 * @param {Token} token
 */
export function whyOf({ kind }) {
  return WHY[kind];
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
  const speaks = `matters for “${label}”`;
  if (spared && factor === null) return `${speaks}, so it stays as it is`;
  if (spared && factor !== null && factor !== 1)
    return `${speaks}: its noise is × ${(1 / factor).toFixed(2)}`;
  return ranked ? `${speaks}, so it is among the last to be taken away` : speaks;
}
