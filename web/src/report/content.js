/**
 * What a report of a run says, from the state of the page. Pure: the time comes in.
 *
 * Nothing of the reader's own texts, names of files or columns is in it unless the reader ticks that.
 */

import { mechanismOf } from "../derived.js";
import { bytes, count, decimal, duration, percent } from "../format.js";
import { mattersFor, matterWords } from "../kinds.js";
import { FIRST, has, language, say, written } from "../language.js";
import { leaving } from "../leaves.js";
import { attacksPicture } from "../pictures/attacks.js";
import { confusionPicture } from "../pictures/confusion.js";
import { lossPicture, scoresPicture } from "../pictures/learning.js";
import { sharesWords, tokensPicture } from "../pictures/tokens.js";
import { numberColumn, textColumn } from "../pictures/table.js";
import { isOutdated, pointAt, settingName } from "../reading.js";
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

/** Training options that are told, as the form names them. */
const TOLD_OPTIONS = [
  "epochs",
  "batch_size",
  "learning_rate",
  "rank",
  "alpha",
  "dropout",
  "validation_share",
  "class_weights",
  "patience",
  "dtype",
  "label_noise",
];

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
    language: language(),
    title: say("report.title"),
    made: say("report.made", {
      day: made.toISOString().slice(0, 10),
      time: made.toISOString().slice(11, 16),
    }),
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
  return labels.map(({ name }, index) =>
    classes ? name : say("result.class", { index: index + 1 }),
  );
}

/** @param {State} state @returns {Section} */
function result({ run, evaluation }) {
  if (run === null || run.done === null) return { heading: say("result.title"), parts: [] };
  const best = bestValidation(run);
  const { steps, best_step, reason } = run.done;
  /** @type {Part[]} */
  const parts = [
    {
      kind: "text",
      text: say("result.sentence", {
        ended: doneSentence(reason),
        steps: count(steps, "step"),
        best: best_step,
      }),
    },
  ];
  if (run.endedAt !== null) {
    const time = duration(run.endedAt - run.startedAt);
    parts.push({ kind: "text", text: say("report.took", { time }) });
  }
  if (best !== null) {
    const rows = best.confusion.reduce((sum, value) => sum + value, 0);
    parts.push(
      {
        kind: "figures",
        figures: [
          [say("chart.head.accuracy"), percent(best.accuracy, 1)],
          [say("chart.head.macro_f1"), percent(best.macro_f1, 1)],
          [say("run.loss"), say("run.nats", { n: decimal(best.loss) })],
        ],
      },
      {
        kind: "text",
        text: say("result.measured", {
          rows: count(rows, "held-out row"),
          share: percent(majorityShare(best.confusion), 1),
        }),
        faint: true,
      },
    );
  }
  const test = evaluation.result;
  if (test !== null)
    parts.push({
      kind: "text",
      text: say("report.test", {
        share: percent(test.accuracy, 1),
        rows: count(test.examples, "row"),
        f1: percent(test.macro_f1, 1),
        bad: count(test.bad_rows_total, "row"),
      }),
    });
  return { heading: say("result.title"), parts };
}

/** @param {State} state @returns {Section} */
function protection({ wanted, privacy, mechanisms, preview }) {
  const entry = mechanismOf(mechanisms, wanted.mechanism);
  /** @type {import("./document.js").Fact[]} what the client says is English */
  const facts = [[say("privacy.ways"), entry?.title ?? wanted.mechanism, FIRST]];
  if (entry) facts.push([say("report.does"), entry.about, FIRST]);
  const level = wanted.protection ?? privacy?.protection ?? null;
  if (entry?.level)
    facts.push([say("privacy.level"), level === null ? say("privacy.by-eta") : percent(level)]);
  if (entry?.level) facts.push([say("report.level"), entry.level, FIRST]);
  if (privacy?.eta != null) facts.push(["eta", say("report.eta", { eta: decimal(privacy.eta) })]);
  if (privacy) facts.push([say("report.happens"), privacy.sentence, FIRST]);
  facts.push([say("report.promised"), privacy?.guarantee ?? entry?.guarantee ?? "", FIRST]);
  if (entry?.takes_contribution)
    facts.push([say("contribution.title"), say(`contribution.${wanted.contribution.reading}`)]);
  if (preview !== null) facts.push([say("report.became"), sharesWords(preview)]);
  /** @type {Part[]} */
  const parts = [{ kind: "facts", facts }];
  if (privacy && privacy.caveats.length > 0)
    parts.push({ kind: "list", items: privacy.caveats, language: FIRST });
  return { heading: say("privacy.level"), parts };
}

/** @param {State} state @returns {Section} */
function settings({ run, catalogue, device, settings: chosen, choice }) {
  const model = catalogue?.models.find(({ model_id }) => model_id === catalogue.model_id);
  /** @type {import("./document.js").Fact[]} */
  const facts = [];
  if (catalogue && model) {
    facts.push([say("report.model"), `${catalogue.model_id} (${model.family})`]);
    const blocks = count(model.n_layers, "block");
    const numbers = count(model.d_model, "number");
    facts.push([say("report.size"), say("report.size.of", { blocks, numbers })]);
    facts.push([say("report.cut"), count(catalogue.cut, "block")]);
  }
  if (device) facts.push([say("status.device"), device.kind === "webgpu" ? "GPU" : "CPU"]);
  facts.push([say("status.weights"), precisionName(chosen.precision)]);
  const options = /** @type {Record<string, unknown>} */ (run?.options ?? {});
  for (const key of TOLD_OPTIONS)
    if (options[key] !== undefined) facts.push([say(`train.${key}`), valueOf(key, options[key])]);
  facts.push([say("train.labels"), say(`train.labels.${choice.labels}`)]);
  facts.push([say("report.bottom"), say(`report.bottom.${choice.bottom}`)]);
  return { heading: say("report.settings"), parts: [{ kind: "facts", facts }] };
}

/** A value of a training option: a number as it was entered, a choice in words. @param {string} key @param {unknown} value */
function valueOf(key, value) {
  const words = `train.${key}.${value}`;
  if (has(words)) return say(words);
  return typeof value === "number"
    ? written(value, { maximumSignificantDigits: 6 })
    : String(value);
}

/** @param {State} state @param {Allowed} allowed @param {string[]} names @returns {Section} */
function data({ report, file }, allowed, names) {
  const heading = say("step.data");
  if (report === null) return { heading, parts: [] };
  /** @type {import("./document.js").Fact[]} */
  const facts = [
    [say("report.rows"), count(report.rows, "row")],
    [say("report.left-out"), count(report.bad_rows_total, "row")],
    [say("report.format"), `${report.format}, ${report.encoding}`],
  ];
  if (allowed.names) {
    const column = (/** @type {string|null} */ name) => name ?? say("table.none");
    facts.push([say("step.file"), file?.name ?? ""]);
    facts.push([say("report.column.text"), column(report.text_column)]);
    facts.push([say("report.column.pair"), column(report.pair_column)]);
    facts.push([say("report.column.label"), column(report.label_column)]);
  }
  const total = report.labels.reduce((sum, label) => sum + label.count, 0);
  return {
    heading,
    parts: [
      { kind: "facts", facts },
      {
        kind: "table",
        table: {
          caption: say("report.classes", { classes: count(names.length, "class") }),
          columns: [
            textColumn(say("report.class")),
            numberColumn(say("report.rows"), say("unit.rows"), (value) => count(value, "row")),
            numberColumn(say("report.share"), say("unit.share"), (value) => percent(value, 1)),
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
  const heading = say("report.learning");
  if (run === null || run.stepsTotal === 0) return { heading, parts: [] };
  return {
    heading,
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
    const what = {
      name: "confusion-validation",
      caption: say("result.held-rows"),
      rows: "held-out row",
    };
    matrix(best.confusion, what);
  }
  if (evaluation.result !== null) {
    const what = { name: "confusion-test", caption: say("result.test-rows"), rows: "test row" };
    matrix(evaluation.result.confusion, what);
  }
  return { heading: say("result.where"), parts };
}

/** @param {State} state @param {Picture|null} tradeoff @returns {Section} */
function attackers(state, tradeoff) {
  const { result: reading, measured } = state.reading;
  /** @type {Part[]} */
  const parts = [];
  const point = reading && measured ? pointAt(reading.points, measured.level) : null;
  if (reading !== null && measured !== null && point !== null) {
    const entry = mechanismOf(state.mechanisms, measured.wanted.mechanism);
    const setting = settingName(entry, measured.wanted, point);
    if (isOutdated(state)) parts.push({ kind: "text", text: say("report.outdated") });
    parts.push({ kind: "picture", picture: attacksPicture(reading, point, setting) });
    const { names, numbers } = reading.survivors;
    parts.push({
      kind: "text",
      text: say("report.survivors", {
        names: names.kept,
        all_names: count(names.total, "name"),
        numbers: numbers.kept,
        all_numbers: count(numbers.total, "number"),
      }),
    });
  } else parts.push({ kind: "text", text: say("report.no-attack") });
  if (tradeoff !== null) parts.push({ kind: "picture", picture: tradeoff });
  return { heading: say("report.attackers"), parts };
}

/** @param {State} state @returns {Section} */
function left({ run, choice }) {
  const traffic = run?.traffic ?? null;
  /** @type {import("./document.js").Fact[]} */
  const facts = [[say("run.sent"), bytes(traffic?.bytes_sent ?? run?.bytesSent ?? 0)]];
  if (traffic !== null) {
    facts.push([say("report.messages"), count(traffic.frames_sent, "message")]);
    facts.push([say("report.received"), bytes(traffic.bytes_received)]);
  }
  if (run?.upload) facts.push([say("report.uploaded"), count(run.upload.done, "text")]);
  return {
    heading: say("report.left"),
    parts: [
      { kind: "facts", facts },
      {
        kind: "list",
        items: leaving(choice).map(({ what, leaves, how }) =>
          say(`report.leaves.${leaves}`, { what, how }),
        ),
      },
      {
        kind: "text",
        text: say("report.totals"),
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
      text: say("report.own.private"),
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
      text: say("report.own.survivors", {
        texts: survivors.map(({ text, times }) => `${text} (${count(times, "time")})`).join(", "),
      }),
    });
  return { heading: say("report.own"), parts };
}

/** @returns {Section} */
function limits() {
  return {
    heading: say("report.limits"),
    parts: [
      {
        kind: "list",
        items: [
          say("report.limits.attacks"),
          say("report.limits.accuracy"),
          say("report.limits.lengths"),
        ],
      },
    ],
  };
}
