/**
 * Where the server is: the page's own origin, or another one where the page is hosted apart from it. Pure.
 *
 * The page's Content-Security-Policy has to name that origin in `connect-src`, or the browser lets nothing through:
 * a link cannot send anybody's data to a place that the page's host has not chosen.
 */

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/**
 * @typedef {object} Found
 * @property {string} origin
 * @property {boolean} linked whether the address of the page names it
 * @property {string|null} problem a sentence; then nothing may be connected to
 */

/**
 * Finds the server.
 * @param {object} places
 * @param {string|null} places.meta content of `<meta name="cutlayer-server">`; where it says something, it is final
 * @param {string} places.hash the address's `server=`
 * @param {string} places.origin of the page
 * @returns {Found}
 */
export function findServer({ meta, hash, origin }) {
  const fixed = meta === null || meta.trim() === "" ? null : meta.trim();
  const given = new URLSearchParams(hash.replace(/^#/, "")).get("server");
  const named = fixed ?? given;
  if (named === null) return { origin, linked: false, problem: null };
  const found = serverOrigin(named);
  const linked = fixed === null;
  if (found !== null) return { origin: found, linked, problem: null };
  const where = linked ? "The address of this page" : "This page";
  const problem = `${where} names a server in a way that cannot be used: https:// and a host is possible, or http:// on this machine.`;
  return { origin, linked, problem };
}

/**
 * Reads an origin that may be connected to: encrypted, or on this machine; nothing behind the host.
 * @param {string} text
 * @returns {string|null}
 */
export function serverOrigin(text) {
  if (!/^https?:\/\/[^/?#@\\\s]+\/?$/i.test(text) || !URL.canParse(text)) return null;
  const { protocol, hostname, origin } = new URL(text);
  return protocol === "https:" || LOOPBACK.test(hostname) ? origin : null;
}

/**
 * Keeps the server in the address beside the settings that are written there.
 * @param {string} hash as `printHash` writes it
 * @param {Found} server
 */
export function withServer(hash, { origin, linked }) {
  if (!linked) return hash;
  const key = `server=${encodeURIComponent(origin)}`;
  return hash === "" ? `#${key}` : `${hash}&${key}`;
}
