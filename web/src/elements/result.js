/** Step 4, the end: accuracy, macro-F1 and the confusion matrix of the kept adapter. */

import { h, show, View } from "../dom.js";
import { count, number, percent, shorten } from "../format.js";
import { say } from "../language.js";
import { bestValidation, majorityShare } from "../run.js";
import { doneSentence } from "../sentences.js";
import { isBusy } from "../derived.js";

class Result extends View {
  build() {
    this.body = h("div", { class: "card result", "data-testid": "result" });
    this.append(this.body);
  }

  /** @param {import("../initial.js").State} state */
  render({ run, report, phase }) {
    const shown = run !== null && run.done !== null && run.done.steps > 0 && !isBusy(phase);
    show(this.body, shown);
    if (!shown || !this.changed("run", run)) return;
    const best = bestValidation(run);
    const done = /** @type {NonNullable<typeof run.done>} */ (run.done);
    const labels = report?.labels.map(({ name }) => name) ?? [];
    const sentence = say("result.sentence", {
      ended: doneSentence(done.reason),
      steps: count(done.steps, "step"),
      best: done.best_step,
    });
    this.body.replaceChildren(
      h("h3", {}, say("result.title")),
      h("p", {}, sentence),
      ...(best === null ? [h("p", {}, say("result.unmeasured"))] : measures(best, labels)),
    );
  }
}

/** @param {import("../contract.js").Validation} best @param {string[]} labels */
function measures(best, labels) {
  const measured = best.confusion.reduce((sum, value) => sum + value, 0);
  const always = percent(majorityShare(best.confusion), 1);
  return [
    h(
      "dl",
      { class: "figures" },
      h(
        "div",
        {},
        h("dt", {}, say("chart.head.accuracy")),
        h("dd", { "data-testid": "accuracy" }, percent(best.accuracy, 1)),
      ),
      h(
        "div",
        {},
        h("dt", {}, say("chart.head.macro_f1")),
        h("dd", { "data-testid": "macro-f1" }, percent(best.macro_f1, 1)),
      ),
    ),
    h(
      "p",
      { class: "hint" },
      say("result.measured", { rows: count(measured, "held-out row"), share: always }),
    ),
    h("h3", {}, say("result.where")),
    matrix(best.confusion, labels),
  ];
}

/** @param {number[]} confusion @param {string[]} labels */
function matrix(confusion, labels) {
  const n = Math.round(Math.sqrt(confusion.length));
  const names = Array.from({ length: n }, (_, index) =>
    shorten(labels[index] ?? say("result.class", { index }), 24),
  );
  const rows = names.map((name, truth) => {
    const row = confusion.slice(truth * n, truth * n + n);
    const total = Math.max(
      1,
      row.reduce((sum, value) => sum + value, 0),
    );
    const cells = row.map((value, answer) => {
      const cell = h("td", { class: answer === truth ? "cell cell-right" : "cell" }, number(value));
      cell.style.setProperty("--share", `${Math.round((value / total) * 100)}%`);
      return cell;
    });
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      ...cells,
      h("td", { class: "recall" }, percent(row[truth] / total)),
    );
  });
  const head = names.map((name) => h("th", { scope: "col" }, name));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": say("result.matrix") },
    h(
      "table",
      { class: "confusion" },
      h("caption", {}, say("result.matrix.caption")),
      h(
        "thead",
        {},
        h("tr", {}, h("td", {}), ...head, h("th", { scope: "col" }, say("result.found"))),
      ),
      h("tbody", {}, ...rows),
    ),
  );
}

customElements.define("cl-result", Result);
