// How sure a reading is, from the calibration in the weights' card: as in ssrlib/calibration.py.

/**
 * @typedef {{ scale: number[], middles: number[], bands: [number, number][], coverage: number }} AgeCalibration
 * @typedef {{ platt: [number, number] }} GenderCalibration
 */

/** Every age that an interval may name. */
export const AGES = Array.from({ length: 241 }, (_, i) => i / 2);

/**
 * Return the lowest and the highest age that a reading is compatible with, or null without a calibration.
 * @param {AgeCalibration | null} calibration
 * @param {number} age
 * @param {number} difference
 */
export function ageInterval(calibration, age, difference) {
  if (!calibration) return null;
  const { scale, middles, bands } = calibration;
  const unit = Math.max(scale[0] + scale[1] * age + scale[2] * difference, 1);
  const beyond = AGES.map((candidate) => {
    const error = (age - candidate) / unit;
    const [low, high] = [0, 1].map((side) =>
      interpolate(candidate, middles, bands.map((band) => band[side]))
    );
    return Math.max(low - error, error - high);
  });
  const most = Math.max(0, Math.min(...beyond));
  const compatible = AGES.filter((_, i) => beyond[i] <= most);
  return [Math.min(age, compatible[0]), Math.max(age, compatible[compatible.length - 1])];
}

/**
 * Straight lines from point to point; before the first and after the last, their values. It computes as
 * numpy does, to the last digit: an interval ends where two such numbers are equal.
 * @param {number} x
 * @param {number[]} xs
 * @param {number[]} ys
 */
function interpolate(x, xs, ys) {
  const i = xs.findLastIndex((other) => other <= x);
  if (i === -1) return ys[0];
  if (i === xs.length - 1) return ys[i];
  return ((ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i])) * (x - xs[i]) + ys[i];
}

/**
 * Return the probability that the label is male, by Platt scaling, or as the logistic loss takes an output.
 * @param {GenderCalibration | null} calibration
 * @param {number} value
 */
export function probability(calibration, value) {
  const [slope, offset] = calibration?.platt ?? [1, 0];
  return 1 / (1 + Math.exp(-(slope * (8 * value - 4) + offset)));
}

/**
 * Return the likelier gender, as ssrlib names it.
 * @param {number} male the probability
 */
export function likelierGender(male) {
  return male > 0.5 ? "male" : "female";
}
