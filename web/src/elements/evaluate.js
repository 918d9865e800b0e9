/** Step 5, a labelled file that was not trained on: how many of its rows the classifier gets right. */

import { h, setText, show, View } from "../dom.js";
import { count, percent } from "../format.js";
import { say } from "../language.js";
import { confusionPicture } from "../pictures/confusion.js";
import { PictureFrame } from "./picture.js";

const NAME = "confusion-test";

class Evaluate extends View {
  build() {
    this.input = h("input", {
      type: "file",
      id: "test-file-input",
      class: "sr-only",
      accept: ".csv,.tsv,.jsonl,.ndjson,.txt,text/csv,text/tab-separated-values,text/plain",
      "data-testid": "test-file-input",
      "aria-describedby": "test-file-hint",
      onchange: () => this.take(),
    });
    this.choose = h("label", { class: "button", for: "test-file-input" });
    this.running = h("progress", { "aria-label": say("evaluate.progress") });
    this.summary = h("p", { role: "status", "data-testid": "test-result" });
    this.frame = new PictureFrame(NAME);
    this.append(
      h("h3", {}, say("evaluate.title")),
      h("p", { class: "hint", id: "test-file-hint" }, say("evaluate.about")),
      h("div", { class: "buttons" }, this.input, this.choose),
      this.running,
      this.summary,
      this.frame.node,
    );
  }

  take() {
    const file = this.input.files?.[0];
    if (file) this.ask("evaluate", file);
    this.input.value = "";
  }

  /** @param {import("../initial.js").State} state */
  render({ evaluation, phase, report, prediction }) {
    const { pending, result } = evaluation;
    this.input.disabled = pending || prediction.pending || phase !== "done";
    setText(this.choose, say(pending ? "evaluate.going" : "evaluate.choose"));
    show(this.running, pending);
    show(this.summary, result !== null && !pending);
    if (!this.changed("result", result)) return;
    if (result === null) {
      this.frame?.show(null);
      return;
    }
    const labels = report?.labels.map(({ name }) => name) ?? [];
    const what = { name: NAME, caption: say("result.test-rows"), rows: "test row" };
    this.frame?.show(confusionPicture(result.confusion, labels, what));
    const { examples, accuracy, macro_f1, bad_rows_total: bad } = result;
    const right = say("evaluate.result", {
      share: percent(accuracy, 1),
      rows: count(examples, "test row"),
      f1: percent(macro_f1, 1),
    });
    const left = bad === 0 ? "" : ` ${say("evaluate.bad", { rows: count(bad, "row") })}`;
    setText(this.summary, right + left);
  }
}

customElements.define("cl-evaluate", Evaluate);
