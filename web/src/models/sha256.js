/**
 * SHA-256 that grows with its bytes. `crypto.subtle` digests whole buffers only, and is not there on pages without TLS;
 * the program is summed while it arrives, and before there is any Rust. Source: FIPS 180-4, sections 4.1.2, 5.3.3, 6.2.
 */

const BLOCK_BYTES = 64;

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const K = new Uint32Array(fractions(64, 3));
/** The same of the square roots of the first 8. */
const START = fractions(8, 2);

/**
 * Computed instead of listed: 2^32 times a fractional part, by integers, so that no digit depends on rounding.
 * @param {number} count
 * @param {2|3} root
 */
function fractions(count, root) {
  const found = [];
  for (let n = 2n; found.length < count; n += 1n) {
    if (!isPrime(n)) continue;
    const scaled = integerRoot(n << BigInt(32 * root), BigInt(root));
    found.push(Number(scaled & 0xffffffffn));
  }
  return found;
}

/** @param {bigint} n */
function isPrime(n) {
  for (let d = 2n; d * d <= n; d += 1n) if (n % d === 0n) return false;
  return true;
}

/** The largest integer whose power is at most `n`. @param {bigint} n @param {bigint} power */
function integerRoot(n, power) {
  let [low, high] = [0n, 1n << 48n];
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (middle ** power <= n) low = middle;
    else high = middle;
  }
  return low;
}

/** A sum of which more and more bytes are known. */
export class Sha256 {
  #state = new Uint32Array(START);
  #schedule = new Uint32Array(64);
  #block = new Uint8Array(BLOCK_BYTES);
  #bytes = 0;

  /** @param {Uint8Array} bytes */
  update(bytes) {
    let at = 0;
    const held = this.#bytes % BLOCK_BYTES;
    this.#bytes += bytes.length;
    if (held > 0) {
      at = Math.min(BLOCK_BYTES - held, bytes.length);
      this.#block.set(bytes.subarray(0, at), held);
      if (held + at < BLOCK_BYTES) return;
      this.#compress(this.#block, 0);
    }
    for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) this.#compress(bytes, at);
    this.#block.set(bytes.subarray(at));
  }

  /** The sum in hexadecimal digits; nothing can be added afterwards. */
  digest() {
    const held = this.#bytes % BLOCK_BYTES;
    const length = held < 56 ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    const end = new Uint8Array(length);
    end.set(this.#block.subarray(0, held));
    end[held] = 0x80;
    new DataView(end.buffer).setBigUint64(length - 8, BigInt(this.#bytes) * 8n);
    for (let at = 0; at < length; at += BLOCK_BYTES) this.#compress(end, at);
    return [...this.#state].map((word) => word.toString(16).padStart(8, "0")).join("");
  }

  /** @param {Uint8Array} bytes @param {number} start */
  #compress(bytes, start) {
    const [w, state] = [this.#schedule, this.#state];
    for (let t = 0, at = start; t < 16; t += 1, at += 4)
      w[t] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    for (let t = 16; t < 64; t += 1) {
      const [x, y] = [w[t - 15], w[t - 2]];
      const sigma0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
      const sigma1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
      w[t] = w[t - 16] + sigma0 + w[t - 7] + sigma1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let t = 0; t < 64; t += 1) {
      const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const first = (h + sum1 + ((e & f) ^ (~e & g)) + K[t] + w[t]) | 0;
      const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const second = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + first) | 0;
      d = c;
      c = b;
      b = a;
      a = (first + second) | 0;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
  }
}

/** @param {number} word @param {number} bits */
function rotate(word, bits) {
  return (word >>> bits) | (word << (32 - bits));
}
