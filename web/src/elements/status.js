/** Loading, device, connection: everything about the client that is not about the data. */

import { failureBox, h, setText, show, View } from "../dom.js";
import { bytes, count } from "../format.js";
import { FIRST, say } from "../language.js";
import { LOADING_STAGES, PRECISIONS, precisionName } from "../sentences.js";
import { isBusy, stageOf } from "../derived.js";

class Status extends View {
  build() {
    this.banner = h("div", { class: "banner" });
    this.rows = LOADING_STAGES.map(({ stage, name }) => {
      const detail = h("span", { class: "stage-detail" });
      const bar = h("progress", { "aria-label": say("loading.stage", { stage: name }) });
      return { stage, detail, bar, row: h("li", {}, h("span", {}, name), bar, detail) };
    });
    this.loading = h(
      "div",
      { class: "card loading" },
      h("h2", { class: "card-title" }, say("loading.title")),
      h("ul", { class: "stages" }, ...this.rows.map(({ row }) => row)),
      h("p", { class: "hint" }, say("loading.meanwhile")),
    );
    this.device = h("p", { class: "device" });
    this.notice = h("p", {
      class: "box box-notice",
      "data-testid": "notice",
      role: "status",
      lang: FIRST,
    });
    this.form = this.buildForm();
    this.details = h(
      "details",
      { class: "settings" },
      h("summary", {}, say("status.settings")),
      this.form,
    );
    this.ready = h("div", { class: "ready" }, this.device, this.notice, this.details);
    this.append(this.banner, this.loading, this.ready);
  }

  buildForm() {
    this.deviceChoice = choice("device", ["auto", "gpu", "cpu"]);
    this.cutChoice = h("select", {});
    this.precisionChoice = h("select", { "data-testid": "precision" });
    this.showSizes([], null);
    this.cutLabel = h("label", {}, say("status.cut"), this.cutChoice);
    this.fields = h(
      "fieldset",
      { class: "fields" },
      h("legend", { class: "sr-only" }, say("status.settings")),
      h("label", {}, say("status.device"), this.deviceChoice),
      this.cutLabel,
      h("label", {}, say("status.weights"), this.precisionChoice),
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
      const features = missing
        .map((feature) => say(`feature.${feature}`))
        .reduce((first, second) => say("status.and", { first, second }));
      const sentence = say("status.lacks", { features });
      this.banner.replaceChildren(
        failureBox({ place: "connect", name: "Unsupported", sentence, fatal: true }),
      );
    } else if (failure?.name === "TokenNeeded") {
      this.banner.replaceChildren(failureBox(failure), this.buildEntry());
    } else if (failure?.fatal) {
      const again = h(
        "button",
        { type: "button", class: "button", onclick: () => this.ask("connect") },
        say("status.again"),
      );
      const box = failureBox(failure);
      if (file !== null) box.append(h("p", { class: "hint" }, say("status.kept")));
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
      h("label", { for: "token" }, say("status.token"), field),
      h(
        "button",
        { type: "submit", class: "button", "data-testid": "token-button" },
        say("status.connect"),
      ),
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
      ...PRECISIONS.map((value) => h("option", { value }, precisionName(value, size(value)))),
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
      say("status.ready", { model: catalogue.model_id, kind, device: device.name }),
    );
    setText(this.notice, device.notice ?? "");
    if (!model) return;
    if (this.changed("catalogue", catalogue)) {
      this.cutChoice.replaceChildren(
        ...model.cuts.map((cut) =>
          h("option", { value: cut }, cut === 0 ? say("status.cut.none") : count(cut, "block")),
        ),
      );
      this.showSizes(model.bottoms, catalogue.cut);
      this.precisionChoice.value = settings.precision;
    }
    this.cutChoice.value = String(catalogue.cut);
    const about = say("status.model", {
      model: catalogue.model_id,
      family: model.family,
      blocks: count(model.n_layers, "block"),
      numbers: count(model.d_model, "number"),
    });
    setText(this.model, released ? `${about} ${say("status.fixed")}` : about);
  }
}

/** @param {string} key its values have texts @param {string[]} values */
function choice(key, values) {
  return h(
    "select",
    {},
    ...values.map((value) => h("option", { value }, say(`status.${key}.${value}`))),
  );
}

/** @param {{ bytes: number, bytesTotal: number }|undefined} known @param {"waiting"|"current"|"done"} how */
function stageDetail(known, how) {
  const whole = known && known.bytesTotal > 0 ? bytes(known.bytesTotal) : null;
  if (how === "done")
    return whole ? say("loading.done.bytes", { bytes: whole }) : say("loading.done");
  if (how === "waiting") return say("loading.waiting");
  if (known && whole) return say("loading.bytes", { bytes: bytes(known.bytes), total: whole });
  return known && known.bytes > 0 ? bytes(known.bytes) : say("loading.going");
}

customElements.define("cl-status", Status);
