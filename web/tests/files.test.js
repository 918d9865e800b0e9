import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import test, { afterEach } from "node:test";
import { FIRST, LANGUAGES, setLanguage } from "../src/language.js";
import { LIGHT, LOOK, resolved, sheet } from "../src/pictures/look.js";
import { escaped, markup } from "../src/pictures/markup.js";
import { csv, numberColumn, textColumn } from "../src/pictures/table.js";
import { el } from "../src/pictures/tree.js";
import { reportOf } from "../src/report/content.js";
import { reportHtml } from "../src/report/document.js";
import { STYLE, STYLE_HASH } from "../src/report/style.js";
import { after, CANARY, CLASS_NAME, COLUMN_NAME, FILE_NAME, STATE } from "./drawn.js";

afterEach(() => setLanguage(FIRST));

/** @param {string} name */
const styles = (name) => readFileSync(new URL(`../styles/${name}`, import.meta.url), "utf8");

const NOTHING = { texts: false, names: false, classes: false };
const MADE = new Date(Date.UTC(2026, 0, 2, 3, 4));

/** @param {Partial<typeof NOTHING>} [allowed] @param {any} [state] */
const written = (allowed = {}, state = STATE) =>
  reportHtml(reportOf(state, { ...NOTHING, ...allowed }, { made: MADE, tradeoff: null }));

test("the sheet of the page is the table of looks, and its light is that of the page", () => {
  assert.ok(styles("pictures.css").endsWith(sheet()), "run: look.js sheet() > pictures.css");
  const base = styles("base.css");
  const [light, dark] = [base.indexOf(":root {"), base.indexOf("prefers-color-scheme: dark")];
  for (const [name, value] of Object.entries(LIGHT)) {
    assert.ok(base.slice(light, dark).includes(`  ${name}: ${value};`), name);
    assert.ok(base.slice(dark).includes(`    ${name}: #`), `${name} in the dark`);
  }
  for (const look of Object.values(LOOK))
    for (const value of Object.values(look))
      assert.ok(!String(value).startsWith("--") || String(value) in LIGHT, String(value));
});

test("an export has its colours written into it", () => {
  const tree = resolved(el("g", {}, el("line", { class: "pic-grid", x1: 1 })));
  assert.deepEqual(tree.children[0], {
    tag: "line",
    attributes: { stroke: "#d8d8d0", x1: 1 },
    children: [],
  });
});

test("markup escapes text and attributes, and what XML cannot hold", () => {
  assert.equal(
    escaped(`<a b="c">&'\u0000\ud800`),
    "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\ufffd\ufffd",
  );
  assert.equal(escaped("𝒜 and ü"), "𝒜 and ü");
  const tree = el("p", { title: '"><script>' }, "</p>", el("br"));
  assert.equal(markup(tree), '<p title="&quot;&gt;&lt;script&gt;">&lt;/p&gt;<br></p>');
});

test("CSV quotes, names units, leaves out what is not there, and starts no formula", () => {
  const table = {
    caption: "",
    columns: [textColumn("Class, true"), numberColumn("Loss", "nats", String)],
    rows: [
      ['say "hi"', 0.1 + 0.2],
      ["=1+1", null],
      ["two\nlines", -2],
      ["plain", Number.NaN],
    ],
  };
  assert.equal(
    csv(table),
    '"Class, true",Loss (nats)\r\n"say ""hi""",0.3\r\n\'=1+1,\r\n"two\nlines",-2\r\nplain,\r\n',
  );
});

test("a report names its sheet by hash, runs nothing and asks for nothing", () => {
  const hash = createHash("sha256").update(STYLE).digest("base64");
  assert.equal(STYLE_HASH, `sha256-${hash}`);
  const html = written({ texts: true, names: true, classes: true });
  assert.ok(html.startsWith("<!doctype html>"));
  assert.ok(html.includes(`<style>${STYLE}</style>`));
  const policy = html.indexOf("Content-Security-Policy");
  assert.ok(policy > 0 && policy < html.indexOf("<style>"));
  assert.ok(html.includes("default-src &#39;none&#39;") && html.includes(escaped(STYLE_HASH)));
  assert.doesNotMatch(html, /<script|<link|<img|<iframe|<a |\son\w+=|\sstyle=|javascript:/i);
  assert.doesNotMatch(html.replaceAll("http://www.w3.org/2000/svg", ""), /https?:|url\(|@import/);
  assert.ok(!html.includes(CLASS_NAME) && html.includes(escaped(CLASS_NAME)));
  const opened = html.match(/<(?!meta|!doctype|br)[a-z]/g)?.length;
  assert.equal(opened, html.match(/<\/[a-z]/g)?.length);
});

test("ids in a report are there once", () => {
  const ids = [...written({ texts: true }).matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  assert.ok(ids.length >= 12);
  assert.equal(new Set(ids).size, ids.length);
});

test("nothing of the reader's own is in a report unless it is ticked", () => {
  const html = written();
  const own = [CANARY, FILE_NAME, "krellington", COLUMN_NAME, escaped(CLASS_NAME), "b &amp;"];
  for (const secret of own) assert.ok(!html.includes(secret), secret);
  assert.ok(html.includes("class 1"));
  const named = written({ names: true });
  assert.ok(named.includes(FILE_NAME) && named.includes(COLUMN_NAME) && !named.includes(CANARY));
  const classes = written({ classes: true });
  assert.ok(classes.includes(escaped(CLASS_NAME)) && !classes.includes(CANARY));
  assert.ok(written({ texts: true }).includes(CANARY));
});

test("a report says settings, promise, result, what left and what was read", () => {
  const html = written().replaceAll("\u00a0", " ");
  for (const part of [
    "2026-01-02 at 03:04 UTC",
    "<dd>75.0 %</dd>",
    "On a test file: 50.0 % of 4 rows right",
    "LoRA rank",
    "1.5 kB",
    "9 messages",
    "Word for word would leave: 1 of 3 names, 0 of 0 numbers",
    "The label of each text",
    "What each attack read back",
    "Loss by step",
  ])
    assert.ok(html.includes(part), part);
});

test("a long run is printed with some of its steps, the first and the last among them", () => {
  const steps = Array.from({ length: 100 }, (_, index) => ({
    type: "step",
    step: index + 1,
    epoch: 1,
    loss: 1,
    learning_rate: 1,
    step_millis: 1,
  }));
  const again = [
    { type: "train_requested" },
    { type: "train_started", steps_total: 100 },
    ...steps,
    { type: "train_done", steps: 100, best_step: 100, reason: "Finished" },
  ];
  const html = written({}, after(...again));
  assert.ok(html.includes("Loss by step; 40 of 100 rows, evenly chosen"));
  assert.ok(html.includes('<th scope="row">1</th>') && html.includes('<th scope="row">100</th>'));
});

/** Breaks when a part of the report was said in the language in which its module was loaded, or stays English. */
test("a report is written in the language of the page, and says what is not in it", () => {
  const english = written({ texts: true, names: true });
  assert.ok(english.includes('<html lang="en">'));
  setLanguage("de");
  const german = written({ texts: true, names: true });
  assert.ok(german.includes('<html lang="de">'));
  assert.ok(german.includes("75,0\u00a0%") && german.includes("Zeilen der Testdatei"));
  // Every text without values that the English report says, and that is another one in German.
  for (const [key, text] of Object.entries(LANGUAGES.en.texts)) {
    if (typeof text !== "string" || text.includes("{") || text === LANGUAGES.de.texts[key])
      continue;
    const said = `>${escaped(text)}<`;
    assert.ok(!german.includes(said), `${key}: ${text}`);
  }
  // What the client says is English, and is marked so.
  assert.ok(german.includes('<td class="text" lang="en">Share of words.</td>'));
});
