/** What the server would see: each word above what stands in its place. Also used for single sentences. */

import { h, setText, View } from "../dom.js";
import { count, percent } from "../format.js";
import { labelsSentence } from "../leaves.js";

/** The kinds in words and signs, so that colour is never the only mark. */
const KINDS = [
  { kind: "unchanged", sign: "=", name: "unchanged", text: "the word itself" },
  { kind: "near", sign: "≈", name: "near", text: "a similar word" },
  { kind: "far", sign: "≠", name: "far", text: "an unrelated word" },
  { kind: "removed", sign: "∅", name: "removed", text: "a blank, an average or nothing" },
];

class PreviewView extends View {
  build() {
    this.examples = h("div", { class: "preview-examples" });
    this.shares = h("div", { class: "shares", "data-testid": "shares" });
    this.body = h(
      "div",
      { "data-testid": "preview" },
      h("h3", {}, "Your sentences, and what the server would see"),
      h(
        "p",
        { class: "hint" },
        "Above: your word. Below: what stands in its place. This is exactly what training would send: a text gets its noise once and keeps it.",
      ),
      legend(),
      this.examples,
      this.shares,
    );
    this.caveat = h("p", { class: "hint" });
    this.body.append(this.caveat);
    this.append(this.body);
  }

  /** @param {import("../initial.js").State} state */
  render({ preview, choice }) {
    this.body.classList.toggle("is-pending", preview === null);
    setText(
      this.caveat,
      `What leaves unchanged can be read by the server, and some of the rest can be guessed from the words around it. How much is sent for each text is not hidden. ${labelsSentence(choice)}`,
    );
    if (preview === null || !this.changed("preview", preview)) return;
    this.examples.replaceChildren(...preview.examples.map(({ tokens }) => tokenList(tokens)));
    this.shares.replaceChildren(...sharesBar(preview));
  }
}

export function legend() {
  const items = KINDS.map(({ kind, sign, name, text }) =>
    h(
      "li",
      {},
      h("span", { class: `key key-${kind}`, "aria-hidden": "true" }, sign),
      `${name}: ${text}`,
    ),
  );
  return h("ul", { class: "legend" }, ...items);
}

/**
 * Draws the tokens of one example.
 * @param {import("../contract.js").Token[]} tokens
 */
export function tokenList(tokens) {
  const items = tokens.map(({ text, seen, kind, continues }) => {
    const sign = KINDS.find((each) => each.kind === kind)?.sign ?? "";
    return h(
      "li",
      { class: `token token-${kind}${continues ? " token-continues" : ""}`, "data-kind": kind },
      h("span", { class: "token-own" }, text),
      h("span", { class: "sr-only" }, kind === "removed" ? " is " : " becomes "),
      h(
        "span",
        { class: "token-seen" },
        h("span", { class: "token-sign", "aria-hidden": "true" }, sign),
        seen,
      ),
      h("span", { class: "sr-only" }, `, ${kind}`),
    );
  });
  return h("ol", { class: "tokens" }, ...items);
}

/** @param {import("../contract.js").Preview} preview */
function sharesBar({ shares, tokens_counted: counted }) {
  const parts = KINDS.map(({ kind }) => {
    const share = shares[/** @type {"near"} */ (kind)];
    const part = h("span", { class: `share share-${kind}`, hidden: share === 0 });
    part.style.setProperty("flex-grow", String(share));
    return part;
  });
  const words = KINDS.map(({ kind, sign, name }) =>
    h(
      "li",
      {},
      h("span", { class: `key key-${kind}`, "aria-hidden": "true" }, sign),
      h("strong", {}, percent(shares[/** @type {"near"} */ (kind)])),
      ` ${name}`,
    ),
  );
  return [
    h("div", { class: "shares-bar", "aria-hidden": "true" }, ...parts),
    h("ul", { class: "legend" }, ...words),
    h(
      "p",
      { class: "hint" },
      `Counted over ${count(counted, "token")} of your data (a token is a word or a part of one).`,
    ),
  ];
}

customElements.define("cl-preview", PreviewView);
