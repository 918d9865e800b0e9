/** What the server would see: each word above what stands in its place. Also used for single sentences. */

import { mechanismOf } from "../derived.js";
import { h, setText, View } from "../dom.js";
import { count, percent } from "../format.js";
import { KINDS, mattersFor, signOf } from "../kinds.js";
import { labelsSentence } from "../leaves.js";
import { tokensPicture } from "../pictures/tokens.js";
import { PictureFrame } from "./picture.js";

/** Said of what the frame saves of it. */
const OWN_WORDS = "These files hold your own words.";

class PreviewView extends View {
  build() {
    this.frame = new PictureFrame("tokens", OWN_WORDS);
    this.shares = h("div", { class: "shares", "data-testid": "shares" });
    this.body = h(
      "div",
      { "data-testid": "preview" },
      h("h3", {}, "Word for word"),
      h(
        "p",
        { class: "hint" },
        "Above: your word. Below: what stands in its place. This is exactly what training would send: a text gets its noise once and keeps it. Your own words, above, stay in this tab.",
      ),
      this.frame.node,
      this.shares,
    );
    this.caveat = h("p", { class: "hint" });
    this.body.append(this.caveat);
    this.append(this.body);
  }

  /** @param {import("../initial.js").State} state */
  render({ preview, choice, privacy, wanted, mechanisms }) {
    this.body.classList.toggle("is-pending", preview === null);
    setText(
      this.caveat,
      `What leaves unchanged can be read by the server, and some of the rest can be guessed from the words around it. How much is sent for each text is not hidden. ${labelsSentence(choice)}`,
    );
    const isNew = [this.changed("preview", preview), this.changed("privacy", privacy)].includes(
      true,
    );
    if (preview === null || privacy === null || !isNew) return;
    const entry = mechanismOf(mechanisms, wanted.mechanism);
    this.frame?.show(tokensPicture(preview, mattersFor(privacy, wanted, entry)));
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
  const items = tokens.map(({ text, seen, kind, continues }) =>
    h(
      "li",
      { class: `token token-${kind}${continues ? " token-continues" : ""}`, "data-kind": kind },
      h("span", { class: "token-own" }, text),
      h("span", { class: "sr-only" }, kind === "removed" ? " is " : " becomes "),
      h(
        "span",
        { class: "token-seen" },
        h("span", { class: "token-sign", "aria-hidden": "true" }, signOf(kind)),
        seen,
      ),
      h("span", { class: "sr-only" }, `, ${kind}`),
    ),
  );
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
