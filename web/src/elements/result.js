/** Step 4, the end: accuracy, macro-F1 and the confusion matrix of the kept adapter. */

import { h, show, View } from "../dom.js";
import { count, number, percent } from "../format.js";
import { confusionPicture } from "../pictures/confusion.js";
import { bestValidation, majorityShare } from "../run.js";
import { doneSentence } from "../sentences.js";
import { isBusy } from "../derived.js";
import { PictureFrame } from "./picture.js";

export const HELD_OUT = {
  name: "confusion-validation",
  caption: "Where it is right and wrong",
  rows: "held-out row",
};

class Result extends View {
  build() {
    this.told = h("div", {});
    this.frame = new PictureFrame(HELD_OUT.name);
    this.body = h(
      "div",
      { class: "card result", "data-testid": "result" },
      this.told,
      this.frame.node,
      h(
        "p",
        { class: "hint" },
        h(
          "a",
          { href: "#title-tradeoff" },
          "This run beside others, and beside what attackers read",
        ),
      ),
    );
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
    this.frame?.show(best === null ? null : confusionPicture(best.confusion, labels, HELD_OUT));
    this.told.replaceChildren(
      h("h3", {}, "Result"),
      h("p", {}, `${doneSentence(done.reason)}, ${after}`),
      ...(best === null
        ? [h("p", {}, "No held-out row was measured before the end.")]
        : measures(best)),
    );
  }
}

/** @param {import("../contract.js").Validation} best */
function measures(best) {
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
  ];
}

customElements.define("cl-result", Result);
