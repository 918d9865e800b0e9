/** Where a classifier is right and wrong: true classes down, answers across, rows add up to 100 %. Pure. */

import { count, number, percent } from "../format.js";
import { say } from "../language.js";
import { fitted, textWidth } from "./measure.js";
import { numberColumn, textColumn } from "./table.js";
import { area, HALF_LETTER, words } from "./tree.js";

/** @typedef {import("./tree.js").Picture} Picture */
/** @typedef {import("./tree.js").Tree} Tree */

const CELL_HEIGHT = 44;
const CELL_WIDTH_MIN = 48;
const CELL_WIDTH_MAX = 96;
const NAME_WIDTH_MAX = 150;
/** Room of names that stand on end. */
const TURNED_HEIGHT = 96;
/** The strongest shade: text on it keeps its contrast in light and in dark. */
const SHADE_MAX = 0.4;

/**
 * Counts a confusion matrix: `counts[truth * n + answer]`.
 * @param {number[]} counts
 */
export function sums(counts) {
  const n = Math.round(Math.sqrt(counts.length));
  const range = Array.from({ length: n }, (_, index) => index);
  const at = (/** @type {number} */ truth, /** @type {number} */ answer) =>
    counts[truth * n + answer];
  const total = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0);
  return {
    n,
    at,
    rows: range.map((truth) => total(range.map((answer) => at(truth, answer)))),
    answers: range.map((answer) => total(range.map((truth) => at(truth, answer)))),
    right: total(range.map((each) => at(each, each))),
    total: total(counts),
  };
}

/** A share, null of nothing. @param {number} part @param {number} whole */
const share = (part, whole) => (whole === 0 ? null : part / whole);
const shown = (/** @type {number|null} */ value) => (value === null ? "–" : percent(value));

/**
 * Draws a confusion matrix.
 * @param {number[]} counts
 * @param {string[]} names of the classes
 * @param {{ name: string, caption: string, rows: string }} what the rows are, as `held-out row`
 * @returns {Picture}
 */
export function confusionPicture(counts, names, what) {
  const matrix = sums(counts);
  const classes = Array.from(
    { length: matrix.n },
    (_, index) => names[index] ?? say("result.class", { index }),
  );
  const right = share(matrix.right, matrix.total);
  return {
    name: what.name,
    caption: what.caption,
    title: say("confusion.title", {
      rows: count(matrix.total, what.rows),
      share: shown(right),
    }),
    desc: `${say("confusion.about")} ${classes
      .map((name, at) =>
        say("confusion.class", {
          name,
          found: matrix.at(at, at),
          rows: count(matrix.rows[at], "row"),
        }),
      )
      .join("; ")}.`,
    draw: (width) => draw(width, matrix, classes),
    table: {
      caption: say("confusion.table", {
        caption: what.caption,
        rows: count(matrix.total, "row"),
      }),
      columns: [
        textColumn(say("confusion.truth")),
        textColumn(say("confusion.answer")),
        numberColumn(say("confusion.count"), say("unit.rows"), (value) => count(value, "row")),
        numberColumn(say("confusion.share"), say("unit.share"), (value) => percent(value, 1), "–"),
      ],
      rows: classes.flatMap((truth, row) =>
        classes.map((answer, column) => [
          truth,
          answer,
          matrix.at(row, column),
          share(matrix.at(row, column), matrix.rows[row]),
        ]),
      ),
    },
  };
}

/** @param {number} asked @param {ReturnType<typeof sums>} matrix @param {string[]} classes */
function draw(asked, matrix, classes) {
  const { n } = matrix;
  const nameWidth = Math.min(
    NAME_WIDTH_MAX,
    Math.max(48, asked * 0.3),
    Math.max(...classes.map(textWidth), textWidth(say("confusion.down"))) + 10,
  );
  const room = (asked - nameWidth) / (n + 1);
  const cell = Math.round(Math.min(CELL_WIDTH_MAX, Math.max(CELL_WIDTH_MIN, room)));
  const turned = classes.some((name) => textWidth(name) > cell - 6) && n > 3;
  const top = (turned ? TURNED_HEIGHT : 24) + 20;
  const width = Math.max(Math.ceil(nameWidth + cell * (n + 1)), 220);
  const height = top + CELL_HEIGHT * (n + 1) + 24;
  const left = (/** @type {number} */ answer) => nameWidth + cell * answer;
  const y = (/** @type {number} */ truth) => top + CELL_HEIGHT * truth;
  const nodes = [
    words(0, 12, "start", say("confusion.down"), "pic-tick"),
    words(nameWidth, 12, "start", say("confusion.across"), "pic-tick"),
    ...[...classes, say("confusion.found")].map((name, index) =>
      heading(name, left(index), top, cell, turned && index < n),
    ),
    ...classes.flatMap((name, truth) => row(matrix, name, truth, nameWidth, y(truth), left, cell)),
    ...precision(matrix, y(n), left, cell, nameWidth),
    words(0, height - 6, "start", fitted(say("confusion.legend"), width), "pic-tick"),
  ];
  const targets = () =>
    classes.flatMap((truth, at) =>
      classes.map((answer, across) => ({
        box: { x: left(across), y: y(at), width: cell, height: CELL_HEIGHT },
        text: say("confusion.cell", {
          truth,
          answer,
          rows: count(matrix.at(at, across), "row"),
          share: shown(share(matrix.at(at, across), matrix.rows[at])),
        }),
      })),
    );
  return { width, height, nodes, targets };
}

/** @param {string} name @param {number} left @param {number} top @param {number} cell @param {boolean} turned */
function heading(name, left, top, cell, turned) {
  const x = left + cell / 2;
  if (!turned) return words(x, top - 8, "middle", fitted(name, cell - 4), "pic-text");
  return words(x + 4, top - 8, "start", fitted(name, TURNED_HEIGHT - 10), "pic-text", {
    transform: `rotate(-90 ${x + 4} ${top - 8})`,
  });
}

/**
 * @param {ReturnType<typeof sums>} matrix @param {string} name @param {number} truth @param {number} nameWidth
 * @param {number} y @param {(answer: number) => number} left @param {number} cell
 */
function row(matrix, name, truth, nameWidth, y, left, cell) {
  const total = matrix.rows[truth];
  const cells = Array.from({ length: matrix.n }, (_, answer) => {
    const value = matrix.at(truth, answer);
    const part = share(value, total);
    const isRight = truth === answer;
    const box = { x: left(answer), y, width: cell, height: CELL_HEIGHT };
    const opacity = Math.round((part ?? 0) * SHADE_MAX * 1000) / 1000;
    return [
      area(box, isRight ? "pic-right" : "pic-wrong", { "fill-opacity": String(opacity) }),
      area(box, "pic-cell"),
      ...figures(box, number(value), shown(part), isRight ? "pic-strong" : "pic-text"),
    ];
  });
  const middle = y + CELL_HEIGHT / 2 + HALF_LETTER;
  return [
    words(0, middle, "start", fitted(name, nameWidth - 8), "pic-text"),
    ...cells.flat(),
    words(
      left(matrix.n) + cell / 2,
      middle,
      "middle",
      shown(share(matrix.at(truth, truth), total)),
    ),
  ];
}

/** @param {import("./tree.js").Box} box @param {string} above @param {string} below @param {string} look */
function figures({ x, y, width, height }, above, below, look) {
  return [
    words(x + width / 2, y + height / 2 - 3, "middle", above, look),
    words(x + width / 2, y + height / 2 + 13, "middle", below, "pic-text"),
  ];
}

/**
 * @param {ReturnType<typeof sums>} matrix @param {number} y @param {(answer: number) => number} left
 * @param {number} cell @param {number} nameWidth
 */
function precision(matrix, y, left, cell, nameWidth) {
  const middle = y + 20;
  return [
    words(0, middle, "start", fitted(say("confusion.precision"), nameWidth - 4), "pic-tick"),
    ...matrix.answers.map((total, answer) =>
      words(
        left(answer) + cell / 2,
        middle,
        "middle",
        shown(share(matrix.at(answer, answer), total)),
      ),
    ),
  ];
}
