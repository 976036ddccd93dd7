// A face of 64 x 64 pixels, and its mirror image.

export const FACE = 64;
export const MIDDLE = (FACE - 1) / 2; // a whole number is the middle of a pixel

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
