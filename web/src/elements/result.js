/** Step 4, the end: accuracy, macro-F1 and the confusion matrix of the kept adapter. */

import { h, show, View } from "../dom.js";
import { count, number, percent, shorten } from "../format.js";
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
    const after = `after ${count(done.steps, "step")}; the best state, from step ${number(done.best_step)}, is kept.`;
    this.body.replaceChildren(
      h("h3", {}, "Result"),
      h("p", {}, `${doneSentence(done.reason)}, ${after}`),
      ...(best === null
        ? [h("p", {}, "No held-out row was measured before the end.")]
        : measures(best, labels)),
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
        h("dt", {}, "Accuracy"),
        h("dd", { "data-testid": "accuracy" }, percent(best.accuracy, 1)),
      ),
      h(
        "div",
        {},
        h("dt", {}, "Macro-F1"),
        h("dd", { "data-testid": "macro-f1" }, percent(best.macro_f1, 1)),
      ),
    ),
    h(
      "p",
      { class: "hint" },
      `Measured on ${count(measured, "held-out row")}. Always giving the most frequent answer would be right for ${always}.`,
    ),
    h("h3", {}, "Where it is right and wrong"),
    matrix(best.confusion, labels),
  ];
}

/** @param {number[]} confusion @param {string[]} labels */
function matrix(confusion, labels) {
  const n = Math.round(Math.sqrt(confusion.length));
  const names = Array.from({ length: n }, (_, index) =>
    shorten(labels[index] ?? `class ${index}`, 24),
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
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
    h(
      "table",
      { class: "confusion" },
      h("caption", {}, "Held-out rows. Down: true label. Across: answer."),
      h("thead", {}, h("tr", {}, h("td", {}), ...head, h("th", { scope: "col" }, "Found"))),
      h("tbody", {}, ...rows),
    ),
  );
}

customElements.define("cl-result", Result);
