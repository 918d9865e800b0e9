/** The worker: owns the wasm module, the socket and the GPU, so that the page never blocks. */

import { CallError, serveCalls } from "./messages.js";

/** @type {any} */
const scope = self;
/** @type {any} the `Client` of client-wasm, once connected */
let client = null;

/** @param {any} event */
const emit = (event) => scope.postMessage({ event });

async function loadProgram() {
  emit({ type: "loading", stage: "program", bytes: 0, bytes_total: 0 });
  try {
    // In this form bundlers see it too.
    // @ts-ignore the build writes it
    const program = await import("../client_wasm.js");
    await program.default();
    return program;
  } catch {
    throw new CallError("ProgramMissing", "The program for this page could not be loaded.");
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
  "traffic",
];

/** @type {Record<string, (...args: any[]) => any>} */
const handlers = {
  /** @param {string} origin @param {import("./contract.js").ConnectOptions} options */
  async connect(origin, options) {
    const { Client } = await loadProgram();
    client = await Client.connect(origin, options, emit);
    return client.catalogue();
  },
};
for (const name of PASSED_ON) handlers[name] = (...args) => connected()[name](...args);

// A panic inside an asynchronous task surfaces here and nowhere else.
scope.addEventListener("unhandledrejection", () => emit({ type: "crashed" }));

serveCalls(scope, handlers);
