/**
 * The program of the page: its WebAssembly, from the store or from where the page is, compiled while it comes. Compiling
 * runs nothing; the module is given out only when the sum of its bytes is the one that the catalogue names.
 *
 * A page may be served by somebody else than the catalogue, who then has a program of his own; the list is not about it.
 * Where that is another origin, nothing of the list is taken: nobody but who serves a page may say what runs in it, and
 * what was kept under a sum that the server names may be anything. At the same origin, the `ETag` says whose program it is.
 */

import { CallError } from "../messages.js";
import { Sha256 } from "./sha256.js";

/** Answers that bring a download no further, after which it is given up. As `client-wasm/src/cache/obtain.rs`. */
const FRUITLESS_MAX = 5;
const WAIT_MILLIS = 250;
const [OK, PARTIAL] = [200, 206];
/** States of a server that pass. */
const PASSING = [429, 502, 503, 504];
const LABEL = "program";

/** Whoever serves the page serves another program than the catalogue lists. */
class Unlisted extends Error {}

/**
 * What the catalogue says of the program at an address; null where it says nothing of it.
 * @param {any} catalogue
 * @param {URL} address where this page has its program; the path that the catalogue names is not followed
 * @param {string} server where the catalogue came from
 * @returns {import("./downloads.js").ListedFile|null}
 */
export function listedProgram(catalogue, address, server) {
  const { sha256, bytes } = catalogue?.program ?? {};
  if (!/^[0-9a-f]{64}$/.test(sha256) || !Number.isSafeInteger(bytes)) return null;
  if (new URL(server).origin !== address.origin) return null;
  return { path: `${address.pathname}?sha256=${sha256}`, sha256, bytes };
}

/**
 * Gives the program; null where the list is not about the one that this page has.
 * @param {object} parts
 * @param {import("./downloads.js").ListedFile} parts.file where it is, and what the catalogue says of it
 * @param {import("./store.js").Store|null} parts.store
 * @param {Pick<import("./downloads.js").Downloads, "open">} parts.downloads
 * @param {(bytes: number) => void} parts.onBytes
 * @param {(stream: ReadableStream) => Promise<any>} [parts.compile]
 * @param {(millis: number) => Promise<void>} [parts.wait]
 * @returns {Promise<WebAssembly.Module|null>}
 */
export async function loadProgram({ file, store, downloads, onBytes, compile, wait }) {
  const kept = await store?.keep(file.sha256, LABEL).catch(() => undefined);
  try {
    const parts = {
      file,
      kept,
      downloads,
      onBytes,
      compile: compile ?? compileStream,
      wait: wait ?? pause,
    };
    const first = await attempt(parts);
    if (first.module !== null) return first.module;
    // What was kept may be damaged: then all of it is fetched, once.
    const second = first.joined ? await attempt(parts) : first;
    if (second.module !== null) return second.module;
    throw new CallError(
      "WrongArtifact",
      "the program is not what the server's catalogue announces (sha256 differs); nothing was run",
    );
  } catch (error) {
    if (error instanceof Unlisted) return null;
    throw error;
  } finally {
    kept?.close();
    // A program of an earlier build is of no use to anybody.
    const isOld = (/** @type {any} */ one) => one.label === LABEL && one.sha256 !== file.sha256;
    await store?.removeWhere(isOld).catch(() => {});
  }
}

/** @param {ReadableStream} stream */
function compileStream(stream) {
  const headers = { "Content-Type": "application/wasm" };
  return WebAssembly.compileStreaming(new Response(stream, { headers }));
}

/** @param {number} millis */
const pause = (millis) => new Promise((resolve) => setTimeout(() => resolve(undefined), millis));

/**
 * Compiles what is kept and what is missing. `module` is null where the sum is wrong, and then nothing is kept any more;
 * `joined` says whether the bytes came from more than one answer.
 * @param {any} parts
 */
async function attempt({ file, kept, downloads, onBytes, compile, wait }) {
  const sum = new Sha256();
  /** @type {any} */
  let sink = null;
  const stream = new ReadableStream({ start: (controller) => void (sink = controller) });
  const compiled = compile(stream);
  compiled.catch(() => {}); // what is wrong with the bytes, their sum says first
  let have = 0;
  /** @param {Uint8Array} bytes */
  const take = (bytes) => {
    have += bytes.length;
    sum.update(bytes);
    sink.enqueue(bytes);
    onBytes(have);
  };
  let [isRight, joined] = [false, false];
  try {
    const content = readKept(kept, file.bytes);
    if (content !== null) take(content);
    const keep = keeper(kept);
    const fetched = await complete({ file, downloads, wait, have: () => have, take, keep });
    joined = content !== null || fetched.answers > 1;
    isRight = fetched.fits && sum.digest() === file.sha256;
  } catch (error) {
    sink.error(error);
    throw error;
  }
  if (!isRight) {
    sink.error(new Error("wrong bytes"));
    clear(kept);
    return { module: null, joined };
  }
  sink.close();
  return { module: await compiled, joined };
}

/**
 * Fetches what is missing. It does not fit where the server begins elsewhere or sends too much.
 * @param {any} parts
 */
async function complete({ file, downloads, wait, have, take, keep }) {
  let [fruitless, answers] = [0, 0];
  while (have() < file.bytes) {
    const from = have();
    answers += 1;
    const { status, answer } = await ask(downloads, file, from);
    const continues = from === 0 ? status === OK : status === PARTIAL && begins(answer, from);
    if (answer !== null && !continues) {
      answer.cancel();
      if (from > 0) return { fits: false, answers };
      throw failed(`the server answers with status ${status}`);
    }
    if (answer !== null && !answer.etag.includes(file.sha256)) {
      answer.cancel();
      throw new Unlisted();
    }
    try {
      for (;;) {
        const bytes = await answer?.next();
        if (bytes === undefined) break;
        if (have() + bytes.length > file.bytes) return { fits: false, answers };
        take(bytes);
        keep(bytes);
      }
    } catch {
      // What has come stays, and the rest is asked for.
    }
    if (have() === file.bytes) break;
    fruitless = have() > from ? 1 : fruitless + 1;
    if (fruitless >= FRUITLESS_MAX) throw failed("the connection was lost on the way");
    await wait(WAIT_MILLIS * 2 ** (fruitless - 1));
  }
  return { fits: true, answers };
}

/** @param {any} downloads @param {any} file @param {number} from */
async function ask(downloads, file, from) {
  try {
    const answer = await downloads.open(file.path, file.sha256, from);
    if (!PASSING.includes(answer.status)) return { status: answer.status, answer };
    answer.cancel();
    return { status: answer.status, answer: null };
  } catch {
    return { status: 0, answer: null };
  }
}

/** @param {any} answer @param {number} from */
const begins = (answer, from) => answer.range?.startsWith(`bytes ${from}-`) ?? false;

/** @param {string} why */
const failed = (why) =>
  new CallError("Fetch", `the program could not be fetched from the server: ${why}`);

/**
 * The beginning that an earlier visit has left; null where there is none.
 * @param {import("../contract.js").KeptFile|undefined} kept
 * @param {number} bytesMax
 */
function readKept(kept, bytesMax) {
  const length = kept?.bytes() ?? 0;
  if (kept === undefined || length === 0) return null;
  if (length > bytesMax) {
    clear(kept);
    return null;
  }
  const content = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const count = kept.read(at, content.subarray(at));
    if (count === 0) break;
    at += count;
  }
  return content;
}

/** Keeps bytes as long as there is room for all of them. @param {import("../contract.js").KeptFile|undefined} kept */
function keeper(kept) {
  let isKept = kept !== undefined;
  return (/** @type {Uint8Array} */ bytes) => {
    try {
      if (isKept) kept?.append(bytes);
    } catch {
      isKept = false;
      clear(kept);
    }
  };
}

/** @param {import("../contract.js").KeptFile|undefined} kept */
function clear(kept) {
  try {
    kept?.clear();
  } catch {
    // It is verified before every use.
  }
}
