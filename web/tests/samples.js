/** Values of the contract that several tests use. */

/** @param {string} name @param {any} [rest] @returns {import("../src/contract.js").Mechanism} */
const entry = (name, rest = {}) => ({
  name,
  title: name,
  about: "",
  level: "Share of words.",
  guarantee: "",
  takes_contribution: false,
  ranks_tokens: false,
  ...rest,
});

/** A table with names that no other file knows, so that none can be hard-coded. */
export const MECHANISMS = [
  entry("first", { takes_contribution: true }),
  entry("second"),
  entry("bare", { level: "" }),
];

export const REPORT = {
  format: "TSV",
  encoding: "UTF-8",
  rows: 4,
  columns: ["text", "label"],
  text_column: "text",
  pair_column: null,
  label_column: "label",
  labels: [
    { name: "a", count: 2 },
    { name: "b", count: 2 },
  ],
  bad_rows: [],
  bad_rows_total: 0,
  problem: null,
  examples: [],
};

/** @param {any} wanted @returns {import("../src/contract.js").Privacy} */
export const privacyOf = (wanted) => ({
  mechanism: wanted.mechanism,
  protection: wanted.protection,
  eta: 70,
  sentence: "",
  guarantee: "",
  caveats: [],
  contributing: [],
});

/** @param {any} [change] @returns {import("../src/contract.js").PrivacyWanted} */
export const wantedOf = (change = {}) => ({
  mechanism: "first",
  protection: 0.5,
  eta: null,
  contribution: { reading: "off", parameter: null, label_dependent: false },
  ...change,
});

/** @param {number} level @param {number} nn @param {number|null} bayes */
export const point = (level, nn, bayes) => ({
  level,
  eta: 70,
  unchanged: 1 - level,
  near: 0,
  far: level,
  removed: 0,
  nn,
  bayes,
});

/** @type {import("../src/contract.js").Reading} */
export const READING = {
  points: [point(0.1, 0.9, 0.95), point(0.5, 0.5, 0.6)],
  undefended: { nn: 1, bayes: 1 },
  chance: 0.05,
  examples: 4,
  tokens: 40,
  survivors: { names: { total: 3, kept: 1 }, numbers: { total: 0, kept: 0 }, examples: [] },
};
