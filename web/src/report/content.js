/**
 * What a report of a run says, from the state of the page. Pure: the time comes in.
 *
 * Nothing of the reader's own texts, names of files or columns is in it unless the reader ticks that.
 */

import { mechanismOf } from "../derived.js";
import { bytes, count, decimal, duration, number, percent } from "../format.js";
import { mattersFor, matterWords } from "../kinds.js";
import { leaving } from "../leaves.js";
import { attacksPicture } from "../pictures/attacks.js";
import { confusionPicture } from "../pictures/confusion.js";
import { lossPicture, scoresPicture } from "../pictures/learning.js";
import { sharesWords, tokensPicture } from "../pictures/tokens.js";
import { numberColumn, textColumn } from "../pictures/table.js";
import { isOutdated, pointAt } from "../reading.js";
import { bestValidation, majorityShare } from "../run.js";
import { doneSentence, precisionName } from "../sentences.js";

/** @typedef {import("../initial.js").State} State */
/** @typedef {import("../pictures/tree.js").Picture} Picture */
/** @typedef {import("./document.js").Part} Part */
/** @typedef {import("./document.js").Section} Section */

/**
 * What the reader allows to be in the file.
 * @typedef {{ texts: boolean, names: boolean, classes: boolean }} Allowed
 */

/** Rows of the loss that are printed; its picture and its CSV have all. */
const LOSS_ROWS_MAX = 40;

/** @type {Record<string, string>} */
const TOLD_OPTIONS = {
  epochs: "Epochs",
  batch_size: "Examples per step",
  learning_rate: "Learning rate",
  rank: "LoRA rank",
  alpha: "LoRA alpha",
  dropout: "Dropout (share)",
  validation_share: "Held out (share of rows)",
  class_weights: "Weight of classes",
  patience: "Patience (measurements)",
  dtype: "Numbers on the wire",
  label_noise: "Label noise (strength)",
};

/**
 * Gathers a report.
 * @param {State} state
 * @param {Allowed} allowed
 * @param {{ made: Date, tradeoff: Picture|null }} given the picture of protection and accuracy, if there is one
 * @returns {import("./document.js").Report}
 */
export function reportOf(state, allowed, { made, tradeoff }) {
  const names = classNames(state, allowed);
  const sections = [
    result(state),
    protection(state),
    settings(state),
    data(state, allowed, names),
    curves(state),
    mistakes(state, names),
    attackers(state, tradeoff),
    left(state),
    ...(allowed.texts ? [ownTexts(state)] : []),
    limits(),
  ];
  return {
    title: "Fine-tuning without handing the texts over",
    made: `Made by Cutlayer on ${made.toISOString().slice(0, 16).replace("T", " at ")} UTC, in the tab that trained. Making it sent nothing.`,
    sections: sections.filter(({ parts }) => parts.length > 0),
  };
}

/**
 * Names the classes, or numbers them where their names may not be told.
 * @param {State} state
 * @param {Allowed} allowed
 */
function classNames({ report }, { classes }) {
  const labels = report?.labels ?? [];
  return labels.map(({ name }, index) => (classes ? name : `class ${index + 1}`));
}

/** @param {State} state @returns {Section} */
function result({ run, evaluation }) {
  if (run === null || run.done === null) return { heading: "Result", parts: [] };
  const best = bestValidation(run);
  const { steps, best_step, reason } = run.done;
  /** @type {Part[]} */
  const parts = [
    {
      kind: "text",
      text: `${doneSentence(reason)}, after ${count(steps, "step")}; the best state, from step ${number(best_step)}, is kept.${run.endedAt === null ? "" : ` It took ${duration(run.endedAt - run.startedAt)}.`}`,
    },
  ];
  if (best !== null) {
    const rows = best.confusion.reduce((sum, value) => sum + value, 0);
    parts.push(
      {
        kind: "figures",
        figures: [
          ["Accuracy", percent(best.accuracy, 1)],
          ["Macro-F1", percent(best.macro_f1, 1)],
          ["Loss", `${decimal(best.loss)} nats`],
        ],
      },
      {
        kind: "text",
        text: `Measured on ${count(rows, "held-out row")}. Always giving the most frequent answer would be right for ${percent(majorityShare(best.confusion), 1)}.`,
        faint: true,
      },
    );
  }
  const test = evaluation.result;
  if (test !== null)
    parts.push({
      kind: "text",
      text: `On a test file: ${percent(test.accuracy, 1)} of ${count(test.examples, "row")} right, macro-F1 ${percent(test.macro_f1, 1)}; ${count(test.bad_rows_total, "row")} could not be used.`,
    });
  return { heading: "Result", parts };
}

/** @param {State} state @returns {Section} */
function protection({ wanted, privacy, mechanisms, preview }) {
  const entry = mechanismOf(mechanisms, wanted.mechanism);
  /** @type {[string, string][]} */
  const facts = [["Way of protection", entry?.title ?? wanted.mechanism]];
  if (entry) facts.push(["What it does", entry.about]);
  const level = wanted.protection ?? privacy?.protection ?? null;
  if (entry?.level) facts.push(["Level", level === null ? "set by eta" : percent(level)]);
  if (entry?.level) facts.push(["What the level means", entry.level]);
  if (privacy?.eta != null) facts.push(["eta", `${decimal(privacy.eta)} / distance`]);
  if (privacy) facts.push(["What happens", privacy.sentence]);
  facts.push(["What is promised", privacy?.guarantee ?? entry?.guarantee ?? ""]);
  if (entry?.takes_contribution)
    facts.push(["Less noise for words that matter", wanted.contribution.reading]);
  if (preview !== null) facts.push(["What became of the words", sharesWords(preview)]);
  /** @type {Part[]} */
  const parts = [{ kind: "facts", facts }];
  if (privacy && privacy.caveats.length > 0) parts.push({ kind: "list", items: privacy.caveats });
  return { heading: "Protection", parts };
}

/** @param {State} state @returns {Section} */
function settings({ run, catalogue, device, settings: chosen, choice }) {
  const model = catalogue?.models.find(({ model_id }) => model_id === catalogue.model_id);
  /** @type {[string, string][]} */
  const facts = [];
  if (catalogue && model) {
    facts.push(["Model", `${catalogue.model_id} (${model.family})`]);
    facts.push([
      "Size",
      `${count(model.n_layers, "block")}, ${count(model.d_model, "number")} per token`,
    ]);
    facts.push(["In the tab (cut)", count(catalogue.cut, "block")]);
  }
  if (device) facts.push(["Device", device.kind === "webgpu" ? "GPU" : "CPU"]);
  facts.push(["Weights", precisionName(chosen.precision, undefined)]);
  const options = /** @type {Record<string, unknown>} */ (run?.options ?? {});
  for (const [key, name] of Object.entries(TOLD_OPTIONS))
    if (options[key] !== undefined) facts.push([name, String(options[key])]);
  facts.push(["Labels", choice.labels === "client" ? "stay in the tab" : "go to the server"]);
  facts.push(["Lower part", choice.bottom === "lora" ? "trained too" : "fixed"]);
  return { heading: "Settings", parts: [{ kind: "facts", facts }] };
}

/** @param {State} state @param {Allowed} allowed @param {string[]} names @returns {Section} */
function data({ report, file }, allowed, names) {
  if (report === null) return { heading: "Data", parts: [] };
  /** @type {[string, string][]} */
  const facts = [
    ["Rows", count(report.rows, "row")],
    ["Left out", count(report.bad_rows_total, "row")],
    ["Format", `${report.format}, ${report.encoding}`],
  ];
  if (allowed.names) {
    facts.push(["File", file?.name ?? ""], ["Column of texts", report.text_column ?? "none"]);
    facts.push(["Column of second texts", report.pair_column ?? "none"]);
    facts.push(["Column of labels", report.label_column ?? "none"]);
  }
  const total = report.labels.reduce((sum, label) => sum + label.count, 0);
  return {
    heading: "Data",
    parts: [
      { kind: "facts", facts },
      {
        kind: "table",
        table: {
          caption: `${count(names.length, "class", "classes")}, rows of each`,
          columns: [
            textColumn("Class"),
            numberColumn("Rows", "rows", (value) => count(value, "row")),
            numberColumn("Share", "share", (value) => percent(value, 1)),
          ],
          rows: report.labels.map((label, index) => [
            names[index],
            label.count,
            label.count / Math.max(1, total),
          ]),
        },
      },
    ],
  };
}

/** @param {State} state @returns {Section} */
function curves({ run }) {
  if (run === null || run.stepsTotal === 0) return { heading: "Learning", parts: [] };
  return {
    heading: "Learning",
    parts: [
      { kind: "picture", picture: lossPicture(run), rowsMax: LOSS_ROWS_MAX },
      { kind: "picture", picture: scoresPicture(run), rowsMax: LOSS_ROWS_MAX },
    ],
  };
}

/** @param {State} state @param {string[]} names @returns {Section} */
function mistakes({ run, evaluation }, names) {
  const best = run === null ? null : bestValidation(run);
  /** @type {Part[]} */
  const parts = [];
  const matrix = (
    /** @type {number[]} */ confusion,
    /** @type {{ name: string, caption: string, rows: string }} */ what,
  ) => parts.push({ kind: "picture", picture: confusionPicture(confusion, names, what) });
  if (best !== null) {
    const what = { name: "confusion-validation", caption: "Held-out rows", rows: "held-out row" };
    matrix(best.confusion, what);
  }
  if (evaluation.result !== null) {
    const what = { name: "confusion-test", caption: "Rows of the test file", rows: "test row" };
    matrix(evaluation.result.confusion, what);
  }
  return { heading: "Where it is right and wrong", parts };
}

/** @param {State} state @param {Picture|null} tradeoff @returns {Section} */
function attackers(state, tradeoff) {
  const { result: reading, measured } = state.reading;
  /** @type {Part[]} */
  const parts = [];
  const point = reading && measured ? pointAt(reading.points, measured.level) : null;
  if (reading !== null && measured !== null && point !== null) {
    const entry = mechanismOf(state.mechanisms, measured.wanted.mechanism);
    const setting = `“${entry?.title ?? measured.wanted.mechanism}”${entry?.level ? ` at ${percent(point.level)}` : ""}`;
    if (isOutdated(state))
      parts.push({ kind: "text", text: "Measured under other settings than those of the run." });
    parts.push({ kind: "picture", picture: attacksPicture(reading, point, setting) });
    const { names, numbers } = reading.survivors;
    parts.push({
      kind: "text",
      text: `Word for word would leave: ${number(names.kept)} of ${count(names.total, "name")}, ${number(numbers.kept)} of ${count(numbers.total, "number")}. What looks like a name is a guess.`,
    });
  } else parts.push({ kind: "text", text: "No attack was tried in this tab on this data." });
  if (tradeoff !== null) parts.push({ kind: "picture", picture: tradeoff });
  return { heading: "What attackers could read", parts };
}

/** @param {State} state @returns {Section} */
function left({ run, choice }) {
  const traffic = run?.traffic ?? null;
  /** @type {[string, string][]} */
  const facts =
    traffic === null
      ? [["Sent", bytes(run?.bytesSent ?? 0)]]
      : [
          ["Sent", bytes(traffic.bytes_sent)],
          ["Messages sent", count(traffic.frames_sent, "message")],
          ["Received", bytes(traffic.bytes_received)],
        ];
  if (run?.upload) facts.push(["Texts protected and sent", count(run.upload.done, "text")]);
  return {
    heading: "What left the page",
    parts: [
      { kind: "facts", facts },
      {
        kind: "list",
        items: leaving(choice).map(
          ({ what, leaves, how }) => `${leaves === "yes" ? "Left" : "Stayed"}: ${what}. ${how}`,
        ),
      },
      {
        kind: "text",
        text: "Totals of the session of this run: texts, training, and sentences that were classified.",
        faint: true,
      },
    ],
  };
}

/** @param {State} state @returns {Section} */
function ownTexts({ preview, privacy, wanted, mechanisms, reading }) {
  /** @type {Part[]} */
  const parts = [
    {
      kind: "text",
      text: "This part holds words of the private file: it is as private as the file.",
    },
  ];
  if (preview !== null && privacy !== null) {
    const matters = mattersFor(privacy, wanted, mechanismOf(mechanisms, wanted.mechanism));
    parts.push({ kind: "picture", picture: tokensPicture(preview, matters) });
    if (matters.words.length > 0)
      parts.push({
        kind: "list",
        items: matters.words.map((word) => `${word.text}: ${matterWords(word, matters)}`),
      });
  }
  const survivors = reading.result?.survivors.examples ?? [];
  if (survivors.length > 0)
    parts.push({
      kind: "text",
      text: `Names and numbers that leave word for word: ${survivors.map(({ text, times }) => `${text} (${count(times, "time")})`).join(", ")}.`,
    });
  return { heading: "Texts and words of the file", parts };
}

/** @returns {Section} */
function limits() {
  return {
    heading: "What this report does not say",
    parts: [
      {
        kind: "list",
        items: [
          "The attacks that were tried are simple ones. Whoever looks at the words around a word, or trains on other texts first, can read more: take these numbers as the least that can be read.",
          "Accuracy on held-out rows is that of rows like those of this file. The best state was chosen on the same rows, so it is a little too good.",
          "How many texts there are, how long each is and when it was sent is not hidden from the server.",
        ],
      },
    ],
  };
}
