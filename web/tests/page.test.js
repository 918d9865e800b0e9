import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { allowedAddress } from "../src/trusted.js";

const WEB = new URL("../", import.meta.url);
/** @param {string} name */
const read = (name) => readFileSync(new URL(name, WEB), "utf8");
const MODULES = readdirSync(new URL("src/", WEB), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".js"))
  .map((name) => `src/${name}`);

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
  const bad =
    /\b(eval|Function)\s*\(|\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|write(ln)?)\b\s*[=(]|createContextualFragment|setAttribute\(\s*"(style|on)/;
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

test("the gate lets this page's worker through and nothing else", () => {
  const worker = new URL("src/worker.js", WEB).href;
  assert.equal(allowedAddress(worker), worker);
  for (const address of ["https://evil.example/worker.js", `${worker}?x`, "data:text/javascript,1"])
    assert.throws(() => allowedAddress(address), TypeError);
});
