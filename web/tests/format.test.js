import assert from "node:assert/strict";
import test from "node:test";
import { bytes, count, decimal, duration, percent, rate, shorten } from "../src/format.js";

/** Numbers and units are joined by a no-break space. @param {string} text */
const plain = (text) => text.replaceAll("\u00a0", " ");

test("counts have a noun in the right number", () => {
  assert.equal(plain(count(1, "row")), "1 row");
  assert.equal(plain(count(0, "row")), "0 rows");
  assert.equal(plain(count(6920, "row")), "6,920 rows");
});

test("bytes change their unit before four digits", () => {
  assert.equal(plain(bytes(0)), "0 B");
  assert.equal(plain(bytes(999)), "999 B");
  assert.equal(plain(bytes(1000)), "1.0 kB");
  assert.equal(plain(bytes(999_600)), "1.0 MB");
  assert.equal(plain(bytes(23_560_000)), "23.6 MB");
  assert.equal(plain(bytes(2_147_483_648)), "2.1 GB");
});

test("shares are percentages, unknown ones say so", () => {
  assert.equal(plain(percent(0.5)), "50 %");
  assert.equal(plain(percent(0.8745, 1)), "87.5 %");
  assert.equal(percent(Number.NaN), "unknown");
});

test("durations carry from seconds to minutes to hours", () => {
  assert.equal(plain(duration(400)), "under 1 s");
  assert.equal(plain(duration(59_400)), "59 s");
  assert.equal(plain(duration(59_600)), "1 min");
  assert.equal(plain(duration(125_000)), "2 min 5 s");
  assert.equal(plain(duration(3_725_000)), "1 h 2 min");
  assert.equal(duration(Number.POSITIVE_INFINITY), "unknown");
});

test("slow paces are told as seconds per thing", () => {
  assert.equal(plain(rate(142.4, "example")), "142 examples/s");
  assert.equal(plain(rate(1.5, "step")), "1.5 steps/s");
  assert.equal(plain(rate(0.5, "step")), "2.0 s per step");
  assert.equal(rate(0, "step"), "unknown");
});

test("measured values have three significant digits", () => {
  assert.equal(decimal(0.69315), "0.693");
  assert.equal(decimal(71.44), "71.4");
  assert.equal(decimal(0.00004), "4.0e-5");
  assert.equal(decimal(0), "0");
});

test("shortening counts characters, not code units, and keeps what fits", () => {
  assert.equal(shorten("short", 5), "short");
  assert.equal(shorten("one two three", 8), "one two…");
  assert.equal(shorten("𝒜𝒜𝒜", 3), "𝒜𝒜𝒜");
});
