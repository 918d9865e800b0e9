import assert from "node:assert/strict";
import test from "node:test";
import { labelsSentence, leaving, releaseSentence } from "../src/leaves.js";

/** @type {import("../src/initial.js").TrainChoice} */
const USUAL = { labels: "server", bottom: "frozen" };
/** @type {import("../src/initial.js").TrainChoice} */
const KEPT = { labels: "client", bottom: "frozen" };
/** @type {import("../src/initial.js").TrainChoice} */
const MOVING = { labels: "server", bottom: "lora" };

/** @param {import("../src/initial.js").TrainChoice} choice @param {RegExp} what */
const row = (choice, what) => leaving(choice).find((each) => what.test(each.what));

test("labels leave exactly where they go to the server", () => {
  assert.equal(row(USUAL, /^The label of each text/)?.leaves, "yes");
  assert.equal(row(KEPT, /^The label of each text/)?.leaves, "no");
  assert.ok(labelsSentence(USUAL).includes("is sent"));
  assert.ok(labelsSentence(KEPT).includes("not sent"));
  assert.ok(releaseSentence(KEPT).includes("not its label"));
});

test("where labels stay, what tells of them is named", () => {
  assert.equal(row(KEPT, /^Corrections/)?.leaves, "yes");
  assert.equal(row(USUAL, /^Corrections/), undefined);
});

test("a lower part that is trained sends its numbers more than once", () => {
  assert.equal(row(USUAL, /^The numbers/)?.how, "Once.");
  assert.ok(row(MOVING, /^The numbers/)?.how.startsWith("Again"));
  assert.ok(!releaseSentence(MOVING).includes("sent once"));
});

test("the file never leaves", () => {
  for (const choice of [USUAL, KEPT, MOVING]) assert.equal(row(choice, /^Your file/)?.leaves, "no");
});
