import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { Sha256 } from "../src/models/sha256.js";

test("the sum of abc is that of FIPS 180-4", () => {
  const sum = new Sha256();
  sum.update(new TextEncoder().encode("abc"));
  const expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(sum.digest(), expected);
});

test("every length around a block, in every division, is that of another implementation", () => {
  const bytes = Uint8Array.from({ length: 200 }, (_, index) => (index * 151 + 7) % 256);
  for (let length = 0; length <= bytes.length; length += 1) {
    const whole = bytes.subarray(0, length);
    const expected = createHash("sha256").update(whole).digest("hex");
    for (const step of [1, 7, 63, 64, 65, 200]) {
      const sum = new Sha256();
      for (let at = 0; at < length; at += step)
        sum.update(whole.subarray(at, Math.min(at + step, length)));
      assert.equal(sum.digest(), expected, `${length} bytes by ${step}`);
    }
  }
});
