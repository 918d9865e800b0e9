/** What the browser keeps of models: a list, and what can be done with it. */

import { h, setText, show, View } from "../dom.js";
import { bytes, day } from "../format.js";
import { say } from "../language.js";
import { keptName, keptRoom, keptSummary } from "../sentences.js";

class Models extends View {
  build() {
    this.summary = h("summary", { "data-testid": "models-summary" });
    this.rows = h("tbody", { "data-testid": "models-list" });
    const heads = [say("kept.what"), say("kept.size"), say("kept.since")].map((text) =>
      h("th", { scope: "col" }, text),
    );
    const actions = h("th", { scope: "col" }, h("span", { class: "sr-only" }, say("kept.remove")));
    this.table = h("table", {}, h("thead", {}, h("tr", {}, ...heads, actions)), this.rows);
    this.room = h("p", { class: "hint", "data-testid": "models-room" });
    this.stays = h("p", { class: "hint", "data-testid": "models-stays" });
    this.problem = h("p", { class: "box box-notice", role: "status" });
    this.persist = this.button(say("kept.ask"), "models-persist", "persist_kept");
    this.clear = this.button(say("kept.remove-all"), "models-clear", "remove_all_kept");
    this.details = h(
      "details",
      { class: "settings", "data-testid": "models" },
      this.summary,
      h("p", { class: "hint" }, say("kept.about")),
      h("div", { class: "scroll" }, this.table),
      this.room,
      this.stays,
      this.problem,
      h("div", { class: "buttons" }, this.persist, this.clear),
    );
    this.append(this.details);
    show(this.details, false);
  }

  /** @param {string} text @param {string} hook @param {string} action @param {string} [value] @param {string} [name] */
  button(text, hook, action, value, name) {
    const onclick = () => this.ask(action, value);
    const label = name === undefined ? null : `${text}: ${name}`;
    const attributes = { type: "button", class: "button", "data-testid": hook };
    return h("button", { ...attributes, "aria-label": label, onclick }, text);
  }

  /** @param {import("../initial.js").State} state */
  render({ kept }) {
    if (!this.changed("kept", kept)) return;
    show(this.details, kept !== null);
    if (kept === null) return;
    setText(this.summary, keptSummary(kept));
    this.rows.replaceChildren(...kept.files.map((file) => this.row(file)));
    show(this.table, kept.files.length > 0);
    setText(this.room, keptRoom(kept));
    setText(this.stays, say(kept.persisted ? "kept.persisted" : "kept.transient"));
    show(this.problem, kept.problem !== null);
    setText(this.problem, kept.problem === null ? "" : say(`kept.problem.${kept.problem}`));
    show(this.persist, !kept.persisted);
    show(this.clear, kept.files.length > 0);
  }

  /** @param {import("../models/store.js").StoredFile} file */
  row({ name, label, bytes: size, at }) {
    const what = keptName(label);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, what),
      h("td", {}, bytes(size)),
      h("td", {}, day(at)),
      h("td", {}, this.button(say("kept.remove"), "models-remove", "remove_kept", name, what)),
    );
  }
}

customElements.define("cl-models", Models);
