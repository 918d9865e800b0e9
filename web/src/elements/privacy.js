/** Step 3, the choice: mechanism, level of protection, or eta itself. */

import { h, setText, show, View } from "../dom.js";
import { percent } from "../format.js";
import { isBusy } from "../derived.js";

/** The calculation starts when the slider or the field has rested this long. */
const REST_MILLIS = 250;

const MECHANISMS = [
  {
    id: "token",
    name: "Replace words",
    text: "Words are exchanged for others before the model sees them. The server can work out the exchanged words, not the ones you wrote.",
  },
  {
    id: "vector",
    name: "Blur the numbers",
    text: "Your words stay, and noise is added to the numbers that leave this tab. A trained attacker can undo more of this than the preview shows.",
  },
  {
    id: "none",
    name: "No protection",
    text: "For public text only: the server can read nearly every word.",
  },
];

const LEVEL_TEXT = {
  token: "Share of words that are expected to change. More protection costs accuracy.",
  vector: "Strength of the noise. More protection costs accuracy.",
  none: "",
};

class PrivacyForm extends View {
  build() {
    this.timer = 0;
    const radios = MECHANISMS.map(({ id }) =>
      h("input", {
        type: "radio",
        name: "mechanism",
        value: id,
        id: `mechanism-${id}`,
        "data-testid": `mechanism-${id}`,
        "aria-describedby": `about-${id}`,
        onchange: () => this.send(),
      }),
    );
    const options = MECHANISMS.map(({ id, name, text }, index) =>
      h(
        "div",
        { class: "option" },
        radios[index],
        h("label", { for: `mechanism-${id}` }, name),
        h("p", { class: "hint", id: `about-${id}` }, text),
      ),
    );
    this.radios = radios;
    this.warning = h(
      "p",
      { class: "box box-warning", role: "alert" },
      "Without protection, whoever runs the server can reconstruct your text. Use this only with text that may be public.",
    );
    this.fields = h(
      "fieldset",
      { class: "bare" },
      h("legend", { class: "sr-only" }, "Mechanism"),
      h("div", { class: "options" }, ...options),
      this.warning,
      this.buildLevel(),
    );
    this.sentence = h("p", { class: "sentence", role: "status" });
    this.append(this.fields, this.sentence);
  }

  buildLevel() {
    this.output = h("output", { for: "protection" });
    this.slider = h("input", {
      type: "range",
      id: "protection",
      min: 0,
      max: 100,
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
    this.levelHint = h("p", { class: "hint", id: "level-hint" });
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
    this.level = h(
      "div",
      { class: "level" },
      h(
        "div",
        { class: "level-head" },
        h("label", { for: "protection" }, "Protection"),
        this.output,
      ),
      this.slider,
      this.levelHint,
      h(
        "details",
        {},
        h("summary", {}, "For experts: set eta"),
        h("label", { class: "field", for: "eta" }, "eta (1 / distance)", this.eta),
        h(
          "p",
          { class: "hint", id: "eta-hint" },
          "Smaller is more noise. Leave empty to let the slider choose it.",
        ),
      ),
    );
    return this.level;
  }

  sendSoon() {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.send(), REST_MILLIS);
  }

  send() {
    window.clearTimeout(this.timer);
    const mechanism =
      /** @type {any[]} */ (this.radios).find((radio) => radio.checked)?.value ?? "token";
    const eta = Number(this.eta.value);
    const byEta = mechanism !== "none" && this.eta.value !== "" && eta > 0;
    const protection = mechanism === "none" || byEta ? null : Number(this.slider.value) / 100;
    const same = JSON.stringify({ mechanism, protection, eta: byEta ? eta : null });
    if (same !== this.sent) this.ask("set_privacy", JSON.parse(same));
  }

  showLevel() {
    const byEta = this.eta.value !== "";
    setText(this.output, byEta ? "by eta" : percent(Number(this.slider.value) / 100));
    this.slider.classList.toggle("is-overruled", byEta);
  }

  /** @param {import("../initial.js").State} state */
  render({ wanted, settings, privacy, released, phase }) {
    this.fields.disabled = released || isBusy(phase) || phase === "error" || phase === "loading";
    if (this.changed("wanted", wanted)) {
      this.sent = JSON.stringify({
        mechanism: wanted.mechanism,
        protection: wanted.protection,
        eta: wanted.eta,
      });
      for (const radio of /** @type {any[]} */ (this.radios))
        radio.checked = radio.value === wanted.mechanism;
      this.slider.value = String(Math.round(settings.protection * 100));
      if (wanted.eta !== null) this.eta.value = String(wanted.eta);
      else if (wanted.protection !== null) this.eta.value = "";
      this.showLevel();
    }
    setText(this.levelHint, LEVEL_TEXT[wanted.mechanism]);
    show(this.level, wanted.mechanism !== "none");
    show(this.warning, wanted.mechanism === "none");
    setText(this.sentence, privacy?.sentence ?? "Calculating for this model …");
    this.sentence.classList.toggle("is-pending", privacy === null);
  }
}

customElements.define("cl-privacy", PrivacyForm);
