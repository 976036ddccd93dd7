// The face finder in plain JavaScript: ssrlib/detectors.py, and the two networks of ssrlib/finder.py.

import { FACE, MIDDLE } from "./face.js";
import { clamp } from "./dom.js";
import { unpackNumbers } from "./network.js";

/** @typedef {[number, number]} XY */
/** @typedef {[number, number, number, number, number, number]} Matrix rows of a 2 x 3 matrix, one after the other */
/**
 * A square of a picture: its middle and side in the picture's pixels, its turn in radians.
 * @typedef {{ x: number, y: number, side: number, roll: number }} View
 */
/** @typedef {{ points: XY[], score: number }} Look five points in the picture's pixels, a score from 0 to 1 */
/** @typedef {{ data: Float32Array, channels: number, width: number, height: number }} Planes one per channel */
/** @typedef {{ data: Uint8ClampedArray, width: number, height: number }} Pixels RGBA, as ImageData */

/**
 * A convolution, with its batch norm folded in.
 * @typedef {object} Step
 * @property {number} size of its filters
 * @property {number} stride
 * @property {boolean} depthwise one filter per channel
 * @property {boolean} relu
 * @property {"" | "keep" | "add"} block keep what comes in, or add what was kept to what goes out
 * @property {Float32Array} weight
 * @property {Float32Array} bias
 */

/**
 * What detectors.py calls its constants, and both networks.
 * @typedef {object} FaceFinder
 * @property {Record<"stride" | "reach" | "lower" | "smallest_copy" | "possible" | "certain" | "sure" | "still" | "same" | "outside" | "wider" | "patch" | "nudge", number>} rules
 * @property {XY[]} template of an aligned face of 64 x 64
 * @property {XY[]} upright of a patch
 * @property {Step[]} finder
 * @property {Step[]} refiner
 */

/** @typedef {Omit<Step, "weight" | "bias"> & { weights: number, biases: number }} PackedStep */
/** @typedef {Omit<FaceFinder, "finder" | "refiner"> & { finder: PackedStep[], refiner: PackedStep[], numbers: string }} PackedFinder */

/**
 * Find the faces in a picture, the largest first.
 * @param {FaceFinder} finder
 * @param {Pixels} picture
 * @returns {Look[]}
 */
export function findFaces(finder, picture) {
  const first = apart(finder, firstLook(finder, picture));
  const second = secondLook(finder, picture, first);
  const third = secondLook(finder, picture, second);
  // How sure all three looks are: the geometric mean of their chances.
  const all = third.map(({ points, score }, i) => {
    return { points, score: Math.cbrt(first[i].score * second[i].score * score) };
  });
  return largestFirst(finder, apart(finder, all).filter(({ score }) => score >= finder.rules.certain));
}

/**
 * Whether a find surely is a face: most of one, and not at another turn.
 * @param {FaceFinder} finder
 * @param {Pixels} picture
 * @param {Look} face
 */
export function isSure(finder, picture, { points, score }) {
  const { sure, outside } = finder.rules;
  const isWhole = shareOutside(square(finder, points), picture) <= outside;
  return score >= sure && isWhole && !liesOtherwise(finder, picture, points);
}

/**
 * The face that somebody placed, as the second look sees it there, and whether it surely is one; null if none is.
 * @param {FaceFinder} finder
 * @param {Pixels} picture
 * @param {XY[]} placed
 */
export function straightened(finder, picture, placed) {
  const points = straighten(finder, picture, placed);
  if (!points) return null;
  const isWhole = shareOutside(square(finder, points), picture) <= finder.rules.outside;
  const again = isWhole ? straighten(finder, picture, points) : null;
  return { points, sure: again !== null && !liesOtherwise(finder, picture, again) };
}

/**
 * The points of a face, seen three times, each time as the look before saw it.
 * @param {FaceFinder} finder
 * @param {Pixels} picture
 * @param {XY[]} points
 */
function straighten(finder, picture, points) {
  const [look] = secondLook(finder, picture, [{ points }]);
  if (look.score < finder.rules.still) return null;
  return secondLook(finder, picture, secondLook(finder, picture, [look]))[0].points;
}

/** How much of a square lies outside a picture: a share of its area. @param {View} view @param {Pixels} picture */
export function shareOutside(view, { width, height }) {
  const back = inverse(matrixOf(view));
  let outside = 0;
  for (let i = 0; i < FACE * FACE; i++) {
    const [x, y] = apply(back, [i % FACE, Math.floor(i / FACE)]);
    if (!(x >= -0.5 && x <= width - 0.5 && y >= -0.5 && y <= height - 0.5)) outside += 1;
  }
  return outside / FACE ** 2;
}

/**
 * Whether what is at five points looks at least as much like a face when it is turned by 90, 180 or 270 degrees.
 * @param {FaceFinder} finder
 * @param {Pixels} picture
 * @param {XY[]} points
 */
function liesOtherwise(finder, picture, points) {
  const [{ score }] = secondLook(finder, picture, [{ points }]);
  const { x, y, side, roll } = square(finder, points);
  const turned = [1, 2, 3].map((quarters) => {
    const view = { x, y, side: finder.rules.wider * side, roll: roll + quarters * (Math.PI / 2) };
    return { points: finder.template.map((point) => toPicture(view, point)) };
  });
  const others = secondLook(finder, picture, secondLook(finder, picture, turned));
  return others.some((other) => other.score >= score);
}

/** @template {Look} T @param {FaceFinder} finder @param {T[]} faces @returns {T[]} */
function largestFirst(finder, faces) {
  return faces.sort((a, b) => square(finder, b.points).side - square(finder, a.points).side);
}

/**
 * Look once more at places where a face was seen: only what still is one comes back, with the score that it had:
 * the second look's alone is on another scale.
 * @template {Look} T
 * @param {FaceFinder} finder
 * @param {Pixels} picture
 * @param {T[]} seen
 * @returns {T[]}
 */
export function lookAgain(finder, picture, seen) {
  const looks = secondLook(finder, picture, seen);
  const again = apart(finder, looks).filter(({ score }) => score >= finder.rules.still);
  const kept = again.map((look) => ({ ...seen[looks.indexOf(look)], points: look.points }));
  return largestFirst(finder, kept);
}

/**
 * See each place turned upright and at one size: better points, and another score.
 * @param {FaceFinder} finder
 * @param {Pixels} picture
 * @param {{ points: XY[] }[]} seen
 * @returns {Look[]}
 */
function secondLook({ upright, refiner, rules: { patch, nudge } }, picture, seen) {
  return seen.map(({ points }) => {
    const matrix = similarity(points, upright);
    const { data } = run(refiner, warp(picture, matrix, patch));
    const back = inverse(matrix);
    const moved = upright.map(([x, y], i) => {
      return apply(back, [x + nudge * data[1 + 2 * i], y + nudge * data[2 + 2 * i]]);
    });
    return { points: moved, score: chance(data[0]) };
  });
}

/** @param {FaceFinder} finder @param {Pixels} picture */
function firstLook(finder, picture) {
  /** @type {Look[]} */
  const found = [];
  for (let scale = 1;; scale *= 2) {
    for (const { points, score } of peaks(finder, run(finder.finder, picture))) {
      found.push({ points: scaled(points, scale), score });
    }
    if (Math.max(picture.width, picture.height) <= finder.rules.smallest_copy) return found;
    picture = half(picture);
  }
}

/** Points of a smaller copy in the picture itself. @param {XY[]} points @param {number} scale @returns {XY[]} */
export function scaled(points, scale) {
  return points.map(([x, y]) => [(x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5]);
}

/**
 * Where an answer is surer than around.
 * @param {FaceFinder} finder
 * @param {Planes} answer
 * @returns {Look[]}
 */
function peaks({ rules: { stride, reach, possible } }, { data, width, height }) {
  const area = width * height;
  const chances = data.subarray(0, area).map(chance);
  const found = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const score = chances[y * width + x];
      if (score <= possible) continue;
      const fields = around(x, y, width, height);
      if (fields.some((i) => chances[i] > score)) continue;
      const sum = fields.reduce((total, i) => total + chances[i] ** 2, 0);
      /** @param {number} k @param {number} i */
      const at = (k, i) =>
        reach * data[(1 + k) * area + i] + stride * (k % 2 ? Math.floor(i / width) : i % width);
      /** @param {number} k */
      const mean = (k) =>
        fields.reduce((total, i) => total + (chances[i] ** 2 / sum) * at(k, i), (stride - 1) / 2);
      found.push({ points: [0, 2, 4, 6, 8].map((k) => /** @type {XY} */ ([mean(k), mean(k + 1)])), score });
    }
  }
  return found;
}

/** The fields next to one and itself. @param {number} x @param {number} y @param {number} width @param {number} height */
function around(x, y, width, height) {
  const fields = [];
  for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
    for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
      fields.push(row * width + column);
    }
  }
  return fields;
}

/** Keep the surest of the finds that mostly cover one another. @param {FaceFinder} finder @param {Look[]} found */
function apart(finder, found) {
  /** @type {Look[]} */
  const kept = [];
  for (const one of [...found].sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => overlap(finder, one, other) < finder.rules.same)) kept.push(one);
  }
  return kept;
}

/** Intersection over union of the upright squares. @param {FaceFinder} finder @param {Look} a @param {Look} b */
function overlap(finder, a, b) {
  const [one, two] = [boxOf(finder, a.points), boxOf(finder, b.points)];
  const across = Math.min(one.x + one.side, two.x + two.side) - Math.max(one.x, two.x);
  const down = Math.min(one.y + one.side, two.y + two.side) - Math.max(one.y, two.y);
  const shared = Math.max(0, across) * Math.max(0, down);
  return shared / (one.side ** 2 + two.side ** 2 - shared);
}

/** From the forehead to the chin, as detectors.py marks it. @param {FaceFinder} finder @param {XY[]} points */
export function boxOf(finder, points) {
  const { x, y, side, roll } = square(finder, points);
  const up = finder.rules.lower * side;
  const [middle, above] = [x + up * Math.sin(roll), y - up * Math.cos(roll)];
  // The middle of a pixel is a half from its edge, where a box begins.
  return { x: middle + 0.5 - side / 2, y: above + 0.5 - side / 2, side };
}

/** The template's square on a face's points. @param {FaceFinder} finder @param {XY[]} points */
function square({ template }, points) {
  return viewBy(similarity(template, points));
}

/** The view that shows a face by a matrix from its 64 pixels to the picture. @param {Matrix} matrix @returns {View} */
export function viewBy(matrix) {
  const [x, y] = apply(matrix, [MIDDLE, MIDDLE]);
  const [across, , , down] = matrix;
  return { x, y, side: FACE * Math.hypot(across, down), roll: Math.atan2(down, across) };
}

/** From the pixels of a picture to those of the face in a view. @param {View} view @returns {Matrix} */
export function matrixOf({ x, y, side, roll }) {
  const scale = FACE / side;
  const [a, b] = [scale * Math.cos(roll), scale * Math.sin(roll)];
  return [a, b, MIDDLE - a * x - b * y, -b, a, MIDDLE + b * x - a * y];
}

/** From a point of the face in a view to the picture. @param {View} view @param {XY} point @returns {XY} */
export function toPicture(view, point) {
  return apply(inverse(matrixOf(view)), point);
}

/**
 * The turn, scale and shift that best moves points onto others.
 * @param {XY[]} source
 * @param {XY[]} target
 * @returns {Matrix}
 */
export function similarity(source, target) {
  const [from, to] = [centroid(source), centroid(target)];
  let [a, b, size] = [0, 0, 0];
  source.forEach(([x, y], i) => {
    const [dx, dy] = [x - from[0], y - from[1]];
    const [u, v] = [target[i][0] - to[0], target[i][1] - to[1]];
    a += dx * u + dy * v;
    b += dx * v - dy * u;
    size += dx * dx + dy * dy;
  });
  [a, b] = [a / size, b / size];
  return [a, -b, to[0] - a * from[0] + b * from[1], b, a, to[1] - b * from[0] - a * from[1]];
}

/** @param {XY[]} points @returns {XY} */
function centroid(points) {
  const sum = points.reduce(([x, y], [u, v]) => [x + u, y + v], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}

/** @param {Matrix} matrix @param {XY} point @returns {XY} */
export function apply([a, b, c, d, e, f], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** @param {Matrix} matrix @returns {Matrix} */
export function inverse([a, b, c, d, e, f]) {
  const size = a * e - b * d;
  return [e / size, -b / size, (b * f - c * e) / size, -d / size, a / size, (c * d - a * f) / size];
}

/**
 * Cut a square out of a picture, by a matrix from the picture's pixels to the square's. What lies outside repeats
 * the border; where the square is smaller than what it shows, it is the average of a larger one.
 * @param {Pixels} picture
 * @param {Matrix} matrix
 * @param {number} side
 */
export function warp({ data, width, height }, matrix, side) {
  const out = new ImageData(side, side);
  const steps = Math.max(1, Math.round(1 / Math.hypot(matrix[0], matrix[3])));
  const [a, b, c, d, e, f] = inverse(enlarged(matrix, steps));
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const sums = [0, 0, 0];
      for (let part = 0; part < steps * steps; part++) {
        const across = steps * x + part % steps, down = steps * y + Math.floor(part / steps);
        const u = place(a * across, b * down + c), v = place(d * across, e * down + f);
        const column = Math.floor(u), row = Math.floor(v);
        const left = clamp(column, 0, width - 1), right = clamp(column + 1, 0, width - 1);
        const top = clamp(row, 0, height - 1), bottom = clamp(row + 1, 0, height - 1);
        const share = u - column, below = v - row;
        for (let color = 0; color < 3; color++) {
          const above = data[4 * (top * width + left) + color] * (1 - share) +
            data[4 * (top * width + right) + color] * share;
          const under = data[4 * (bottom * width + left) + color] * (1 - share) +
            data[4 * (bottom * width + right) + color] * share;
          sums[color] += Math.floor(above * (1 - below) + under * below + 0.5);
        }
      }
      const at = 4 * (y * side + x);
      for (let color = 0; color < 3; color++) out.data[at + color] = sums[color] / steps ** 2;
      out.data[at + 3] = 255;
    }
  }
  return out;
}

/** The same square with pixels that are so many times smaller. @param {Matrix} matrix @param {number} times @returns {Matrix} */
function enlarged([a, b, c, d, e, f], times) {
  const middle = (times - 1) / 2;
  return [times * a, times * b, times * c + middle, times * d, times * e, times * f + middle];
}

/** Where to look, as OpenCV computes it: the sum of two numbers, in 32nds of a pixel. @param {number} step @param {number} start */
function place(step, start) {
  return Math.floor((Math.round(1024 * step) + Math.round(1024 * start) + 16) / 32) / 32;
}

/** Half of a picture's size, each pixel the mean of four; an odd last row or column is doubled first. @param {Pixels} picture */
function half({ data, width, height }) {
  const [across, down] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const out = new Uint8ClampedArray(4 * across * down);
  for (let y = 0; y < down; y++) {
    const top = 2 * y * width, bottom = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < across; x++) {
      const left = 2 * x, right = Math.min(2 * x + 1, width - 1);
      for (let color = 0; color < 4; color++) {
        const above = data[4 * (top + left) + color] + data[4 * (top + right) + color];
        const below = data[4 * (bottom + left) + color] + data[4 * (bottom + right) + color];
        out[4 * (y * across + x) + color] = (above + below + 2) >> 2;
      }
    }
  }
  return { data: out, width: across, height: down };
}

/** @param {Pixels} picture @param {object} owner @returns {Planes} */
function planes({ data, width, height }, owner) {
  const area = width * height;
  const out = room(owner, 3 * area);
  for (let i = 0; i < area; i++) {
    for (let color = 0; color < 3; color++) out[color * area + i] = data[4 * i + color] / 127.5 - 1;
  }
  return { data: out, channels: 3, width, height };
}

/** @type {WeakMap<object, Float32Array>} */
const rooms = new WeakMap();

/**
 * An array. To each owner it is the same again, with what was written before: browsers take long to hand out a new one.
 * @param {object} owner
 * @param {number} length
 */
function room(owner, length) {
  let array = rooms.get(owner);
  if (!array || array.length < length) rooms.set(owner, array = new Float32Array(length));
  return array.subarray(0, length);
}

/** @param {number} logit */
const chance = (logit) => 1 / (1 + Math.exp(-logit));

/**
 * What a network answers to a picture, until it is asked again: its layers fill the same arrays each time.
 * @param {Step[]} steps
 * @param {Pixels} picture
 */
function run(steps, picture) {
  let map = planes(picture, steps);
  let kept = map.data;
  for (const step of steps) {
    if (step.block === "keep") kept = map.data;
    map = step.size === 1 ? pointwise(map, step) : convolution(map, step);
    const { data } = map;
    if (step.block === "add") { for (let i = 0; i < data.length; i++) data[i] += kept[i]; }
    if (step.relu) { for (let i = 0; i < data.length; i++) if (data[i] < 0) data[i] = 0; }
  }
  return map;
}

/**
 * Filters of 3 x 3 or 5 x 5 on a map with a border of zeros: each on one channel, or each on all of them.
 * @param {Planes} map
 * @param {Step} step
 * @returns {Planes}
 */
function convolution(map, { size, stride, depthwise, weight, bias }) {
  const edge = (size - 1) / 2;
  const [width, height] = [Math.ceil(map.width / stride), Math.ceil(map.height / stride)];
  const [across, area] = [map.width + 2 * edge, width * height];
  const out = room(bias, bias.length * area);
  const bordered = border(map, edge, weight);
  const slide = size === 3 ? slide3 : slide5;
  for (let filter = 0; filter < bias.length; filter++) {
    const plane = out.subarray(filter * area, (filter + 1) * area);
    plane.fill(bias[filter]);
    const seen = depthwise ? [bordered[filter]] : bordered;
    seen.forEach((from, i) => {
      const first = size ** 2 * (depthwise ? filter : filter * map.channels + i);
      slide(plane, width, from, across, weight.subarray(first, first + size ** 2), stride);
    });
  }
  return { data: out, channels: bias.length, width, height };
}

/** Each channel with zeros around it. @param {Planes} map @param {number} edge @param {object} owner */
function border({ data, channels, width, height }, edge, owner) {
  const across = width + 2 * edge, area = across * (height + 2 * edge);
  const out = room(owner, channels * area);
  out.fill(0);
  for (let channel = 0; channel < channels; channel++) {
    for (let y = 0; y < height; y++) {
      const from = (channel * height + y) * width;
      out.set(data.subarray(from, from + width), channel * area + (y + edge) * across + edge);
    }
  }
  return Array.from({ length: channels }, (_, channel) => out.subarray(channel * area, (channel + 1) * area));
}

/**
 * Add what a filter of 3 x 3 sees on a plane to another plane.
 * @param {Float32Array} plane
 * @param {number} width
 * @param {Float32Array} from
 * @param {number} across
 * @param {Float32Array} weight
 * @param {number} stride
 */
function slide3(plane, width, from, across, [a, b, c, d, e, f, g, h, k], stride) {
  for (let i = 0, y = 0; i < plane.length; y += stride) {
    for (let end = i + width, top = y * across; i < end; i++, top += stride) {
      const middle = top + across, bottom = middle + across;
      plane[i] += a * from[top] + b * from[top + 1] + c * from[top + 2] +
        d * from[middle] + e * from[middle + 1] + f * from[middle + 2] +
        g * from[bottom] + h * from[bottom + 1] + k * from[bottom + 2];
    }
  }
}

/**
 * The same with a filter of 5 x 5, one row of it after the other.
 * @param {Float32Array} plane
 * @param {number} width
 * @param {Float32Array} from
 * @param {number} across
 * @param {Float32Array} weight
 * @param {number} stride
 */
function slide5(plane, width, from, across, weight, stride) {
  for (let first = 0, y = 0; first < plane.length; first += width, y += stride) {
    for (let row = 0; row < 5; row++) {
      const at = 5 * row;
      const a = weight[at], b = weight[at + 1], c = weight[at + 2], d = weight[at + 3], e = weight[at + 4];
      for (let i = first, j = (y + row) * across; i < first + width; i++, j += stride) {
        plane[i] += a * from[j] + b * from[j + 1] + c * from[j + 2] + d * from[j + 3] + e * from[j + 4];
      }
    }
  }
}

/**
 * The same linear layer at every point of a map, two filters and four channels at a time. A layer with as many
 * inputs as the map has numbers takes them all as channels of one point.
 * @param {Planes} map
 * @param {Step} step
 * @returns {Planes}
 */
function pointwise({ data, width, height }, { weight, bias }) {
  const channels = weight.length / bias.length;
  const area = data.length / channels;
  const out = room(bias, (bias.length + 1) * area); // an odd last filter's neighbor is never looked at
  for (let filter = 0; filter < bias.length; filter += 2) {
    const one = out.subarray(filter * area, (filter + 1) * area);
    const two = out.subarray((filter + 1) * area, (filter + 2) * area);
    one.fill(bias[filter]);
    two.fill(bias[filter + 1]);
    for (let channel = 0; channel < channels; channel += 4) {
      const at = filter * channels + channel, next = at + channels;
      const a = weight[at], b = weight[at + 1], c = weight[at + 2], d = weight[at + 3];
      const e = weight[next], f = weight[next + 1], g = weight[next + 2], h = weight[next + 3];
      const first = channel * area, second = first + area, third = second + area, fourth = third + area;
      for (let i = 0; i < area; i++) {
        const p = data[first + i], q = data[second + i], r = data[third + i], s = data[fourth + i];
        one[i] += a * p + b * q + c * r + d * s;
        two[i] += e * p + f * q + g * r + h * s;
      }
    }
  }
  const all = { data: out.subarray(0, bias.length * area), channels: bias.length };
  return area === width * height ? { ...all, width, height } : { ...all, width: 1, height: 1 };
}

/**
 * Unpack the finder as Python packs it.
 * @param {PackedFinder} packed
 * @returns {FaceFinder}
 */
export function unpackFinder({ numbers, finder, refiner, ...rest }) {
  const next = unpackNumbers(numbers);
  /** @param {PackedStep} step @returns {Step} */
  const filled = ({ weights, biases, ...step }) => ({ ...step, weight: next(weights), bias: next(biases) });
  return { ...rest, finder: finder.map(filled), refiner: refiner.map(filled) };
}
