/** The frame of a picture: the drawing, what is read out under the pointer, the same as a table, and files of it. */

import { h, setText, show, svg } from "../dom.js";
import { say } from "../language.js";
import { nearest, svgOf } from "../pictures/tree.js";
import { savePicture } from "../save.js";
import { tableOf } from "./table.js";

/** @typedef {import("../pictures/tree.js").Picture} Picture */
/** @typedef {import("../pictures/tree.js").Drawing} Drawing */
/** @typedef {import("../pictures/tree.js").Target} Target */
/** @typedef {import("../pictures/tree.js").Tree} Tree */

/** An open table is built again at most this often. */
const TABLE_MILLIS_MIN = 1000;
/** Sizes in pictures are those of a page whose letters have this many pixels. */
const FONT_PIXELS = 16;

/** @type {Record<string, (at: number, count: number) => number>} */
const KEYS = {
  ArrowRight: (at, count) => Math.min(count - 1, at + 1),
  ArrowDown: (at, count) => Math.min(count - 1, at + 1),
  ArrowLeft: (at) => Math.max(0, at - 1),
  ArrowUp: (at) => Math.max(0, at - 1),
  Home: () => 0,
  End: (_at, count) => count - 1,
};

/**
 * Makes the nodes of a tree.
 * @param {Tree|string} tree
 * @returns {any}
 */
function grown(tree) {
  if (typeof tree === "string") return tree;
  return svg(tree.tag, tree.attributes, ...tree.children.map(grown));
}

/** One picture on the page. */
export class PictureFrame {
  /** @type {Picture|null} */
  picture = null;
  /** @type {Drawing|null} */
  drawing = null;
  /** @type {Target[]|null} found when they are first asked for */
  targets = null;
  /** Which target is read out; -1: none. */
  at = -1;
  tabledAt = -Infinity;
  width = 0;

  /** @param {string} name its `data-testid` and a part of its ids @param {string} [note] about its files */
  constructor(name, note = "") {
    this.name = name;
    this.caption = h("strong", {});
    this.cursor = svg("rect", { class: "pic-cursor", "aria-hidden": "true" });
    this.named = svg("title", { id: `${name}-title` });
    this.described = svg("desc", { id: `${name}-desc` });
    this.parts = svg("g", {});
    this.drawn = svg("svg", {}, this.named, this.described, this.parts, this.cursor);
    this.readout = h("p", { class: "hint pic-readout", role: "status" }, say("picture.hint"));
    this.holder = h(
      "div",
      { class: "scroll pic-holder", tabindex: "0", role: "group" },
      this.drawn,
    );
    this.body = h("div", {});
    this.tableName = h("span", { class: "sr-only" });
    this.table = h(
      "details",
      { class: "pic-table", ontoggle: () => this.fillTable(true) },
      h("summary", {}, say("chart.table"), this.tableName),
      this.body,
    );
    this.node = h(
      "figure",
      { class: "pic-frame", "data-testid": name },
      h("figcaption", { class: "pic-head" }, this.caption, this.menu(note)),
      this.holder,
      this.readout,
      this.table,
    );
    show(this.node, false);
    this.listen();
  }

  /** @param {string} note */
  menu(note) {
    const formats = /** @type {import("../save.js").Format[]} */ (["png", "svg", "csv"]);
    const buttons = formats.map((format) =>
      h(
        "button",
        {
          type: "button",
          class: "button button-small",
          "data-testid": `${this.name}-${format}`,
          onclick: () => this.save(format),
        },
        format.toUpperCase(),
      ),
    );
    this.saveName = h("span", { class: "sr-only" });
    return h(
      "details",
      { class: "pic-menu" },
      h("summary", { "data-testid": `${this.name}-save` }, say("picture.save"), this.saveName),
      h(
        "div",
        { class: "pic-menu-items" },
        ...buttons,
        note === "" ? null : h("p", { class: "hint" }, note),
      ),
    );
  }

  listen() {
    const point = (/** @type {PointerEvent} */ { clientX, clientY }) => {
      const { left, top, width, height } = this.drawn.getBoundingClientRect();
      if (this.drawing === null || width === 0 || height === 0) return;
      const x = ((clientX - left) * this.drawing.width) / width;
      const y = ((clientY - top) * this.drawing.height) / height;
      this.read(nearest(this.found(), x, y));
    };
    this.drawn.addEventListener("pointermove", point);
    this.drawn.addEventListener("pointerdown", point);
    this.drawn.addEventListener("pointerleave", () => this.read(-1));
    this.holder.addEventListener("blur", () => this.read(-1));
    this.holder.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const count = this.found().length;
      if (event.key === "Escape") this.read(-1);
      const move = KEYS[event.key];
      if (move === undefined || count === 0 || event.ctrlKey || event.metaKey || event.altKey)
        return;
      event.preventDefault();
      this.read(move(this.at, count));
    });
    // A change of width alone: the height follows from the drawing.
    new ResizeObserver(() => {
      if (this.holder.clientWidth !== this.width) this.redraw();
    }).observe(this.holder);
  }

  /** @param {import("../save.js").Format} format */
  async save(format) {
    if (this.picture === null) return;
    try {
      await savePicture(this.picture, format);
    } catch {
      setText(this.readout, say("picture.failed"));
    }
  }

  /** Shows a picture; none hides the frame. @param {Picture|null} picture */
  show(picture) {
    show(this.node, picture !== null);
    this.picture = picture;
    if (picture === null) return;
    setText(this.caption, picture.caption);
    for (const name of [this.saveName, this.tableName]) setText(name, `: ${picture.caption}`);
    setText(this.named, picture.title);
    setText(this.described, picture.desc);
    this.holder.setAttribute("aria-label", say("picture.keys", { caption: picture.caption }));
    this.redraw();
    this.fillTable(false);
  }

  /** Draws at the width that there is. */
  redraw() {
    this.width = this.holder.clientWidth;
    if (this.picture === null || this.width === 0) return;
    const font = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    const unit = font > 0 ? font / FONT_PIXELS : 1;
    const drawing = this.picture.draw(this.width / unit);
    const { attributes } = svgOf(this.picture, drawing, this.name);
    for (const [name, value] of Object.entries(attributes))
      if (name !== "xmlns") this.drawn.setAttribute(name, String(value));
    this.drawn.setAttribute("width", String(Math.floor(drawing.width * unit)));
    this.drawn.setAttribute("height", String(Math.ceil(drawing.height * unit)));
    this.parts.replaceChildren(...drawing.nodes.map(grown));
    this.drawing = drawing;
    this.targets = null;
    this.place();
  }

  found() {
    this.targets ??= this.drawing?.targets() ?? [];
    return this.targets;
  }

  /** @param {number} at */
  read(at) {
    if (at === this.at) return;
    this.at = at;
    this.place();
    setText(this.readout, this.found()[at]?.text ?? say("picture.hint"));
  }

  /** Puts the cursor where what is read out stands. */
  place() {
    const target = this.at < 0 ? undefined : this.found()[this.at];
    this.cursor.toggleAttribute("hidden", target === undefined);
    if (target === undefined) return;
    for (const [name, value] of Object.entries(target.box))
      this.cursor.setAttribute(name, String(value));
    this.cursor.setAttribute("width", String(Math.max(1, target.box.width)));
    const box = target.box;
    const unit = this.drawn.clientWidth / (this.drawing?.width || 1);
    const [left, right] = [box.x * unit, (box.x + box.width) * unit];
    if (document.activeElement !== this.holder) return;
    if (left < this.holder.scrollLeft) this.holder.scrollLeft = left;
    else if (right > this.holder.scrollLeft + this.holder.clientWidth)
      this.holder.scrollLeft = right - this.holder.clientWidth;
  }

  /** @param {boolean} opened */
  fillTable(opened) {
    const now = performance.now();
    if (this.picture === null || !this.table.open) return;
    if (!opened && now - this.tabledAt < TABLE_MILLIS_MIN) {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.fillTable(true), TABLE_MILLIS_MIN);
      return;
    }
    this.tabledAt = now;
    this.body.replaceChildren(tableOf(this.picture.table));
  }
}
