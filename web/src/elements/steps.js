/** The list of steps above the page, and the locking of the sections below it. */

import { failureBox, h, setText, show, View } from "../dom.js";
import { say } from "../language.js";
import { STEPS } from "../sentences.js";
import { currentStep, openSteps } from "../derived.js";

class Steps extends View {
  build() {
    this.items = STEPS.map(({ id, name }, index) =>
      h(
        "li",
        {},
        h(
          "a",
          { href: `#title-${id}` },
          h("span", { class: "step-number", "aria-hidden": "true" }, String(index + 1)),
          h("span", { class: "step-name" }, name),
        ),
      ),
    );
    this.append(
      h("nav", { "aria-label": say("steps") }, h("ol", { class: "steps" }, ...this.items)),
    );
  }

  /** @param {import("../initial.js").State} state */
  render(state) {
    const open = openSteps(state);
    const current = currentStep(state);
    STEPS.forEach(({ id, locked }, index) => {
      const isOpen = index < open;
      const link = /** @type {any[]} */ (this.items)[index].firstChild;
      if (index + 1 === current) link.setAttribute("aria-current", "step");
      else link.removeAttribute("aria-current");
      link.parentElement.className = isOpen ? "is-open" : "";
      const section = /** @type {HTMLElement} */ (document.getElementById(`step-${id}`));
      section.classList.toggle("is-locked", !isOpen);
      show(/** @type {HTMLElement} */ (section.querySelector(".step-body")), isOpen);
      const hint = /** @type {HTMLElement|null} */ (section.querySelector(".step-locked"));
      if (hint === null) return;
      setText(hint, locked);
      show(hint, !isOpen);
    });
  }
}

/** Shows the failure of the places that it is responsible for. */
class FailureSlot extends View {
  /** @param {import("../initial.js").State} state */
  render({ failure }) {
    if (!this.changed("failure", failure)) return;
    const places = (this.dataset.places ?? "").split(" ");
    const own = failure !== null && !failure.fatal && places.includes(failure.place);
    this.replaceChildren(...(own ? [failureBox(failure)] : []));
  }
}

customElements.define("cl-steps", Steps);
customElements.define("cl-failure", FailureSlot);
