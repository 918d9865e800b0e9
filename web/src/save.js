/** Files that the reader takes along: made here, from memory, without a request. */

import { svgFile } from "./pictures/look.js";
import { csv } from "./pictures/table.js";

/** @typedef {import("./pictures/tree.js").Picture} Picture */
/** @typedef {"png"|"svg"|"csv"} Format */

/** Pixels of a PNG for each of its picture. */
const PNG_SCALE = 2;
/** Browsers draw no canvas that is longer or holds more. */
const CANVAS_SIDE_MAX = 16_000;
const CANVAS_PIXELS_MAX = 60_000_000;
/** A download has begun by then. */
const KEPT_MILLIS = 60_000;

/**
 * Gives a file to the reader. Its name never holds that of the reader's own file.
 * @param {string} name
 * @param {Blob} blob
 */
export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MILLIS);
}

/**
 * Saves a picture.
 * @param {Picture} picture
 * @param {Format} format
 */
export async function savePicture(picture, format) {
  save(`cutlayer-${picture.name}.${format}`, await pictureBlob(picture, format));
}

/** @param {Picture} picture @param {Format} format */
async function pictureBlob(picture, format) {
  // A spreadsheet takes a file without the mark for one of its own country.
  if (format === "csv") return new Blob(["\ufeff", csv(picture.table)], { type: "text/csv" });
  const file = svgFile(picture);
  const drawn = new Blob([file.text], { type: "image/svg+xml" });
  return format === "svg" ? drawn : rastered(drawn, file);
}

/** @param {Blob} drawn @param {{ width: number, height: number }} size */
async function rastered(drawn, { width, height }) {
  const address = URL.createObjectURL(drawn);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const scale = Math.min(
      PNG_SCALE,
      CANVAS_SIDE_MAX / Math.max(width, height),
      Math.sqrt(CANVAS_PIXELS_MAX / (width * height)),
    );
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((/** @type {(blob: Blob) => void} */ resolve, reject) =>
      canvas.toBlob(
        (blob) => (blob ? resolve(blob) : reject(new Error("no picture"))),
        "image/png",
      ),
    );
  } finally {
    URL.revokeObjectURL(address);
  }
}
