/** Sorts what a caller chose into what the client is asked for; a name that nobody knows is an error. Pure. */

import { CallError } from "../../web/src/messages.js";

/** @typedef {import("./index.d.ts").PreviewOptions} PreviewOptions */
/** @typedef {import("./index.d.ts").TrainOptions} TrainOptions */

/** Fields of `PrivacyOptions` in `client-wasm/src/options.rs`, which a test compares. */
export const PRIVACY_KEYS = /** @type {const} */ ([
  "mechanism",
  "protection",
  "eta",
  "contribution",
]);

/** Fields of `TrainOptions` in `client-wasm/src/options.rs`, which a test compares. */
export const TRAINING_KEYS = /** @type {const} */ ([
  "epochs",
  "batch_size",
  "learning_rate",
  "warmup_share",
  "weight_decay",
  "gradient_norm_max",
  "rank",
  "alpha",
  "targets",
  "dropout",
  "validation_share",
  "class_weights",
  "patience",
  "validations_per_epoch",
  "dtype",
  "labels",
  "bottom",
  "label_noise",
]);

/** Texts that a preview shows when nobody says otherwise. */
const PREVIEW_EXAMPLES = 4;

/**
 * Sorts the options of a preview.
 * @param {PreviewOptions} options
 * @param {{ name: string }[]} mechanisms the table; its first line is the recommended one
 */
export function sortPreview(options, mechanisms) {
  const { columns, signal: _, examples = PREVIEW_EXAMPLES, ...rest } = options;
  const { privacy, others } = sort(rest, mechanisms);
  refuse(Object.keys(others));
  return { columns: columns ?? null, privacy, examples };
}

/**
 * Sorts the options of a run.
 * @param {TrainOptions} options
 * @param {{ name: string }[]} mechanisms the table; its first line is the recommended one
 */
export function sortTraining(options, mechanisms) {
  const { columns, signal: _, ...rest } = options;
  const { privacy, others } = sort(rest, mechanisms);
  const known = new Set(/** @type {readonly string[]} */ (TRAINING_KEYS));
  refuse(Object.keys(others).filter((key) => !known.has(key)));
  return { columns: columns ?? null, privacy, training: others };
}

/**
 * @param {Record<string, any>} options
 * @param {{ name: string }[]} mechanisms
 */
function sort(options, mechanisms) {
  /** @type {Record<string, any>} */
  const privacy = { mechanism: mechanisms.at(0)?.name };
  /** @type {Record<string, any>} */
  const others = {};
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue; // as if it were not there
    const isPrivacy = PRIVACY_KEYS.some((known) => known === key);
    (isPrivacy ? privacy : others)[key] = value;
  }
  return { privacy, others };
}

/** A misspelt `protection` must not become the default one. @param {string[]} unknown */
function refuse(unknown) {
  if (unknown.length === 0) return;
  throw new CallError("Option", `${unknown.join(", ")}: there is no such option.`);
}
