/** Step 4, the learning curves: loss on one chart, accuracy and macro-F1 on another. */

import { h, observe, show, View } from "../dom.js";
import { decimal, number, percent } from "../format.js";
import { say } from "../language.js";
import { lossDomain, smooth } from "../geometry.js";
import { bestValidation } from "../run.js";
import { figure, paint } from "./plot.js";

class LearningChart extends View {
  /** @type {ResizeObserver|undefined} */
  resizing;
  /** @type {any} */
  loss;
  /** @type {any} */
  accuracy;

  build() {
    this.loss = figure(say("chart.loss"), {
      faint: say("chart.loss.training"),
      one: say("chart.loss.smoothed"),
      two: say("chart.loss.held"),
    });
    this.accuracy = figure(say("chart.held"), {
      one: say("chart.held.accuracy"),
      two: say("chart.macro_f1"),
    });
    this.table = h("tbody", {});
    const head = [
      say("chart.head.step"),
      say("chart.loss"),
      say("chart.head.accuracy"),
      say("chart.head.macro_f1"),
    ].map((name) => h("th", { scope: "col" }, name));
    this.numbers = h(
      "details",
      {},
      h("summary", {}, say("chart.table")),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": say("chart.measurements") },
        h("table", {}, h("thead", {}, h("tr", {}, ...head)), this.table),
      ),
    );
    this.append(h("div", { class: "charts" }, this.loss.node, this.accuracy.node), this.numbers);
    this.resizing ??= observe(this, () => this.draw());
  }

  /** @param {import("../initial.js").State} state */
  render({ run }) {
    const shown = run !== null && run.stepsTotal > 0;
    show(this, shown);
    if (!shown || !this.changed("run", run)) return;
    this.run = run;
    this.draw();
    show(this.numbers, run.validations.length > 0);
    if (!this.changed("validations", run.validations)) return;
    const cells = run.validations.map(({ step, loss, accuracy, macro_f1 }) =>
      h(
        "tr",
        {},
        ...[number(step), decimal(loss), percent(accuracy, 1), percent(macro_f1, 1)].map((text) =>
          h("td", {}, text),
        ),
      ),
    );
    this.table.replaceChildren(...cells);
  }

  draw() {
    const { run } = this;
    if (!run || this.hidden) return;
    const best = bestValidation(run)?.step;
    const { validations, stepsTotal } = run;
    const x = {
      domain: /** @type {[number, number]} */ ([0, Math.max(1, stepsTotal)]),
      tick: number,
      name: say("chart.step"),
    };
    const mark = best === undefined ? null : { x: best, name: say("chart.best") };
    const training = run.losses.points.map(({ step, loss }) => ({ x: step, y: loss }));
    const held = validations.map(({ step, loss }) => ({ x: step, y: loss }));
    paint(this.loss.drawing, {
      title: say("chart.loss.text", { values: latest([training, held]) }),
      curves: [
        { name: "faint", points: training, marks: false },
        { name: "one", points: smooth(training, Math.ceil(training.length / 40)), marks: false },
        { name: "two", points: held, marks: true },
      ],
      x,
      y: { domain: lossDomain([...training, ...held].map(({ y }) => y)), tick: decimal },
      mark,
    });
    const right = (/** @type {"accuracy"|"macro_f1"} */ key) =>
      validations.map((each) => ({ x: each.step, y: each[key] * 100 }));
    const [accuracy, macroF1] = [right("accuracy"), right("macro_f1")];
    paint(this.accuracy.drawing, {
      title: say("chart.held.text", { values: latest([accuracy, macroF1]) }),
      curves: [
        { name: "one", points: accuracy, marks: true },
        { name: "two", points: macroF1, marks: true },
      ],
      x,
      y: { domain: [0, 100], tick: String },
      mark,
    });
  }
}

/** @param {import("../geometry.js").Point[][]} curves */
function latest(curves) {
  const values = curves.flatMap((points) => points.slice(-1).map(({ y }) => decimal(y)));
  return values.join(", ") || say("chart.none");
}

customElements.define("cl-chart", LearningChart);
