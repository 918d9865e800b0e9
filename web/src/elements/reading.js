/** Step 3, the privacy reading: what an attacker could read back of this data, measured in this tab. */

import { h, observe, setText, show, View } from "../dom.js";
import { count, decimal, number, percent } from "../format.js";
import { say } from "../language.js";
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

class PrivacyReading extends View {
  /** @type {ResizeObserver|undefined} */
  resizing;
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
    this.bar = h("progress", {
      "aria-label": say("reading.measuring"),
      "data-testid": "reading-progress",
    });
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
    this.curve = figure(say("reading.curve"), {
      one: say("reading.curve.simple"),
      two: say("reading.curve.informed"),
    });
    this.table = h("div", {});
    this.figures = h(
      "div",
      { "data-testid": "reading-curve" },
      h("h3", {}, say("reading.curve.title")),
      this.curve.node,
      h("details", {}, h("summary", {}, say("chart.table")), this.table),
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
      h("h3", {}, say("reading.title")),
      h("p", { class: "hint" }, say("reading.about")),
      this.running,
      h("div", { class: "buttons" }, this.start, this.stop),
      this.outdated,
      this.result,
    );
    this.dataset.testid = "reading";
    this.resizing ??= observe(this, () => this.draw());
  }

  /** @param {State} state */
  render(state) {
    const { reading, privacy, phase } = state;
    const { pending, stopping, stopped, result } = reading;
    const held = isBusy(phase) || phase === "error" || phase === "loading";
    this.start.disabled = held || privacy === null;
    setText(this.start, say(result === null ? "reading.start" : "reading.again"));
    const focused = document.activeElement;
    show(this.start, !pending);
    show(this.stop, pending);
    // One button takes the place of the other, and the focus with it.
    if (pending && focused === this.start) this.stop.focus();
    else if (!pending && focused === this.stop) this.start.focus();
    // A button that is disabled loses the focus, so it is only said.
    this.stop.setAttribute("aria-disabled", String(stopping));
    setText(this.stop, say(stopping ? "reading.stopping" : "reading.stop"));
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
    setText(this.detail, total > 0 ? percent(done / total) : say("reading.beginning"));
  }

  /** @param {State} state @param {Reading} result */
  renderResult({ reading, mechanisms }, result) {
    const { wanted, level } = /** @type {import("../reading.js").Measured} */ (reading.measured);
    const point = pointAt(result.points, level);
    if (point === null) return;
    const entry = mechanismOf(mechanisms, wanted.mechanism);
    const headline = say(entry?.level ? "reading.headline.level" : "reading.headline", {
      title: entry?.title ?? wanted.mechanism,
      level: percent(point.level),
      share: percent(strongest(point)),
    });
    const eta = point.eta === null ? "" : ` ${say("reading.eta", { eta: decimal(point.eta) })}`;
    setText(this.headline, headline + eta);
    this.bars.replaceChildren(
      attackRow("reading-nn", say("reading.simple"), point.nn),
      point.bayes === null ? "" : attackRow("reading-bayes", say("reading.informed"), point.bayes),
    );
    setText(
      this.limits,
      say("reading.limits", {
        tokens: count(result.tokens, "token"),
        texts: count(result.examples, "text"),
      }),
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
      x: { domain: [0, 100], tick: String, name: say("reading.curve.level") },
      y: { domain: [0, 100], tick: String },
      mark: mark === null ? null : { x: mark * 100, name: say("reading.curve.now") },
    });
  }
}

/** @param {State} state */
function noteOf(state) {
  if (isOutdated(state)) return say("reading.outdated");
  return state.reading.stopped ? say("reading.stopped") : "";
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
      ? say(`reading.no.${noun}`)
      : say("reading.kept", { kept, total: count(total, noun) });
  const items = examples.map(({ text, times }) =>
    h(
      "li",
      { class: "tag" },
      text,
      times > 1 ? h("span", { class: "hint" }, ` × ${number(times)}`) : null,
    ),
  );
  return [
    h("h3", {}, say("reading.survivors")),
    h("p", {}, `${told(names, "name")} ${told(numbers, "number")}`),
    items.length === 0 ? "" : h("ul", { class: "tags" }, ...items),
    items.length === 0 ? "" : h("p", { class: "hint" }, say("reading.guess")),
  ];
}

/** @param {ReadingPoint[]} points */
function pointsTable(points) {
  const head = [
    say("reading.table.level"),
    "eta",
    say("reading.table.unchanged"),
    say("reading.table.near"),
    say("reading.table.far"),
    say("reading.table.removed"),
    say("reading.simple"),
    say("reading.table.informed"),
  ];
  const rows = points.map(({ level, eta, unchanged, near, far, removed, nn, bayes }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, percent(level)),
      h("td", {}, eta === null ? say("reading.table.no-eta") : decimal(eta)),
      ...[unchanged, near, far, removed, nn].map((share) => h("td", {}, percent(share))),
      h("td", {}, bayes === null ? say("reading.table.not-measured") : percent(bayes)),
    ),
  );
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": say("reading.table") },
    h(
      "table",
      {},
      h("caption", {}, say("reading.table.caption")),
      h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows),
    ),
  );
}

customElements.define("cl-reading", PrivacyReading);
