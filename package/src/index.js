/** The client of Cutlayer for pages of others. What it takes and gives is written down in index.d.ts. */

import { CallError, createStub } from "../../web/src/messages.js";
import { sortPreview, sortTraining } from "./options.js";
import { abortable, createRun } from "./run.js";

export { CallError as CutlayerError } from "../../web/src/messages.js";

/** @typedef {import("./index.d.ts").ClientSettings} ClientSettings */
/** @typedef {import("./index.d.ts").Client} Client */
/** @typedef {import("./index.d.ts").FileLike} FileLike */
/** @typedef {import("./run.js").Progress} Progress */

/** A tab holds the whole file in memory, in the worker as text too: more than this risks the tab. */
export const FILE_BYTES_MAX = 200_000_000;

/** What happens outside of runs, or in all of them. */
const CLIENT_EVENTS = new Set(["loading", "device", "left"]);

// In this form, in one expression, bundlers see that there is a worker.
const startWorker = () =>
  new Worker(new URL("../../web/src/worker.js", import.meta.url), { type: "module" });

/**
 * Connects to a server and loads the lower part of its model in a worker.
 * @param {ClientSettings} settings
 * @returns {Client}
 */
export function createClient(settings) {
  const { model, signal, onEvent, createWorker = startWorker } = settings;
  const server = addressOf(settings.server);
  /** @type {Progress|null} the run that events belong to */
  let running = null;
  /** @type {import("./index.d.ts").Mechanism[]} */
  let mechanisms = [];

  const worker = createWorker();
  const stub = createStub(/** @type {any} */ (worker), (event) => {
    if (event.type === "crashed") {
      end(new CallError("Crashed", "The program in this tab stopped unexpectedly."));
    } else if (CLIENT_EVENTS.has(event.type)) {
      onEvent?.(event);
    } else {
      running?.report(event);
    }
  });
  worker.onerror = () => end(new CallError("WorkerFailed", "The worker could not go on."));

  /** @param {CallError} error what whoever waits is told */
  function end(error) {
    stub.close(error);
    worker.terminate();
    signal?.removeEventListener("abort", close);
  }

  const close = () => end(new CallError("Closed", "The client was closed."));
  if (signal?.aborted) close();
  signal?.addEventListener("abort", close, { once: true });

  const inTurn = createTurns();
  const files = createFiles(stub);

  async function connect() {
    const { device = "auto", cut = null, precision = "f16", token = null } = settings;
    const catalogue = await stub.call("connect", [server, { device, cut, precision, token }]);
    if (model !== undefined && model !== catalogue.model_id) {
      const sentence = `The server offers the model ${catalogue.model_id}, not ${model}.`;
      end(new CallError("UnknownModel", sentence));
    }
    mechanisms = await stub.call("mechanisms");
    return catalogue;
  }

  const ready = connect();
  ready.catch(() => {}); // whoever asks for something is told

  return {
    ready,
    async options() {
      const catalogue = await ready;
      return { mechanisms, catalogue };
    },
    preview(file, options = {}) {
      const previewing = inTurn(async () => {
        await ready;
        const { columns, privacy, examples } = sortPreview(options, mechanisms);
        const { data } = await files.read(file, columns);
        const protection = await files.protect(privacy);
        const shown = await stub.call("preview", [{ examples }]);
        return { ...shown, data, privacy: protection };
      });
      return abortable(previewing, options.signal);
    },
    train(file, options = {}) {
      return createRun({
        signal: options.signal,
        steer: (name) => stub.call(name),
        work: (progress) =>
          inTurn(async () => {
            await ready;
            progress.goOn();
            const { columns, privacy, training } = sortTraining(options, mechanisms);
            const { data } = await files.read(file, columns);
            progress.report({ type: "data_read", data });
            progress.goOn();
            progress.report({ type: "privacy_set", privacy: await files.protect(privacy) });
            progress.goOn();
            running = progress;
            try {
              const trained = stub.call("train", [training]);
              progress.begun();
              await trained;
            } finally {
              running = null;
            }
            return stub.call("traffic");
          }),
      });
    },
    predict(texts, options = {}) {
      const sentences = texts.map((text) => (typeof text === "string" ? [text, null] : text));
      const predicting = inTurn(async () => {
        await ready;
        return stub.call("predict", [sentences]);
      });
      return abortable(predicting, options.signal);
    },
    close,
  };
}

/** Lets one thing be done at a time, in the order asked for: what is asked of the client belongs together. */
function createTurns() {
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  /**
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  return (work) => {
    const own = last.then(work);
    last = own.catch(() => {});
    return own;
  };
}

/**
 * Remembers which file the client holds and how it is protected: read or protected again, it would be sent again.
 * @param {import("../../web/src/messages.js").Stub} stub
 */
function createFiles(stub) {
  /** @type {{ file: FileLike, columns: string, data: any }|null} */
  let held = null;
  /** @type {{ wanted: string, privacy: any }|null} */
  let kept = null;
  return {
    /** @param {FileLike} file @param {object|null} columns */
    async read(file, columns) {
      const chosen = JSON.stringify(columns);
      if (held?.file === file && held.columns === chosen) return held;
      held = kept = null;
      const bytes = await readBytes(file);
      let data = await stub.call("read_file", [file.name, bytes], [bytes.buffer]);
      if (columns !== null) data = await stub.call("choose_columns", [columns]);
      held = { file, columns: chosen, data };
      return held;
    },
    /** @param {object} privacy */
    async protect(privacy) {
      const wanted = JSON.stringify(privacy);
      if (kept?.wanted === wanted) return kept.privacy;
      kept = null;
      kept = { wanted, privacy: await stub.call("set_privacy", [privacy]) };
      return kept.privacy;
    },
  };
}

/** @param {FileLike} file */
async function readBytes(file) {
  if (file.size > FILE_BYTES_MAX) {
    const sentence = `The file has ${file.size} bytes; a tab can read at most ${FILE_BYTES_MAX}.`;
    throw new CallError("FileTooLarge", sentence);
  }
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (cause) {
    const error = new CallError("FileUnreadable", "The browser could not read this file.");
    error.cause = cause;
    throw error;
  }
}

/** @param {string} server */
function addressOf(server) {
  const address = URL.canParse(server) ? new URL(server) : null;
  if (address === null || !["http:", "https:"].includes(address.protocol)) {
    throw new CallError("Option", "server: an address with http:// or https:// is needed.");
  }
  return address.origin + address.pathname.replace(/\/$/, "");
}
