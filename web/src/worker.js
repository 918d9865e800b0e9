/** The worker: owns the wasm module, the socket and the GPU, so that the page never blocks. */

import { CallError, serveCalls } from "./messages.js";
import { createDownloads, wantedFiles } from "./models/downloads.js";
import { listedProgram, loadProgram } from "./models/program.js";
import { openStore } from "./models/store.js";
import { observeRequests } from "./requests.js";

/** @type {any} */
const scope = self;
/** @type {any} the `Client` of client-wasm, once connected */
let client = null;

/** @param {any} event */
const emit = (event) => scope.postMessage({ event });
/** A message that was sent gets its time here: the page may be busy when it hears of it. @param {any} event */
const tell = (event) =>
  emit(
    event.type === "left" ? { ...event, time: performance.timeOrigin + performance.now() } : event,
  );

/** @param {string} stage @param {number} total */
const reportBytes = (stage, total) => (/** @type {number} */ bytes) =>
  emit({ type: "loading", stage, bytes, bytes_total: total });

/** The WebAssembly of the program; its JavaScript asks for the same address. In this form bundlers see it. */
const PROGRAM = new URL("../client_wasm_bg.wasm", import.meta.url);

/**
 * Starts the program that stands beside this file; where the list is not about it, as the browser fetches it.
 * @param {import("./models/downloads.js").ListedFile|null} listed
 * @param {import("./models/store.js").Store|null} store
 */
async function startProgram(listed, store) {
  const onBytes = reportBytes("program", listed?.bytes ?? 0);
  onBytes(0);
  const keeps = store !== null;
  const downloads = createDownloads({ origin: PROGRAM.origin, token: null, keeps, fetch });
  try {
    const [program, module] = await Promise.all([
      // In this form bundlers see it too.
      // @ts-ignore the build writes it
      import("../client_wasm.js"),
      listed && loadProgram({ file: listed, store, downloads, onBytes }),
    ]);
    if (module === null) reportBytes("program", 0)(0);
    await program.default(module === null ? undefined : { module_or_path: module });
    return program;
  } catch (error) {
    if (error instanceof CallError) throw error;
    throw new CallError("ProgramMissing", "The program for this page could not be loaded.");
  }
}

/**
 * Begins to fetch what the model lacks here, while the program is still coming. Where a GPU is asked for by name, the
 * client looks at its limits first and may refuse: then nothing of the model is needed.
 * @param {any} catalogue
 * @param {import("./contract.js").ConnectOptions} options
 * @param {import("./models/store.js").Store|null} store
 * @param {import("./models/downloads.js").Downloads} downloads
 */
async function beginModel(catalogue, options, store, downloads) {
  if (options.device === "gpu") return;
  for (const { stage, file } of wantedFiles(catalogue, options)) {
    const from = (await store?.bytes(file.sha256).catch(() => 0)) ?? 0;
    if (from >= file.bytes) continue;
    const onBytes = stage === "catalogue" ? () => {} : reportBytes(stage, file.bytes);
    downloads.begin(file, from, onBytes);
  }
}

function connected() {
  if (client === null) throw new CallError("NotConnected", "The client is not connected yet.");
  return client;
}

/** The calls that are passed on to the client as they are. */
const PASSED_ON = [
  "catalogue",
  "mechanisms",
  "read_file",
  "choose_columns",
  "set_privacy",
  "preview",
  "preview_text",
  "reading",
  "stop_reading",
  "train",
  "pause",
  "resume",
  "cancel",
  "predict",
  "evaluate",
  "traffic",
];

/** @type {Record<string, (...args: any[]) => any>} */
const handlers = {
  /** @param {string} origin @param {import("./contract.js").ConnectOptions} options */
  async connect(origin, options) {
    emit({ type: "loading", stage: "catalogue", bytes: 0, bytes_total: 0 });
    const store = await openStore(navigator.storage);
    const keeps = store !== null;
    const downloads = createDownloads({ origin, token: options.token, keeps, fetch });
    const { text, catalogue } = await downloads.catalogue();
    const starting = startProgram(listedProgram(catalogue, PROGRAM, origin), store);
    await Promise.all([starting, beginModel(catalogue, options, store, downloads)]);
    const { Client } = await starting;
    /** @type {import("./contract.js").Files} */
    const files = {
      catalogue: text,
      open: downloads.open,
      kept: async (sha256, label) => store?.keep(sha256, label),
    };
    client = await Client.connect(origin, options, tell, files);
    return client.catalogue();
  },
};
for (const name of PASSED_ON) handlers[name] = (...args) => connected()[name](...args);

// A panic inside an asynchronous task surfaces here and nowhere else.
scope.addEventListener("unhandledrejection", () => emit({ type: "crashed" }));

observeRequests(emit);
serveCalls(scope, handlers);
