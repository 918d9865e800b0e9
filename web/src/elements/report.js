/** Step 4, after a run: all of it as one file. The reader says what of the own data may be in it. */

import { h, setText, show, View } from "../dom.js";
import { isBusy } from "../derived.js";
import { say } from "../language.js";
import { reportOf } from "../report/content.js";
import { reportHtml } from "../report/document.js";
import { save } from "../save.js";
import { tradeoffOf } from "./tradeoff.js";

/** @type {{ id: keyof import("../report/content.js").Allowed, ticked: boolean }[]} */
const BOXES = [
  { id: "classes", ticked: true },
  { id: "names", ticked: false },
  { id: "texts", ticked: false },
];

class ReportForm extends View {
  build() {
    this.boxes = BOXES.map(({ id, ticked }) =>
      h("input", {
        type: "checkbox",
        id: `report-${id}`,
        checked: ticked,
        "data-testid": `report-${id}`,
      }),
    );
    const options = BOXES.map(({ id }, index) =>
      h(
        "div",
        { class: "option option-plain" },
        /** @type {any[]} */ (this.boxes)[index],
        h("label", { for: `report-${id}` }, say(`report.allow.${id}`)),
      ),
    );
    this.done = h("p", { class: "hint", role: "status" });
    this.body = h(
      "div",
      { class: "card", "data-testid": "report" },
      h("h3", {}, say("report.take")),
      h("p", { class: "hint" }, say("report.about")),
      h("fieldset", {}, h("legend", {}, say("report.allow")), ...options),
      h(
        "div",
        { class: "buttons" },
        h(
          "button",
          {
            type: "button",
            class: "button",
            "data-testid": "report-button",
            onclick: () => this.save(),
          },
          say("report.save"),
        ),
      ),
      this.done,
    );
    this.append(this.body);
  }

  /** @param {import("../initial.js").State} state */
  render(state) {
    this.state = state;
    const { run, phase } = state;
    show(this.body, run !== null && run.done !== null && run.done.steps > 0 && !isBusy(phase));
  }

  save() {
    const { state } = this;
    if (!state) return;
    const made = new Date();
    const ticked = /** @type {any[]} */ (this.boxes).map((box) => box.checked);
    const [classes, names, texts] = ticked;
    const report = reportOf(
      state,
      { classes, names, texts },
      { made, tradeoff: tradeoffOf(state) },
    );
    const name = `cutlayer-report-${made.toISOString().slice(0, 10)}.html`;
    save(name, new Blob([reportHtml(report)], { type: "text/html" }));
    setText(this.done, say("report.saved", { name }));
  }
}

customElements.define("cl-report", ReportForm);
