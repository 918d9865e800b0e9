/**
 * What comes from the server before and for the client: the catalogue, and its files. A download may begin before the
 * program is there to take it; its bytes wait in memory. Nothing is verified here: the taker computes the sum.
 */

import { CallError } from "../messages.js";

const CATALOGUE_PATH = "/v1/catalogue";
const CATALOGUE_CHARACTERS_MAX = 1024 * 1024;
const UNAUTHORIZED = 401;

/** @typedef {{ path: string, sha256: string, bytes: number }} ListedFile */
/** @typedef {{ stage: string, file: ListedFile }} WantedFile */

/**
 * The files of the model that a connection with these options will need, as far as the catalogue has them. The client
 * decides; this only lets it find them under way.
 * @param {any} catalogue
 * @param {{ cut: number|null, precision: string }} options
 * @returns {WantedFile[]}
 */
export function wantedFiles(catalogue, { cut, precision }) {
  const cuts = Array.isArray(catalogue?.cuts) ? catalogue.cuts : [];
  const smallest = Math.min(...cuts.map((/** @type {any} */ entry) => entry.cut));
  const entry = cuts.find((/** @type {any} */ one) => one.cut === (cut ?? smallest));
  const bottom = entry?.artifacts?.find((/** @type {any} */ one) => one.precision === precision);
  if (bottom === undefined) return [];
  return [
    { stage: "catalogue", file: catalogue.config },
    { stage: "tokenizer", file: catalogue.tokenizer },
    { stage: "bottom", file: bottom },
  ].filter(({ file }) => typeof file?.path === "string");
}

/**
 * @param {object} parts
 * @param {string} parts.origin
 * @param {string|null} parts.token
 * @param {boolean} parts.keeps whether a store keeps files, so that the browser's HTTP cache need not
 * @param {typeof fetch} parts.fetch
 */
export function createDownloads({ origin, token, keeps, fetch }) {
  /** @type {Map<string, { from: number, answer: Promise<Answer> }>} downloads that nobody has taken yet */
  const begun = new Map();
  /** @type {Set<string>} */
  const asked = new Set();

  /** @param {string} path @param {Record<string, string>} headers @param {RequestCache} cache */
  const request = (path, headers, cache) => {
    const all = token === null ? headers : { ...headers, Authorization: `Bearer ${token}` };
    return fetch(`${origin}${path}`, { headers: all, cache });
  };

  /**
   * The catalogue as text, and read.
   * @returns {Promise<{ text: string, catalogue: any }>}
   */
  async function catalogue() {
    const failed = (/** @type {string} */ why) =>
      new CallError("Fetch", `the catalogue could not be fetched from the server: ${why}`);
    const response = await request(CATALOGUE_PATH, {}, "no-cache").catch(() => {
      throw failed("the server does not answer");
    });
    if (response.status === UNAUTHORIZED)
      throw new CallError("TokenNeeded", "the server asks for a token that it accepts");
    if (!response.ok) throw failed(`the server answers with status ${response.status}`);
    const text = await response.text().catch(() => {
      throw failed("the connection was lost on the way");
    });
    if (text.length > CATALOGUE_CHARACTERS_MAX) throw failed("it is too long");
    try {
      return { text, catalogue: JSON.parse(text) };
    } catch {
      return { text, catalogue: null }; // the client says what is wrong with it
    }
  }

  /**
   * Asks for a file from a byte on.
   * @param {string} path
   * @param {string} sha256
   * @param {number} from
   */
  async function ask(path, sha256, from) {
    // The strong validator of a file is its sum. `Range` makes the browser ask for uncompressed bytes.
    /** @type {Record<string, string>} */
    const headers = from > 0 ? { Range: `bytes=${from}-`, "If-Range": `"${sha256}"` } : {};
    // Where the browser's own cache is all there is, what it gave wrongly must not be given again.
    const again = asked.has(path) ? "reload" : "default";
    asked.add(path);
    return new Answer(await request(path, headers, keeps ? "no-store" : again));
  }

  return {
    catalogue,

    /**
     * Begins a download for whoever opens it later.
     * @param {ListedFile} file
     * @param {number} from
     * @param {(bytes: number) => void} onBytes told how many are here, until somebody takes them
     */
    begin({ path, sha256 }, from, onBytes) {
      const answer = ask(path, sha256, from);
      begun.set(path, { from, answer });
      answer.then(
        (one) => one.watch((bytes) => begun.has(path) && onBytes(from + bytes)),
        () => {}, // whoever opens it hears of it
      );
    },

    /**
     * Gives the answer for a file from a byte on: the one that has begun, if it began there.
     * @param {string} path
     * @param {string} sha256
     * @param {number} from
     * @returns {Promise<Answer>}
     */
    async open(path, sha256, from) {
      const early = begun.get(path);
      begun.delete(path);
      if (early?.from === from) return early.answer;
      early?.answer.then(
        (answer) => answer.cancel(),
        () => {},
      );
      return ask(path, sha256, from);
    },
  };
}

/** @typedef {ReturnType<typeof createDownloads>} Downloads */

/** An answer whose bytes are read as they come, whether somebody waits for them or not. */
class Answer {
  /** @type {Uint8Array[]} */
  #pieces = [];
  #bytes = 0;
  #ended = false;
  #lost = false;
  #wake = () => {};
  #watcher = (/** @type {number} */ _bytes) => {};
  #reader;

  /** @param {Response} response */
  constructor(response) {
    this.status = response.status;
    this.range = response.headers.get("content-range") ?? undefined;
    this.etag = response.headers.get("etag") ?? "";
    this.#reader = response.body?.getReader();
    if (response.ok) this.#pump();
    else this.cancel();
  }

  async #pump() {
    try {
      for (;;) {
        const part = await this.#reader?.read();
        if (part === undefined || part.done) break;
        this.#pieces.push(part.value);
        this.#bytes += part.value.length;
        this.#watcher(this.#bytes);
        this.#wake();
      }
    } catch {
      this.#lost = true;
    }
    this.#ended = true;
    this.#wake();
  }

  /** @param {(bytes: number) => void} watcher told how many bytes have come */
  watch(watcher) {
    this.#watcher = watcher;
    if (this.#bytes > 0) watcher(this.#bytes);
  }

  /**
   * The next bytes; undefined after the last. Throws where the connection was lost.
   * @returns {Promise<Uint8Array|undefined>}
   */
  async next() {
    while (this.#pieces.length === 0 && !this.#ended)
      await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
    const piece = this.#pieces.shift();
    if (piece === undefined && this.#lost) throw new Error("the connection was lost");
    return piece;
  }

  /** Wants no more. */
  cancel() {
    this.#pieces = [];
    this.#ended = true;
    this.#reader?.cancel().catch(() => {});
    this.#wake();
  }
}
