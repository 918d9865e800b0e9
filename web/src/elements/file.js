/** Step 1: a drop zone, a button and the sample reviews. */

import { h, setText, show, View } from "../dom.js";
import { bytes } from "../format.js";
import { say } from "../language.js";
import { isBusy } from "../derived.js";

const SAMPLE_ADDRESS = "./sample/reviews.tsv";

class FilePicker extends View {
  /** @type {Promise<boolean>|undefined} */
  hasSample;

  build() {
    this.input = h("input", {
      type: "file",
      id: "file-input",
      class: "sr-only",
      accept: ".csv,.tsv,.jsonl,.ndjson,.txt,text/csv,text/tab-separated-values,text/plain",
      "data-testid": "file-input",
      "aria-describedby": "file-promise file-formats",
      onchange: () => this.take(this.input.files),
    });
    this.sample = h(
      "button",
      {
        type: "button",
        class: "button button-quiet",
        "data-testid": "sample-button",
        hidden: true,
        onclick: () => this.openSample(),
      },
      say("file.sample"),
    );
    this.zone = h(
      "div",
      { class: "drop" },
      h("p", { class: "drop-title", id: "file-promise" }, say("file.promise")),
      h("p", { class: "hint", id: "file-formats" }, say("file.formats")),
      h(
        "div",
        { class: "buttons" },
        this.input,
        h("label", { class: "button", for: "file-input" }, say("file.choose")),
        this.sample,
      ),
      h("p", { class: "hint drop-hint" }, say("file.drop")),
    );
    this.zone.addEventListener("dragover", () => this.zone.classList.add("is-over"));
    this.zone.addEventListener("dragleave", () => this.zone.classList.remove("is-over"));
    this.zone.addEventListener("drop", (/** @type {DragEvent} */ event) => {
      this.zone.classList.remove("is-over");
      if (!this.locked) this.take(event.dataTransfer?.files ?? null);
    });
    this.current = h("p", { class: "file-current" });
    this.startOver = h(
      "button",
      { type: "button", class: "button button-quiet", onclick: () => this.ask("start_over") },
      say("file.over"),
    );
    this.lock = h(
      "div",
      { class: "locked-note" },
      h("p", { class: "hint" }, say("file.fixed")),
      this.startOver,
    );
    this.append(this.zone, this.current, this.lock);
    this.findSample();
  }

  /** Asks once, however often the page is built. */
  async findSample() {
    this.hasSample ??= fetch(SAMPLE_ADDRESS, { method: "HEAD" }).then(
      ({ ok }) => ok,
      () => false,
    );
    show(this.sample, await this.hasSample);
  }

  openSample() {
    const arrayBuffer = async () => {
      const answer = await fetch(SAMPLE_ADDRESS);
      if (!answer.ok) throw new Error("no sample");
      return answer.arrayBuffer();
    };
    this.ask("open_file", { name: "reviews.tsv", size: 0, arrayBuffer });
  }

  /** @param {FileList|null} files */
  take(files) {
    if (files && files.length > 0) this.ask("open_file", files[0]);
    this.input.value = "";
  }

  /** @param {import("../initial.js").State} state */
  render({ file, released, phase, missing }) {
    this.locked = released || isBusy(phase) || missing.length > 0;
    show(this.zone, !released && !isBusy(phase));
    show(this.lock, released);
    this.input.disabled = this.locked;
    this.sample.disabled = this.locked;
    this.startOver.disabled = !["done", "privacy", "error"].includes(phase);
    show(this.current, file !== null);
    if (file === null) return;
    const size = file.bytes > 0 ? `, ${bytes(file.bytes)}` : "";
    const wait =
      phase === "loading"
        ? ` ${say("file.waiting")}`
        : file.read || phase === "error"
          ? ""
          : ` ${say("file.reading")}`;
    setText(this.current, `${file.name}${size}${wait}`);
  }
}

customElements.define("cl-file", FilePicker);
