/** Loading, device, connection: everything about the client that is not about the data. */

import { failureBox, h, setText, show, View } from "../dom.js";
import { bytes, count } from "../format.js";
import { LOADING_STAGES, PRECISION_NAMES, precisionName } from "../sentences.js";
import { isBusy, stageOf } from "../derived.js";

class Status extends View {
  build() {
    this.banner = h("div", { class: "banner" });
    this.rows = LOADING_STAGES.map(({ stage, name }) => {
      const detail = h("span", { class: "stage-detail" });
      const bar = h("progress", { "aria-label": `Loading: ${name}` });
      return { stage, detail, bar, row: h("li", {}, h("span", {}, name), bar, detail) };
    });
    this.loading = h(
      "div",
      { class: "card loading" },
      h("h2", { class: "card-title" }, "Getting the model ready"),
      h("ul", { class: "stages" }, ...this.rows.map(({ row }) => row)),
      h(
        "p",
        { class: "hint" },
        "You can choose your file meanwhile; it is read as soon as the model is ready.",
      ),
    );
    this.device = h("p", { class: "device" });
    this.notice = h("p", { class: "box box-notice", "data-testid": "notice", role: "status" });
    this.form = this.buildForm();
    this.details = h(
      "details",
      { class: "settings" },
      h("summary", {}, "Model and device"),
      this.form,
    );
    this.ready = h("div", { class: "ready" }, this.device, this.notice, this.details);
    this.append(this.banner, this.loading, this.ready);
  }

  buildForm() {
    this.deviceChoice = choice(["auto", "gpu", "cpu"], ["Automatic", "GPU (WebGPU)", "CPU"]);
    this.cutChoice = h("select", {});
    this.precisionChoice = h("select", { "data-testid": "precision" });
    this.showSizes([], null);
    this.cutLabel = h("label", {}, "Blocks that run in this tab (cut)", this.cutChoice);
    this.fields = h(
      "fieldset",
      { class: "fields" },
      h("legend", { class: "sr-only" }, "Model and device"),
      h("label", {}, "Device", this.deviceChoice),
      this.cutLabel,
      h("label", {}, "Weights", this.precisionChoice),
    );
    this.fields.addEventListener("change", (/** @type {Event} */ { target }) => {
      if (target !== this.cutChoice) {
        const key = target === this.deviceChoice ? "device" : "precision";
        this.ask("settings", { [key]: /** @type {HTMLSelectElement} */ (target).value });
      } else this.ask("settings", { cut: Number(this.cutChoice.value) });
    });
    this.model = h("p", { class: "hint" });
    return h("div", {}, this.model, this.fields);
  }

  /** @param {import("../initial.js").State} state */
  render(state) {
    this.renderBanner(state);
    show(this.loading, state.phase === "loading");
    if (state.phase === "loading") this.renderLoading(state);
    show(this.ready, state.phase !== "loading" && state.missing.length === 0);
    this.renderReady(state);
  }

  /** @param {import("../initial.js").State} state */
  renderBanner({ failure, missing, file }) {
    const isNew = [this.changed("failure", failure), this.changed("missing", missing)].includes(
      true,
    );
    if (!isNew) return;
    if (missing.length > 0) {
      const sentence = `This browser lacks ${missing.join(" and ")}, which this page needs.`;
      const advice = "Please use a current Chrome, Edge, Firefox or Safari.";
      this.banner.replaceChildren(
        failureBox({ place: "connect", name: "Unsupported", sentence, advice, fatal: true }),
      );
    } else if (failure?.name === "TokenNeeded") {
      this.banner.replaceChildren(failureBox(failure), this.buildEntry());
    } else if (failure?.fatal) {
      const again = h(
        "button",
        { type: "button", class: "button", onclick: () => this.ask("connect") },
        "Connect again",
      );
      const box = failureBox(failure);
      if (file !== null)
        box.append(
          h("p", { class: "hint" }, "Your file and everything you entered are still here."),
        );
      box.append(again);
      this.banner.replaceChildren(box);
    } else {
      this.banner.replaceChildren();
    }
  }

  /** A field for the token; a password field, so that it is not shown and can be kept by the browser if asked. */
  buildEntry() {
    const field = h("input", {
      type: "password",
      id: "token",
      required: true,
      autocomplete: "current-password",
      spellcheck: false,
    });
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.ask("connect", /** @type {HTMLInputElement} */ (field).value.trim());
    };
    return h(
      "form",
      { class: "card fields", onsubmit },
      h("label", { for: "token" }, "Token of this server", field),
      h("button", { type: "submit", class: "button", "data-testid": "token-button" }, "Connect"),
    );
  }

  /** @param {import("../initial.js").State} state */
  renderLoading(state) {
    for (const { stage, row, bar, detail } of /** @type {any[]} */ (this.rows)) {
      const known = state.loading[stage];
      const how = stageOf(state, stage);
      row.className = how === "waiting" ? "" : `is-${how}`;
      show(bar, how === "current");
      if (known && known.bytesTotal > 0) {
        bar.max = known.bytesTotal;
        bar.value = known.bytes;
      } else bar.removeAttribute("value");
      setText(detail, stageDetail(known, how));
    }
  }

  /**
   * Offers the precisions, each with the size of its bottom.
   * @param {import("../contract.js").BottomSize[]} bottoms
   * @param {number|null} cut
   */
  showSizes(bottoms, cut) {
    const size = (/** @type {string} */ precision) =>
      bottoms.find((bottom) => bottom.cut === cut && bottom.precision === precision)?.bytes;
    this.precisionChoice?.replaceChildren(
      ...PRECISION_NAMES.map((value) => h("option", { value }, precisionName(value, size(value)))),
    );
  }

  /** @param {import("../initial.js").State} state */
  renderReady({ device, catalogue, settings, phase, released }) {
    this.fields.disabled = isBusy(phase) || (released && phase !== "error");
    this.deviceChoice.value = settings.device;
    this.precisionChoice.value = settings.precision;
    show(this.device, device !== null && catalogue !== null && phase !== "error");
    show(this.notice, Boolean(device?.notice));
    show(this.cutLabel, catalogue !== null);
    if (device === null || catalogue === null) return;
    const model = catalogue.models.find(({ model_id }) => model_id === catalogue.model_id);
    const kind = device.kind === "webgpu" ? "GPU" : "CPU";
    setText(
      this.device,
      `Ready: ${catalogue.model_id}, on the ${kind} of this device (${device.name}).`,
    );
    setText(this.notice, device.notice ?? "");
    if (!model) return;
    if (this.changed("catalogue", catalogue)) {
      this.cutChoice.replaceChildren(
        ...model.cuts.map((cut) =>
          h("option", { value: cut }, cut === 0 ? "0: embeddings only" : count(cut, "block")),
        ),
      );
      this.showSizes(model.bottoms, catalogue.cut);
      this.precisionChoice.value = settings.precision;
    }
    this.cutChoice.value = String(catalogue.cut);
    const size = `${count(model.n_layers, "block")}, ${count(model.d_model, "number")} per token`;
    const lock = released ? " Fixed, because examples have been sent." : "";
    setText(this.model, `${catalogue.model_id} (${model.family}): ${size}.${lock}`);
  }
}

/** @param {string[]} values @param {string[]} names */
function choice(values, names) {
  return h("select", {}, ...values.map((value, index) => h("option", { value }, names[index])));
}

/** @param {{ bytes: number, bytesTotal: number }|undefined} known @param {"waiting"|"current"|"done"} how */
function stageDetail(known, how) {
  if (how === "done")
    return known && known.bytesTotal > 0 ? `Done, ${bytes(known.bytesTotal)}` : "Done";
  if (how === "waiting") return "Waiting";
  if (known && known.bytesTotal > 0) return `${bytes(known.bytes)} of ${bytes(known.bytesTotal)}`;
  return known && known.bytes > 0 ? bytes(known.bytes) : "In progress";
}

customElements.define("cl-status", Status);
