/** What the browser must have before anything is loaded. */

import { nowhere } from "./trusted.js";

/** The smallest module with a SIMD instruction; a browser without SIMD rejects it. */
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
]);

/** Lists what this browser lacks, by the name of its text. */
export function missingFeatures() {
  const missing = [];
  if (typeof WebAssembly !== "object") missing.push("wasm");
  else if (!WebAssembly.validate(SIMD_PROBE)) missing.push("simd");
  if (typeof Worker !== "function" || !hasModuleWorkers()) missing.push("workers");
  if (typeof WebSocket !== "function") missing.push("websocket");
  return missing;
}

function hasModuleWorkers() {
  let asked = false;
  const options = {
    get type() {
      asked = true;
      return /** @type {"module"} */ ("module");
    },
  };
  try {
    // The browser reads `type` before it looks at the address; the address is then refused.
    new Worker(nowhere(), options).terminate();
  } catch {
    // Refused as expected.
  }
  return asked;
}
