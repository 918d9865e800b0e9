/** The training options that are numbers. */

/** @typedef {{ id: string, name: string, value: number, min: number, max: number, step: string, hint?: string, fixed?: boolean }} NumberField */

/** @type {NumberField[]} */
export const BASIC = [
  { id: "epochs", name: "Epochs (passes over the data)", value: 3, min: 1, max: 100, step: "1" },
  {
    id: "learning_rate",
    name: "Learning rate (per step)",
    value: 0.001,
    min: 0.000001,
    max: 1,
    step: "any",
  },
  {
    id: "batch_size",
    name: "Batch size (examples per step)",
    value: 32,
    min: 1,
    max: 1024,
    step: "1",
  },
];

/** @type {NumberField[]} those marked `fixed` cannot change once examples have been sent */
export const ADVANCED = [
  {
    id: "rank",
    name: "LoRA rank (dimensions)",
    value: 8,
    min: 1,
    max: 256,
    step: "1",
    fixed: true,
  },
  {
    id: "alpha",
    name: "LoRA alpha (scale × rank)",
    value: 16,
    min: 0.1,
    max: 1024,
    step: "any",
    fixed: true,
  },
  {
    id: "dropout",
    name: "Dropout (share, 0 to 0.9)",
    value: 0,
    min: 0,
    max: 0.9,
    step: "any",
    fixed: true,
  },
  {
    id: "validation_share",
    name: "Held out to measure (share of rows)",
    value: 0.1,
    min: 0.01,
    max: 0.5,
    step: "any",
    fixed: true,
  },
  {
    id: "patience",
    name: "Stop early after (measurements without improvement, 0: never)",
    value: 4,
    min: 0,
    max: 1000,
    step: "1",
  },
];

/** What blurs the corrections from which labels could be guessed. @type {NumberField} */
export const LABEL_NOISE = {
  id: "label_noise",
  name: "Label noise (strength, 0: none; where labels stay here)",
  value: 0,
  min: 0,
  max: 1000,
  step: "any",
};
