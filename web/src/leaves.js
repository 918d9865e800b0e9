/** What leaves this tab with the choices that are made, for people. Pure. */

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
    {
      what: "Your file, its texts, the names of its columns and labels",
      leaves: "no",
      how: "They stay in this tab.",
    },
    {
      what: "The numbers that the lower part of the model makes of each protected text",
      leaves: "yes",
      how: moving
        ? "Again in each pass, since the lower part changes; the protected text stays the same."
        : "Once.",
    },
    {
      what: "How many texts there are, how much is sent for each, and when",
      leaves: "yes",
      how: "Nothing hides it.",
    },
    kept
      ? {
          what: "The label of each text, how often each label occurs",
          leaves: "no",
          how: "The last layer and the loss are computed in this tab.",
        }
      : {
          what: "The label of each text",
          leaves: "yes",
          how: "As a number without its name.",
        },
    ...(kept
      ? [
          /** @type {Leaving} */ ({
            what: "Corrections that this tab computes from the labels",
            leaves: "yes",
            how: "The server can guess labels from them; label noise makes that harder.",
          }),
        ]
      : []),
    ...(moving
      ? [
          /** @type {Leaving} */ ({
            what: "The trained changes of the lower part",
            leaves: "no",
            how: "They stay in this tab, but what is sent depends on them.",
          }),
        ]
      : []),
    {
      what: "The way of protection, its strength and the secret behind it",
      leaves: "no",
      how: "Do not count on the first two being unknown.",
    },
    {
      what: "Training options, cut, model, and how many different labels there are",
      leaves: "yes",
      how: "The server needs them.",
    },
  ];
}

/**
 * Says what happens to labels.
 * @param {TrainChoice} choice
 */
export function labelsSentence({ labels }) {
  return labels === "client"
    ? "Labels are not sent; what the training sends instead tells something of them."
    : "The label of each text is sent as it is.";
}

/**
 * Says what training will do.
 * @param {TrainChoice} choice
 */
export function releaseSentence({ labels, bottom }) {
  const sent =
    bottom === "lora"
      ? "Each example is protected here once, and its numbers are sent again in each pass."
      : "Each example is protected here and sent once.";
  const learns =
    labels === "client"
      ? "The server receives the numbers and the length of each example, not its label and not the file."
      : "The server receives the numbers, the label and the length of each example, not the file.";
  return `${sent} ${learns}`;
}
