import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test, { afterEach } from "node:test";
import { bytes, count, decimal, duration, number, percent, rate } from "../src/format.js";
import { chooseLanguage, FIRST, has, LANGUAGES, say, setLanguage } from "../src/language.js";
import { adviceFor, announcement, failureWords, LOADING_STAGES, STEPS } from "../src/sentences.js";

const read = (/** @type {string} */ path) =>
  readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const list = (/** @type {string} */ path) =>
  readdirSync(new URL(`../${path}`, import.meta.url), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))
    .map((name) => `${path}/${name}`);
/** Code without its comments. @param {string} source */
const code = (source) => source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
/** Numbers and units are joined by a no-break space. @param {string} text */
const plain = (text) => text.replaceAll("\u00a0", " ");

/** What a reader sees is made here: no words of its own. */
const SHOWN = [
  ...["src/elements", "src/pictures", "src/report"].flatMap(list),
  "src/kinds.js",
  "src/left-sentences.js",
  "src/main.js",
];
const SOURCES = list("src");
const EN = LANGUAGES.en.texts;

afterEach(() => setLanguage(FIRST));

test("every language has the same keys, the same placeholders and the same forms", () => {
  const placeholders = (/** @type {string} */ text) =>
    [...new Set([...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))].sort();
  for (const [code, { texts }] of Object.entries(LANGUAGES)) {
    assert.deepEqual(Object.keys(texts).sort(), Object.keys(EN).sort(), code);
    for (const [key, text] of Object.entries(texts)) {
      const first = EN[key];
      assert.equal(typeof text, typeof first, `${code}: ${key}`);
      const forms = typeof text === "string" ? { one: text, other: text } : text;
      const firsts = typeof first === "string" ? { one: first, other: first } : first;
      for (const form of /** @type {const} */ (["one", "other"])) {
        assert.ok(forms[form].trim() !== "", `${code}: ${key}`);
        assert.deepEqual(placeholders(forms[form]), placeholders(firsts[form]), `${code}: ${key}`);
      }
    }
  }
});

/** Breaks when a language needs more forms than `one` and `other`, as Polish does. */
test("the plural forms of every language are those that texts have", () => {
  for (const code of Object.keys(LANGUAGES)) {
    const { pluralCategories } = new Intl.PluralRules(code).resolvedOptions();
    assert.deepEqual([...pluralCategories].sort(), ["one", "other"], code);
  }
});

test("what the code says there are words for, and no words are left over", () => {
  const sources = SOURCES.map((path) => code(read(path))).join("\n") + read("index.html");
  const literal = [...sources.matchAll(/["`]([\w-]+(?:\.[\w-]+)*)["`]/g)].map(([, key]) => key);
  const said = [...sources.matchAll(/(?:say|has)\(\s*"([^"]+)"/g)].map(([, key]) => key);
  for (const key of said) assert.ok(has(key), `say("${key}")`);
  const nouns = [...sources.matchAll(/\bcount\([^;]*?,\s*"([^"]+)"\)/g)].map(([, noun]) => noun);
  for (const noun of nouns) assert.ok(has(`count.${noun}`), `count.${noun}`);
  assert.ok(said.length > 100 && nouns.length > 8, `${said.length} texts, ${nouns.length} nouns`);
  // A key with a part that is computed: what stands around it must fit.
  const computed = [...sources.matchAll(/(?:say|has)\(\s*`([^`]*)`/g)].map(([, text]) => {
    const parts = text.split(/\$\{[^}]*\}/).map((part) => part.replaceAll(".", "\\."));
    assert.ok(parts[0] !== "", `say(\`${text}\`) could be anything`);
    return new RegExp(`^${parts.join("[\\w -]+")}$`);
  });
  for (const pattern of computed)
    assert.ok(
      Object.keys(EN).some((key) => pattern.test(key)),
      String(pattern),
    );
  const used = new Set(literal);
  for (const key of Object.keys(EN)) {
    const isUsed = used.has(key) || computed.some((pattern) => pattern.test(key));
    assert.ok(isUsed, `nobody says ${key}`);
  }
});

test("no element, picture or report holds a sentence of its own", () => {
  /** Names of errors, which are not for people, and our own, which is no language's. */
  const names = new Set(["BadServer", "TokenNeeded", "Unsupported", "Problem", "Cutlayer"]);
  for (const key of ["Home", "End", "Escape"]) names.add(key);
  for (const policy of ["Content-Security-Policy"]) names.add(policy);
  for (const path of SHOWN) {
    const strings = code(read(path)).matchAll(/"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g);
    for (const [, quoted, template] of strings) {
      const text = (quoted ?? template).replace(/\$\{[^}]*\}/g, "");
      const isSentence =
        /^[A-Z][a-z]/.test(text) ||
        / .*[a-z]{2}[.!?…:]$/.test(text) ||
        /[a-z]{3},? [a-z]+ [a-z]+/.test(text);
      // Classes of CSS are several words, too.
      const isClass = /^[a-z-]+( [a-z-]+)*$/.test(text) && text.includes("-");
      assert.ok(!isSentence || isClass || names.has(text), `${path}: "${text}"`);
    }
  }
});

/** Breaks when the frame says other words before the script runs than afterwards, or words of its own. */
test("the frame's words are those of the English table", () => {
  const page = read("index.html");
  const body = page
    .slice(page.indexOf("<body>"))
    .replace(
      /<noscript>[\s\S]*?<\/noscript>|<p[^>]*id="unsupported"[\s\S]*?<\/p>|<svg[\s\S]*?<\/svg>/g,
      "",
    );
  for (const [, key, text] of body.matchAll(/data-text="([^"]+)">([^<]*)</g)) {
    assert.equal(text, EN[key], key);
  }
  const rest = body.replace(/<[^>]*data-text="[^"]+">[^<]*/g, "").replace(/<[^>]*>/g, " ");
  assert.deepEqual(rest.split(/[\s\d]+/).filter(Boolean), ["Cutlayer"]);
});

test("every error of the client and of the page has words in every language, and advice", () => {
  const client = readFileSync(new URL("../../client-wasm/src/error.rs", import.meta.url), "utf8");
  const names = [...client.matchAll(/=> "(\w+)"/g)].map(([, name]) => name);
  assert.ok(names.length > 15, `${names.length} names`);
  const page = SOURCES.map((path) => code(read(path))).join("\n");
  const own = [...page.matchAll(/CallError\(\s*"(\w+)"/g)].map(([, name]) => name);
  assert.ok(own.includes("FileTooLarge"));
  own.push(...[...read("src/main.js").matchAll(/name: "([A-Z]\w+)"/g)].map(([, name]) => name));
  assert.ok(own.includes("BadServer"));
  for (const name of [...names, ...own]) {
    assert.ok(has(`error.${name}`), name);
    assert.ok(!adviceFor(name, "train").startsWith("advice"), name);
  }
  for (const place of [
    "connect",
    "file",
    "columns",
    "privacy",
    "reading",
    "train",
    "steer",
    "predict",
    "evaluate",
  ])
    assert.ok(!adviceFor("Else", /** @type {any} */ (place)).startsWith("advice"), place);
});

test("in English the client's sentence is shown, in another language the words for its name beside it", () => {
  const failure = { name: "OneClassOnly", sentence: "column rating holds 1 label" };
  assert.deepEqual(failureWords(failure), { sentence: failure.sentence, original: null });
  setLanguage("de");
  const words = failureWords(failure);
  assert.equal(words.sentence, LANGUAGES.de.texts["error.OneClassOnly"]);
  assert.equal(words.original, failure.sentence);
  const unknown = { name: "ToCome", sentence: "Something new." };
  assert.deepEqual(failureWords(unknown), { sentence: "Something new.", original: null });
});

test("the chosen language is taken, else the first of the browser's that there is, else English", () => {
  assert.equal(chooseLanguage("de", ["en-US"]), "de");
  assert.equal(chooseLanguage(null, ["fr-FR", "de-AT", "en"]), "de");
  assert.equal(chooseLanguage(null, ["EN-gb", "de"]), "en");
  assert.equal(chooseLanguage(null, ["fr"]), "en");
  assert.equal(chooseLanguage("toString", []), "en");
});

test("placeholders are filled with text as it is and with numbers as they are written", () => {
  assert.equal(say("run.of", { done: 1234, total: "{done}" }), "1,234 of {done}");
  assert.equal(say("no such key"), "no such key");
  setLanguage("de");
  assert.equal(say("run.of", { done: 1234, total: "9" }), "1.234 von insgesamt 9");
});

test("numbers, units and forms are German in German", () => {
  setLanguage("de");
  assert.equal(plain(count(1, "row")), "1 Zeile");
  assert.equal(plain(count(6920, "row")), "6.920 Zeilen");
  assert.equal(number(1_000_000), "1.000.000");
  assert.equal(plain(bytes(23_560_000)), "23,6 MB");
  assert.equal(plain(percent(0.8745, 1)), "87,5 %");
  assert.equal(decimal(0.69315), "0,693");
  assert.equal(decimal(0.00004), "4,0e-5");
  assert.equal(plain(duration(400)), "unter 1 s");
  assert.equal(plain(rate(1.5, "step")), "1,5 Schritte/s");
  assert.equal(plain(rate(0.5, "step")), "2,0 s je Schritt");
});

test("lists that were made before follow the language", () => {
  assert.equal(LOADING_STAGES[4].name, "First part of the model");
  assert.equal(STEPS[0].locked, "");
  setLanguage("de");
  assert.equal(LOADING_STAGES[4].name, "Erster Teil des Modells");
  assert.equal(STEPS[1].locked, "Öffnet sich, wenn eine Datei gelesen ist.");
  assert.equal(
    announcement(/** @type {any} */ ({ run: null, phase: "paused" })),
    "Das Training ist angehalten.",
  );
});
