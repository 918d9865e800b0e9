/** Step 4, the run: two stages with pace, time left and bytes sent; pause and stop. */

import { h, setText, show, View } from "../dom.js";
import { bytes, count, decimal, duration, number, rate } from "../format.js";
import { millisLeft, stagePace, stepPace } from "../run.js";
import { isBusy } from "../derived.js";

const STAGES = [
  { id: "upload", name: "Protect here, and send" },
  { id: "train", name: "Train" },
];

class Progress extends View {
  /** @type {any} the four facts below the stages */
  facts;

  build() {
    this.rows = STAGES.map(({ id, name }) => {
      const bar = h("progress", { max: 1, value: 0, "aria-label": name });
      const detail = h("span", { class: "stage-detail" });
      return { id, bar, detail, row: h("li", {}, h("span", {}, name), bar, detail) };
    });
    this.facts = {
      left: fact("Time left"),
      sent: fact("Sent", "bytes-sent"),
      loss: fact("Loss"),
      epoch: fact("Epoch"),
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
    setText(this.facts.loss.value, run.loss === null ? "not yet" : `${decimal(run.loss)} nats`);
    setText(this.facts.epoch.value, run.epoch === 0 ? "not yet" : number(run.epoch));
    show(this.buttons, busy);
    setText(this.pause, this.isPaused ? "Continue" : "Pause");
    this.pause.disabled = phase === "preparing" || stopping;
    setText(this.stop, stopping ? "Stopping …" : "Stop and keep the best so far");
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
    const known = `${number(run.step)} of ${count(run.stepsTotal, "step")}`;
    const moving = phase === "training" && pace !== null ? `, ${rate(pace, "step")}` : "";
    const held = phase === "paused" ? ", paused" : "";
    const text = run.stepsTotal === 0 ? "Waiting" : known + moving + held;
    const ended = run.done !== null && run.stepsTotal > 0;
    return { done: run.step, total: run.stepsTotal, text, current: run.stepsTotal > 0 && !ended };
  }
  const stage = run.upload;
  if (stage === null) {
    const before = bottom === "lora" ? "With each step" : "Done before";
    const text = run.stepsTotal > 0 ? before : "Waiting";
    return { done: 0, total: 0, text, current: false };
  }
  const pace = stagePace(stage);
  const open = stage.done < stage.total;
  const moving = open && pace !== null && phase === "preparing" ? `, ${rate(pace, "example")}` : "";
  const text = `${number(stage.done)} of ${count(stage.total, "example")}${moving}`;
  return { done: stage.done, total: stage.total, text, current: open };
}

/** @param {import("../run.js").Run} run @param {string} phase */
function timeLeft(run, phase) {
  if (run.endedAt !== null) return `none, took ${duration(run.endedAt - run.startedAt)}`;
  if (run.attempt > 0 && phase !== "error") return "connection lost, trying again";
  if (phase === "paused") return "paused";
  if (!isBusy(/** @type {import("../initial.js").Phase} */ (phase))) return "interrupted";
  const millis = millisLeft(run);
  if (millis === null) return "estimating";
  return phase === "preparing" ? `${duration(millis)} until training` : `about ${duration(millis)}`;
}

customElements.define("cl-progress", Progress);
