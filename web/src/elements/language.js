/** The choice of the language, at the foot of the page. */

import { h, setText, View } from "../dom.js";
import { isLanguage, language, LANGUAGES, say } from "../language.js";

class LanguageChoice extends View {
  build() {
    this.name = h("span", {}, say("page.language"));
    const options = Object.entries(LANGUAGES).map(([value, { name }]) =>
      // Each in its own language, for whoever cannot read the current one.
      h("option", { value, lang: value }, name),
    );
    this.select = h("select", { "data-testid": "language" }, ...options);
    this.select.value = language();
    this.select.addEventListener("change", () => {
      const { value } = /** @type {HTMLSelectElement} */ (this.select);
      if (isLanguage(value)) this.ask("settings", { language: value });
    });
    this.append(h("label", { class: "language" }, this.name, this.select));
  }

  /** The reader is in it, so its nodes stay. */
  rebuild() {
    setText(this.name, say("page.language"));
    this.select.value = language();
  }
}

customElements.define("cl-language", LanguageChoice);
