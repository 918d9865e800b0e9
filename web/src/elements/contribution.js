/** Step 3, words that matter: whether they get less noise, and which ones they are. */

import { h, setText, show, View } from "../dom.js";
import { decimal, number } from "../format.js";
import { isBusy, mechanismOf, NO_CONTRIBUTION } from "../derived.js";

/** @typedef {import("../contract.js").ContributionReading} ContributionReading */
/** @typedef {import("../contract.js").ContributingWord} ContributingWord */

/** @type {{ id: ContributionReading, name: string, about: string, parameter: string }[]} */
const READINGS = [
  { id: "off", name: "Off", about: "Every word gets the same noise.", parameter: "" },
  {
    id: "floor",
    name: "Floor",
    about:
      "The more a word matters, the less noise it gets; words that do not matter get a little more.",
    parameter: "Floor: smallest factor of eta (empty: 0.6)",
  },
  {
    id: "top",
    name: "Top share",
    about: "The words that matter most leave as they are; all others get the full noise.",
    parameter: "Share of the vocabulary that leaves as it is (empty: 0.01)",
  },
  {
    id: "sigmoid",
    name: "Sigmoid",
    about: "A smooth step: words that matter get down to half of the noise, the others more.",
    parameter: "Importance at the middle of the step (empty: 0)",
  },
];

class ContributionForm extends View {
  build() {
    this.radios = READINGS.map(({ id }) =>
      h("input", {
        type: "radio",
        name: "contribution",
        value: id,
        id: `contribution-${id}`,
        "data-testid": `contribution-${id}`,
        "aria-describedby": `contribution-about-${id}`,
        onchange: () => this.send(true),
      }),
    );
    const options = READINGS.map(({ id, name, about }, index) =>
      h(
        "div",
        { class: "option" },
        /** @type {any[]} */ (this.radios)[index],
        h("label", { for: `contribution-${id}` }, name),
        h("p", { class: "hint", id: `contribution-about-${id}` }, about),
      ),
    );
    this.fields = h(
      "fieldset",
      { class: "bare" },
      h("legend", { class: "sr-only" }, "Less noise for words that matter"),
      h(
        "p",
        { class: "hint" },
        "Words that tell your labels apart can be spared: the classifier gets better, and these words are hidden less.",
      ),
      h("div", { class: "options options-many" }, ...options),
      this.buildExpert(),
    );
    this.why = h("p", { class: "hint" });
    this.table = h("div", {});
    this.words = h(
      "div",
      { "data-testid": "contributing" },
      h("h3", {}, "The words that matter"),
      this.why,
      this.table,
    );
    this.chosenName = h("span", { class: "summary-hint" });
    this.choice = h(
      "details",
      { "data-testid": "contribution" },
      h("summary", {}, "Less noise for words that matter", this.chosenName),
      this.fields,
    );
    this.append(this.choice, this.words);
  }

  buildExpert() {
    this.parameterName = h("span", {});
    this.parameter = h("input", {
      type: "number",
      id: "contribution-parameter",
      step: "any",
      inputmode: "decimal",
      "data-testid": "contribution-parameter",
      onchange: () => this.send(false),
    });
    this.dependent = h("input", {
      type: "checkbox",
      id: "label-dependent",
      "data-testid": "label-dependent",
      "aria-describedby": "label-dependent-hint",
      onchange: () => this.send(false),
    });
    this.expert = h(
      "details",
      {},
      h("summary", {}, "For experts"),
      h(
        "label",
        { class: "field", for: "contribution-parameter" },
        this.parameterName,
        this.parameter,
      ),
      h(
        "div",
        { class: "option option-plain" },
        this.dependent,
        h("label", { for: "label-dependent" }, "Look at each training text’s own label"),
        h(
          "p",
          { class: "hint hint-warning", id: "label-dependent-hint" },
          "Warning: what is sent then tells something of the label, even where labels are not sent.",
        ),
      ),
    );
    return this.expert;
  }

  /** @param {boolean} moved whether another reading was chosen, to which the parameter means something else */
  send(moved) {
    const reading = /** @type {any[]} */ (this.radios).find((radio) => radio.checked)?.value;
    const parameter = this.parameter.value === "" || moved ? null : Number(this.parameter.value);
    const contribution =
      reading === "off"
        ? NO_CONTRIBUTION
        : { reading, parameter, label_dependent: this.dependent.checked };
    this.ask("set_privacy", { contribution });
  }

  /** @param {import("../initial.js").State} state */
  render({ wanted, mechanisms, privacy, released, phase }) {
    const entry = mechanismOf(mechanisms, wanted.mechanism);
    this.fields.disabled = released || isBusy(phase) || phase === "error" || phase === "loading";
    show(this.choice, entry?.takes_contribution === true);
    const { reading, parameter, label_dependent } = wanted.contribution;
    if (this.changed("wanted", wanted)) {
      for (const radio of /** @type {any[]} */ (this.radios))
        radio.checked = radio.value === reading;
      this.parameter.value = parameter === null ? "" : String(parameter);
      this.dependent.checked = label_dependent;
    }
    const chosen = READINGS.find(({ id }) => id === reading);
    setText(this.chosenName, `: ${(chosen?.name ?? reading).toLowerCase()}`);
    setText(this.parameterName, chosen?.parameter ?? "");
    show(this.expert, reading !== "off");
    // While it is calculated anew, the words that were there stay: nothing jumps.
    if (privacy === null) return;
    show(this.words, privacy.contributing.length > 0);
    if (!this.changed("contributing", privacy.contributing)) return;
    const spared = reading !== "off";
    setText(
      this.why,
      `They are much more frequent under one label than under the others. ${useOf(entry, spared)} This list is made from your data in this tab and never leaves it.`,
    );
    this.table.replaceChildren(wordTable(privacy.contributing, spared));
  }
}

/** @param {import("../contract.js").Mechanism|null} entry @param {boolean} spared */
function useOf(entry, spared) {
  if (spared) return "They get less noise than the others, or none.";
  if (entry?.ranks_tokens) return "Words like these are the last to be taken away.";
  return "As things are set, they are protected like all others.";
}

/** @param {ContributingWord[]} words @param {boolean} spared */
function wordTable(words, spared) {
  const text = { scope: "col", class: "cell-text" };
  const head = [
    h("th", text, "Word"),
    h("th", text, "Speaks for"),
    spared ? h("th", text, "Noise") : null,
    h("th", { scope: "col" }, "Importance"),
    h("th", { scope: "col" }, "Count"),
  ];
  const rows = words.map(({ text, label, importance, count, factor }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, text),
      h("td", { class: "cell-text" }, label),
      spared ? h("td", { class: "cell-text" }, noiseOf(factor)) : null,
      h("td", {}, decimal(importance)),
      h("td", {}, number(count)),
    ),
  );
  return h(
    "div",
    {
      class: "scroll scroll-tall",
      tabindex: "0",
      role: "region",
      "aria-label": "The words that matter",
    },
    h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
  );
}

/** @param {number|null} factor of eta: noise is as long as one by it */
function noiseOf(factor) {
  if (factor === null) return "none: stays as it is";
  return factor === 1 ? "as the others" : `× ${decimal(1 / factor)}`;
}

customElements.define("cl-contribution", ContributionForm);
