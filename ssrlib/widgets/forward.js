// SSR-Net's forward pass for one face, in plain JavaScript: ssrlib/network.py, line by line.
//
// A map is { data, channels, side }: in data, one plane of side x side values a channel.
// A layer is { weight, bias }. Both are Float32Arrays. Each batch norm is folded into the
// convolution before it, and dropout is gone.

/** From 64 x 64 pixels, as a canvas has them (RGBA, 0 to 255), to a value and its stages. */
function forward(network, pixels) {
  const { layers, settings } = network;
  let map1 = normalize(pixels, network.mean, network.std);
  let map2 = map1;
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
  const stages = settings.stages.map(({ block, pool }, k) => {
    return fuse(...maps[block], pool, (name) => layers[`fusions.${k}.${name}`]);
  });
  return { value: softStagewiseRegression(stages, settings), stages };
}

/** Split RGBA into three planes, and put each on the scale the network learned with. */
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

/** Slide every filter, 3 x 3 for each channel of the map, over the map. There is no padding. */
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
          plane[x] +=
            a * data[top] + b * data[top + 1] + c * data[top + 2] +
            d * data[middle] + e * data[middle + 1] + f * data[middle + 2] +
            g * data[bottom] + h * data[bottom + 1] + i * data[bottom + 2];
        }
      }
    }
  }
  return { data: out, channels: bias.length, side };
}

/** The same linear layer at every point of a map: a convolution with filters of 1 x 1. */
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

/** Put one value in the place of size x size; what is left over at the end is dropped. */
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
const averagePool = (map, size) =>
  pool(map, size, 0, (sum, value) => sum + value, (sum) => sum / size ** 2);
const maxPool = (map, size) => pool(map, size, -Infinity, Math.max, (largest) => largest);

const positive = (values) => values.map((value) => Math.max(0, value));
const relu = (map) => ({ ...map, data: positive(map.data) });
const tanh = (map) => ({ ...map, data: map.data.map(Math.tanh) });

/** One stage: both streams' maps of a block in; p, eta and delta out. */
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

function linear(values, { weight, bias }) {
  const row = values.length;
  return bias.map((start, i) => values.reduce((sum, value, j) => sum + weight[i * row + j] * value, start));
}
const multiply = (a, b) => a.map((value, i) => value * b[i]);

/** The formula: bins get narrower from stage to stage, and their weighted numbers add up. */
function softStagewiseRegression(stages, { value_range, lambda_eta, lambda_delta }) {
  let value = 0;
  let width = value_range;
  for (const { p, eta, delta } of stages) {
    width /= p.length * (1 + lambda_delta * delta);
    value += width * p.reduce((sum, weight, i) => sum + (i + lambda_eta * eta[i]) * weight, 0);
  }
  return value;
}

/** Unpack a network that Python has packed: all its numbers as base64, layer after layer. */
function unpack({ numbers, layers, ...network }) {
  const bytes = Uint8Array.from(atob(numbers), (letter) => letter.charCodeAt(0));
  const floats = new Float32Array(bytes.buffer);
  let at = 0;
  const next = (count) => floats.subarray(at, (at += count));
  const entries = layers.map(([name, weights, biases]) => {
    return [name, { weight: next(weights), bias: next(biases) }];
  });
  return { ...network, layers: Object.fromEntries(entries) };
}
