/** The page: connects the elements, the state and the controller. Everything else is elsewhere. */

import "./elements/chart.js";
import "./elements/contribution.js";
import "./elements/dataset.js";
import "./elements/evaluate.js";
import "./elements/file.js";
import "./elements/language.js";
import "./elements/left.js";
import "./elements/models.js";
import "./elements/predict.js";
import "./elements/preview.js";
import "./elements/privacy.js";
import "./elements/progress.js";
import "./elements/reading.js";
import "./elements/report.js";
import "./elements/result.js";
import "./elements/status.js";
import "./elements/steps.js";
import "./elements/tradeoff.js";
import "./elements/train.js";
import { createController } from "./controller.js";
import { createShelf } from "./models/shelf.js";
import { missingFeatures } from "./support.js";
import { observeRequests } from "./requests.js";
import { findServer, withServer } from "./server.js";
import { workerAddress } from "./trusted.js";
import { percent } from "./format.js";
import { chooseLanguage, language, say, setLanguage } from "./language.js";
import { announcement } from "./sentences.js";
import { needsReconnect, parseHash, printHash } from "./settings.js";
import { isBusy, wantedFrom } from "./derived.js";
import { initialState } from "./initial.js";
import { reduce } from "./state.js";

/** A screen reader hears progress at most this often. */
const ANNOUNCE_MILLIS_MIN = 10_000;
/** The page is drawn at most this often. */
const RENDER_MILLIS_MIN = 40;

function serverNow() {
  const meta = document.querySelector('meta[name="cutlayer-server"]')?.getAttribute("content");
  return findServer({ meta: meta ?? null, hash: location.hash, origin: location.origin });
}

/** For the life of this page: another server is another page. */
const server = serverNow();
/** What is asked of others is told apart from what is asked of these. */
const origins = { page: location.origin, server: server.origin };

let state = initialState(parseHash(location.hash));
let renderTimer = 0;
let announcedAt = -Infinity;
let announcedPhase = "";

const views = [...document.querySelectorAll("*")].filter((node) =>
  node.localName.startsWith("cl-"),
);
const announcer = /** @type {HTMLElement} */ (document.getElementById("announcer"));

/** @param {any} event */
function dispatch(event) {
  state = reduce(state, { ...event, at: performance.now(), origins });
  if (renderTimer === 0) renderTimer = window.setTimeout(render, RENDER_MILLIS_MIN);
  if (event.type === "connected" || event.type === "failed") shelf.refresh();
}

/** What the browser keeps of models, for this page's list of it. */
const shelf = createShelf({ dispatch, storage: navigator.storage });

function render() {
  renderTimer = 0;
  for (const view of views) /** @type {any} */ (view).render(state);
  // Set last: whoever waits for a phase finds the page that belongs to it.
  document.documentElement.dataset.phase = state.phase;
  document.title = title();
  const hash = withServer(printHash(state.settings), server);
  history.replaceState(null, "", hash || location.pathname + location.search);
  announce();
}

/** Says everything in the reader's language; elements are built before it is known, in English. */
function speak() {
  const wished = chooseLanguage(state.settings.language, navigator.languages);
  if (wished === language()) return;
  setLanguage(wished);
  document.documentElement.lang = wished;
  for (const node of document.querySelectorAll("[data-text]"))
    node.textContent = say(/** @type {HTMLElement} */ (node).dataset.text ?? "");
  for (const view of views) /** @type {any} */ (view).rebuild();
  announcedPhase = ""; // in the new language, too
}

function title() {
  const { run, phase } = state;
  if (phase === "paused") return `${say("title.paused")} · Cutlayer`;
  if (phase === "training" && run && run.stepsTotal > 0)
    return `${percent(run.step / run.stepsTotal)} · Cutlayer`;
  return phase === "done" ? `${say("title.trained")} · Cutlayer` : "Cutlayer";
}

function announce() {
  const now = performance.now();
  if (
    state.phase === announcedPhase &&
    (!isBusy(state.phase) || now - announcedAt < ANNOUNCE_MILLIS_MIN)
  )
    return;
  announcedPhase = state.phase;
  announcedAt = now;
  announcer.textContent = announcement(state);
}

const controller = createController({
  dispatch,
  getState: () => state,
  startWorker: () => /** @type {any} */ (new Worker(workerAddress(), { type: "module" })),
  origin: server.origin,
});

/** @param {string} [token] */
function connect(token) {
  const { problem } = server;
  if (problem === null) controller.connect(token);
  else dispatch({ type: "failed", place: "connect", name: "BadServer", sentence: problem });
}

/** @param {import("./settings.js").Settings} settings */
function changeSettings(settings) {
  const { language: before } = state.settings;
  const reconnect = needsReconnect(state.settings, settings);
  const { mechanism, protection } = state.settings;
  const protect = settings.mechanism !== mechanism || settings.protection !== protection;
  dispatch({ type: "settings_changed", settings });
  if (settings.language !== before) {
    speak();
    render(); // at once, so that nothing jumps
  }
  if (reconnect) connect();
  else if (protect) controller.setPrivacy(wantedFrom(settings, state.mechanisms));
}

/** @param {import("./contract.js").PrivacyWanted} wanted */
function changePrivacy(wanted) {
  if (JSON.stringify(wanted) !== JSON.stringify(state.wanted)) controller.setPrivacy(wanted);
}

/** What the elements may ask for. @type {Record<string, (value: any) => void>} */
const ACTIONS = {
  connect,
  start_over: () => controller.startOver(),
  open_file: (file) => controller.openFile(file),
  choose_columns: (columns) => controller.chooseColumns(columns),
  set_privacy: (change) => changePrivacy({ ...state.wanted, ...change }),
  settings: (change) => changeSettings({ ...state.settings, ...change }),
  measure: () => controller.measure(),
  stop_measuring: () => controller.stopReading(),
  choose_training: (choice) => dispatch({ type: "training_chosen", choice }),
  train: (options) => controller.train(options),
  pause: () => controller.pause(),
  resume: () => controller.resume(),
  stop: () => controller.stop(),
  predict: (sentences) => controller.predict(sentences),
  remove_kept: (name) => shelf.remove(name),
  remove_all_kept: () => shelf.removeAll(),
  persist_kept: () => shelf.persist(),
  evaluate: (file) => controller.evaluate(file),
};

document.addEventListener("ask", (event) => {
  const { action, value } = /** @type {CustomEvent} */ (event).detail;
  ACTIONS[action](value);
});

// The address carries settings, so links inside the page move the focus instead of changing it.
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest('a[href^="#"]') : null;
  if (link === null) return;
  event.preventDefault();
  const target = document.getElementById((link.getAttribute("href") ?? "").slice(1));
  target?.focus({ preventScroll: true });
  target?.scrollIntoView({ block: "start" });
});

// A file dropped beside the drop zone must not replace the page.
for (const type of ["dragover", "drop"])
  window.addEventListener(type, (event) => event.preventDefault());

window.addEventListener("hashchange", () => {
  if (serverNow().origin !== server.origin) location.reload();
  if (!state.released && !isBusy(state.phase)) changeSettings(parseHash(location.hash));
});

window.addEventListener("beforeunload", (event) => {
  if (isBusy(state.phase)) event.preventDefault();
});

observeRequests(dispatch);

const missing = missingFeatures();
speak();
render();
if (missing.length > 0) dispatch({ type: "unsupported", missing });
else connect();
