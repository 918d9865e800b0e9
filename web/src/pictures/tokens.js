/** The texts of a preview, token by token: the reader's word above what leaves in its place. Pure. */

import { count, number, percent, shorten } from "../format.js";
import { kindAbout, kindName, KINDS, matterWords, mattersOf, signOf, whyOf } from "../kinds.js";
import { say } from "../language.js";
import { legend } from "./frame.js";
import { MONO_LETTER, monoWidth } from "./measure.js";
import { numberColumn, textColumn } from "./table.js";
import { area, el, HALF_LETTER, stroke, words } from "./tree.js";

/** @typedef {import("../contract.js").Token} Token */
/** @typedef {import("../contract.js").Preview} Preview */
/** @typedef {import("../kinds.js").Matters} Matters */
/** @typedef {import("./tree.js").Picture} Picture */
/** @typedef {{ token: Token, text: number, place: number }} Placed */

const PAD = 7;
const GAP = 6;
const LINE = 56;
const BETWEEN_TEXTS = 22;
/** Letters of one token that are drawn; the table has all of them. */
const LETTERS_MAX = 24;

/**
 * Draws the texts.
 * @param {Preview} preview
 * @param {Matters} matters
 * @returns {Picture}
 */
export function tokensPicture(preview, matters) {
  const texts = preview.examples.map(({ tokens }, text) =>
    tokens.map((token, place) => ({ token, text, place })),
  );
  const own = texts.flat().filter(({ token }) => token.kind !== "special");
  const of = (/** @type {string} */ kind) => own.filter(({ token }) => token.kind === kind).length;
  const told = KINDS.map(({ kind }) => `${number(of(kind))} ${kindName(kind)}`).join(", ");
  return {
    name: "tokens",
    caption: say("tokens.caption"),
    title: say("tokens.title", {
      texts: count(texts.length, "text"),
      tokens: count(own.length, "token"),
      kinds: told,
    }),
    desc: say("tokens.about"),
    draw: (width) => draw(width, texts, matters),
    table: {
      caption: say("tokens.table", { texts: count(texts.length, "text") }),
      columns: [
        numberColumn(say("data.text"), "", number),
        numberColumn(say("tokens.place"), "", number),
        textColumn(say("tokens.own")),
        textColumn(say("tokens.leaves")),
        textColumn(say("tokens.became")),
        textColumn(say("tokens.why")),
        textColumn(say("tokens.matters")),
      ],
      rows: texts.flat().map(({ token, text, place }) => {
        const word = mattersOf(token, matters);
        return [
          text + 1,
          place + 1,
          token.text,
          token.kind === "removed" ? say("tokens.nothing") : token.seen,
          kindName(token.kind),
          whyOf(token),
          word === null ? say("tokens.no") : matterWords(word, matters),
        ];
      }),
    },
  };
}

/** @param {number} asked @param {Placed[][]} texts @param {Matters} matters */
function draw(asked, texts, matters) {
  const width = Math.max(220, Math.round(asked));
  const keys = legend(width, keyOf(matters));
  let top = keys.height + 8;
  const places = texts.map((tokens, index) => {
    const laid = layout(tokens, top + (index === 0 ? 0 : BETWEEN_TEXTS), width);
    const start = top;
    top = laid.bottom;
    return { boxes: laid.boxes, line: index === 0 ? null : start + BETWEEN_TEXTS / 2 };
  });
  const boxes = places.flatMap((each) => each.boxes);
  const nodes = [
    ...keys.nodes,
    ...places.flatMap(({ line }) =>
      line === null ? [] : [stroke(0, line, width, line, "pic-grid")],
    ),
    ...boxes.map(({ placed, box }) => tokenNodes(placed.token, box, matters)),
  ];
  const targets = () =>
    boxes.map(({ placed, box }) => ({ box, text: tokenText(placed.token, matters) }));
  return { width, height: top + 4, nodes, targets };
}

/** @param {Matters} matters */
function keyOf({ words: list }) {
  const kinds = KINDS.map(({ kind, sign }) => ({
    name: kindAbout(kind),
    short: kindName(kind),
    key: (/** @type {number} */ x, /** @type {number} */ y) => [
      area({ x: x + 2, y: y - 8, width: 24, height: 16 }, `pic-${kind}`, { rx: 4 }),
      words(x + 14, y + HALF_LETTER, "middle", sign, "pic-strong"),
    ],
  }));
  if (list.length === 0) return kinds;
  const line = (/** @type {number} */ x, /** @type {number} */ y) => [
    stroke(x + 2, y, x + 26, y, "pic-matters"),
  ];
  return [...kinds, { name: say("tokens.key.matters"), key: line }];
}

/**
 * Sets tokens line after line; a part of a word stands close to the part before it.
 * @param {Placed[]} tokens
 * @param {number} top
 * @param {number} width
 */
function layout(tokens, top, width) {
  let [x, y] = [0, top];
  const boxes = tokens.map((placed) => {
    const { token } = placed;
    const size = Math.min(
      width,
      Math.max(monoWidth(shown(token.text)), monoWidth(below(token))) + 2 * PAD,
    );
    const gap = x === 0 || token.continues ? 0 : GAP;
    if (x > 0 && x + gap + size > width) [x, y] = [0, y + LINE];
    else x += gap;
    const box = { x, y, width: size, height: LINE - 10 };
    x += size;
    return { placed, box };
  });
  return { boxes, bottom: y + LINE };
}

/** @param {string} text */
const shown = (text) => shorten(text, LETTERS_MAX);

/** @param {Token} token */
function below(token) {
  const sign = signOf(token.kind);
  return sign === "" ? shown(token.seen) : `${sign} ${shown(token.seen)}`.trimEnd();
}

/** @param {Token} token @param {import("./tree.js").Box} box @param {Matters} matters */
function tokenNodes(token, { x, y, width }, matters) {
  const inside = x + PAD;
  const nodes = [
    words(inside, y + 13, "start", shown(token.text), "pic-mono-soft", held(shown(token.text))),
    area({ x: x + 1, y: y + 19, width: width - 2, height: 24 }, `pic-${token.kind}`, { rx: 4 }),
    words(inside, y + 35.5, "start", below(token), "pic-mono", held(below(token))),
    ...(mattersOf(token, matters) === null
      ? []
      : [stroke(inside, y + 47, x + width - PAD, y + 47, "pic-matters")]),
  ];
  return el("g", { class: "token", "data-kind": token.kind }, ...nodes);
}

/**
 * Text that is not plain Latin has a width that only its font knows: it is held to the room that it was given.
 * @param {string} text
 * @returns {Record<string, string|number>}
 */
function held(text) {
  if (/^[\u0020-\u024f≈≠∅…]*$/.test(text)) return {};
  return { textLength: Math.max(MONO_LETTER, monoWidth(text)), lengthAdjust: "spacingAndGlyphs" };
}

/** @param {Token} token @param {Matters} matters */
function tokenText(token, matters) {
  const word = mattersOf(token, matters);
  const { text, seen, kind } = token;
  const why = kind === "special" ? whyOf(token) : `${kindName(kind)}, ${whyOf(token)}`;
  const read = say(kind === "removed" ? "tokens.read.removed" : "tokens.read", { text, seen, why });
  if (word === null) return read;
  return say("tokens.read.matters", { read, matters: matterWords(word, matters) });
}

/**
 * Says the shares of a preview.
 * @param {Preview} preview
 */
export function sharesWords({ shares, tokens_counted: counted }) {
  const each = KINDS.map(
    ({ kind }) => `${percent(shares[/** @type {"near"} */ (kind)])} ${kindName(kind)}`,
  );
  return say("tokens.shares", { kinds: each.join(", "), tokens: count(counted, "token") });
}
