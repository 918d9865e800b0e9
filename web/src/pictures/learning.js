/** The learning curves of a run: loss by step, and what held-out rows say. Pure. */

import { count, decimal, number, percent } from "../format.js";
import { lossDomain, smooth } from "../geometry.js";
import { bestValidation } from "../run.js";
import { chart, column } from "./frame.js";
import { numberColumn } from "./table.js";

/** @typedef {import("../run.js").Run} Run */
/** @typedef {import("./tree.js").Picture} Picture */
/** @typedef {import("../geometry.js").Point} Point */

/** The smoothing window is this share of the points on either side. */
const WINDOW_SHARE = 1 / 40;

/**
 * Finds the epoch of a step, 0 before the first one.
 * @param {Run} run
 * @param {number} step
 */
export function epochOf({ epochStarts }, step) {
  return epochStarts.filter((start) => start <= step).length;
}

/** @param {Run} run @returns {import("./frame.js").Band[]} */
function epochs(run) {
  const { epochStarts, step, done } = run;
  return epochStarts.map((start, index) => {
    const last =
      index + 1 < epochStarts.length ? epochStarts[index + 1] - 1 : (done?.steps ?? step);
    return { from: start - 1, to: last, name: `epoch ${index + 1}`, short: String(index + 1) };
  });
}

/** @param {Run} run @returns {import("./frame.js").Axis} */
function steps({ stepsTotal }) {
  return { domain: [0, Math.max(1, stepsTotal)], tick: number, name: "step, and epoch below it" };
}

/** @param {Run} run */
function marks(run) {
  const best = bestValidation(run);
  return best === null ? [] : [{ x: best.step, name: `best: step ${number(best.step)}` }];
}

/** @param {Run} run @param {number} step */
function place(run, step) {
  return `Step ${number(step)}, epoch ${number(epochOf(run, step))}`;
}

/**
 * The loss of a run: as it came, smoothed, and of held-out rows.
 * @typedef {{ each: string, over: string, training: Point[], smoothed: Point[], held: Point[] }} Losses
 */

/** @param {Run} run @returns {Losses} */
function lossesOf({ losses, validations }) {
  const { points, stride } = losses;
  const training = points.map(({ step, loss }) => ({ x: step, y: loss }));
  const window = Math.ceil(training.length * WINDOW_SHARE);
  return {
    each: stride === 1 ? "each step" : `mean of ${number(stride)} steps`,
    over: count((2 * window + 1) * stride, "step"),
    training,
    smoothed: smooth(training, window),
    held: validations.map(({ step, loss }) => ({ x: step, y: loss })),
  };
}

/**
 * Draws the loss of a run.
 * @param {Run} run
 * @returns {Picture}
 */
export function lossPicture(run) {
  const losses = lossesOf(run);
  const { training, smoothed, held, each, over } = losses;
  const best = bestValidation(run);
  const draw = (/** @type {number} */ width) => {
    const drawn = chart(width, {
      curves: lossCurves(losses),
      x: steps(run),
      y: {
        domain: lossDomain([...training, ...held].map(({ y }) => y)),
        tick: decimal,
        name: "loss in nats",
      },
      marks: marks(run),
      rings: best === null ? [] : [{ x: best.step, y: best.loss }],
      bands: epochs(run),
    });
    const targets = () =>
      lossRows(run, training, smoothed).map((row) =>
        column(drawn.plot, drawn.toX(row[0]), lossText(run, row)),
      );
    return { ...drawn, targets };
  };
  const latest = joined([
    training.length === 0 ? "" : `training ${nats(training[training.length - 1].y)}`,
    held.length === 0 ? "" : `held-out rows ${nats(held[held.length - 1].y)}`,
  ]);
  return {
    name: "loss",
    caption: "Loss",
    title: `Loss in nats by step; latest: ${latest || "none yet"}`,
    desc: `Loss by optimizer step, of ${count(run.stepsTotal, "step")} in all. The smoothed line is the mean over ${over} around each.${bestWords(run)}`,
    draw,
    table: {
      caption: "Loss by step",
      columns: [
        numberColumn("Step", "", number),
        numberColumn("Epoch", "", number),
        numberColumn(`Training, ${each}`, "nats", nats),
        numberColumn("Training, smoothed", "nats", nats),
        numberColumn("Held-out rows", "nats", nats, "–"),
      ],
      rows: lossRows(run, training, smoothed).map(([step, ...rest]) => [
        step,
        epochOf(run, step),
        ...rest,
      ]),
    },
  };
}

/** @param {Losses} losses @returns {import("./frame.js").Curve[]} */
function lossCurves({ each, over, training, smoothed, held }) {
  return [
    {
      name: `training, ${each}`,
      line: "pic-faint",
      dot: null,
      shape: "circle",
      points: training,
    },
    {
      name: `smoothed: mean over ${over}`,
      short: `mean over ${over}`,
      line: "pic-one",
      dot: null,
      shape: "circle",
      points: smoothed,
    },
    { name: "held-out rows", line: "pic-two", dot: "pic-dot-two", shape: "square", points: held },
  ];
}

/** @param {Run} run @param {LossRow} row */
function lossText(run, [step, own, mean, held]) {
  const parts = [
    own === null ? "" : `training ${nats(own)}`,
    mean === null ? "" : `smoothed ${nats(mean)}`,
    held === null ? "" : `held-out rows ${nats(held)}`,
    step === bestValidation(run)?.step ? "best" : "",
  ];
  return `${place(run, step)}: ${joined(parts)}`;
}

const nats = (/** @type {number} */ value) => `${decimal(value)}\u00a0nats`;

/** @param {string[]} parts */
const joined = (parts) => parts.filter((part) => part !== "").join(", ");

/** @param {Run} run */
function bestWords(run) {
  const best = bestValidation(run);
  if (best === null) return "";
  return ` The best state is that after step ${number(best.step)}, with ${percent(best.accuracy, 1)} of the held-out rows right.`;
}

/** @typedef {[step: number, training: number|null, smoothed: number|null, held: number|null]} LossRow */

/**
 * Joins the curves: what is known of each step, null for what is not.
 * @param {Run} run
 * @param {Point[]} training
 * @param {Point[]} smoothed
 * @returns {LossRow[]}
 */
function lossRows(run, training, smoothed) {
  /** @type {Map<number, LossRow>} */
  const rows = new Map();
  training.forEach(({ x, y }, index) => {
    rows.set(x, [x, y, smoothed[index].y, null]);
  });
  for (const { step, loss } of run.validations) {
    const row = rows.get(step) ?? [step, null, null, null];
    rows.set(step, [step, row[1], row[2], loss]);
  }
  return [...rows.values()].sort(([left], [right]) => left - right);
}

/**
 * Draws how many held-out rows a run gets right.
 * @param {Run} run
 * @returns {Picture}
 */
export function scoresPicture(run) {
  const { validations } = run;
  const points = (/** @type {"accuracy"|"macro_f1"} */ key) =>
    validations.map((each) => ({ x: each.step, y: each[key] * 100 }));
  const best = bestValidation(run);
  const draw = (/** @type {number} */ width) => {
    const drawn = chart(width, {
      curves: [
        {
          name: "accuracy",
          line: "pic-one",
          dot: "pic-dot-one",
          shape: "circle",
          points: points("accuracy"),
        },
        {
          name: "macro-F1",
          line: "pic-two",
          dot: "pic-dot-two",
          shape: "square",
          points: points("macro_f1"),
        },
      ],
      x: steps(run),
      y: { domain: [0, 100], tick: (value) => `${value} %`, name: "held-out rows" },
      marks: marks(run),
      rings: best === null ? [] : [{ x: best.step, y: best.accuracy * 100 }],
      bands: epochs(run),
    });
    const targets = () =>
      validations.map(({ step, accuracy, macro_f1, loss }) =>
        column(
          drawn.plot,
          drawn.toX(step),
          `${place(run, step)}: accuracy ${percent(accuracy, 1)}, macro-F1 ${percent(macro_f1, 1)}, loss ${decimal(loss)} nats${step === best?.step ? ", best" : ""}`,
        ),
      );
    return { ...drawn, targets };
  };
  const last = validations.at(-1);
  const latest = last
    ? `accuracy ${percent(last.accuracy, 1)}, macro-F1 ${percent(last.macro_f1, 1)}`
    : "none yet";
  return {
    name: "validation",
    caption: "Held-out rows",
    title: `Accuracy and macro-F1 on held-out rows by step; latest: ${latest}`,
    desc: `Shares of held-out rows, from 0 to 100 %, measured ${count(validations.length, "time")}.${bestWords(run)}`,
    draw,
    table: {
      caption: "Measurements on held-out rows",
      columns: [
        numberColumn("Step", "", number),
        numberColumn("Epoch", "", number),
        numberColumn("Loss", "nats", nats),
        numberColumn("Accuracy", "share", (share) => percent(share, 1)),
        numberColumn("Macro-F1", "share", (share) => percent(share, 1)),
        { name: "Best so far", unit: "", show: String, text: true },
      ],
      rows: validations.map(({ step, loss, accuracy, macro_f1, best: wasBest }) => [
        step,
        epochOf(run, step),
        loss,
        accuracy,
        macro_f1,
        step === best?.step ? "kept" : wasBest ? "yes, then" : "no",
      ]),
    },
  };
}
