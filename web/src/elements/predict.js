/** Step 5: sentences or pairs of the reader, the answers, and what the server would see of them. */

import { PREDICT_LINES_MAX } from "../controller.js";
import { h, setText, show, View } from "../dom.js";
import { percent, shorten } from "../format.js";
import { say } from "../language.js";
import { legend, tokenList } from "./preview.js";

/** A text longer than this is cut by the model anyway. */
const TEXT_CHARS_MAX = 20_000;

class Predict extends View {
  build() {
    this.inputName = h("span", {});
    this.input = h("textarea", {
      id: "predict-input",
      rows: 3,
      required: true,
      maxlength: TEXT_CHARS_MAX,
      "data-testid": "predict-input",
      "aria-describedby": "predict-hint",
    });
    this.pairName = h("span", {});
    this.pair = h("textarea", {
      id: "predict-pair",
      rows: 3,
      maxlength: TEXT_CHARS_MAX,
      "data-testid": "predict-pair",
      "aria-describedby": "predict-hint",
    });
    this.pairField = h("label", { class: "field", for: "predict-pair" }, this.pairName, this.pair);
    this.hint = h("p", { class: "hint", id: "predict-hint" });
    this.button = h("button", {
      type: "submit",
      class: "button button-primary",
      "data-testid": "predict-button",
    });
    this.form = h(
      "form",
      {},
      h(
        "div",
        { class: "fields" },
        h("label", { class: "field", for: "predict-input" }, this.inputName, this.input),
        this.pairField,
      ),
      this.hint,
      h("div", { class: "buttons" }, this.button),
    );
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      const sentences = this.takesPairs ? this.onePair() : this.lines();
      if (sentences.length > 0) this.ask("predict", sentences);
    });
    this.answers = h("div", { class: "answers", "aria-live": "polite" });
    this.append(this.form, this.answers);
  }

  /** @returns {import("../contract.js").Sentence[]} */
  lines() {
    const lines = this.input.value.split("\n").map((/** @type {string} */ line) => line.trim());
    return lines
      .filter((/** @type {string} */ line) => line !== "")
      .slice(0, PREDICT_LINES_MAX)
      .map((/** @type {string} */ line) => [line, null]);
  }

  /** @returns {import("../contract.js").Sentence[]} */
  onePair() {
    const text = this.input.value.trim();
    return text === "" ? [] : [[text, this.pair.value.trim()]];
  }

  /** @param {import("../initial.js").State} state */
  render({ prediction, phase, report }) {
    const pairColumn = report?.pair_column ?? null;
    if (this.changed("columns", `${report?.text_column}\t${pairColumn}`)) {
      this.takesPairs = pairColumn !== null;
      this.renderFields(report?.text_column ?? null, pairColumn);
    }
    this.button.disabled = prediction.pending || phase !== "done";
    setText(this.button, say(prediction.pending ? "predict.asking" : "predict.classify"));
    if (!this.changed("answers", prediction.answers)) return;
    this.answers.replaceChildren(...prediction.answers.map(answerCard));
  }

  /** @param {string|null} textColumn @param {string|null} pairColumn null: the data has single texts */
  renderFields(textColumn, pairColumn) {
    const paired = pairColumn !== null;
    setText(
      this.inputName,
      paired
        ? say("predict.first", { column: textColumn ?? say("predict.column") })
        : say("predict.sentences"),
    );
    setText(this.pairName, say("predict.second", { column: pairColumn ?? "" }));
    show(this.pairField, paired);
    this.pair.required = paired;
    setText(
      this.hint,
      paired ? say("predict.hint.pair") : say("predict.hint.lines", { lines: PREDICT_LINES_MAX }),
    );
  }
}

/** @param {import("../initial.js").Answer} answer */
function answerCard({ text, pair, label, probabilities, preview }) {
  const bars = [...probabilities]
    .sort((left, right) => right.probability - left.probability)
    .slice(0, 10)
    .map(({ label: name, probability }) =>
      h(
        "li",
        { class: "bar-row" },
        h("span", { class: "bar-name" }, shorten(name, 60)),
        h("meter", { class: "bar", min: 0, max: 1, value: probability, "aria-hidden": "true" }),
        h("span", { class: "bar-value" }, percent(probability, 1)),
      ),
    );
  return h(
    "article",
    { class: "card", "data-testid": "prediction" },
    h("p", { class: "quote" }, shorten(text, 300)),
    pair === null ? null : h("p", { class: "quote pair" }, shorten(pair, 300)),
    h(
      "p",
      { class: "answer" },
      h("span", { class: "hint" }, say("predict.answer"), " "),
      h("strong", { "data-testid": "prediction-label" }, label),
    ),
    h("ul", { class: "bars" }, ...bars),
    ...(preview === null ? [] : seenByServer(preview)),
  );
}

/** @param {import("../contract.js").Preview} preview */
function seenByServer(preview) {
  return [
    h("h3", {}, say("predict.seen")),
    h("p", { class: "hint" }, say("predict.seen.about")),
    legend(),
    ...preview.examples.map(({ tokens }) => tokenList(tokens)),
  ];
}

customElements.define("cl-predict", Predict);
