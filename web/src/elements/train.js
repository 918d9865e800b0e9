/** Step 4, the options: few by default, the rest behind folds; and what leaves this tab with them. */

import { h, setText, show, View } from "../dom.js";
import { isBusy, isSecondRelease } from "../derived.js";
import { leaving, releaseSentence } from "../leaves.js";
import { ADVANCED, BASIC, LABEL_NOISE } from "./train-fields.js";

/** @typedef {import("./train-fields.js").NumberField} NumberField */

/** @type {{ id: import("../contract.js").LabelPlace, name: string, about: string }[]} */
const LABEL_PLACES = [
  {
    id: "server",
    name: "They go to the server",
    about: "The label of each text travels as a number, without its name. This is the fastest.",
  },
  {
    id: "client",
    name: "They stay in this tab",
    about:
      "The last layer is trained here. The server does not receive labels, but can guess some from the corrections that it gets.",
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
      this.buildLabelPlaces(),
      h(
        "details",
        {},
        h("summary", {}, "For experts: more options"),
        h("div", { class: "fields" }, ...advanced, this.field(LABEL_NOISE)),
        this.buildBottom(),
      ),
    );
    this.leavesList = h("ul", { class: "leaves" });
    this.leaves = h(
      "details",
      { "data-testid": "leaves" },
      h("summary", {}, "What leaves this tab"),
      this.leavesList,
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
      this.leaves,
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

  buildLabelPlaces() {
    this.places = LABEL_PLACES.map(({ id }) =>
      h("input", {
        type: "radio",
        name: "labels",
        value: id,
        id: `labels-${id}`,
        "data-testid": `labels-${id}`,
        "aria-describedby": `labels-about-${id}`,
        onchange: () => this.choose(),
      }),
    );
    const options = LABEL_PLACES.map(({ id, name, about }, index) =>
      h(
        "div",
        { class: "option" },
        /** @type {any[]} */ (this.places)[index],
        h("label", { for: `labels-${id}` }, name),
        h("p", { class: "hint", id: `labels-about-${id}` }, about),
      ),
    );
    this.labelFields = h(
      "fieldset",
      {},
      h("legend", {}, "Where labels stay"),
      h("div", { class: "options options-many" }, ...options),
    );
    return this.labelFields;
  }

  buildBottom() {
    this.bottom = h("input", {
      type: "checkbox",
      id: "bottom-lora",
      "data-testid": "bottom-lora",
      "aria-describedby": "bottom-hint",
      onchange: () => this.choose(),
    });
    return h(
      "div",
      { class: "option option-plain" },
      this.bottom,
      h("label", { for: "bottom-lora" }, "Train the lower part too"),
      h(
        "p",
        { class: "hint", id: "bottom-hint" },
        "Small changes to the part of the model in this tab are trained too. Slower: numbers travel in both directions in every step. Only for ways of protection that change the words themselves.",
      ),
    );
  }

  choose() {
    this.ask("choose_training", this.chosen());
  }

  /** @returns {import("../initial.js").TrainChoice} */
  chosen() {
    const isClient = /** @type {any[]} */ (this.places).some(
      (radio) => radio.checked && radio.value === "client",
    );
    return {
      labels: isClient ? "client" : "server",
      bottom: this.bottom.checked ? "lora" : "frozen",
    };
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
    const choice = this.chosen();
    const label_noise = choice.labels === "client" ? values.label_noise : 0;
    return { ...values, ...choice, label_noise };
  }

  /** @param {import("../initial.js").State} state */
  render(state) {
    const { phase, released, privacy, run, choice } = state;
    const busy = isBusy(phase);
    this.fields.disabled = busy || phase === "error" || phase === "loading";
    for (const { id, fixed } of ADVANCED)
      /** @type {any} */ (this.inputs)[id].disabled = fixed === true && released;
    /** @type {any} */ (this.inputs).dtype.disabled = released;
    /** @type {any} */ (this.inputs).label_noise.disabled = choice.labels !== "client";
    this.labelFields.disabled = released;
    this.bottom.disabled = released;
    if (this.changed("choice", choice)) this.renderChoice(choice);
    this.button.disabled = busy || privacy === null || (phase !== "privacy" && phase !== "done");
    const again = run?.done ? "Train again" : "Start training";
    setText(this.button, busy ? "Training …" : again);
    setText(
      this.hint,
      released && !busy && choice.bottom === "frozen"
        ? "Examples that are already on the server are used again; none is sent twice."
        : releaseSentence(choice),
    );
    show(this.again, isSecondRelease(state) && !busy);
  }

  /** @param {import("../initial.js").TrainChoice} choice */
  renderChoice(choice) {
    for (const radio of /** @type {any[]} */ (this.places))
      radio.checked = radio.value === choice.labels;
    this.bottom.checked = choice.bottom === "lora";
    const items = leaving(choice).map(({ what, leaves, how }) =>
      h(
        "li",
        { "data-leaves": leaves },
        h("span", { class: "tag" }, leaves),
        h("span", {}, what),
        h("span", { class: "hint" }, how),
      ),
    );
    this.leavesList.replaceChildren(...items);
  }
}

customElements.define("cl-train", TrainForm);
