import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { allowedAddress } from "../src/trusted.js";

const WEB = new URL("../", import.meta.url);
/** @param {string} name */
const read = (name) => readFileSync(new URL(name, WEB), "utf8");
const MODULES = ["src", "languages"].flatMap((folder) =>
  readdirSync(new URL(`${folder}/`, WEB), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))
    .map((name) => `${folder}/${name}`),
);

test("the document holds no script, style or handler, and loads nothing from elsewhere", () => {
  const html = read("index.html");
  for (const [, attributes, content] of html.matchAll(/<script\b([^>]*)>([^]*?)<\/script>/g)) {
    assert.match(attributes, /\bsrc="\.\//);
    assert.equal(content, "");
  }
  assert.doesNotMatch(html, /<style\b/);
  assert.doesNotMatch(html, /\s(style|on\w+)\s*=/i);
  assert.doesNotMatch(html, /(src|href)\s*=\s*"(?![.#])/);
  assert.doesNotMatch(html, /javascript:|<base\b|<iframe\b|<object\b|<embed\b|srcdoc/i);
});

test("no module turns text into code or markup", () => {
  assert.ok(MODULES.length > 20);
  // An `access` writes bytes into a file of the browser's store.
  const bad =
    /\b(eval|Function)\s*\(|(?<!\baccess\.)\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|write(ln)?)\b\s*[=(]|createContextualFragment|setAttribute\(\s*"(style|on)/;
  for (const name of MODULES) assert.doesNotMatch(read(name), bad, name);
});

test("workers are started through the gate only", () => {
  const starting = MODULES.filter((name) => /new (Shared)?Worker\(/.test(read(name)));
  for (const name of starting)
    assert.match(read(name), /new Worker\((workerAddress|nowhere)\(\)/, name);
  assert.ok(starting.length > 0);
  const gates = MODULES.filter((name) => read(name).includes("createPolicy("));
  assert.deepEqual(gates, ["src/trusted.js"]);
});

/** Breaks when Chromium refuses a module of the document, because the build announces no digest for it. */
test("the build announces the modules that the document imports, and no others", () => {
  const build = read("../xtask/src/integrity.rs");
  const folders = [
    ...(/MODULES: [^=]*= \[([^\]]*)\]/.exec(build)?.[1].matchAll(/"([^"]+)"/g) ?? []),
  ];
  assert.deepEqual(
    folders.map(([, folder]) => folder),
    ["src/", "languages/"],
  );
  const others = /NOT_OF_THE_DOCUMENT: [^=]*= \[([^\]]*)\]/.exec(build)?.[1] ?? "";
  const announced = new Set(MODULES);
  for (const [, name] of others.matchAll(/"([^"]+)"/g)) assert.ok(announced.delete(name), name);
  const imported = new Set(["src/main.js"]);
  for (const name of imported) {
    for (const [, path] of read(name).matchAll(
      /^(?:import|export|\}) (?:[^"]* )?(?:from )?"(\..*)";$/gm,
    ))
      imported.add(new URL(path, new URL(name, WEB)).href.slice(WEB.href.length));
  }
  assert.deepEqual([...imported].sort(), [...announced].sort());
});

test("the gate lets this page's worker through and nothing else", () => {
  const worker = new URL("src/worker.js", WEB).href;
  assert.equal(allowedAddress(worker), worker);
  for (const address of ["https://evil.example/worker.js", `${worker}?x`, "data:text/javascript,1"])
    assert.throws(() => allowedAddress(address), TypeError);
});
