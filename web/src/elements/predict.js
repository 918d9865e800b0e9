/** Step 5: sentences of the reader, the answers, and what the server would see of them. */

import { PREDICT_LINES_MAX } from "../controller.js";
import { h, setText, View } from "../dom.js";
import { percent, shorten } from "../format.js";
import { legend, tokenList } from "./preview.js";

/** A text longer than this is cut by the model anyway. */
const TEXT_CHARS_MAX = 20_000;

class Predict extends View {
  build() {
    this.input = h("textarea", {
      id: "predict-input",
      rows: 3,
      required: true,
      maxlength: TEXT_CHARS_MAX,
      "data-testid": "predict-input",
      "aria-describedby": "predict-hint",
    });
    this.button = h("button", {
      type: "submit",
      class: "button button-primary",
      "data-testid": "predict-button",
    });
    this.form = h(
      "form",
      {},
      h(
        "label",
        { class: "field", for: "predict-input" },
        "Your sentences, one per line",
        this.input,
      ),
      h(
        "p",
        { class: "hint", id: "predict-hint" },
        `At most ${PREDICT_LINES_MAX} lines. They are protected in this tab in the same way before anything is sent.`,
      ),
      h("div", { class: "buttons" }, this.button),
    );
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      const lines = this.input.value.split("\n").map((/** @type {string} */ line) => line.trim());
      const texts = lines
        .filter((/** @type {string} */ line) => line !== "")
        .slice(0, PREDICT_LINES_MAX);
      if (texts.length > 0) this.ask("predict", texts);
    });
    this.answers = h("div", { class: "answers", "aria-live": "polite" });
    this.append(this.form, this.answers);
  }

  /** @param {import("../initial.js").State} state */
  render({ prediction, phase }) {
    this.button.disabled = prediction.pending || phase !== "done";
    setText(this.button, prediction.pending ? "Asking …" : "Classify");
    if (!this.changed("answers", prediction.answers)) return;
    this.answers.replaceChildren(...prediction.answers.map(answerCard));
  }
}

/** @param {import("../initial.js").Answer} answer */
function answerCard({ text, label, probabilities, preview }) {
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
    h(
      "p",
      { class: "answer" },
      h("span", { class: "hint" }, "Answer: "),
      h("strong", { "data-testid": "prediction-label" }, label),
    ),
    h("ul", { class: "bars" }, ...bars),
    preview === null ? null : h("h3", {}, "What the server would see"),
    preview === null
      ? null
      : h(
          "p",
          { class: "hint" },
          "This is what was sent: the same text gets the same noise every time.",
        ),
    preview === null ? null : legend(),
    ...(preview?.examples ?? []).map(({ tokens }) => tokenList(tokens)),
  );
}

customElements.define("cl-predict", Predict);
