/**
 * What the browser says that it has requested: of the window in the window, of the worker in the worker.
 *
 * The browser's own record, so that a request is told whoever made it. It tells the address of each, not the headers.
 */

const TYPES = ["navigation", "resource"];

/**
 * Tells every request, those before this call too as far as the browser has kept them (at least 250).
 * @param {(event: { type: "left", address: string, time: number }) => void} tell
 */
export function observeRequests(tell) {
  if (typeof PerformanceObserver !== "function") return;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      if (hasLeft(entry))
        tell({ type: "left", address: entry.name, time: performance.timeOrigin + entry.startTime });
  });
  for (const type of TYPES)
    if (PerformanceObserver.supportedEntryTypes.includes(type))
      observer.observe({ type, buffered: true });
}

/**
 * Says whether a request left this device: not what was in the browser's cache, nor what is in the page itself. Where
 * the browser does not say, yes. Pure.
 * @param {any} entry
 */
export function hasLeft({ name, transferSize, decodedBodySize, deliveryType }) {
  if (!/^(https?|wss?):/i.test(name)) return false;
  // A cached answer has a body and took no bytes; one that is only confirmed took those of its headers.
  return deliveryType !== "cache" && !(transferSize === 0 && decodedBodySize > 0);
}
