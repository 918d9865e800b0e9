/**
 * The one gate for addresses of programs: with `require-trusted-types-for 'script'` in the page's policy no other
 * code can start a worker, and a text never becomes a script.
 */

/** An address that is refused by every browser; asking with it tells what the browser reads first. */
const NOWHERE = "blob:";
const WORKER = new URL("./worker.js", import.meta.url).href;

/** @param {string} address */
export function allowedAddress(address) {
  if (address === WORKER || address === NOWHERE) return address;
  throw new TypeError("This page starts no other program.");
}

/** @type {any} absent in browsers without Trusted Types, which take the address as it is */
const factory = /** @type {any} */ (globalThis).trustedTypes;
const policy = factory?.createPolicy("cutlayer", { createScriptURL: allowedAddress });

/** @param {string} address @returns {string} */
const trusted = (address) =>
  (policy ?? { createScriptURL: allowedAddress }).createScriptURL(address);

/** The address of the worker, as `new Worker` takes it. */
export const workerAddress = () => trusted(WORKER);
/** An address that leads nowhere, as `new Worker` takes it. */
export const nowhere = () => trusted(NOWHERE);
