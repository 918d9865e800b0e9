/** What leaves this tab with the choices that are made, for people. */

import { say } from "./language.js";

/** @typedef {import("./initial.js").TrainChoice} TrainChoice */
/** @typedef {{ what: string, leaves: "yes"|"no", how: string }} Leaving */

/**
 * Lists what leaves and what does not.
 * @param {TrainChoice} choice
 * @returns {Leaving[]}
 */
export function leaving({ labels, bottom }) {
  const moving = bottom === "lora";
  const kept = labels === "client";
  return [
    entry("no", "leaves.file", "leaves.file.how"),
    moving
      ? entry("yes", "leaves.activations", "leaves.activations.always")
      : entry("yes", "leaves.activations", "leaves.activations.once"),
    entry("yes", "leaves.lengths", "leaves.lengths.how"),
    kept
      ? entry("no", "leaves.label.kept", "leaves.label.kept.how")
      : entry("yes", "leaves.label", "leaves.label.how"),
    ...(kept ? [entry("yes", "leaves.corrections", "leaves.corrections.how")] : []),
    ...(moving ? [entry("no", "leaves.bottom", "leaves.bottom.how")] : []),
    entry("no", "leaves.protection", "leaves.protection.how"),
    entry("yes", "leaves.options", "leaves.options.how"),
  ];
}

/** @param {"yes"|"no"} leaves @param {string} what @param {string} how @returns {Leaving} */
function entry(leaves, what, how) {
  return { what: say(what), leaves, how: say(how) };
}

/**
 * Says what happens to labels.
 * @param {TrainChoice} choice
 */
export function labelsSentence({ labels }) {
  return say(labels === "client" ? "leaves.labels.kept" : "leaves.labels.sent");
}

/**
 * Says what training will do.
 * @param {TrainChoice} choice
 */
export function releaseSentence({ labels, bottom }) {
  const sent = say(bottom === "lora" ? "train.sent.always" : "train.sent.once");
  return `${sent} ${say(labels === "client" ? "train.learns.no-label" : "train.learns")}`;
}
