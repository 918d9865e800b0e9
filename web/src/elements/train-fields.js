/** The training options that are numbers; their names are `train.ID`. */

/** @typedef {{ id: string, value: number, min: number, max: number, step: string, hint?: string, fixed?: boolean }} NumberField */

/** @type {NumberField[]} */
export const BASIC = [
  { id: "epochs", value: 3, min: 1, max: 100, step: "1" },
  {
    id: "learning_rate",
    value: 0.001,
    min: 0.000001,
    max: 1,
    step: "any",
  },
  {
    id: "batch_size",
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
    value: 8,
    min: 1,
    max: 256,
    step: "1",
    fixed: true,
  },
  {
    id: "alpha",
    value: 16,
    min: 0.1,
    max: 1024,
    step: "any",
    fixed: true,
  },
  {
    id: "dropout",
    value: 0,
    min: 0,
    max: 0.9,
    step: "any",
    fixed: true,
  },
  {
    id: "validation_share",
    value: 0.1,
    min: 0.01,
    max: 0.5,
    step: "any",
    fixed: true,
  },
  {
    id: "patience",
    value: 4,
    min: 0,
    max: 1000,
    step: "1",
  },
];

/** What blurs the corrections from which labels could be guessed. @type {NumberField} */
export const LABEL_NOISE = {
  id: "label_noise",
  value: 0,
  min: 0,
  max: 1000,
  step: "any",
};
