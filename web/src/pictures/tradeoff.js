/** Protection against accuracy: what attackers read back at each level, and the runs of this tab. Pure. */

import { count, decimal, number, percent } from "../format.js";
import { say } from "../language.js";
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

const HUNDRED = (/** @type {number} */ value) => percent(value / 100);
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
      x: { domain: [0, 100], tick: HUNDRED, name: say("tradeoff.x") },
      y: { domain: [0, 100], tick: HUNDRED, name: say("tradeoff.y") },
      marks: now === null ? [] : [{ x: now * 100, name: say("reading.curve.now") }],
      levels:
        majority === null
          ? []
          : [{ y: majority * 100, name: say("tradeoff.majority", { share: share(majority) }) }],
    });
    const targets = () =>
      told(points, placed).map(([level, text]) => column(drawn.plot, drawn.toX(level * 100), text));
    return { ...drawn, targets };
  };
  return {
    name: "privacy-utility",
    caption: say("tradeoff.caption"),
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
      name: say("tradeoff.key.simple"),
      line: "pic-one",
      dot: "pic-dot-one",
      shape: "circle",
      points: read("nn"),
    },
    {
      name: say("tradeoff.key.informed"),
      line: "pic-two",
      dot: "pic-dot-two",
      shape: "square",
      points: read("bayes"),
    },
    {
      name: say("tradeoff.key.run"),
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
  return say("tradeoff.name", {
    title: mechanism,
    levels: count(points, "level"),
    runs: count(runs, "run"),
  });
}

/** @param {Reading["points"]} points @param {FinishedRun[]} runs */
function descOf(points, runs) {
  const right = runs.map((run) =>
    say("reading.curve.point", {
      share: share(run.accuracy),
      level: percent(levelOf(run) ?? 0),
    }),
  );
  return [
    points.length === 0 ? say("tradeoff.no-attack") : `${curveText(points)}.`,
    right.length === 0 ? say("tradeoff.no-run") : say("tradeoff.right", { runs: right.join(", ") }),
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
  return say(bayes === null ? "tradeoff.point" : "tradeoff.point.both", {
    level: percent(level),
    simple: percent(nn),
    informed: bayes === null ? "" : percent(bayes),
  });
}

/** @param {FinishedRun} run */
function runText(run) {
  return say("tradeoff.run", {
    number: run.number,
    level: percent(levelOf(run) ?? 0),
    share: share(run.accuracy),
    f1: share(run.macroF1),
    steps: count(run.steps, "step"),
  });
}

/** @param {Reading["points"]} points @param {FinishedRun[]} runs @param {string[]} titles */
function table(points, runs, titles) {
  const none = "–";
  return {
    caption: say("tradeoff.table"),
    columns: [
      textColumn(say("tradeoff.what")),
      numberColumn(
        say("privacy.level"),
        say("unit.share"),
        (level) => percent(level),
        say("table.none"),
      ),
      numberColumn("eta", say("unit.eta"), decimal, say("table.none")),
      numberColumn(say("tradeoff.head.unchanged"), say("unit.words"), share, none),
      numberColumn(say("tradeoff.head.near"), say("unit.words"), share, none),
      numberColumn(say("tradeoff.head.far"), say("unit.words"), share, none),
      numberColumn(say("tradeoff.head.removed"), say("unit.words"), share, none),
      numberColumn(say("reading.simple"), say("unit.words"), share, none),
      numberColumn(say("tradeoff.head.informed"), say("unit.words"), share, none),
      numberColumn(say("chart.head.accuracy"), say("unit.of-rows"), share, none),
      numberColumn(say("chart.head.macro_f1"), say("unit.share"), share, none),
      numberColumn(say("result.held-rows"), say("unit.rows"), number, none),
    ],
    rows: [
      ...points.map(({ level, eta, unchanged, near, far, removed, nn, bayes }) => [
        say("tradeoff.attacks"),
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
        say("tradeoff.of-run", { number: run.number, title: titles[index] }),
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
