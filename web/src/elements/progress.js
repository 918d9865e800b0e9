/** Step 4, the run: two stages with pace, time left and bytes sent; pause and stop. */

import { h, setText, show, View } from "../dom.js";
import { bytes, count, decimal, duration, number, rate } from "../format.js";
import { say } from "../language.js";
import { millisLeft, stagePace, stepPace } from "../run.js";
import { isBusy } from "../derived.js";

/** Their names are `run.STAGE`. */
const STAGES = ["upload", "train"];

class Progress extends View {
  /** @type {any} the four facts below the stages */
  facts;

  build() {
    this.rows = STAGES.map((id) => {
      const name = say(`run.${id}`);
      const bar = h("progress", { max: 1, value: 0, "aria-label": name });
      const detail = h("span", { class: "stage-detail" });
      return { id, bar, detail, row: h("li", {}, h("span", {}, name), bar, detail) };
    });
    this.facts = {
      left: fact(say("run.left")),
      sent: fact(say("run.sent"), "bytes-sent"),
      loss: fact(say("run.loss")),
      epoch: fact(say("run.epoch")),
    };
    this.pause = h("button", {
      type: "button",
      class: "button",
      "data-testid": "pause-button",
      onclick: () => this.ask(this.isPaused ? "resume" : "pause"),
    });
    this.stop = h("button", {
      type: "button",
      class: "button",
      "data-testid": "stop-button",
      onclick: () => this.ask("stop"),
    });
    this.buttons = h("div", { class: "buttons" }, this.pause, this.stop);
    this.body = h(
      "div",
      { class: "card run", "data-testid": "progress" },
      h("ul", { class: "stages" }, ...this.rows.map(({ row }) => row)),
      h("dl", { class: "facts" }, ...Object.values(this.facts).map(({ node }) => node)),
      this.buttons,
    );
    this.append(this.body);
  }

  /** @param {import("../initial.js").State} state */
  render({ run, phase, stopping, choice }) {
    show(this.body, run !== null);
    if (run === null) return;
    this.isPaused = phase === "paused";
    const busy = isBusy(phase);
    for (const { id, row, bar, detail } of /** @type {any[]} */ (this.rows)) {
      const { done, total, text, current } = stageView(run, id, phase, choice);
      row.className = total > 0 && done >= total ? "is-done" : current ? "is-current" : "";
      bar.max = Math.max(1, total);
      bar.value = done;
      setText(detail, text);
    }
    setText(this.facts.left.value, timeLeft(run, phase));
    setText(this.facts.sent.value, bytes(run.bytesSent));
    const notYet = say("run.not-yet");
    const loss = run.loss === null ? notYet : say("run.nats", { n: decimal(run.loss) });
    setText(this.facts.loss.value, loss);
    setText(this.facts.epoch.value, run.epoch === 0 ? notYet : number(run.epoch));
    show(this.buttons, busy);
    setText(this.pause, say(this.isPaused ? "run.continue" : "run.pause"));
    this.pause.disabled = phase === "preparing" || stopping;
    setText(this.stop, say(stopping ? "run.stopping" : "run.stop"));
    this.stop.disabled = stopping;
  }
}

/** @param {string} name @param {string} [testId] */
function fact(name, testId) {
  const value = h("dd", { "data-testid": testId });
  return { value, node: h("div", {}, h("dt", {}, name), value) };
}

/** @param {import("../run.js").Run} run @param {string} id @param {string} phase @param {import("../initial.js").TrainChoice} choice */
function stageView(run, id, phase, { bottom }) {
  if (id === "train") {
    const pace = stepPace(run);
    const known = say("run.of", { done: run.step, total: count(run.stepsTotal, "step") });
    const moving = phase === "training" && pace !== null ? `, ${rate(pace, "step")}` : "";
    const held = phase === "paused" ? `, ${say("run.paused")}` : "";
    const text = run.stepsTotal === 0 ? say("run.waiting") : known + moving + held;
    const ended = run.done !== null && run.stepsTotal > 0;
    return { done: run.step, total: run.stepsTotal, text, current: run.stepsTotal > 0 && !ended };
  }
  const stage = run.upload;
  if (stage === null) {
    const before = bottom === "lora" ? "run.with-steps" : "run.done-before";
    const text = say(run.stepsTotal > 0 ? before : "run.waiting");
    return { done: 0, total: 0, text, current: false };
  }
  const pace = stagePace(stage);
  const open = stage.done < stage.total;
  const moving = open && pace !== null && phase === "preparing" ? `, ${rate(pace, "example")}` : "";
  const of = say("run.of", { done: stage.done, total: count(stage.total, "example") });
  const text = of + moving;
  return { done: stage.done, total: stage.total, text, current: open };
}

/** @param {import("../run.js").Run} run @param {string} phase */
function timeLeft(run, phase) {
  if (run.endedAt !== null) return say("run.took", { time: duration(run.endedAt - run.startedAt) });
  if (run.attempt > 0 && phase !== "error") return say("run.lost");
  if (phase === "paused") return say("run.paused");
  if (!isBusy(/** @type {import("../initial.js").Phase} */ (phase))) return say("run.interrupted");
  const millis = millisLeft(run);
  if (millis === null) return say("run.estimating");
  return say(phase === "preparing" ? "run.until" : "run.about", { time: duration(millis) });
}

customElements.define("cl-progress", Progress);
