// SSR-Net's forward pass for one face, in plain JavaScript: ssrlib/network.py, line by line.
// Each batch norm is folded into the convolution before it, and dropout is gone.

import { softStagewiseRegression } from "./stages.js";

/** @import { Terms } from "./stages.js" */

/**
 * @typedef {{ weight: Float32Array, bias: Float32Array }} Layer
 * @typedef {(name: string) => Layer} Layers one stage's layers by name
 * @typedef {{ p: Float32Array, eta: Float32Array, delta: number }} StageOutput
 */

/**
 * One plane of side x side values per channel.
 * @typedef {{ data: Float32Array, channels: number, side: number }} FeatureMap
 */

/**
 * @typedef {object} Settings of the network, as in Python, and where its stages look
 * @property {number} value_range
 * @property {number} lambda_eta
 * @property {number} lambda_delta
 * @property {{ block: number, pool: number }[]} stages
 */

/**
 * @typedef {object} Network
 * @property {Settings} settings
 * @property {number[]} mean
 * @property {number[]} std
 * @property {Record<string, Layer>} layers
 */

/**
 * A network as Python packs it: all its numbers as base64, layer after layer.
 * @typedef {object} Packed
 * @property {Settings} settings
 * @property {number[]} mean
 * @property {number[]} std
 * @property {[string, number, number][]} layers a name, and how many weights and biases there are
 * @property {string} numbers
 */

/**
 * From 64 x 64 pixels, as a canvas has them (RGBA, 0 to 255), to a value and what it is the sum of.
 * @param {Network} network
 * @param {Uint8ClampedArray} pixels
 * @returns {Terms & { value: number }}
 */
export function forward(network, pixels) {
  const { layers, settings } = network;
  let map1 = normalize(pixels, network.mean, network.std);
  let map2 = map1;
  /** @type {[FeatureMap, FeatureMap][]} */
  const maps = [];
  for (const block of [0, 1, 2, 3]) {
    map1 = relu(convolve(map1, layers[`stream1.${block}`]));
    map2 = convolve(map2, layers[`stream2.${block}`]);
    if (block < 3) {
      map1 = averagePool(map1, 2);
      map2 = maxPool(map2, 2);
    }
    map2 = tanh(map2);
    maps.push([map1, map2]);
  }
  const outputs = settings.stages.map(({ block, pool }, k) => {
    return fuse(...maps[block], pool, (name) => layers[`fusions.${k}.${name}`]);
  });
  const terms = termsOf(outputs, settings);
  return { ...terms, value: softStagewiseRegression(terms)[outputs.length - 1].value };
}

/**
 * Split RGBA into three planes, and put each on the scale the network learned with.
 * @param {Uint8ClampedArray} pixels
 * @param {number[]} mean
 * @param {number[]} std
 * @returns {FeatureMap}
 */
function normalize(pixels, mean, std) {
  const area = pixels.length / 4;
  const data = new Float32Array(3 * area);
  for (let color = 0; color < 3; color++) {
    for (let i = 0; i < area; i++) {
      data[color * area + i] = (pixels[4 * i + color] - mean[color]) / std[color];
    }
  }
  return { data, channels: 3, side: Math.sqrt(area) };
}

/**
 * Slide every filter, 3 x 3 for each channel of the map, over the map. There is no padding.
 * @param {FeatureMap} map
 * @param {Layer} layer
 * @returns {FeatureMap}
 */
function convolve(map, { weight, bias }) {
  const { data, channels } = map;
  const side = map.side - 2;
  const out = new Float32Array(bias.length * side * side);
  for (let filter = 0; filter < bias.length; filter++) {
    const plane = out.subarray(filter * side * side, (filter + 1) * side * side);
    plane.fill(bias[filter]); // with `plane = ….fill(…)` Firefox 153 gives wrong sums, now and then
    for (let channel = 0; channel < channels; channel++) {
      const at = 9 * (filter * channels + channel);
      const [a, b, c, d, e, f, g, h, i] = weight.subarray(at, at + 9);
      for (let y = 0; y < side; y++) {
        let top = (channel * map.side + y) * map.side;
        let middle = top + map.side;
        let bottom = middle + map.side;
        for (let x = y * side; x < (y + 1) * side; x++, top++, middle++, bottom++) {
          const above = a * data[top] + b * data[top + 1] + c * data[top + 2];
          const beside = d * data[middle] + e * data[middle + 1] + f * data[middle + 2];
          const below = g * data[bottom] + h * data[bottom + 1] + i * data[bottom + 2];
          plane[x] += above + beside + below;
        }
      }
    }
  }
  return { data: out, channels: bias.length, side };
}

/**
 * The same linear layer at every point of a map: a convolution with filters of 1 x 1.
 * @param {FeatureMap} map
 * @param {Layer} layer
 * @returns {FeatureMap}
 */
function convolvePoints(map, { weight, bias }) {
  const { data, channels, side } = map;
  const area = side * side;
  const out = new Float32Array(bias.length * area);
  for (let filter = 0; filter < bias.length; filter++) {
    const plane = out.subarray(filter * area, (filter + 1) * area);
    plane.fill(bias[filter]);
    for (let channel = 0; channel < channels; channel++) {
      const w = weight[filter * channels + channel];
      for (let i = 0; i < area; i++) plane[i] += w * data[channel * area + i];
    }
  }
  return { data: out, channels: bias.length, side };
}

/**
 * Put one value in the place of size x size; what is left over at the end is dropped.
 * @param {FeatureMap} map
 * @param {number} size
 * @param {number} start
 * @param {(joined: number, value: number) => number} join
 * @param {(joined: number) => number} finish
 * @returns {FeatureMap}
 */
function pool(map, size, start, join, finish) {
  const side = Math.floor(map.side / size);
  const data = new Float32Array(map.channels * side * side);
  for (let channel = 0, i = 0; channel < map.channels; channel++) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++, i++) {
        const corner = (channel * map.side + y * size) * map.side + x * size;
        let joined = start;
        for (let row = 0; row < size; row++) {
          for (let column = 0; column < size; column++) {
            joined = join(joined, map.data[corner + row * map.side + column]);
          }
        }
        data[i] = finish(joined);
      }
    }
  }
  return { data, channels: map.channels, side };
}

/** @param {FeatureMap} map @param {number} size */
function averagePool(map, size) {
  return pool(map, size, 0, (sum, value) => sum + value, (sum) => sum / size ** 2);
}

/** @param {FeatureMap} map @param {number} size */
function maxPool(map, size) {
  return pool(map, size, -Infinity, Math.max, (largest) => largest);
}

/** @param {Float32Array} values */
const positive = (values) => values.map((value) => Math.max(0, value));
/** @param {FeatureMap} map */
const relu = (map) => ({ ...map, data: positive(map.data) });
/** @param {FeatureMap} map */
const tanh = (map) => ({ ...map, data: map.data.map(Math.tanh) });

/**
 * One stage: both streams' maps of a block in; p, eta and delta out.
 * @param {FeatureMap} map1
 * @param {FeatureMap} map2
 * @param {number} size
 * @param {Layers} layer
 * @returns {StageOutput}
 */
function fuse(map1, map2, size, layer) {
  const a = averagePool(relu(convolvePoints(map1, layer("stream1"))), size).data;
  const b = maxPool(relu(convolvePoints(map2, layer("stream2"))), size).data;
  const mixed = multiply(positive(linear(a, layer("mix1"))), positive(linear(b, layer("mix2"))));
  const hidden = positive(linear(mixed, layer("hidden")));
  return {
    p: positive(linear(hidden, layer("p"))),
    eta: linear(hidden, layer("eta")).map(Math.tanh),
    delta: Math.tanh(linear(multiply(a, b), layer("delta"))[0]),
  };
}

/** @param {Float32Array} values @param {Layer} layer */
function linear(values, { weight, bias }) {
  const row = values.length;
  return bias.map((start, i) => values.reduce((sum, value, j) => sum + weight[i * row + j] * value, start));
}

/** @param {Float32Array} a @param {Float32Array} b */
const multiply = (a, b) => a.map((value, i) => value * b[i]);

/**
 * Multiply the lambdas in, and leave the rest to the formula.
 * @param {StageOutput[]} outputs
 * @param {Settings} settings
 * @returns {Terms}
 */
function termsOf(outputs, { value_range, lambda_eta, lambda_delta }) {
  return {
    p: outputs.map(({ p }) => [...p]),
    eta: outputs.map(({ eta }) => [...eta].map((shift) => lambda_eta * shift)),
    delta: outputs.map(({ delta }) => lambda_delta * delta),
    range: value_range,
  };
}

/**
 * Unpack a network that Python has packed.
 * @param {Packed} packed
 * @returns {Network}
 */
export function unpack({ numbers, layers, ...network }) {
  const next = unpackNumbers(numbers);
  const entries = layers.map(([name, weights, biases]) => {
    return [name, { weight: next(weights), bias: next(biases) }];
  });
  return { ...network, layers: Object.fromEntries(entries) };
}

/**
 * Unpack numbers, float32 as base64; return what takes the next so many of them.
 * @param {string} numbers
 */
export function unpackNumbers(numbers) {
  const bytes = Uint8Array.from(atob(numbers), (letter) => letter.charCodeAt(0));
  const floats = new Float32Array(bytes.buffer);
  let at = 0;
  /** @param {number} count */
  return (count) => floats.subarray(at, at += count);
}
