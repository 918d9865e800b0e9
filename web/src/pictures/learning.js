/** The learning curves of a run: loss by step, and what held-out rows say. Pure. */

import { count, decimal, number, percent } from "../format.js";
import { lossDomain, smooth } from "../geometry.js";
import { say } from "../language.js";
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
    return {
      from: start - 1,
      to: last,
      name: say("learning.epoch", { epoch: index + 1 }),
      short: String(index + 1),
    };
  });
}

/** @param {Run} run @returns {import("./frame.js").Axis} */
function steps({ stepsTotal }) {
  return { domain: [0, Math.max(1, stepsTotal)], tick: number, name: say("learning.steps") };
}

/** @param {Run} run */
function marks(run) {
  const best = bestValidation(run);
  return best === null ? [] : [{ x: best.step, name: say("learning.best", { step: best.step }) }];
}

/** @param {Run} run @param {number} step */
function place(run, step) {
  return say("learning.place", { step, epoch: epochOf(run, step) });
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
    each:
      stride === 1
        ? say("learning.each")
        : say("learning.each.mean", { steps: count(stride, "step") }),
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
        name: say("learning.loss.axis"),
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
    training.length === 0 ? "" : lossOf("training", training[training.length - 1].y),
    held.length === 0 ? "" : lossOf("held", held[held.length - 1].y),
  ]);
  return {
    name: "loss",
    caption: say("run.loss"),
    title: say("chart.loss.text", { values: latest || say("chart.none") }),
    desc:
      say("learning.loss.about", { steps: count(run.stepsTotal, "step"), over }) + bestWords(run),
    draw,
    table: {
      caption: say("learning.loss.table"),
      columns: [
        numberColumn(say("chart.head.step"), "", number),
        numberColumn(say("run.epoch"), "", number),
        numberColumn(say("learning.head.training", { each }), say("unit.nats"), nats),
        numberColumn(say("learning.head.smoothed"), say("unit.nats"), nats),
        numberColumn(say("result.held-rows"), say("unit.nats"), nats, "–"),
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
      name: say("learning.training", { each }),
      line: "pic-faint",
      dot: null,
      shape: "circle",
      points: training,
    },
    {
      name: say("learning.smoothed", { over }),
      short: say("learning.smoothed.short", { over }),
      line: "pic-one",
      dot: null,
      shape: "circle",
      points: smoothed,
    },
    {
      name: say("chart.loss.held"),
      line: "pic-two",
      dot: "pic-dot-two",
      shape: "square",
      points: held,
    },
  ];
}

/** @param {Run} run @param {LossRow} row */
function lossText(run, [step, own, mean, held]) {
  const parts = [
    own === null ? "" : lossOf("training", own),
    mean === null ? "" : lossOf("smoothed", mean),
    held === null ? "" : lossOf("held", held),
    step === bestValidation(run)?.step ? say("chart.best") : "",
  ];
  return `${place(run, step)}: ${joined(parts)}`;
}

const nats = (/** @type {number} */ value) => say("run.nats", { n: decimal(value) });

/** @param {"training"|"smoothed"|"held"} which @param {number} value */
const lossOf = (which, value) => say(`learning.value.${which}`, { loss: nats(value) });

/** @param {string[]} parts */
const joined = (parts) => parts.filter((part) => part !== "").join(", ");

/** @param {Run} run */
function bestWords(run) {
  const best = bestValidation(run);
  if (best === null) return "";
  return ` ${say("learning.best.about", { step: best.step, share: percent(best.accuracy, 1) })}`;
}

/** @param {number} accuracy @param {number} f1 */
function scores(accuracy, f1) {
  return say("learning.scores", { accuracy: percent(accuracy, 1), f1: percent(f1, 1) });
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
          name: say("chart.held.accuracy"),
          line: "pic-one",
          dot: "pic-dot-one",
          shape: "circle",
          points: points("accuracy"),
        },
        {
          name: say("chart.macro_f1"),
          line: "pic-two",
          dot: "pic-dot-two",
          shape: "square",
          points: points("macro_f1"),
        },
      ],
      x: steps(run),
      y: { domain: [0, 100], tick: (value) => percent(value / 100), name: say("chart.loss.held") },
      marks: marks(run),
      rings: best === null ? [] : [{ x: best.step, y: best.accuracy * 100 }],
      bands: epochs(run),
    });
    const targets = () =>
      validations.map(({ step, accuracy, macro_f1, loss }) =>
        column(
          drawn.plot,
          drawn.toX(step),
          `${place(run, step)}: ${joined([
            scores(accuracy, macro_f1),
            say("learning.value.loss", { loss: nats(loss) }),
            step === best?.step ? say("chart.best") : "",
          ])}`,
        ),
      );
    return { ...drawn, targets };
  };
  const last = validations.at(-1);
  const latest = last ? scores(last.accuracy, last.macro_f1) : say("chart.none");
  return {
    name: "validation",
    caption: say("result.held-rows"),
    title: say("chart.held.text", { values: latest }),
    desc:
      say("learning.scores.about", { times: count(validations.length, "time") }) + bestWords(run),
    draw,
    table: {
      caption: say("learning.scores.table"),
      columns: [
        numberColumn(say("chart.head.step"), "", number),
        numberColumn(say("run.epoch"), "", number),
        numberColumn(say("run.loss"), say("unit.nats"), nats),
        numberColumn(say("chart.head.accuracy"), say("unit.share"), (share) => percent(share, 1)),
        numberColumn(say("chart.head.macro_f1"), say("unit.share"), (share) => percent(share, 1)),
        { name: say("learning.head.best"), unit: "", show: String, text: true },
      ],
      rows: validations.map(({ step, loss, accuracy, macro_f1, best: wasBest }) => [
        step,
        epochOf(run, step),
        loss,
        accuracy,
        macro_f1,
        say(`learning.best.${step === best?.step ? "kept" : wasBest ? "once" : "never"}`),
      ]),
    },
  };
}
