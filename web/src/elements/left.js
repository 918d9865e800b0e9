/** What has left this page: sums by purpose, the latest pieces, and a file of them. */

import { h, setText, View } from "../dom.js";
import { bytes, number } from "../format.js";
import { csvOf, PURPOSES, sumOf } from "../left.js";
import {
  captionOf,
  CLAIM,
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

const CLOCK = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 1,
  hourCycle: "h23",
});

class LeftPanel extends View {
  /** @type {import("../left.js").Left|null} the record that is waiting to be drawn */
  waiting = null;
  /** @type {import("../left.js").Left|null} the record that is drawn */
  drawn = null;
  timer = 0;
  held = false;

  build() {
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
    setText(this.hold, "Hold the list");
    const save = h(
      "button",
      { type: "button", class: "button", "data-testid": "left-save", onclick: () => this.save() },
      "Save as CSV",
    );
    this.details = h(
      "details",
      { "data-testid": "left" },
      h("summary", {}, "See everything that was sent"),
      h("p", {}, CLAIM),
      this.buildSums(),
      h("div", { class: "buttons" }, this.hold, save),
      this.buildPieces(),
      h("h3", {}, "What this does not cover"),
      h("ul", { class: "left-not" }, ...NOT_COVERED.map((each) => h("li", {}, each))),
    );
    this.details.addEventListener("toggle", () => this.draw());
    this.append(this.sum, this.details);
  }

  buildSums() {
    const head = ["For", "Messages", "Bytes", "Requests"];
    return scroll(
      "Sums by purpose",
      h(
        "table",
        { class: "left-table" },
        h("caption", {}, "Sums by purpose, since this page was opened"),
        h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
        this.sumRows,
      ),
    );
  }

  buildPieces() {
    const head = ["Time", "What", "Size", "For", "What is in it"];
    const node = scroll(
      "The latest messages and requests",
      h(
        "table",
        { class: "left-table" },
        this.caption,
        h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
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
    this.pieceRows.replaceChildren(...left.pieces.slice(-SHOWN_MAX).reverse().map(pieceRow));
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
        h("td", {}, sum.messages === 0 ? "none" : bytes(sum.bytes)),
        h("td", {}, number(sum.requests)),
      ),
    ];
  });
}

/** @param {import("../left.js").Piece} piece */
function pieceRow(piece) {
  return h(
    "tr",
    { "data-kind": piece.kind, "data-purpose": piece.purpose },
    h("td", {}, CLOCK.format(piece.time)),
    h("th", { scope: "row" }, piece.name),
    h("td", {}, sizeOf(piece)),
    h("td", { class: "cell-text" }, purposeName(piece.purpose)),
    h("td", { class: "cell-text" }, contentOf(piece)),
  );
}

customElements.define("cl-left", LeftPanel);
