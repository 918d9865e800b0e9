/** A directory of OPFS and a server, as far as the tests of `src/models/` need them. */

import { createHash } from "node:crypto";

/** @param {Uint8Array} bytes */
export const sumOf = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A `FileSystemDirectoryHandle` in memory; `files` holds the bytes, `locked` the names that a worker has open. */
export function fakeDirectory(/** @type {number} */ roomBytes = Infinity) {
  /** @type {Map<string, Uint8Array>} */
  const files = new Map();
  /** @type {Set<string>} */
  const locked = new Set();
  const content = (/** @type {string} */ name) => files.get(name) ?? new Uint8Array();
  const access = (/** @type {string} */ name) => ({
    getSize: () => content(name).length,
    read(/** @type {Uint8Array} */ into, /** @type {{ at: number }} */ { at }) {
      const part = content(name).subarray(at, at + into.length);
      into.set(part);
      return part.length;
    },
    write(/** @type {Uint8Array} */ bytes, /** @type {{ at: number }} */ { at }) {
      const count = Math.max(0, Math.min(bytes.length, roomBytes - at));
      const grown = new Uint8Array(Math.max(content(name).length, at + count));
      grown.set(content(name));
      grown.set(bytes.subarray(0, count), at);
      files.set(name, grown);
      return count;
    },
    truncate: (/** @type {number} */ size) => files.set(name, content(name).slice(0, size)),
    flush() {},
    close: () => locked.delete(name),
  });
  const handle = (/** @type {string} */ name) => ({
    kind: "file",
    getFile: async () => ({ size: content(name).length, lastModified: 1000 }),
    async createSyncAccessHandle() {
      if (locked.has(name)) throw new Error("NoModificationAllowedError");
      locked.add(name);
      return access(name);
    },
  });
  return {
    files,
    locked,
    async getFileHandle(/** @type {string} */ name) {
      if (!files.has(name)) files.set(name, new Uint8Array());
      return handle(name);
    },
    async removeEntry(/** @type {string} */ name) {
      if (locked.has(name)) throw new Error("NoModificationAllowedError");
      files.delete(name);
    },
    async *entries() {
      for (const name of [...files.keys()]) yield [name, handle(name)];
    },
  };
}

/**
 * A `fetch` over one file: `cuts` are the bytes of the body after which the answers are lost, one after the other.
 * @param {Uint8Array} content
 * `listed` is the validator where it is not that of the content.
 * @param {{ cuts?: number[], ranges?: boolean, status?: number, listed?: string }} [how]
 */
export function fakeFetch(content, { cuts = [], ranges = true, status = 0, listed } = {}) {
  /** @type {{ address: string, headers: Record<string, string>, cache: string }[]} */
  const asked = [];
  const left = [...cuts];
  const etag = `"${sumOf(content)}"`;
  const fetch = async (/** @type {any} */ address, /** @type {any} */ { headers, cache }) => {
    asked.push({ address, headers, cache });
    if (status !== 0) return new Response("", { status });
    const from = ranges ? Number(/^bytes=(\d+)-$/.exec(headers.Range ?? "")?.[1] ?? 0) : 0;
    const cut = left.shift();
    const body = content.subarray(from, cut === undefined ? undefined : from + cut);
    let at = 0;
    const stream = new ReadableStream({
      pull(controller) {
        if (at < body.length) controller.enqueue(body.slice(at, (at += 5)));
        else if (cut === undefined) controller.close();
        else controller.error(new TypeError("network error"));
      },
    });
    /** @type {Record<string, string>} */
    const fields = { ETag: listed ?? etag };
    if (from > 0) fields["Content-Range"] = `bytes ${from}-${content.length - 1}/${content.length}`;
    return new Response(stream, { status: from > 0 ? 206 : 200, headers: fields });
  };
  return { fetch: /** @type {any} */ (fetch), asked };
}
