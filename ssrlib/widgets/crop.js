// A square of a picture as 64 x 64 pixels: as face_crop.crop makes it with OpenCV.

import { clamp, pen } from "./dom.js";

/**
 * Of a picture, in whole pixels.
 * @typedef {{ left: number, top: number, side: number }} Square
 */

export const FACE = 64;
const copier = pen(document.createElement("canvas"), { willReadFrequently: true });

/**
 * Cut a square out of a picture and resize it to 64 x 64: RGBA, 0 to 255, as ImageData.
 * What lies outside the picture repeats its border. The square touches the picture.
 * @param {CanvasImageSource} picture
 * @param {number} width
 * @param {number} height
 * @param {Square} square
 */
export function cropFace(picture, width, height, { left, top, side }) {
  const [x, y] = [Math.max(0, left), Math.max(0, top)];
  const [across, down] = [Math.min(width, left + side) - x, Math.min(height, top + side) - y];
  [copier.canvas.width, copier.canvas.height] = [across, down];
  copier.drawImage(picture, x, y, across, down, 0, 0, across, down);
  const { data } = copier.getImageData(0, 0, across, down);
  const columns = shares(side, left - x, across);
  const rows = shares(side, top - y, down);
  const face = new ImageData(FACE, FACE);
  // First along the rows, then along the columns.
  const narrow = new Float32Array(down * FACE * 4);
  for (let row = 0; row < down; row++) {
    columns.forEach((parts, column) => {
      for (const [from, share] of parts) {
        for (let color = 0; color < 4; color++) {
          narrow[(row * FACE + column) * 4 + color] += share * data[(row * across + from) * 4 + color];
        }
      }
    });
  }
  rows.forEach((parts, row) => {
    for (let i = 0; i < FACE * 4; i++) {
      face.data[row * FACE * 4 + i] = parts.reduce(
        (sum, [from, share]) => sum + share * narrow[from * FACE * 4 + i],
        0,
      );
    }
  });
  return face;
}

/**
 * For each of the 64 new pixels of a row: which old pixels it is made of, and the share of each.
 * A row that shrinks gives every old pixel the share that it covers (OpenCV's INTER_AREA); one that grows mixes
 * the two nearest (INTER_LINEAR). The row starts at pixel `start` of `count`; beyond the ends, the ends repeat.
 * @param {number} side
 * @param {number} start
 * @param {number} count
 * @returns {[number, number][][]}
 */
function shares(side, start, count) {
  const scale = side / FACE;
  return Array.from({ length: FACE }, (_, i) => {
    const parts = new Map();
    /** @param {number} at @param {number} share */
    const add = (at, share) => {
      const from = clamp(start + clamp(at, 0, side - 1), 0, count - 1);
      if (share > 1e-9) parts.set(from, (parts.get(from) ?? 0) + share);
    };
    if (scale >= 1) {
      const [begin, end] = [i * scale, (i + 1) * scale];
      for (let at = Math.floor(begin); at < end; at++) {
        add(at, (Math.min(at + 1, end) - Math.max(at, begin)) / scale);
      }
    } else {
      const middle = (i + 0.5) * scale - 0.5;
      const at = Math.floor(middle);
      add(at, 1 - middle + at);
      add(at + 1, middle - at);
    }
    return [...parts];
  });
}

/**
 * Return a face as a mirror shows it.
 * @param {ImageData} face
 */
export function mirrorImage({ data }) {
  const mirrored = new ImageData(FACE, FACE);
  for (let row = 0; row < FACE; row++) {
    for (let column = 0; column < FACE; column++) {
      const from = 4 * (row * FACE + FACE - 1 - column);
      mirrored.data.set(data.subarray(from, from + 4), 4 * (row * FACE + column));
    }
  }
  return mirrored;
}
