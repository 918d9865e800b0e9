/** Step 3, the privacy reading: what an attacker could read back of this data, measured in this tab. */

import { h, setText, show, View } from "../dom.js";
import { count, decimal, number, percent } from "../format.js";
import { isBusy, mechanismOf } from "../derived.js";
import { say } from "../language.js";
import { attacksPicture } from "../pictures/attacks.js";
import { isOutdated, pointAt, settingName, strongest } from "../reading.js";
import { PictureFrame } from "./picture.js";

/** @typedef {import("../initial.js").State} State */
/** @typedef {import("../contract.js").Reading} Reading */

class PrivacyReading extends View {
  build() {
    this.start = h("button", {
      type: "button",
      class: "button",
      "data-testid": "reading-button",
      onclick: () => this.ask("measure"),
    });
    this.stop = h("button", {
      type: "button",
      class: "button",
      "data-testid": "reading-stop",
      onclick: () => this.ask("stop_measuring"),
    });
    this.bar = h("progress", {
      "aria-label": say("reading.measuring"),
      "data-testid": "reading-progress",
    });
    this.detail = h("span", { class: "stage-detail" });
    this.running = h("p", { class: "measuring" }, this.bar, this.detail);
    this.outdated = h("p", {
      class: "box box-notice",
      role: "status",
      "data-testid": "reading-outdated",
    });
    this.headline = h("p", { class: "sentence", role: "status" });
    this.figures = h("dl", { class: "facts" });
    this.limits = h("p", { class: "hint" });
    this.survivors = h("div", { "data-testid": "survivors" });
    this.frame = new PictureFrame("attacks");
    this.result = h(
      "div",
      { class: "reading-result" },
      this.headline,
      this.figures,
      this.frame.node,
      this.limits,
      this.survivors,
    );
    this.append(
      h("h3", {}, say("reading.title")),
      h("p", { class: "hint" }, say("reading.about")),
      this.running,
      h("div", { class: "buttons" }, this.start, this.stop),
      this.outdated,
      this.result,
    );
    this.dataset.testid = "reading";
  }

  /** @param {State} state */
  render(state) {
    const { reading, privacy, phase } = state;
    const { pending, stopping, stopped, result } = reading;
    const held = isBusy(phase) || phase === "error" || phase === "loading";
    this.start.disabled = held || privacy === null;
    setText(this.start, say(result === null ? "reading.start" : "reading.again"));
    const focused = document.activeElement;
    show(this.start, !pending);
    show(this.stop, pending);
    // One button takes the place of the other, and the focus with it.
    if (pending && focused === this.start) this.stop.focus();
    else if (!pending && focused === this.stop) this.start.focus();
    // A button that is disabled loses the focus, so it is only said.
    this.stop.setAttribute("aria-disabled", String(stopping));
    setText(this.stop, say(stopping ? "reading.stopping" : "reading.stop"));
    this.renderProgress(reading);
    const note = noteOf(state);
    setText(this.outdated, note);
    show(this.outdated, note !== "" && !pending);
    show(this.result, result !== null);
    this.result.classList.toggle("is-outdated", isOutdated(state) || stopped);
    if (result !== null && this.changed("result", result)) this.renderResult(state, result);
  }

  /** @param {import("../initial.js").ReadingState} reading */
  renderProgress({ pending, done, total }) {
    show(this.running, pending);
    if (!pending) return;
    if (total > 0) {
      this.bar.max = total;
      this.bar.value = done;
    } else this.bar.removeAttribute("value");
    setText(this.detail, total > 0 ? percent(done / total) : say("reading.beginning"));
  }

  /** @param {State} state @param {Reading} result */
  renderResult({ reading, mechanisms }, result) {
    const { wanted, level } = /** @type {import("../reading.js").Measured} */ (reading.measured);
    const point = pointAt(result.points, level);
    if (point === null) return;
    const entry = mechanismOf(mechanisms, wanted.mechanism);
    const headline = say(entry?.level ? "reading.headline.level" : "reading.headline", {
      title: entry?.title ?? wanted.mechanism,
      level: percent(point.level),
      share: percent(strongest(point)),
    });
    const eta = point.eta === null ? "" : ` ${say("reading.eta", { eta: decimal(point.eta) })}`;
    setText(this.headline, headline + eta);
    this.figures.replaceChildren(
      attackFact("reading-nn", say("reading.simple"), point.nn),
      point.bayes === null ? "" : attackFact("reading-bayes", say("reading.informed"), point.bayes),
    );
    this.frame?.show(attacksPicture(result, point, settingName(entry, wanted, point)));
    setText(
      this.limits,
      say("reading.limits", {
        tokens: count(result.tokens, "token"),
        texts: count(result.examples, "text"),
      }),
    );
    this.survivors.replaceChildren(...survivorsOf(result.survivors));
  }
}

/** @param {State} state */
function noteOf(state) {
  if (isOutdated(state)) return say("reading.outdated");
  return state.reading.stopped ? say("reading.stopped") : "";
}

/** @param {string} testId @param {string} name @param {number} share */
function attackFact(testId, name, share) {
  return h("div", {}, h("dt", {}, name), h("dd", { "data-testid": testId }, percent(share)));
}

/** @param {Reading["survivors"]} survivors */
function survivorsOf({ names, numbers, examples }) {
  const told = (
    /** @type {import("../contract.js").Kept} */ { total, kept },
    /** @type {string} */ noun,
  ) =>
    total === 0
      ? say(`reading.no.${noun}`)
      : say("reading.kept", { kept, total: count(total, noun) });
  const items = examples.map(({ text, times }) =>
    h(
      "li",
      { class: "tag" },
      text,
      times > 1 ? h("span", { class: "hint" }, ` × ${number(times)}`) : null,
    ),
  );
  return [
    h("h3", {}, say("reading.survivors")),
    h("p", {}, `${told(names, "name")} ${told(numbers, "number")}`),
    items.length === 0 ? "" : h("ul", { class: "tags" }, ...items),
    items.length === 0 ? "" : h("p", { class: "hint" }, say("reading.guess")),
  ];
}

customElements.define("cl-reading", PrivacyReading);
