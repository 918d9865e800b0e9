/** What the server would see: each word above what stands in its place. Also used for single sentences. */

import { mechanismOf } from "../derived.js";
import { h, setText, View } from "../dom.js";
import { count, percent } from "../format.js";
import { kindAbout, kindName, KINDS, mattersFor, signOf } from "../kinds.js";
import { say } from "../language.js";
import { labelsSentence } from "../leaves.js";
import { tokensPicture } from "../pictures/tokens.js";
import { PictureFrame } from "./picture.js";

class PreviewView extends View {
  build() {
    this.frame = new PictureFrame("tokens", say("preview.files"));
    this.shares = h("div", { class: "shares", "data-testid": "shares" });
    this.body = h(
      "div",
      { "data-testid": "preview" },
      h("h3", {}, say("preview.title")),
      h("p", { class: "hint" }, say("preview.about")),
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
    setText(this.caveat, `${say("preview.caveat")} ${labelsSentence(choice)}`);
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
  const items = KINDS.map(({ kind, sign }) =>
    h(
      "li",
      {},
      h("span", { class: `key key-${kind}`, "aria-hidden": "true" }, sign),
      kindAbout(kind),
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
      h(
        "span",
        { class: "sr-only" },
        ` ${say(kind === "removed" ? "preview.is" : "preview.becomes")} `,
      ),
      h(
        "span",
        { class: "token-seen" },
        h("span", { class: "token-sign", "aria-hidden": "true" }, signOf(kind)),
        seen,
      ),
      h("span", { class: "sr-only" }, `, ${kindName(kind)}`),
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
  const words = KINDS.map(({ kind, sign }) =>
    h(
      "li",
      {},
      h("span", { class: `key key-${kind}`, "aria-hidden": "true" }, sign),
      h("strong", {}, percent(shares[/** @type {"near"} */ (kind)])),
      ` ${kindName(kind)}`,
    ),
  );
  return [
    h("div", { class: "shares-bar", "aria-hidden": "true" }, ...parts),
    h("ul", { class: "legend" }, ...words),
    h("p", { class: "hint" }, say("preview.counted", { tokens: count(counted, "token") })),
  ];
}

customElements.define("cl-preview", PreviewView);
