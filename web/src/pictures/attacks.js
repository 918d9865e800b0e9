/** What attacks recovered of the reader's own texts: with protection beside without, chance marked. Pure. */

import { count, decimal, percent } from "../format.js";
import { scale, ticks } from "../geometry.js";
import { say } from "../language.js";
import { legend } from "./frame.js";
import { fitted } from "./measure.js";
import { numberColumn, textColumn } from "./table.js";
import { area, HALF_LETTER, stroke, words } from "./tree.js";

/** @typedef {import("./tree.js").Picture} Picture */
/** @typedef {{ name: string, protected: number, undefended: number|null }} AttackResult */

const BAR = 15;
const ROW = 66;
const share = (/** @type {number} */ value) => percent(value, 1);

/**
 * Names the attacks of a reading and what each recovered.
 * @param {import("../contract.js").Reading} reading
 * @param {import("../contract.js").ReadingPoint} point of the level that is told of
 * @returns {AttackResult[]}
 */
export function attackResults({ undefended }, { nn, bayes }) {
  const rows = [{ name: say("reading.simple"), protected: nn, undefended: undefended.nn }];
  if (bayes === null) return rows;
  return [
    ...rows,
    { name: say("reading.informed"), protected: bayes, undefended: undefended.bayes },
  ];
}

/**
 * Draws the bars.
 * @param {import("../contract.js").Reading} reading
 * @param {import("../contract.js").ReadingPoint} point
 * @param {string} setting the mechanism and its level, in words
 * @returns {Picture}
 */
export function attacksPicture(reading, point, setting) {
  const results = attackResults(reading, point);
  const { chance } = reading;
  const draw = (/** @type {number} */ asked) => {
    const width = Math.max(220, Math.round(asked));
    const keys = legend(width, legendOf(chance));
    const toX = scale([0, 1], [1, width - 62]);
    const top = keys.height + 8;
    const bottom = top + ROW * results.length;
    const nodes = [
      ...keys.nodes,
      ...ticks(0, 1, width < 420 ? 3 : 6).flatMap((value) => [
        stroke(toX(value), top, toX(value), bottom, "pic-grid"),
        words(toX(value), bottom + 16, value === 0 ? "start" : "middle", percent(value)),
      ]),
      words(toX(0.5), bottom + 36, "middle", say("attacks.axis")),
      ...results.flatMap((result, index) => bars(result, top + ROW * index, toX, width)),
      ...results.flatMap((_, index) => {
        const [x, from, to] = [toX(chance), top + ROW * index + 17, top + ROW * (index + 1) - 8];
        return ["pic-casing", "pic-level"].map((look) => stroke(x, from, x, to, look));
      }),
    ];
    const targets = () =>
      results.map((result, index) => ({
        box: { x: 0, y: top + ROW * index, width, height: ROW - 6 },
        text: resultText(result, chance),
      }));
    return { width, height: bottom + 44, nodes, targets };
  };
  return {
    name: "attacks",
    caption: say("attacks.caption"),
    title: say("attacks.title", { attacks: count(results.length, "attack"), setting }),
    desc: results.map((result) => `${resultText(result, chance)}.`).join(" "),
    draw,
    table: {
      caption: say(point.eta === null ? "attacks.table" : "attacks.table.eta", {
        setting,
        eta: point.eta === null ? "" : decimal(point.eta),
        tokens: count(reading.tokens, "token"),
        texts: count(reading.examples, "text"),
      }),
      columns: [
        textColumn(say("attacks.attack")),
        numberColumn(say("attacks.with"), say("unit.words"), share),
        numberColumn(say("attacks.without"), say("unit.words"), share),
        numberColumn(say("attacks.chance"), say("unit.words"), share),
      ],
      rows: results.map((each) => [each.name, each.protected, each.undefended, chance]),
    },
  };
}

/** @param {number} chance */
function legendOf(chance) {
  const bar =
    (/** @type {string} */ look) => (/** @type {number} */ x, /** @type {number} */ y) => [
      area({ x: x + 2, y: y - 5, width: 24, height: 10 }, look),
    ];
  return [
    { name: say("attacks.key.with"), key: bar("pic-with") },
    { name: say("attacks.key.without"), key: bar("pic-without") },
    {
      name: say("attacks.key.chance", { share: share(chance) }),
      key: (/** @type {number} */ x, /** @type {number} */ y) => [
        stroke(x + 1, y, x + 28, y, "pic-level"),
      ],
    },
  ];
}

/** @param {AttackResult} result @param {number} top @param {(share: number) => number} toX @param {number} width */
function bars(result, top, toX, width) {
  const bar = (
    /** @type {number} */ value,
    /** @type {number} */ y,
    /** @type {string} */ look,
  ) => [
    area({ x: toX(0), y, width: Math.max(0.5, toX(value) - toX(0)), height: BAR }, look),
    words(toX(value) + 6, y + BAR / 2 + HALF_LETTER, "start", share(value), "pic-text"),
  ];
  const [first, second] = [top + 20, top + 20 + BAR + 4];
  return [
    words(0, top + 13, "start", fitted(result.name, width), "pic-text"),
    ...bar(result.protected, first, "pic-with"),
    ...(result.undefended === null ? [] : bar(result.undefended, second, "pic-without")),
  ];
}

/** @param {AttackResult} result @param {number} chance */
function resultText({ name, protected: own, undefended }, chance) {
  const without =
    undefended === null
      ? say("attacks.text.unmeasured")
      : say("attacks.text.without", { share: share(undefended) });
  return say("attacks.text", { attack: name, share: share(own), without, chance: share(chance) });
}
