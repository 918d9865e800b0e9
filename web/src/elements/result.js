/** Step 4, the end: accuracy, macro-F1 and the confusion matrix of the kept adapter. */

import { h, show, View } from "../dom.js";
import { count, percent } from "../format.js";
import { say } from "../language.js";
import { confusionPicture } from "../pictures/confusion.js";
import { bestValidation, majorityShare } from "../run.js";
import { doneSentence } from "../sentences.js";
import { isBusy } from "../derived.js";
import { PictureFrame } from "./picture.js";

const NAME = "confusion-validation";

class Result extends View {
  build() {
    this.told = h("div", {});
    this.frame = new PictureFrame(NAME);
    this.body = h(
      "div",
      { class: "card result", "data-testid": "result" },
      this.told,
      this.frame.node,
      h("p", { class: "hint" }, h("a", { href: "#title-tradeoff" }, say("result.beside"))),
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
    const sentence = say("result.sentence", {
      ended: doneSentence(done.reason),
      steps: count(done.steps, "step"),
      best: done.best_step,
    });
    const what = { name: NAME, caption: say("result.where"), rows: "held-out row" };
    this.frame?.show(best === null ? null : confusionPicture(best.confusion, labels, what));
    this.told.replaceChildren(
      h("h3", {}, say("result.title")),
      h("p", {}, sentence),
      ...(best === null ? [h("p", {}, say("result.unmeasured"))] : measures(best)),
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
  ];
}

customElements.define("cl-result", Result);
