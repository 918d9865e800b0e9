/** Step 5, a labelled file that was not trained on: how many of its rows the classifier gets right. */

import { h, setText, show, View } from "../dom.js";
import { count, percent } from "../format.js";
import { confusionPicture } from "../pictures/confusion.js";
import { PictureFrame } from "./picture.js";

export const TEST_ROWS = {
  name: "confusion-test",
  caption: "Rows of the test file",
  rows: "test row",
};

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
    this.running = h("progress", { "aria-label": "Classifying the test file" });
    this.summary = h("p", { role: "status", "data-testid": "test-result" });
    this.frame = new PictureFrame(TEST_ROWS.name);
    this.append(
      h("h3", {}, "Test on another labelled file"),
      h(
        "p",
        { class: "hint", id: "test-file-hint" },
        "A file with the same columns and labels. Each of its texts is protected in this tab in the same way and sent to be classified. Its labels stay here: the answers are counted in this tab.",
      ),
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
    setText(this.choose, pending ? "Classifying …" : "Choose a test file");
    show(this.running, pending);
    show(this.summary, result !== null && !pending);
    if (!this.changed("result", result)) return;
    this.frame?.show(
      result === null
        ? null
        : confusionPicture(
            result.confusion,
            report?.labels.map(({ name }) => name) ?? [],
            TEST_ROWS,
          ),
    );
    if (result === null) return;
    const { examples, accuracy, macro_f1, bad_rows_total: bad } = result;
    const left = bad === 0 ? "" : ` ${count(bad, "row")} could not be used.`;
    setText(
      this.summary,
      `${percent(accuracy, 1)} of ${count(examples, "test row")} right, macro-F1 ${percent(macro_f1, 1)}.${left}`,
    );
  }
}

customElements.define("cl-evaluate", Evaluate);
