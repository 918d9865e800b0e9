/** Step 4, the learning curves: loss on one chart, accuracy and macro-F1 on another. */

import { h, show, svg, View } from "../dom.js";
import { decimal, number, percent } from "../format.js";
import { linePath, lossDomain, plotArea, scale, smooth, ticks } from "../geometry.js";
import { bestValidation } from "../run.js";

/** @typedef {import("../geometry.js").Point} Point */
/** @typedef {{ name: string, points: Point[], marks: boolean }} Curve */
/** @typedef {{ title: string, curves: Curve[], domain: [number, number], tick: (value: number) => string, stepsTotal: number, best: number|null }} Plot */

const HEIGHT = 240;

class LearningChart extends View {
  /** @type {any} */
  loss;
  /** @type {any} */
  accuracy;

  build() {
    this.loss = figure("Loss (nats)", {
      faint: "training, each step",
      one: "training, smoothed",
      two: "held-out rows",
    });
    this.accuracy = figure("Held-out rows (%)", { one: "accuracy", two: "macro-F1" });
    this.table = h("tbody", {});
    const head = ["Step", "Loss (nats)", "Accuracy", "Macro-F1"].map((name) =>
      h("th", { scope: "col" }, name),
    );
    this.numbers = h(
      "details",
      {},
      h("summary", {}, "The same as a table"),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Measurements" },
        h("table", {}, h("thead", {}, h("tr", {}, ...head)), this.table),
      ),
    );
    this.append(h("div", { class: "charts" }, this.loss.node, this.accuracy.node), this.numbers);
    new ResizeObserver(() => this.draw()).observe(this);
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
    const best = bestValidation(run)?.step ?? null;
    const { validations, stepsTotal } = run;
    const training = run.losses.points.map(({ step, loss }) => ({ x: step, y: loss }));
    const held = validations.map(({ step, loss }) => ({ x: step, y: loss }));
    paint(this.loss.drawing, {
      title: "Loss in nats by step",
      curves: [
        { name: "faint", points: training, marks: false },
        { name: "one", points: smooth(training, Math.ceil(training.length / 40)), marks: false },
        { name: "two", points: held, marks: true },
      ],
      domain: lossDomain([...training, ...held].map(({ y }) => y)),
      tick: decimal,
      stepsTotal,
      best,
    });
    paint(this.accuracy.drawing, {
      title: "Accuracy and macro-F1 in percent by step",
      curves: [
        {
          name: "one",
          points: validations.map(({ step, accuracy }) => ({ x: step, y: accuracy * 100 })),
          marks: true,
        },
        {
          name: "two",
          points: validations.map(({ step, macro_f1 }) => ({ x: step, y: macro_f1 * 100 })),
          marks: true,
        },
      ],
      domain: [0, 100],
      tick: (value) => String(value),
      stepsTotal,
      best,
    });
  }
}

/** @param {string} caption @param {Record<string, string>} names by class of curve */
function figure(caption, names) {
  const drawing = svg("svg", { class: "plot", role: "img", height: HEIGHT });
  const key = (/** @type {string} */ name, /** @type {string} */ text) =>
    h(
      "li",
      {},
      svg(
        "svg",
        { class: "key-line", width: 26, height: 8, "aria-hidden": "true" },
        svg("path", { class: `curve curve-${name}`, d: "M1 4H25" }),
      ),
      text,
    );
  const node = h(
    "figure",
    {},
    h(
      "figcaption",
      {},
      h("strong", {}, caption),
      h("ul", { class: "legend" }, ...Object.entries(names).map(([name, text]) => key(name, text))),
    ),
    drawing,
  );
  return { node, drawing };
}

/** @param {any} drawing @param {Plot} plot */
function paint(drawing, { title, curves, domain, tick, stepsTotal, best }) {
  const width = Math.max(220, Math.round(drawing.parentElement.clientWidth));
  const area = plotArea(width, HEIGHT);
  const toX = scale([0, Math.max(1, stepsTotal)], [area.left, area.right]);
  const toY = scale(domain, [area.bottom, area.top]);
  const nodes = [];
  for (const value of ticks(domain[0], domain[1], 6)) {
    const y = toY(value).toFixed(1);
    nodes.push(svg("line", { class: "grid", x1: area.left, x2: area.right, y1: y, y2: y }));
    nodes.push(
      svg(
        "text",
        { class: "tick", x: area.left - 6, y, dy: "0.32em", "text-anchor": "end" },
        tick(value),
      ),
    );
  }
  for (const value of ticks(0, Math.max(1, stepsTotal), width < 360 ? 4 : 6)) {
    nodes.push(
      svg(
        "text",
        { class: "tick", x: toX(value).toFixed(1), y: area.bottom + 16, "text-anchor": "middle" },
        number(value),
      ),
    );
  }
  const middle = (area.left + area.right) / 2;
  nodes.push(
    svg("text", { class: "tick", x: middle, y: area.bottom + 34, "text-anchor": "middle" }, "step"),
  );
  if (best !== null) {
    const x = toX(best).toFixed(1);
    nodes.push(svg("line", { class: "best", x1: x, x2: x, y1: area.top, y2: area.bottom }));
    const nearEnd = toX(best) > area.right - 60;
    nodes.push(
      svg(
        "text",
        {
          class: "tick",
          x,
          dx: nearEnd ? -5 : 5,
          y: area.bottom - 6,
          "text-anchor": nearEnd ? "end" : "start",
        },
        "best",
      ),
    );
  }
  for (const { name, points, marks } of curves) {
    nodes.push(svg("path", { class: `curve curve-${name}`, d: linePath(points, toX, toY) }));
    if (!marks) continue;
    for (const { x, y } of points)
      nodes.push(
        svg("circle", {
          class: `dot dot-${name}`,
          cx: toX(x).toFixed(1),
          cy: toY(y).toFixed(1),
          r: 3,
        }),
      );
  }
  const latest = curves
    .map(({ points }) => points.at(-1)?.y)
    .filter((value) => value !== undefined);
  drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  drawing.setAttribute(
    "aria-label",
    `${title}; latest: ${latest.map((value) => decimal(/** @type {number} */ (value))).join(", ") || "none yet"}`,
  );
  drawing.replaceChildren(...nodes);
}

customElements.define("cl-chart", LearningChart);
