/**
 * The directory `models/` of the origin's private file system (OPFS): model files and the program, from visit to visit.
 *
 * OPFS and not the Cache API, because a file here can grow: a download that is cut keeps what has come, and the next
 * visit asks for the rest. A file is named after its sha256; it may hold a beginning only, and nothing here says that it
 * is right: whoever uses it computes its sum.
 */

const DIRECTORY = "models";
/** sha256, then what a person reads. */
const NAME = /^([0-9a-f]{64})-(.+)$/;
const LABEL_CHARACTERS_MAX = 100;
/** A worker that was just ended may hold its files for a moment. */
const OPEN_ATTEMPTS = 5;
const OPEN_WAIT_MILLIS = 100;

/** @typedef {{ name: string, sha256: string, label: string, bytes: number, at: number }} StoredFile `at`: last written, in milliseconds since 1970 */
/** @typedef {ReturnType<typeof createStore>} Store */

/**
 * Opens the directory; null where the browser has none for this page (no secure context, some private windows).
 * @param {StorageManager|undefined} storage
 * @returns {Promise<Store|null>}
 */
export async function openStore(storage) {
  try {
    const root = await /** @type {StorageManager} */ (storage).getDirectory();
    return createStore(await root.getDirectoryHandle(DIRECTORY, { create: true }));
  } catch {
    return null;
  }
}

/**
 * A store in a directory.
 * @param {any} directory a `FileSystemDirectoryHandle`
 */
export function createStore(directory) {
  /** @returns {Promise<StoredFile[]>} */
  async function list() {
    const files = [];
    for await (const [name, handle] of directory.entries()) {
      const [, sha256, label] = NAME.exec(name) ?? [];
      if (sha256 === undefined || handle.kind !== "file") continue;
      // A browser may refuse to look at a file that another tab is writing.
      const file = await handle.getFile().catch(() => null);
      if (file !== null)
        files.push({ name, sha256, label, bytes: file.size, at: file.lastModified });
    }
    return files.sort((a, b) => (a.label < b.label ? -1 : 1));
  }

  /** @param {string} sha256 */
  const find = async (sha256) => (await list()).find((file) => file.sha256 === sha256);

  /** Bytes that are kept of a file. @param {string} sha256 */
  const bytes = async (sha256) => (await find(sha256))?.bytes ?? 0;

  /**
   * Opens a file for this worker alone; undefined where another one has it.
   * @param {string} sha256
   * @param {string} label
   * @returns {Promise<import("../contract.js").KeptFile|undefined>}
   */
  async function keep(sha256, label) {
    const name = (await find(sha256))?.name ?? fileName(sha256, label);
    const handle = await directory.getFileHandle(name, { create: true });
    for (let attempt = 1; attempt <= OPEN_ATTEMPTS; attempt += 1) {
      try {
        return keptIn(await handle.createSyncAccessHandle());
      } catch {
        await new Promise((resolve) => setTimeout(resolve, OPEN_WAIT_MILLIS));
      }
    }
    return undefined;
  }

  /** @param {string} name */
  async function remove(name) {
    if (NAME.test(name)) await directory.removeEntry(name);
  }

  /** Removes what a test says; a file that is in use stays. @param {(file: StoredFile) => boolean} isUnwanted */
  async function removeWhere(isUnwanted) {
    const unwanted = (await list()).filter(isUnwanted);
    const ends = await Promise.allSettled(unwanted.map(({ name }) => directory.removeEntry(name)));
    if (ends.some(({ status }) => status === "rejected")) throw new Error("a file is in use");
  }

  return { list, bytes, keep, remove, removeWhere };
}

/** @param {string} sha256 @param {string} label */
function fileName(sha256, label) {
  const plain = label.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, LABEL_CHARACTERS_MAX);
  return `${sha256}-${plain === "" ? "file" : plain}`;
}

/**
 * One open file. Its bytes are always a beginning of what was appended since it was empty.
 * @param {any} access a `FileSystemSyncAccessHandle`
 * @returns {import("../contract.js").KeptFile}
 */
function keptIn(access) {
  let end = access.getSize();
  return {
    bytes: () => end,
    read: (at, into) => access.read(into, { at }),
    append(bytes) {
      let written = 0;
      try {
        while (written < bytes.length) {
          const count = access.write(bytes.subarray(written), { at: end + written });
          if (count === 0) throw new Error("no room");
          written += count;
        }
      } catch (error) {
        access.truncate(end);
        throw error;
      }
      end += bytes.length;
    },
    clear() {
      access.truncate(0);
      end = 0;
    },
    close() {
      try {
        access.flush();
      } finally {
        access.close();
      }
    },
  };
}
