/** Protection against accuracy: what attackers read back at each level, and the runs of this tab. Pure. */

import { count, decimal, number, percent } from "../format.js";
import { curveText } from "../reading.js";
import { chart, column } from "./frame.js";
import { numberColumn, textColumn } from "./table.js";

/** @typedef {import("../contract.js").Reading} Reading */
/** @typedef {import("../history.js").FinishedRun} FinishedRun */
/** @typedef {import("./tree.js").Picture} Picture */

/**
 * @typedef {object} Tradeoff
 * @property {Reading|null} reading of the mechanism that is set
 * @property {string} mechanism its title
 * @property {FinishedRun[]} runs of the same data; those of other mechanisms are told in the table only
 * @property {number|null} now the level that is set, where it is one of this curve
 * @property {string} law of the mechanism that is set: a run of another one has no place on its curve
 * @property {string[]} titles of the runs' mechanisms, in their order
 */

const HUNDRED = (/** @type {number} */ value) => `${value} %`;
const share = (/** @type {number} */ value) => percent(value, 1);

/**
 * Draws the curve of a reading with the runs on it.
 * @param {Tradeoff} tradeoff
 * @returns {Picture}
 */
export function tradeoffPicture({ reading, mechanism, runs, now, law, titles }) {
  const points = reading?.points ?? [];
  const placed = runs.filter(
    (run) => levelOf(run) !== null && (run.law === law || run.level === null),
  );
  const majority = placed.at(-1)?.majority ?? null;
  const draw = (/** @type {number} */ width) => {
    const drawn = chart(width, {
      curves: curvesOf(points, placed),
      x: { domain: [0, 100], tick: HUNDRED, name: "level of protection" },
      y: { domain: [0, 100], tick: HUNDRED, name: "words read; rows right" },
      marks: now === null ? [] : [{ x: now * 100, name: "now" }],
      levels:
        majority === null
          ? []
          : [{ y: majority * 100, name: `most frequent class: ${share(majority)}` }],
    });
    const targets = () =>
      told(points, placed).map(([level, text]) => column(drawn.plot, drawn.toX(level * 100), text));
    return { ...drawn, targets };
  };
  return {
    name: "privacy-utility",
    caption: "Protection and accuracy",
    title: titleOf(mechanism, points.length, placed.length),
    desc: descOf(points, placed),
    draw,
    table: table(points, runs, titles),
  };
}

/**
 * Gathers the curves that have a value.
 * @param {Reading["points"]} points
 * @param {FinishedRun[]} placed
 */
function curvesOf(points, placed) {
  const read = (/** @type {"nn"|"bayes"} */ key) =>
    points.map((point) => ({ x: point.level * 100, y: (point[key] ?? NaN) * 100 }));
  /** @type {import("./frame.js").Curve[]} */
  const curves = [
    {
      name: "read back: simple attacker",
      line: "pic-one",
      dot: "pic-dot-one",
      shape: "circle",
      points: read("nn"),
    },
    {
      name: "read back: knows more",
      line: "pic-two",
      dot: "pic-dot-two",
      shape: "square",
      points: read("bayes"),
    },
    {
      name: "accuracy of a run",
      line: null,
      dot: "pic-dot-three",
      shape: "diamond",
      points: placed.map((run) => ({ x: (levelOf(run) ?? 0) * 100, y: run.accuracy * 100 })),
    },
  ];
  return curves.filter(({ points: own }) => own.some(({ y }) => Number.isFinite(y)));
}

/** The place of a run: its level; without a mechanism 0. @param {FinishedRun} run */
function levelOf({ level, mechanism }) {
  if (level !== null) return level;
  return mechanism === "none" ? 0 : null;
}

/** @param {string} mechanism @param {number} points @param {number} runs */
function titleOf(mechanism, points, runs) {
  return `Words read back by level of protection of “${mechanism}”, measured at ${count(points, "level")}, and the accuracy of ${count(runs, "run")}`;
}

/** @param {Reading["points"]} points @param {FinishedRun[]} runs */
function descOf(points, runs) {
  const right = runs.map((run) => `${share(run.accuracy)} at ${percent(levelOf(run) ?? 0)}`);
  return [
    points.length === 0 ? "Nothing was measured of attackers yet." : `${curveText(points)}.`,
    right.length === 0 ? "No run has ended yet." : `Held-out rows right: ${right.join(", ")}.`,
  ].join(" ");
}

/**
 * Says what is known at each level; what stands at one place is read out together.
 * @param {Reading["points"]} points
 * @param {FinishedRun[]} placed
 */
function told(points, placed) {
  /** @type {Map<number, string>} */
  const texts = new Map();
  const add = (/** @type {number} */ level, /** @type {string} */ text) =>
    texts.set(level, texts.has(level) ? `${texts.get(level)}. ${text}` : text);
  for (const point of points) add(point.level, pointText(point));
  for (const run of placed) add(levelOf(run) ?? 0, runText(run));
  return [...texts].sort(([left], [right]) => left - right);
}

/** @param {Reading["points"][number]} point */
function pointText({ level, nn, bayes }) {
  const more = bayes === null ? "" : `, ${percent(bayes)} by the one who knows more`;
  return `Protection ${percent(level)}: ${percent(nn)} of the words read back by the simple attacker${more}`;
}

/** @param {FinishedRun} run */
function runText(run) {
  return `Run ${run.number} at protection ${percent(levelOf(run) ?? 0)}: ${share(run.accuracy)} of the held-out rows right, macro-F1 ${share(run.macroF1)}, after ${count(run.steps, "step")}`;
}

/** @param {Reading["points"]} points @param {FinishedRun[]} runs @param {string[]} titles */
function table(points, runs, titles) {
  const none = "–";
  return {
    caption: "Shares of words that are read back, and of held-out rows that are right",
    columns: [
      textColumn("What"),
      numberColumn("Protection", "share", (level) => percent(level), "none"),
      numberColumn("eta", "1/distance", decimal, "none"),
      numberColumn("Unchanged", "share of words", share, none),
      numberColumn("Near", "share of words", share, none),
      numberColumn("Far", "share of words", share, none),
      numberColumn("Removed", "share of words", share, none),
      numberColumn("Simple attacker", "share of words", share, none),
      numberColumn("Knows more", "share of words", share, none),
      numberColumn("Accuracy", "share of rows", share, none),
      numberColumn("Macro-F1", "share", share, none),
      numberColumn("Held-out rows", "rows", number, none),
    ],
    rows: [
      ...points.map(({ level, eta, unchanged, near, far, removed, nn, bayes }) => [
        "attacks",
        level,
        eta,
        unchanged,
        near,
        far,
        removed,
        nn,
        bayes,
        null,
        null,
        null,
      ]),
      ...runs.map((run, index) => [
        `run ${run.number}, ${titles[index]}`,
        run.level,
        run.eta,
        ...Array(6).fill(null),
        run.accuracy,
        run.macroF1,
        run.rows,
      ]),
    ],
  };
}
