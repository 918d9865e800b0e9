/** Step 4, the options: few by default, the rest behind folds; and what leaves this tab with them. */

import { h, setText, show, View } from "../dom.js";
import { say } from "../language.js";
import { isBusy, isSecondRelease } from "../derived.js";
import { leaving, releaseSentence } from "../leaves.js";
import { ADVANCED, BASIC, LABEL_NOISE } from "./train-fields.js";

/** @typedef {import("./train-fields.js").NumberField} NumberField */

/** @type {import("../contract.js").LabelPlace[]} their texts are `train.labels.PLACE` and what begins with it */
const LABEL_PLACES = ["server", "client"];

class TrainForm extends View {
  build() {
    /** @type {Record<string, any>} */
    this.inputs = {};
    const basic = BASIC.map((field) => this.field(field));
    const advanced = ADVANCED.map((field) => this.field(field));
    advanced.push(
      this.choice("class_weights", ["none", "balanced"]),
      this.choice("dtype", ["f16", "f32", "int8"]),
    );
    this.fields = h(
      "fieldset",
      { class: "bare" },
      h("legend", { class: "sr-only" }, say("train.options")),
      h("div", { class: "fields" }, ...basic),
      this.buildLabelPlaces(),
      h(
        "details",
        {},
        h("summary", {}, say("train.expert")),
        h("div", { class: "fields" }, ...advanced, this.field(LABEL_NOISE)),
        this.buildBottom(),
      ),
    );
    this.leavesList = h("ul", { class: "leaves" });
    this.leaves = h(
      "details",
      { "data-testid": "leaves" },
      h("summary", {}, say("leaves")),
      this.leavesList,
    );
    this.again = h("p", { class: "box box-warning" }, say("train.again.warning"));
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
    this.places = LABEL_PLACES.map((id) =>
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
    const options = LABEL_PLACES.map((id, index) =>
      h(
        "div",
        { class: "option" },
        /** @type {any[]} */ (this.places)[index],
        h("label", { for: `labels-${id}` }, say(`train.labels.${id}`)),
        h("p", { class: "hint", id: `labels-about-${id}` }, say(`train.labels.${id}.about`)),
      ),
    );
    this.labelFields = h(
      "fieldset",
      {},
      h("legend", {}, say("train.labels")),
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
      h("label", { for: "bottom-lora" }, say("train.bottom")),
      h("p", { class: "hint", id: "bottom-hint" }, say("train.bottom.about")),
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
  field({ id, value, min, max, step }) {
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
    return h("label", { for: id }, say(`train.${id}`), input);
  }

  /** @param {string} id @param {string[]} values */
  choice(id, values) {
    const select = h(
      "select",
      { id },
      ...values.map((value) => h("option", { value }, say(`train.${id}.${value}`))),
    );
    /** @type {any} */ (this.inputs)[id] = select;
    return h("label", { for: id }, say(`train.${id}`), select);
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
    const again = run?.done ? "train.again" : "train.start";
    setText(this.button, say(busy ? "train.going" : again));
    setText(
      this.hint,
      released && !busy && choice.bottom === "frozen"
        ? say("train.used-again")
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
        h("span", { class: "tag" }, say(`leaves.${leaves}`)),
        h("span", {}, what),
        h("span", { class: "hint" }, how),
      ),
    );
    this.leavesList.replaceChildren(...items);
  }
}

customElements.define("cl-train", TrainForm);
