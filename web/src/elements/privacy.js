/** Step 3, the choice: mechanism, level of protection, or eta itself; and what is promised. */

import { h, setText, show, View } from "../dom.js";
import { percent } from "../format.js";
import { FIRST, say } from "../language.js";
import { isBusy, mechanismOf, NO_CONTRIBUTION } from "../derived.js";

/** The calculation starts when the slider or the field has rested this long. */
const REST_MILLIS = 250;
/** The one mechanism that the page knows by name: it warns of it. */
const UNPROTECTED = "none";

/** @typedef {import("../contract.js").Mechanism} Mechanism */

class PrivacyForm extends View {
  build() {
    this.timer = 0;
    /** @type {HTMLInputElement[]} */
    this.radios = [];
    this.first = h("div", { class: "options" });
    this.moreHint = h("span", { class: "summary-hint" });
    this.others = h("div", { class: "options options-many" });
    this.more = h(
      "details",
      { class: "more-ways", "data-testid": "mechanism-more" },
      h("summary", {}, say("privacy.more"), this.moreHint),
      this.others,
    );
    this.warning = h("p", { class: "box box-warning", role: "alert" }, say("privacy.unprotected"));
    this.fields = h(
      "fieldset",
      { class: "bare" },
      h("legend", { class: "sr-only" }, say("privacy.ways")),
      this.first,
      this.more,
      this.warning,
      this.buildLevel(),
    );
    this.sentence = h("p", { class: "sentence", role: "status" });
    this.guarantee = h("span", { "data-testid": "guarantee", lang: FIRST });
    this.promise = h(
      "p",
      { class: "promise" },
      h("strong", {}, say("privacy.promised")),
      " ",
      this.guarantee,
    );
    this.caveats = h("div", {});
    this.append(this.fields, this.sentence, this.promise, this.caveats);
  }

  buildLevel() {
    this.output = h("output", { for: "protection" });
    this.slider = h("input", {
      type: "range",
      id: "protection",
      min: 1,
      max: 99,
      step: 1,
      "data-testid": "protection-slider",
      "aria-describedby": "level-hint",
    });
    this.slider.addEventListener("input", () => {
      this.eta.value = "";
      this.showLevel();
      this.sendSoon();
    });
    this.slider.addEventListener("change", () => this.send());
    this.levelHint = h("p", { class: "hint", id: "level-hint", lang: FIRST });
    this.eta = h("input", {
      type: "number",
      id: "eta",
      min: 0,
      step: "any",
      inputmode: "decimal",
      "data-testid": "eta-input",
      "aria-describedby": "eta-hint",
    });
    this.eta.addEventListener("input", () => this.sendSoon());
    this.expert = h(
      "details",
      {},
      h("summary", {}, say("privacy.expert")),
      h("label", { class: "field", for: "eta" }, say("privacy.eta"), this.eta),
      h("p", { class: "hint", id: "eta-hint" }, say("privacy.eta.hint")),
    );
    this.level = h(
      "div",
      { class: "level" },
      h(
        "div",
        { class: "level-head" },
        h("label", { for: "protection" }, say("privacy.level")),
        this.output,
      ),
      this.slider,
      this.levelHint,
      this.expert,
    );
    return this.level;
  }

  sendSoon() {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.send(), REST_MILLIS);
  }

  send() {
    window.clearTimeout(this.timer);
    const entry = mechanismOf(this.table ?? [], this.chosen());
    if (entry === null) return;
    const moved = entry.name !== this.wanted?.mechanism;
    const eta = Number(this.eta.value);
    // An eta means something else to another mechanism, or nothing.
    const byEta = !moved && entry.level !== "" && this.eta.value !== "" && eta > 0;
    this.ask("set_privacy", {
      mechanism: entry.name,
      protection: entry.level === "" || byEta ? null : Number(this.slider.value) / 100,
      eta: byEta ? eta : null,
      ...(entry.takes_contribution ? {} : { contribution: NO_CONTRIBUTION }),
    });
  }

  chosen() {
    return this.radios?.find((radio) => radio.checked)?.value ?? null;
  }

  showLevel() {
    const byEta = this.eta.value !== "";
    setText(this.output, byEta ? say("privacy.by-eta") : percent(Number(this.slider.value) / 100));
    this.slider.classList.toggle("is-overruled", byEta);
  }

  /** @param {import("../initial.js").State} state */
  render(state) {
    const { wanted, mechanisms, privacy, released, phase } = state;
    this.fields.disabled = released || isBusy(phase) || phase === "error" || phase === "loading";
    if (mechanisms.length === 0) return;
    const built = this.changed("mechanisms", mechanisms);
    if (built) this.renderTable(mechanisms);
    if (this.changed("wanted", wanted) || built) this.renderWanted(state);
    const entry = mechanismOf(mechanisms, wanted.mechanism);
    setText(this.levelHint, entry?.level ?? "");
    show(this.level, Boolean(entry?.level));
    show(this.warning, wanted.mechanism === UNPROTECTED);
    if (privacy !== null) show(this.expert, privacy.eta !== null);
    // The client speaks English, the page its reader's language.
    if (privacy === null) this.sentence.removeAttribute("lang");
    else this.sentence.lang = FIRST;
    setText(this.sentence, privacy?.sentence ?? say("privacy.calculating"));
    this.sentence.classList.toggle("is-pending", privacy === null);
    setText(this.guarantee, privacy?.guarantee ?? entry?.guarantee ?? "");
    const caveats = privacy?.caveats ?? [];
    if (this.changed("caveats", caveats.join("\n"))) this.caveats.replaceChildren(...box(caveats));
  }

  /** @param {Mechanism[]} mechanisms */
  renderTable(mechanisms) {
    this.table = mechanisms;
    const options = mechanisms.map((entry, index) => this.option(entry, index === 0));
    this.radios = options.map(({ radio }) => radio);
    this.first.replaceChildren(...options.slice(0, 1).map(({ node }) => node));
    this.others.replaceChildren(...options.slice(1).map(({ node }) => node));
    show(this.more, mechanisms.length > 1);
  }

  /** @param {Mechanism} entry @param {boolean} isFirst */
  option({ name, title, about, why }, isFirst) {
    const radio = h("input", {
      type: "radio",
      name: "mechanism",
      value: name,
      id: `mechanism-${name}`,
      "data-testid": `mechanism-${name}`,
      "aria-describedby": `about-${name}`,
      onchange: () => this.send(),
    });
    const node = h(
      "div",
      { class: "option" },
      radio,
      h(
        "label",
        { for: `mechanism-${name}` },
        h("span", { lang: FIRST }, title),
        isFirst ? h("span", { class: "tag tag-accent" }, say("privacy.recommended")) : null,
      ),
      h("p", { class: "hint", id: `about-${name}`, lang: FIRST }, about),
      why ? h("p", { class: "hint why", "data-testid": "mechanism-why", lang: FIRST }, why) : null,
    );
    return { radio, node };
  }

  /** @param {import("../initial.js").State} state */
  renderWanted({ wanted, settings, mechanisms }) {
    const moved = this.wanted?.mechanism !== wanted.mechanism;
    this.wanted = wanted;
    for (const radio of this.radios ?? []) radio.checked = radio.value === wanted.mechanism;
    const isFirst = mechanisms[0].name === wanted.mechanism;
    const title = mechanismOf(mechanisms, wanted.mechanism)?.title ?? "";
    setText(
      this.moreHint,
      isFirst ? ` (${mechanisms.length - 1})` : say("privacy.chosen", { title }),
    );
    if (moved && !isFirst) this.more.open = true;
    this.slider.value = String(Math.round((wanted.protection ?? settings.protection) * 100));
    if (wanted.eta !== null) this.eta.value = String(wanted.eta);
    else if (wanted.protection !== null || moved) this.eta.value = "";
    this.showLevel();
  }
}

/** @param {string[]} caveats */
function box(caveats) {
  if (caveats.length === 0) return [];
  const items = caveats.map((caveat) => h("li", {}, caveat));
  return [h("ul", { class: "box box-warning", "data-testid": "caveats", lang: FIRST }, ...items)];
}

customElements.define("cl-privacy", PrivacyForm);
