/** Values that follow from the state. Pure. */

/** @typedef {import("./contract.js").Mechanism} Mechanism */

/** All words get the same noise. @type {Readonly<import("./contract.js").Contribution>} */
export const NO_CONTRIBUTION = Object.freeze({
  reading: "off",
  parameter: null,
  label_dependent: false,
});

/**
 * Finds a mechanism in the client's table, null before there is one.
 * @param {Mechanism[]} mechanisms
 * @param {string|null} name
 */
export function mechanismOf(mechanisms, name) {
  return mechanisms.find((each) => each.name === name) ?? null;
}

/**
 * Says what the settings mean with a table of mechanisms; a name that it lacks means the first one.
 * @param {import("./settings.js").Settings} settings
 * @param {Mechanism[]} mechanisms empty while they are not known
 * @returns {import("./contract.js").PrivacyWanted}
 */
export function wantedFrom({ mechanism, protection }, mechanisms) {
  const entry = mechanismOf(mechanisms, mechanism) ?? mechanisms.at(0);
  return {
    mechanism: entry?.name ?? mechanism ?? "",
    protection: entry?.level === "" ? null : protection,
    eta: null,
    contribution: NO_CONTRIBUTION,
  };
}

/** The stages of loading that follow each other; the files of the model come beside them. */
const IN_ORDER = ["catalogue", "program", "device", "warmup"];

/**
 * Says how far a stage of loading is. One with bytes is done with its last byte, another when the next one begins.
 * @param {Pick<import("./initial.js").State, "loading"|"device">} state
 * @param {string} stage
 * @returns {"waiting"|"current"|"done"}
 */
export function stageOf({ loading, device }, stage) {
  const known = loading[stage];
  if (known === undefined) return "waiting";
  if (known.bytesTotal > 0) return known.bytes < known.bytesTotal ? "current" : "done";
  if (stage === "device") return device === null ? "current" : "done";
  const place = IN_ORDER.indexOf(stage);
  const isOver = IN_ORDER.some((one, index) => place >= 0 && index > place && loading[one]);
  return isOver ? "done" : "current";
}

/** Says whether leaving the page now would lose work. @param {import("./initial.js").Phase} phase */
export function isBusy(phase) {
  return phase === "preparing" || phase === "training" || phase === "paused";
}

/** Says whether the data can be trained on. @param {import("./initial.js").State} state */
export function isUsable({ report }) {
  return (
    report !== null &&
    report.problem === null &&
    report.label_column !== null &&
    report.labels.length >= 2
  );
}

/** Finds the number of open steps, 1 to 5. @param {import("./initial.js").State} state */
export function openSteps(state) {
  if (state.run?.done && state.run.done.steps > 0 && !isBusy(state.phase)) return 5;
  if (state.run !== null || state.phase === "privacy") return 4;
  if (isUsable(state)) return state.privacy === null ? 3 : 4;
  return state.report === null ? 1 : 2;
}

/** Finds the step that the reader is at, 1 to 5. @param {import("./initial.js").State} state */
export function currentStep(state) {
  if (state.phase === "privacy") return 3;
  return openSteps(state);
}

/**
 * Names a file among those that were opened in this tab.
 * @param {{ name: string, bytes: number }} file
 */
export function fileKey({ name, bytes }) {
  return `${name}/${bytes}`;
}

/**
 * Says whether training would send examples of this file a second time, with new noise.
 * @param {import("./initial.js").State} state
 */
export function isSecondRelease({ released, file, releasedFiles }) {
  return !released && file !== null && releasedFiles.includes(fileKey(file));
}
