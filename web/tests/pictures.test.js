import assert from "node:assert/strict";
import test from "node:test";
import { mattersFor, matterWords } from "../src/kinds.js";
import { ofThisData } from "../src/history.js";
import { attacksPicture } from "../src/pictures/attacks.js";
import { confusionPicture, sums } from "../src/pictures/confusion.js";
import { legend } from "../src/pictures/frame.js";
import { epochOf, lossPicture, scoresPicture } from "../src/pictures/learning.js";
import { LOOK, svgFile } from "../src/pictures/look.js";
import { fitted, places, textWidth } from "../src/pictures/measure.js";
import { tokensPicture } from "../src/pictures/tokens.js";
import { tradeoffPicture } from "../src/pictures/tradeoff.js";
import { marker, nearest } from "../src/pictures/tree.js";
import { CANARY, CLASS_NAME, FILE_NAME, STATE } from "./drawn.js";
import { MECHANISMS } from "./samples.js";

/** @typedef {import("../src/pictures/tree.js").Tree} Tree */

const { reading, runs, law } = ofThisData(STATE);
const run = /** @type {NonNullable<typeof STATE.run>} */ (STATE.run);
const NAMES = STATE.report?.labels.map(({ name }) => name) ?? [];
const WHAT = { name: "confusion-validation", caption: "Held-out rows", rows: "held-out row" };
const matters = mattersFor(
  /** @type {any} */ (STATE.privacy),
  STATE.wanted,
  MECHANISMS.find(({ name }) => name === "first") ?? null,
);

const tradeoff = tradeoffPicture({
  reading,
  mechanism: "First",
  runs,
  now: 0.5,
  law,
  titles: runs.map(() => "First"),
});

const PICTURES = [
  lossPicture(run),
  scoresPicture(run),
  tradeoff,
  attacksPicture(/** @type {any} */ (reading), /** @type {any} */ (reading?.points[1]), "“First”"),
  confusionPicture([2, 1, 0, 1], NAMES, WHAT),
  confusionPicture(
    Array(64).fill(1),
    Array.from({ length: 8 }, (_, at) => `a long class name ${at}`),
    WHAT,
  ),
  tokensPicture(/** @type {any} */ (STATE.preview), matters),
];

/** Numbers are joined to their units by a no-break space. @param {string} text */
const plain = (text) => text.replaceAll("\u00a0", " ");

/** @param {Tree|string} tree @returns {Tree[]} */
const all = (tree) =>
  typeof tree === "string" ? [] : [tree, ...tree.children.flatMap((child) => all(child))];

test("every picture has a name, a description, targets with words, and rows as wide as its columns", () => {
  for (const picture of PICTURES) {
    assert.ok(picture.title.length > 10 && picture.desc.length > 10, picture.name);
    const targets = picture.draw(400).targets();
    assert.ok(targets.length > 0, picture.name);
    for (const { text } of targets) assert.match(text, /\w \w|” /);
    for (const row of picture.table.rows) {
      assert.equal(row.length, picture.table.columns.length, picture.name);
      row.forEach((cell, at) =>
        assert.equal(typeof picture.table.columns[at].show(cell), "string"),
      );
    }
  }
});

test("from 200 to 3,000 pixels nothing is drawn outside of its picture, and every place is a number", () => {
  for (const picture of PICTURES) {
    for (const asked of [200, 320, 700, 3000]) {
      const { width, height, nodes } = picture.draw(asked);
      for (const { tag, attributes, children } of nodes.flatMap(all)) {
        for (const value of Object.values(attributes))
          assert.doesNotMatch(String(value), /NaN|Infinity|undefined/, picture.name);
        if (tag !== "text" || attributes.transform !== undefined) continue;
        const content = children.join("");
        const size = textWidth(content);
        const shift = { start: 0, middle: 0.5, end: 1 }[String(attributes["text-anchor"])] ?? 0;
        const left = Number(attributes.x) - shift * size;
        const where = `${picture.name} at ${asked}: ${content}`;
        assert.ok(left >= -6 && left + size <= width + 6, `${where}: ${left} to ${left + size}`);
        assert.ok(Number(attributes.y) > 0 && Number(attributes.y) <= height, where);
      }
    }
  }
});

test("every part that is drawn has a look", () => {
  const used = PICTURES.flatMap((picture) => picture.draw(500).nodes.flatMap(all))
    .map(({ attributes }) => attributes.class)
    .filter((name) => name !== undefined && name !== "token");
  for (const name of used) assert.ok(String(name) in LOOK, String(name));
  assert.ok(new Set(used).size > 15);
});

test("the loss has its steps, its epochs and the smoothing as such", () => {
  const { title, desc, table, draw } = lossPicture(run);
  assert.equal(
    plain(title),
    "Loss in nats by step; latest: training 0.2 nats, held-out rows 0.5 nats",
  );
  assert.match(plain(desc), /mean over 3 steps.*after step 2, with 75.0 %/);
  // Neighbours on either side, fewer at the ends: (1 + 0.5) / 2 and (1 + 0.5 + 0.4) / 3.
  assert.deepEqual(
    table.rows.slice(0, 2).map(([step, epoch, own, , held]) => [step, epoch, own, held]),
    [
      [1, 1, 1, null],
      [2, 1, 0.5, 0.5],
    ],
  );
  assert.equal(table.rows[0][3], 0.75);
  assert.ok(Math.abs(Number(table.rows[1][3]) - 1.9 / 3) < 1e-12);
  const [, second] = draw(500).targets();
  assert.match(plain(second.text), /^Step 2, epoch 1: training 0.5 nats, .*, best$/);
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((step) => epochOf(run, step)),
    [0, 1, 1, 2, 2],
  );
});

test("of the measurements the one that is kept is marked", () => {
  const { table } = scoresPicture(run);
  assert.deepEqual(
    table.rows.map((row) => row.at(-1)),
    ["kept", "no"],
  );
});

test("a run stands on the curve of its own mechanism only, one without any at 0", () => {
  assert.match(plain(tradeoff.desc), /95 % at 10 %, 60 % at 50 %.*75.0 % at 50 %/);
  // What stands at one place is read out together.
  const places = tradeoff.draw(500).targets();
  assert.equal(places.length, 2);
  assert.match(plain(places[1].text), /^Protection 50 %: .*\. Run 1 at protection 50 %: 75.0 %/);
  const [first] = runs;
  const other = { ...first, law: "another", number: 2 };
  const bare = { ...first, law: "none", mechanism: "none", level: null, number: 3 };
  const picture = tradeoffPicture({
    reading: null,
    mechanism: "First",
    runs: [first, other, bare],
    now: null,
    law,
    titles: ["First", "Other", "None"],
  });
  const told = picture
    .draw(500)
    .targets()
    .map(({ text }) => plain(text).slice(0, 27));
  assert.deepEqual(told, ["Run 3 at protection 0 %: 75", "Run 1 at protection 50 %: 7"]);
  assert.deepEqual(
    picture.table.rows.map(([what]) => what),
    ["run 1, First", "run 2, Other", "run 3, None"],
  );
});

test("rows of a confusion matrix add up, empty ones too", () => {
  const matrix = sums([2, 1, 0, 0]);
  assert.deepEqual(
    [matrix.n, matrix.rows, matrix.answers, matrix.right, matrix.total],
    [2, [3, 0], [2, 1], 2, 3],
  );
  const { table, draw } = confusionPicture([2, 1, 0, 0], ["a", "b"], WHAT);
  assert.deepEqual(table.rows[0], ["a", "a", 2, 2 / 3]);
  assert.deepEqual(table.rows[3], ["b", "b", 0, null]);
  assert.match(plain(draw(300).targets()[1].text), /^True class a, answer b: 1 row, 33 %/);
  // Shades are shares of the row, at most 0.4.
  const shades = draw(300)
    .nodes.flatMap(all)
    .flatMap(({ attributes }) => attributes["fill-opacity"] ?? []);
  assert.deepEqual(shades, ["0.267", "0.133", "0", "0"]);
});

test("many classes make a picture wider than the screen, which scrolls", () => {
  const { width } = confusionPicture(Array(400).fill(1), [], WHAT).draw(320);
  assert.ok(width > 900);
});

test("bars are as long as shares, with chance beside them", () => {
  const picture = PICTURES[3];
  assert.deepEqual(
    picture.table.rows.map((row) => row.slice(1)),
    [
      [0.5, 1, 0.05],
      [0.6, 1, 0.05],
    ],
  );
  const lengths = picture
    .draw(400)
    .nodes.flatMap(all)
    .filter(({ attributes }) => attributes.class === "pic-with" && attributes.height === 15)
    .map(({ attributes }) => Number(attributes.width));
  assert.equal(lengths.length, 2);
  assert.ok(Math.abs(lengths[0] / lengths[1] - 0.5 / 0.6) < 0.01);
});

test("a token says what became of it, why, and whether it matters", () => {
  const picture = PICTURES[6];
  const [mark, far, removed] = picture
    .draw(400)
    .targets()
    .map(({ text }) => text);
  assert.match(mark, /not a word of yours$/);
  assert.match(
    far,
    new RegExp(`^“${CANARY}” leaves as .*far, it became an unrelated word; it matters`),
  );
  assert.ok(far.endsWith("its noise is × 2.00"));
  assert.match(removed, /^“ok” does not leave: removed/);
  const word = { text: "a", label: "x", importance: 1, count: 1, factor: null };
  const told = (/** @type {any} */ change) => matterWords(word, { ...matters, ...change });
  assert.match(told({ spared: true, ranked: false }), /stays as it is$/);
  assert.match(told({ spared: false, ranked: true }), /last to be taken away$/);
  assert.equal(told({ spared: false, ranked: false }), "matters for “x”");
});

test("a file stands alone: no class, no address but that of SVG, nothing of the reader's file name", () => {
  for (const picture of PICTURES) {
    const { text, width, height } = svgFile(picture);
    assert.ok(
      text.startsWith('<svg xmlns="http://www.w3.org/2000/svg"') && text.endsWith("</svg>"),
    );
    assert.ok(width > 200 && height > 100);
    assert.doesNotMatch(
      text.replace("http://www.w3.org/2000/svg", ""),
      /class=|https?:|var\(|<script/,
    );
    assert.ok(!text.includes(FILE_NAME) && !picture.name.includes("krellington"));
    // Tags are balanced.
    const opened = text.match(/<[a-z]/g)?.length;
    assert.equal(opened, text.match(/<\/[a-z]/g)?.length);
  }
  assert.ok(svgFile(PICTURES[4]).text.includes("&lt;script&gt;"));
  assert.ok(CLASS_NAME.startsWith("<script>"));
});

test("the nearest target is the one around the point, else the one least far", () => {
  const box = (/** @type {number} */ x) => ({ box: { x, y: 0, width: 10, height: 10 }, text: "" });
  const targets = [box(0), box(20)];
  assert.equal(nearest(targets, 25, 5), 1);
  assert.equal(nearest(targets, 12, 5), 0);
  assert.equal(nearest(targets, 18, 50), 1);
  assert.equal(nearest([], 0, 0), -1);
});

test("a legend goes on in the next line where it is too wide", () => {
  const entry = { name: "twelve chars", key: () => [] };
  // An entry takes 30 + 6 + 12 * 6.8 + 16 = 133.6 pixels.
  assert.equal(legend(270, [entry, entry]).height, 24);
  assert.equal(legend(260, [entry, entry]).height, 43);
  assert.equal(legend(260, []).height, 0);
});

test("text is measured by places and cut to a width", () => {
  assert.equal(places("ab味"), 4);
  assert.equal(fitted("short", 100), "short");
  assert.ok(textWidth(fitted("a long class name", 60)) <= 60);
});

test("marks have different shapes", () => {
  const shapes = /** @type {const} */ (["circle", "square", "diamond", "triangle"]);
  const drawn = shapes.map((shape) => JSON.stringify(marker(shape, 10, 10, "")));
  assert.equal(new Set(drawn).size, 4);
});
