/** Step 3, protection against accuracy: the reading's curve with the runs of this tab on it. */

import { h, show, View } from "../dom.js";
import { mechanismOf } from "../derived.js";
import { ofThisData } from "../history.js";
import { say } from "../language.js";
import { tradeoffPicture } from "../pictures/tradeoff.js";
import { currentLevel } from "../reading.js";
import { PictureFrame } from "./picture.js";

/**
 * Makes the picture of the data and the mechanism at hand; null before anything is known of them.
 * @param {import("../initial.js").State} state
 */
export function tradeoffOf(state) {
  const { reading, runs, law } = ofThisData(state);
  const isCurve = reading !== null && reading.points.length > 1;
  if (!isCurve && runs.length === 0) return null;
  const title = (/** @type {string} */ name) => mechanismOf(state.mechanisms, name)?.title ?? name;
  return tradeoffPicture({
    reading: isCurve ? reading : null,
    mechanism: title(state.wanted.mechanism),
    runs,
    now: isCurve ? currentLevel(state) : null,
    law,
    titles: runs.map(({ mechanism }) => title(mechanism)),
  });
}

class Tradeoff extends View {
  build() {
    this.frame = new PictureFrame("privacy-utility");
    this.body = h(
      "div",
      {},
      h("h3", { id: "title-tradeoff", tabindex: "-1" }, say("tradeoff.title")),
      h("p", { class: "hint" }, say("tradeoff.about")),
      this.frame.node,
    );
    this.append(this.body);
  }

  /** @param {import("../initial.js").State} state */
  render(state) {
    const { history, wanted, privacy, report, mechanisms } = state;
    const parts = [history, wanted, privacy, report, mechanisms];
    const isNew = parts.map((part, index) => this.changed(String(index), part)).includes(true);
    if (!isNew) return;
    const picture = tradeoffOf(state);
    show(this.body, picture !== null);
    this.frame?.show(picture);
  }
}

customElements.define("cl-tradeoff", Tradeoff);
