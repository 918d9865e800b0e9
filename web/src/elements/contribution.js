/** Step 3, words that matter: whether they get less noise, and which ones they are. */

import { h, setText, show, View } from "../dom.js";
import { decimal, number } from "../format.js";
import { say } from "../language.js";
import { isBusy, mechanismOf, NO_CONTRIBUTION } from "../derived.js";

/** @typedef {import("../contract.js").ContributionReading} ContributionReading */
/** @typedef {import("../contract.js").ContributingWord} ContributingWord */

/** @type {ContributionReading[]} their texts are `contribution.NAME` and what begins with it */
const READINGS = ["off", "floor", "top", "sigmoid"];

class ContributionForm extends View {
  build() {
    this.radios = READINGS.map((id) =>
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
    const options = READINGS.map((id, index) =>
      h(
        "div",
        { class: "option" },
        /** @type {any[]} */ (this.radios)[index],
        h("label", { for: `contribution-${id}` }, say(`contribution.${id}`)),
        h("p", { class: "hint", id: `contribution-about-${id}` }, say(`contribution.${id}.about`)),
      ),
    );
    this.fields = h(
      "fieldset",
      { class: "bare" },
      h("legend", { class: "sr-only" }, say("contribution.title")),
      h("p", { class: "hint" }, say("contribution.about")),
      h("div", { class: "options options-many" }, ...options),
      this.buildExpert(),
    );
    this.why = h("p", { class: "hint" });
    this.table = h("div", {});
    this.words = h(
      "div",
      { "data-testid": "contributing" },
      h("h3", {}, say("contribution.words")),
      this.why,
      this.table,
    );
    this.chosenName = h("span", { class: "summary-hint" });
    this.choice = h(
      "details",
      { "data-testid": "contribution" },
      h("summary", {}, say("contribution.title"), this.chosenName),
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
      h("summary", {}, say("contribution.expert")),
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
        h("label", { for: "label-dependent" }, say("contribution.dependent")),
        h(
          "p",
          { class: "hint hint-warning", id: "label-dependent-hint" },
          say("contribution.dependent.hint"),
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
    setText(this.chosenName, say(`contribution.${reading}.chosen`));
    setText(this.parameterName, reading === "off" ? "" : say(`contribution.${reading}.parameter`));
    show(this.expert, reading !== "off");
    // While it is calculated anew, the words that were there stay: nothing jumps.
    if (privacy === null) return;
    show(this.words, privacy.contributing.length > 0);
    if (!this.changed("contributing", privacy.contributing)) return;
    const spared = reading !== "off";
    setText(
      this.why,
      [say("contribution.why"), useOf(entry, spared), say("contribution.stays")].join(" "),
    );
    this.table.replaceChildren(wordTable(privacy.contributing, spared));
  }
}

/** @param {import("../contract.js").Mechanism|null} entry @param {boolean} spared */
function useOf(entry, spared) {
  if (spared) return say("contribution.spared");
  if (entry?.ranks_tokens) return say("contribution.last");
  return say("contribution.alike");
}

/** @param {ContributingWord[]} words @param {boolean} spared */
function wordTable(words, spared) {
  const text = { scope: "col", class: "cell-text" };
  const head = [
    h("th", text, say("contribution.word")),
    h("th", text, say("contribution.label")),
    spared ? h("th", text, say("contribution.noise")) : null,
    h("th", { scope: "col" }, say("contribution.importance")),
    h("th", { scope: "col" }, say("contribution.count")),
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
      "aria-label": say("contribution.words"),
    },
    h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
  );
}

/** @param {number|null} factor of eta: noise is as long as one by it */
function noiseOf(factor) {
  if (factor === null) return say("contribution.noise.none");
  return factor === 1 ? say("contribution.noise.same") : `× ${decimal(1 / factor)}`;
}

customElements.define("cl-contribution", ContributionForm);
