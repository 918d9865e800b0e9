/** Step 3, the privacy reading: what an attacker could read back of this data, measured in this tab. */

import { h, setText, show, View } from "../dom.js";
import { count, decimal, number, percent } from "../format.js";
import { isBusy, mechanismOf } from "../derived.js";
import {
  currentLevel,
  curveText,
  isOutdated,
  isSameCurve,
  pointAt,
  strongest,
} from "../reading.js";
import { figure, paint } from "./plot.js";

/** @typedef {import("../initial.js").State} State */
/** @typedef {import("../contract.js").Reading} Reading */
/** @typedef {import("../contract.js").ReadingPoint} ReadingPoint */

const SIMPLE = "Simple attacker";
const INFORMED = "Attacker who knows the noise and which words are common";

class PrivacyReading extends View {
  /** @type {any} the curve's figure and drawing */
  curve;

  build() {
    this.start = h("button", {
      type: "button",
      class: "button",
      "data-testid": "reading-button",
      onclick: () => this.ask("measure"),
    });
    this.stop = h("button", {
      type: "button",
      class: "button",
      "data-testid": "reading-stop",
      onclick: () => this.ask("stop_measuring"),
    });
    this.bar = h("progress", { "aria-label": "Measuring", "data-testid": "reading-progress" });
    this.detail = h("span", { class: "stage-detail" });
    this.running = h("p", { class: "measuring" }, this.bar, this.detail);
    this.outdated = h("p", {
      class: "box box-notice",
      role: "status",
      "data-testid": "reading-outdated",
    });
    this.headline = h("p", { class: "sentence", role: "status" });
    this.bars = h("ul", { class: "bars" });
    this.limits = h("p", { class: "hint" });
    this.survivors = h("div", { "data-testid": "survivors" });
    this.curve = figure("Read back, in % of the words", {
      one: "simple attacker",
      two: "attacker who knows more",
    });
    this.table = h("div", {});
    this.figures = h(
      "div",
      { "data-testid": "reading-curve" },
      h("h3", {}, "At every level of protection"),
      this.curve.node,
      h("details", {}, h("summary", {}, "The same as a table"), this.table),
    );
    this.result = h(
      "div",
      { class: "reading-result" },
      this.headline,
      this.bars,
      this.limits,
      this.survivors,
      this.figures,
    );
    this.append(
      h("h3", {}, "What an attacker could read back from your data"),
      h(
        "p",
        { class: "hint" },
        "Attacks are tried in this tab, on a part of your own texts. Nothing is sent.",
      ),
      this.running,
      h("div", { class: "buttons" }, this.start, this.stop),
      this.outdated,
      this.result,
    );
    this.dataset.testid = "reading";
    new ResizeObserver(() => this.draw()).observe(this);
  }

  /** @param {State} state */
  render(state) {
    const { reading, privacy, phase } = state;
    const { pending, stopping, stopped, result } = reading;
    const held = isBusy(phase) || phase === "error" || phase === "loading";
    this.start.disabled = held || privacy === null;
    setText(this.start, result === null ? "Measure on my data" : "Measure again");
    const focused = document.activeElement;
    show(this.start, !pending);
    show(this.stop, pending);
    // One button takes the place of the other, and the focus with it.
    if (pending && focused === this.start) this.stop.focus();
    else if (!pending && focused === this.stop) this.start.focus();
    // A button that is disabled loses the focus, so it is only said.
    this.stop.setAttribute("aria-disabled", String(stopping));
    setText(this.stop, stopping ? "Stopping …" : "Stop measuring");
    this.renderProgress(reading);
    const note = noteOf(state);
    setText(this.outdated, note);
    show(this.outdated, note !== "" && !pending);
    show(this.result, result !== null);
    this.result.classList.toggle("is-outdated", isOutdated(state) || stopped);
    this.state = state;
    if (result === null) return;
    const mark = markOf(state);
    const isNew = this.changed("result", result);
    if (isNew) this.renderResult(state, result);
    if (this.changed("mark", mark) || isNew) this.draw();
  }

  /** @param {import("../initial.js").ReadingState} reading */
  renderProgress({ pending, done, total }) {
    show(this.running, pending);
    if (!pending) return;
    if (total > 0) {
      this.bar.max = total;
      this.bar.value = done;
    } else this.bar.removeAttribute("value");
    setText(this.detail, total > 0 ? percent(done / total) : "Beginning");
  }

  /** @param {State} state @param {Reading} result */
  renderResult({ reading, mechanisms }, result) {
    const { wanted, level } = /** @type {import("../reading.js").Measured} */ (reading.measured);
    const point = pointAt(result.points, level);
    if (point === null) return;
    const entry = mechanismOf(mechanisms, wanted.mechanism);
    const at = entry?.level ? `, at ${percent(point.level)},` : "";
    const eta = point.eta === null ? "" : ` (eta ${decimal(point.eta)})`;
    setText(
      this.headline,
      `With “${entry?.title ?? wanted.mechanism}”${at} ${percent(strongest(point))} of your words can be read back${eta}.`,
    );
    this.bars.replaceChildren(
      attackRow("reading-nn", SIMPLE, point.nn),
      point.bayes === null ? "" : attackRow("reading-bayes", INFORMED, point.bayes),
    );
    setText(
      this.limits,
      `Measured on ${count(result.tokens, "token")} of ${count(result.examples, "text")}. The simple attacker takes the nearest word for each place. None here looks at the words around it: one who does, or who trains on other text first, can read more. Take this as the least that can be read.`,
    );
    this.survivors.replaceChildren(...survivorsOf(result.survivors));
    show(this.figures, result.points.length > 1);
    this.table.replaceChildren(pointsTable(result.points));
  }

  draw() {
    const { state } = this;
    const points = state?.reading.result?.points ?? [];
    if (!state || points.length < 2 || this.figures.hidden || this.clientWidth === 0) return;
    const curve = (/** @type {string} */ name, /** @type {"nn"|"bayes"} */ key) => ({
      name,
      marks: true,
      points: points.map((point) => ({ x: point.level * 100, y: (point[key] ?? NaN) * 100 })),
    });
    const mark = markOf(state);
    paint(this.curve.drawing, {
      title: curveText(points),
      curves: [curve("one", "nn"), curve("two", "bayes")],
      x: { domain: [0, 100], tick: String, name: "protection in %" },
      y: { domain: [0, 100], tick: String },
      mark: mark === null ? null : { x: mark * 100, name: "now" },
    });
  }
}

/** @param {State} state */
function noteOf(state) {
  if (isOutdated(state)) return "Out of date: the settings have changed since this was measured.";
  return state.reading.stopped ? "The measurement was stopped before its end." : "";
}

/** The level to mark: the current one, as long as the curve is about it. @param {State} state */
function markOf(state) {
  return isSameCurve(state) ? currentLevel(state) : null;
}

/** @param {string} testId @param {string} name @param {number} share */
function attackRow(testId, name, share) {
  return h(
    "li",
    { class: "bar-row" },
    h("span", { class: "bar-name" }, name),
    h("meter", { class: "bar", min: 0, max: 1, value: share, "aria-hidden": "true" }),
    h("span", { class: "bar-value", "data-testid": testId }, percent(share)),
  );
}

/** @param {Reading["survivors"]} survivors */
function survivorsOf({ names, numbers, examples }) {
  const told = (
    /** @type {import("../contract.js").Kept} */ { total, kept },
    /** @type {string} */ noun,
  ) =>
    total === 0
      ? `No ${noun}s were found.`
      : `${number(kept)} of ${count(total, noun)} would leave word for word.`;
  const items = examples.map(({ text, times }) =>
    h(
      "li",
      { class: "tag" },
      text,
      times > 1 ? h("span", { class: "hint" }, ` × ${number(times)}`) : null,
    ),
  );
  return [
    h("h3", {}, "Names and numbers that survive"),
    h("p", {}, `${told(names, "name")} ${told(numbers, "number")}`),
    items.length === 0 ? "" : h("ul", { class: "tags" }, ...items),
    items.length === 0
      ? ""
      : h(
          "p",
          { class: "hint" },
          "What looks like a name is a guess. This list stays in this tab.",
        ),
  ];
}

/** @param {ReadingPoint[]} points */
function pointsTable(points) {
  const head = ["Protection", "eta", "Unchanged", "Near", "Far", "Removed", SIMPLE, "Knows more"];
  const rows = points.map(({ level, eta, unchanged, near, far, removed, nn, bayes }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, percent(level)),
      h("td", {}, eta === null ? "none" : decimal(eta)),
      ...[unchanged, near, far, removed, nn].map((share) => h("td", {}, percent(share))),
      h("td", {}, bayes === null ? "not measured" : percent(bayes)),
    ),
  );
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Measured levels" },
    h(
      "table",
      {},
      h("caption", {}, "Shares of words, and of those that each attacker reads back."),
      h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows),
    ),
  );
}

customElements.define("cl-reading", PrivacyReading);
