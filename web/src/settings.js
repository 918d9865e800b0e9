/** The settings that live in the address (`#device=cpu&cut=1`), so that a link or a test can carry them. Pure. */

import { isLanguage } from "./language.js";

/**
 * @typedef {object} Settings
 * @property {import("./contract.js").DeviceChoice} device
 * @property {number|null} cut null: what the server proposes
 * @property {import("./contract.js").Precision} precision
 * @property {string|null} mechanism null: what the client recommends; whether there is such a one, its table says
 * @property {import("./language.js").Language|null} language null: what the browser wishes
 * @property {number} protection above 0 and below 1; in the address in percent
 */

/** @type {Readonly<Settings>} */
export const DEFAULT_SETTINGS = Object.freeze({
  device: "auto",
  cut: null,
  precision: "f16",
  mechanism: null,
  language: null,
  protection: 0.5,
});

const CUT_MAX = 255;
const MECHANISM_NAME = /^[a-z][a-z0-9_-]{0,31}$/;
/** Nothing and everything are no levels of protection. */
const PERCENT_MIN = 1;
const PERCENT_MAX = 99;

/**
 * Reads settings from an address; what is missing or not allowed keeps its default.
 * @param {string} hash
 * @returns {Settings}
 */
export function parseHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    device: oneOf(given.get("device"), ["auto", "cpu", "gpu"], DEFAULT_SETTINGS.device),
    cut: integer(given.get("cut"), CUT_MAX),
    precision: oneOf(given.get("precision"), ["f16", "f32", "int8"], DEFAULT_SETTINGS.precision),
    mechanism: name(given.get("mechanism")),
    language: languageOf(given.get("language")),
    protection: percentage(given.get("protection"), DEFAULT_SETTINGS.protection),
  };
}

/**
 * Writes settings as an address; defaults are left out.
 * @param {Settings} settings
 */
export function printHash(settings) {
  const parts = new URLSearchParams();
  if (settings.device !== DEFAULT_SETTINGS.device) parts.set("device", settings.device);
  if (settings.cut !== null) parts.set("cut", String(settings.cut));
  if (settings.precision !== DEFAULT_SETTINGS.precision) parts.set("precision", settings.precision);
  if (settings.mechanism !== null) parts.set("mechanism", settings.mechanism);
  if (settings.language !== null) parts.set("language", settings.language);
  if (settings.protection !== DEFAULT_SETTINGS.protection) {
    parts.set("protection", String(Math.round(settings.protection * 100)));
  }
  const text = parts.toString();
  return text === "" ? "" : `#${text}`;
}

/**
 * Says whether a change of settings needs a new connection.
 * @param {Settings} before
 * @param {Settings} after
 */
export function needsReconnect(before, after) {
  return (
    before.device !== after.device ||
    before.cut !== after.cut ||
    before.precision !== after.precision
  );
}

/**
 * @template {string} T
 * @param {string|null} value
 * @param {T[]} allowed
 * @param {T} fallback
 * @returns {T}
 */
function oneOf(value, allowed, fallback) {
  return allowed.find((each) => each === value) ?? fallback;
}

/** @param {string|null} value */
function languageOf(value) {
  return value !== null && isLanguage(value) ? value : null;
}

/** @param {string|null} value */
function name(value) {
  return value !== null && MECHANISM_NAME.test(value) ? value : null;
}

/**
 * @param {string|null} value
 * @param {number} max
 */
function integer(value, max) {
  if (value === null || !/^\d{1,3}$/.test(value)) return null;
  const parsed = Number(value);
  return parsed <= max ? parsed : null;
}

/**
 * @param {string|null} value
 * @param {number} fallback
 */
function percentage(value, fallback) {
  if (value === null || !/^\d{1,3}$/.test(value)) return fallback;
  const parsed = Number(value);
  return parsed >= PERCENT_MIN && parsed <= PERCENT_MAX ? parsed / 100 : fallback;
}
