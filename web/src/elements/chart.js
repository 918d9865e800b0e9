/** Step 4, the learning curves: loss on one picture, accuracy and macro-F1 on another. */

import { h, show, View } from "../dom.js";
import { lossPicture, scoresPicture } from "../pictures/learning.js";
import { PictureFrame } from "./picture.js";

class LearningChart extends View {
  build() {
    this.loss = new PictureFrame("loss");
    this.scores = new PictureFrame("validation");
    this.append(h("div", { class: "charts" }, this.loss.node, this.scores.node));
  }

  /** @param {import("../initial.js").State} state */
  render({ run }) {
    const shown = run !== null && run.stepsTotal > 0;
    show(this, shown);
    if (!shown || !this.changed("run", run)) return;
    this.loss?.show(lossPicture(run));
    this.scores?.show(scoresPicture(run));
  }
}

customElements.define("cl-chart", LearningChart);
