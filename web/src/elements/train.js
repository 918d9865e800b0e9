/** Step 4, the options: few by default, the rest behind a fold. */

import { h, setText, show, View } from "../dom.js";
import { isBusy, isSecondRelease } from "../derived.js";

/** @typedef {{ id: string, name: string, value: number, min: number, max: number, step: string, hint?: string, fixed?: boolean }} NumberField */

/** @type {NumberField[]} */
const BASIC = [
  { id: "epochs", name: "Epochs (passes over the data)", value: 3, min: 1, max: 100, step: "1" },
  {
    id: "learning_rate",
    name: "Learning rate (per step)",
    value: 0.001,
    min: 0.000001,
    max: 1,
    step: "any",
  },
  {
    id: "batch_size",
    name: "Batch size (examples per step)",
    value: 32,
    min: 1,
    max: 1024,
    step: "1",
  },
];

/** @type {NumberField[]} those marked `fixed` cannot change once examples have been sent */
const ADVANCED = [
  {
    id: "rank",
    name: "LoRA rank (dimensions)",
    value: 8,
    min: 1,
    max: 256,
    step: "1",
    fixed: true,
  },
  {
    id: "alpha",
    name: "LoRA alpha (scale × rank)",
    value: 16,
    min: 0.1,
    max: 1024,
    step: "any",
    fixed: true,
  },
  {
    id: "dropout",
    name: "Dropout (share, 0 to 0.9)",
    value: 0,
    min: 0,
    max: 0.9,
    step: "any",
    fixed: true,
  },
  {
    id: "validation_share",
    name: "Held out to measure (share of rows)",
    value: 0.1,
    min: 0.01,
    max: 0.5,
    step: "any",
    fixed: true,
  },
  {
    id: "patience",
    name: "Stop early after (measurements without improvement, 0: never)",
    value: 4,
    min: 0,
    max: 1000,
    step: "1",
  },
];

class TrainForm extends View {
  build() {
    /** @type {Record<string, any>} */
    this.inputs = {};
    const basic = BASIC.map((field) => this.field(field));
    const advanced = ADVANCED.map((field) => this.field(field));
    advanced.push(
      this.choice("class_weights", "Weight of classes", {
        none: "All examples alike",
        balanced: "Balanced: rare classes weigh more",
      }),
      this.choice("dtype", "Numbers on the wire", {
        f16: "16 bit",
        f32: "32 bit",
        int8: "8 bit (fewest bytes)",
      }),
    );
    this.fields = h(
      "fieldset",
      { class: "bare" },
      h("legend", { class: "sr-only" }, "Training options"),
      h("div", { class: "fields" }, ...basic),
      h(
        "details",
        {},
        h("summary", {}, "Advanced options"),
        h("div", { class: "fields" }, ...advanced),
      ),
    );
    this.again = h(
      "p",
      { class: "box box-warning" },
      "Examples of this file were already sent once, in a session that has ended. Training now sends them with new noise, and two versions tell the server more than one.",
    );
    this.button = h("button", {
      type: "submit",
      class: "button button-primary",
      "data-testid": "train-button",
    });
    this.hint = h("p", { class: "hint" });
    this.form = h(
      "form",
      { novalidate: false },
      this.fields,
      this.again,
      h("div", { class: "buttons" }, this.button),
      this.hint,
    );
    // A field inside a closed fold cannot say what is wrong with it.
    const unfold = (/** @type {any} */ { target }) =>
      ((target.closest("details") ?? {}).open = true);
    this.form.addEventListener("invalid", unfold, true);
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.ask("train", this.options());
    });
    this.append(this.form);
  }

  /** @param {NumberField} field */
  field({ id, name, value, min, max, step }) {
    const input = h("input", {
      type: "number",
      id,
      value,
      min,
      max,
      step,
      required: true,
      inputmode: "decimal",
    });
    /** @type {any} */ (this.inputs)[id] = input;
    return h("label", { for: id }, name, input);
  }

  /** @param {string} id @param {string} name @param {Record<string, string>} options */
  choice(id, name, options) {
    const select = h(
      "select",
      { id },
      ...Object.entries(options).map(([value, text]) => h("option", { value }, text)),
    );
    /** @type {any} */ (this.inputs)[id] = select;
    return h("label", { for: id }, name, select);
  }

  /** @returns {import("../contract.js").TrainOptions} */
  options() {
    const values = /** @type {any} */ ({});
    for (const [id, input] of Object.entries(/** @type {any} */ (this.inputs))) {
      values[id] = input.type === "number" ? Number(input.value) : input.value;
    }
    return values;
  }

  /** @param {import("../initial.js").State} state */
  render(state) {
    const { phase, released, privacy, run } = state;
    const busy = isBusy(phase);
    this.fields.disabled = busy || phase === "error" || phase === "loading";
    for (const { id, fixed } of ADVANCED)
      /** @type {any} */ (this.inputs)[id].disabled = fixed === true && released;
    /** @type {any} */ (this.inputs).dtype.disabled = released;
    this.button.disabled = busy || privacy === null || (phase !== "privacy" && phase !== "done");
    const again = run?.done ? "Train again" : "Start training";
    setText(this.button, busy ? "Training …" : again);
    setText(
      this.hint,
      released && !busy
        ? "Examples that are already on the server are used again; none is sent twice."
        : "Each example is protected here and sent once. The server learns the numbers, the label and the length of each example, not your words.",
    );
    show(this.again, isSecondRelease(state) && !busy);
  }
}

customElements.define("cl-train", TrainForm);
