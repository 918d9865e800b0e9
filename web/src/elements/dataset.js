/** Step 2: what was read, which columns are used, what is wrong with rows. */

import { failureBox, h, setText, View } from "../dom.js";
import { count, percent, shorten } from "../format.js";
import { FIRST, say } from "../language.js";
import { isBusy } from "../derived.js";

const LABELS_SHOWN_MAX = 30;
const TEXT_CHARS_MAX = 240;
/** Stands for "no such column" in a select. */
const NO_COLUMN = "";

class Dataset extends View {
  build() {
    this.summary = h("p", { class: "summary", "data-testid": "dataset-summary" });
    this.problem = h("div", {});
    this.text = h("select", { "data-testid": "column-text" });
    this.pair = h("select", { "data-testid": "column-pair" });
    this.label = h("select", { "data-testid": "column-label" });
    this.fields = h(
      "fieldset",
      { class: "fields" },
      h("legend", {}, say("data.columns")),
      h("label", {}, say("data.text"), this.text),
      h("label", {}, say("data.label"), this.label),
      h("label", {}, say("data.pair"), this.pair),
    );
    this.fields.addEventListener("change", () => {
      this.ask("choose_columns", {
        text: this.text.value,
        pair: this.pair.value === NO_COLUMN ? null : this.pair.value,
        label: this.label.value === NO_COLUMN ? null : this.label.value,
      });
    });
    this.labels = h("div", {});
    this.bad = h("div", {});
    this.examples = h("div", {});
    this.append(this.summary, this.problem, this.fields, this.labels, this.bad, this.examples);
  }

  /** @param {import("../initial.js").State} state */
  render({ report, released, phase, failure }) {
    this.fields.disabled = released || isBusy(phase) || phase === "error" || phase === "loading";
    if (report === null) return;
    const problem = failure === null ? report.problem : null;
    if (this.changed("problem", problem)) this.problem.replaceChildren(...problemBox(problem));
    if (!this.changed("report", report)) return;
    const columns = count(report.columns.length, "column");
    setText(
      this.summary,
      `${count(report.rows, "row")}, ${columns}, ${report.format}, ${report.encoding}.`,
    );
    this.renderColumns(report);
    this.labels.replaceChildren(...labelList(report));
    this.bad.replaceChildren(...badRows(report));
    this.examples.replaceChildren(...firstExamples(report));
  }

  /** @param {import("../contract.js").DatasetReport} report */
  renderColumns(report) {
    const options = report.columns.map((name) => ({ value: name, name }));
    const none = { value: NO_COLUMN, name: say("data.none") };
    fillSelect(
      this.text,
      report.text_column === null ? [none, ...options] : options,
      report.text_column,
    );
    fillSelect(
      this.label,
      report.label_column === null ? [none, ...options] : options,
      report.label_column,
    );
    fillSelect(this.pair, [none, ...options], report.pair_column);
  }
}

/** @param {string|null} sentence */
function problemBox(sentence) {
  if (sentence === null) return [];
  return [failureBox({ place: "columns", name: "Problem", sentence, fatal: false })];
}

/** @param {any} select @param {{ value: string, name: string }[]} options @param {string|null} value */
function fillSelect(select, options, value) {
  select.replaceChildren(...options.map(({ value, name }) => h("option", { value }, name)));
  select.value = value ?? NO_COLUMN;
}

/** @param {import("../contract.js").DatasetReport} report */
function labelList({ labels }) {
  const total = labels.reduce((sum, { count }) => sum + count, 0);
  const largest = Math.max(1, ...labels.map(({ count }) => count));
  const items = labels
    .slice(0, LABELS_SHOWN_MAX)
    .map(({ name, count: rows }) =>
      h(
        "li",
        { class: "bar-row" },
        h("span", { class: "bar-name" }, shorten(name, 60)),
        h("meter", { class: "bar", min: 0, max: largest, value: rows, "aria-hidden": "true" }),
        h(
          "span",
          { class: "bar-value" },
          `${count(rows, "row")}, ${percent(rows / Math.max(1, total))}`,
        ),
      ),
    );
  const more = labels.length - items.length;
  return [
    h("h3", {}, count(labels.length, "label")),
    h("ul", { class: "bars", "data-testid": "label-list" }, ...items),
    more > 0 ? h("p", { class: "hint" }, say("data.more", { number: more })) : "",
  ];
}

/** @param {import("../contract.js").DatasetReport} report */
function badRows({ bad_rows: rows, bad_rows_total: total }) {
  if (total === 0) {
    return [h("p", { class: "hint", "data-testid": "bad-rows" }, say("data.usable"))];
  }
  const items = rows.map(({ row, reason }) =>
    h("li", {}, h("strong", {}, say("data.row", { row })), " ", h("span", { lang: FIRST }, reason)),
  );
  const more = total - rows.length;
  return [
    h(
      "details",
      { class: "bad-rows", "data-testid": "bad-rows", open: total <= 5 },
      h("summary", {}, say("data.left-out", { rows: count(total, "row") })),
      h("ul", { class: "plain" }, ...items),
      more > 0
        ? h("p", { class: "hint" }, say("data.more.rows", { rows: count(more, "more row") }))
        : null,
    ),
  ];
}

/** @param {import("../contract.js").DatasetReport} report */
function firstExamples({ examples }) {
  if (examples.length === 0) return [];
  const rows = examples.map(({ text, pair, label }) =>
    h(
      "li",
      {},
      label === null ? null : h("span", { class: "tag" }, shorten(label, 40)),
      h("span", {}, shorten(text, TEXT_CHARS_MAX)),
      pair === null ? null : h("span", { class: "pair" }, shorten(pair, TEXT_CHARS_MAX)),
    ),
  );
  return [h("h3", {}, say("data.examples")), h("ul", { class: "examples" }, ...rows)];
}

customElements.define("cl-dataset", Dataset);
