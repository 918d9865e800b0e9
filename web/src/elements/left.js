/** What has left this page: sums by purpose, the latest pieces, and a file of them. */

import { h, setText, View } from "../dom.js";
import { bytes, number } from "../format.js";
import { dates, say } from "../language.js";
import { csvOf, PURPOSES, sumOf } from "../left.js";
import {
  captionOf,
  contentOf,
  NOT_COVERED,
  purposeName,
  sizeOf,
  summaryOf,
} from "../left-sentences.js";
import { save } from "../save.js";

/** The panel changes at most this often: it is to be read, and drawing takes time from the work. */
const DRAW_MILLIS_MIN = 500;
/** Pieces that are drawn; the file has all that are kept. */
const SHOWN_MAX = 60;

/** @type {Intl.DateTimeFormatOptions} */
const CLOCK = {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 1,
  hourCycle: "h23",
};

class LeftPanel extends View {
  /** @type {import("../left.js").Left|null} the record that is waiting to be drawn */
  waiting = null;
  /** @type {import("../left.js").Left|null} the record that is drawn */
  drawn = null;
  timer = 0;
  held = false;

  build() {
    [this.drawn, this.held] = [null, false];
    this.sum = h("p", { class: "left-sum", "data-testid": "left-sum" });
    this.sumRows = h("tbody", { "data-testid": "left-sums" });
    this.caption = h("caption");
    this.pieceRows = h("tbody", { "data-testid": "left-pieces" });
    this.hold = h("button", {
      type: "button",
      class: "button",
      "aria-pressed": "false",
      onclick: () => this.toggleHold(),
    });
    setText(this.hold, say("left.hold"));
    const save = h(
      "button",
      { type: "button", class: "button", "data-testid": "left-save", onclick: () => this.save() },
      say("left.save"),
    );
    this.details = h(
      "details",
      { "data-testid": "left" },
      h("summary", {}, say("left.see")),
      h("p", {}, say("left.claim")),
      this.buildSums(),
      h("div", { class: "buttons" }, this.hold, save),
      this.buildPieces(),
      h("h3", {}, say("left.not")),
      h(
        "ul",
        { class: "left-not" },
        ...NOT_COVERED.map((each) => h("li", {}, say(`left.not.${each}`))),
      ),
    );
    this.details.addEventListener("toggle", () => this.draw());
    this.append(this.sum, this.details);
  }

  buildSums() {
    const head = [
      words(say("left.head.purpose")),
      figures(say("left.head.messages")),
      figures(say("left.head.bytes")),
      figures(say("left.head.requests")),
    ];
    return scroll(
      say("left.sums"),
      h(
        "table",
        { class: "left-table" },
        h("caption", {}, say("left.sums.since")),
        h("thead", {}, h("tr", {}, ...head)),
        this.sumRows,
      ),
    );
  }

  buildPieces() {
    const head = [
      figures(say("left.head.time")),
      words(say("left.head.name")),
      figures(say("left.head.size")),
      words(say("left.head.purpose")),
      words(say("left.head.content")),
    ];
    const node = scroll(
      say("left.pieces"),
      h(
        "table",
        { class: "left-table" },
        this.caption,
        h("thead", {}, h("tr", {}, ...head)),
        this.pieceRows,
      ),
    );
    node.classList.add("scroll-tall");
    return node;
  }

  /** @param {import("../initial.js").State} state */
  render({ left }) {
    this.waiting = left;
    if (this.timer !== 0 || left === this.drawn) return;
    this.draw();
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.draw();
    }, DRAW_MILLIS_MIN);
  }

  draw() {
    const left = this.waiting;
    if (left === null) return;
    this.drawn = left;
    setText(this.sum, summaryOf(sumOf(left)));
    if (!this.details.open) return;
    if (this.changed("sums", left.sums)) this.sumRows.replaceChildren(...sumRows(left));
    if (this.held || !this.changed("pieces", left.pieces)) return;
    setText(this.caption, captionOf(left));
    const clock = dates(CLOCK);
    const shown = left.pieces.slice(-SHOWN_MAX).reverse();
    this.pieceRows.replaceChildren(...shown.map((piece) => pieceRow(piece, clock)));
  }

  toggleHold() {
    this.held = !this.held;
    this.hold.setAttribute("aria-pressed", String(this.held));
    this.draw();
  }

  /** Offers the record as a file; it is made here and goes nowhere else. */
  save() {
    if (this.waiting === null) return;
    save("cutlayer-what-has-left.csv", new Blob([csvOf(this.waiting)], { type: "text/csv" }));
  }
}

/** A region that can be scrolled by keys too. @param {string} label @param {HTMLElement} table */
function scroll(label, table) {
  return h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
}

/** The head of a column of words, which begin at its left. @param {string} name */
const words = (name) => h("th", { scope: "col", class: "cell-text" }, name);
/** The head of a column of numbers. @param {string} name */
const figures = (name) => h("th", { scope: "col" }, name);

/** @param {import("../left.js").Left} left */
function sumRows(left) {
  return PURPOSES.flatMap((purpose) => {
    const sum = left.sums[purpose];
    if (sum === undefined) return [];
    const data = {
      "data-purpose": purpose,
      "data-messages": sum.messages,
      "data-bytes": sum.bytes,
      "data-requests": sum.requests,
    };
    return [
      h(
        "tr",
        data,
        h("th", { scope: "row" }, purposeName(purpose)),
        h("td", {}, number(sum.messages)),
        h("td", {}, sum.messages === 0 ? say("left.none") : bytes(sum.bytes)),
        h("td", {}, number(sum.requests)),
      ),
    ];
  });
}

/** @param {import("../left.js").Piece} piece @param {Intl.DateTimeFormat} clock */
function pieceRow(piece, clock) {
  return h(
    "tr",
    { "data-kind": piece.kind, "data-purpose": piece.purpose },
    h("td", {}, clock.format(piece.time)),
    h("th", { scope: "row" }, piece.name),
    h("td", {}, sizeOf(piece)),
    h("td", { class: "cell-text" }, purposeName(piece.purpose)),
    h("td", { class: "cell-text" }, contentOf(piece)),
  );
}

customElements.define("cl-left", LeftPanel);
