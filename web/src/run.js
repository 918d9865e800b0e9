/**
 * One fine-tuning run as the page knows it: folds the client's events, derives pace and time left.
 * Pure: the time of an event is a field of the event (`at`, milliseconds).
 */

/** @typedef {import("./contract.js").Validation} Validation */
/** @typedef {{ step: number, loss: number }} LossPoint */
/** @typedef {{ done: number, total: number, firstAt: number, firstDone: number, lastAt: number }} Stage */
/** @typedef {{ stride: number, points: LossPoint[], sum: number, summed: number }} Series */

/**
 * @typedef {object} Run
 * @property {Stage|null} upload protecting and sending the examples
 * @property {number} stepsTotal
 * @property {number} step
 * @property {number} epoch
 * @property {number[]} epochStarts the first step of each epoch that has begun
 * @property {import("./contract.js").TrainOptions|null} options what it was asked for
 * @property {import("./contract.js").Traffic|null} traffic of its session, when it was last asked
 * @property {number|null} loss
 * @property {number|null} learningRate
 * @property {Series} losses
 * @property {Validation[]} validations
 * @property {number[]} intervals milliseconds between the latest steps, pauses excluded
 * @property {number|null} lastAt arrival of the latest step, null after a pause
 * @property {number} bytesSent
 * @property {number} attempt which connection is being tried again; 0 while there is one
 * @property {{ steps: number, best_step: number, reason: string }|null} done
 * @property {number} startedAt
 * @property {number|null} endedAt
 */

/** More points than pixels help nobody: at this many, neighbours are averaged. */
export const LOSS_POINTS_MAX = 600;
/** The pace is the mean of this many latest steps. */
const INTERVALS_MAX = 30;

/** @param {number} at @param {import("./contract.js").TrainOptions|null} [options] @returns {Run} */
export function newRun(at, options = null) {
  return {
    upload: null,
    stepsTotal: 0,
    step: 0,
    epoch: 0,
    epochStarts: [],
    options,
    traffic: null,
    loss: null,
    learningRate: null,
    losses: { stride: 1, points: [], sum: 0, summed: 0 },
    validations: [],
    intervals: [],
    lastAt: null,
    bytesSent: 0,
    attempt: 0,
    done: null,
    startedAt: at,
    endedAt: null,
  };
}

/**
 * Folds one event into a run.
 * @param {Run} run
 * @param {any} event
 * @returns {Run}
 */
export function foldRun(run, event) {
  switch (event.type) {
    case "progress":
      return event.stage === "upload" ? foldUpload(run, event) : run;
    case "train_started":
      return { ...run, stepsTotal: event.steps_total, lastAt: event.at };
    case "step":
      return foldStep(run, event);
    case "validation":
      return { ...run, validations: [...run.validations, event] };
    case "reconnecting":
      return { ...run, attempt: event.attempt, lastAt: null };
    case "reconnected":
      return { ...run, attempt: 0, lastAt: event.at };
    case "paused":
      return { ...run, lastAt: null };
    case "continued":
      return { ...run, lastAt: event.at };
    case "train_done": {
      const { steps, best_step, reason } = event;
      return { ...run, done: { steps, best_step, reason }, endedAt: event.at };
    }
    default:
      return run;
  }
}

/** @param {Run} run @param {any} event @returns {Run} */
function foldUpload(run, event) {
  const before = run.upload;
  const upload = {
    done: event.done,
    total: event.total,
    firstAt: before?.firstAt ?? event.at,
    firstDone: before?.firstDone ?? event.done,
    lastAt: event.at,
  };
  const bytesSent = Math.max(run.bytesSent, event.bytes_sent ?? 0);
  return { ...run, bytesSent, upload };
}

/** @param {Run} run @param {any} event @returns {Run} */
function foldStep(run, event) {
  const millis = run.lastAt === null ? event.step_millis : event.at - run.lastAt;
  return {
    ...run,
    step: event.step,
    epoch: event.epoch,
    epochStarts:
      event.epoch > run.epochStarts.length ? [...run.epochStarts, event.step] : run.epochStarts,
    loss: event.loss,
    learningRate: event.learning_rate,
    losses: appendLoss(run.losses, event.step, event.loss),
    intervals: [...run.intervals, Math.max(0, millis)].slice(-INTERVALS_MAX),
    lastAt: event.at,
  };
}

/**
 * Appends a loss; when the series is full, neighbours are averaged and the stride doubles.
 * @param {Series} series
 * @param {number} step
 * @param {number} loss
 * @returns {Series}
 */
export function appendLoss(series, step, loss) {
  const sum = series.sum + loss;
  const summed = series.summed + 1;
  if (summed < series.stride) return { ...series, sum, summed };
  const points = [...series.points, { step, loss: sum / summed }];
  if (points.length < LOSS_POINTS_MAX) return { ...series, points, sum: 0, summed: 0 };
  const halved = [];
  for (let index = 1; index < points.length; index += 2) {
    const mean = (points[index - 1].loss + points[index].loss) / 2;
    halved.push({ step: points[index].step, loss: mean });
  }
  return { stride: series.stride * 2, points: halved, sum: 0, summed: 0 };
}

/**
 * Finds the pace of a stage in examples per second, null if it is not known yet.
 * @param {Stage|null} stage
 */
export function stagePace(stage) {
  if (stage === null || stage.lastAt <= stage.firstAt || stage.done <= stage.firstDone) return null;
  return ((stage.done - stage.firstDone) / (stage.lastAt - stage.firstAt)) * 1000;
}

/**
 * Finds the pace of training in steps per second, null if it is not known yet.
 * @param {Run} run
 */
export function stepPace(run) {
  const total = run.intervals.reduce((sum, millis) => sum + millis, 0);
  return total > 0 ? (run.intervals.length / total) * 1000 : null;
}

/**
 * Estimates the milliseconds until the current stage ends, null if nothing is known yet.
 * @param {Run} run
 */
export function millisLeft(run) {
  if (run.done !== null) return 0;
  if (run.stepsTotal > 0) {
    const pace = stepPace(run);
    return pace === null ? null : ((run.stepsTotal - run.step) / pace) * 1000;
  }
  const { upload } = run;
  const pace = stagePace(upload);
  if (upload === null || pace === null || upload.done >= upload.total) return null;
  return ((upload.total - upload.done) / pace) * 1000;
}

/**
 * Finds the validation whose adapter is kept: that of `best_step`, else the latest best one.
 * @param {Run} run
 * @returns {Validation|null}
 */
export function bestValidation(run) {
  const kept = run.validations.filter((each) => each.step === run.done?.best_step).at(-1);
  return kept ?? run.validations.filter((each) => each.best).at(-1) ?? null;
}

/**
 * Finds the share of the most frequent true class: the accuracy of always giving one answer.
 * @param {number[]} confusion
 */
export function majorityShare(confusion) {
  const n = Math.round(Math.sqrt(confusion.length));
  const rows = Array.from({ length: n }, (_, truth) =>
    confusion.slice(truth * n, truth * n + n).reduce((sum, value) => sum + value, 0),
  );
  const total = rows.reduce((sum, value) => sum + value, 0);
  return total === 0 ? 0 : Math.max(...rows) / total;
}
