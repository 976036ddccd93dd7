// Soft stagewise regression: the formula of ssrlib/network.py, and the picture of it.

import { begin, scale, ticks, tickText } from "./chart.js";
import { fixed, s, signed } from "./dom.js";

/** @import { Range, Scale } from "./chart.js" */

/**
 * What the formula adds up. The lambdas are multiplied in.
 * @typedef {object} Terms
 * @property {number[][]} p each stage's bins' weights
 * @property {number[][]} eta each stage's bins' shifts, in bin widths
 * @property {number[]} delta each stage's change of width
 * @property {number} range from the lowest to the highest value
 */

/**
 * One stage of it, in the unit of the value.
 * @typedef {object} Stage
 * @property {number} start
 * @property {number} width of a bin
 * @property {number} value after this stage
 */

/**
 * The formula: bins get narrower from stage to stage, and their weighted numbers add up.
 * @param {Terms} terms
 * @returns {Stage[]}
 */
export function softStagewiseRegression({ p, eta, delta, range }) {
  let value = 0;
  let width = range;
  return p.map((weights, k) => {
    const start = value;
    width /= weights.length * (1 + delta[k]);
    value += width * weights.reduce((sum, weight, i) => sum + (i + eta[k][i]) * weight, 0);
    return { start, width, value };
  });
}

/**
 * The formula's derivatives: by how much the value changes for each unit that one term grows.
 * @param {Terms} terms
 * @returns {{ p: number[][], eta: number[][], delta: number[] }}
 */
export function derivatives(terms) {
  const { p, eta, delta } = terms;
  const stages = softStagewiseRegression(terms);
  const { value } = stages[stages.length - 1];
  return {
    p: eta.map((shifts, k) => shifts.map((shift, i) => stages[k].width * (i + shift))),
    eta: p.map((weights, k) => weights.map((weight) => stages[k].width * weight)),
    // Its own stage and all after it are divided by 1 + delta.
    delta: delta.map((change, k) => -(value - stages[k].start) / (1 + change)),
  };
}

const ROW = 104;
export const BIN = 50;
const TOP = 30;
const LEFT = 12;
const TITLE = 195; // no title is wider

/**
 * Draw each stage's bins to scale below one another on one axis, and the value that they add up to.
 * @param {SVGElement} svg
 * @param {Terms & { unit: string }} shown
 * @param {number} width
 * @returns {{ x: Scale, top: number[], stages: Stage[] }} where a value is in pixels, and the weight that
 *   fills each stage's bins
 */
export function drawStages(svg, { unit, ...terms }, width) {
  const { p, eta } = terms;
  const stages = softStagewiseRegression(terms);
  const { low, high } = reach(terms, stages);
  const x = scale([low, high], [LEFT, width - LEFT]);
  const top = p.map((weights) => Math.max(1, ...weights));
  const bottom = TOP + ROW * p.length;

  begin(svg, width, bottom + 34);
  svg.append(axis(x, [low, high], bottom + 12, width, unit));
  stages.forEach((stage, k) => {
    svg.append(stageRow(k, stage, { p: p[k], eta: eta[k], x, top: top[k], unit, picture: width }));
  });
  const end = x(stages[stages.length - 1].value);
  svg.append(
    s("line", { class: "ssr-value", x1: end, x2: end, y1: bottom - 26, y2: bottom + 6 }),
    s("path", { class: "ssr-arrowhead", d: `M${end} ${bottom + 10}l-5 -8h10z` }),
  );
  return { x, top, stages };
}

/**
 * Return how far the axis goes. A stage may reach far beyond the range; the axis follows it up to twice
 * the range, then cuts it off.
 * @param {Terms} terms
 * @param {Stage[]} stages
 */
function reach({ p, eta, range }, stages) {
  const edges = stages.flatMap(({ start, width }, k) => [
    ...eta[k].flatMap((shift, i) => [start + (i + shift) * width, start + (i + shift + 1) * width]),
    start + p[k].length * width,
  ]);
  return {
    low: Math.max(Math.min(0, ...edges), -0.5 * range),
    high: Math.min(Math.max(range, ...edges), 2 * range),
  };
}

/**
 * @param {Scale} x
 * @param {Range} range
 * @param {number} base
 * @param {number} width
 * @param {string} unit
 */
function axis(x, [low, high], base, width, unit) {
  const group = s("g", { class: "ssr-axis", "aria-hidden": "true" });
  group.append(s("line", { x1: x(low), x2: x(high), y1: base, y2: base }));
  for (const tick of ticks(low, high, width / 70)) {
    group.append(
      s("line", { class: "ssr-grid", x1: x(tick), x2: x(tick), y1: 12, y2: base }),
      s("text", { x: x(tick), y: base + 16, "text-anchor": "middle" }, tickText(tick)),
    );
  }
  group.append(s("text", { x: width - 4, y: 10, "text-anchor": "end" }, unit));
  return group;
}

/**
 * @param {number} k
 * @param {Stage} stage
 * @param {{ p: number[], eta: number[], x: Scale, top: number, unit: string, picture: number }} shown
 */
function stageRow(k, { start, width, value }, { p, eta, x, top, unit, picture }) {
  const y = TOP + k * ROW;
  const pixels = x(start + width) - x(start);
  const digits = width < 0.1 ? 3 : width < 10 ? 2 : 1;
  const centers = eta.map((shift, i) => x(start + (i + shift) * width) + pixels / 2);
  // A title goes to the right of its point, or to the left where it would leave the picture.
  const fits = x(start) + 8 + TITLE <= picture;
  const at = fits ? x(start) + 8 : Math.max(x(start) - 8, TITLE);
  const place = { x: at, y: y + 8, "text-anchor": fits ? "start" : "end" };
  const title = `stage ${k + 1}: bins ${fixed(width, digits)} ${unit} wide`;
  const group = s("g", { class: "ssr-stage", "data-stage": k });
  group.append(
    s("line", { class: "ssr-value", x1: x(start), x2: x(start), y1: k ? y - 26 : y, y2: y + BIN + 28 }),
    s("text", { class: "ssr-title", ...place }, title),
    ...p.map((weight, i) => bin(i, centers[i], pixels, y + 14, (Math.max(0, weight) / top) * BIN)),
    ...binTexts(p, centers, pixels, y),
  );
  const end = x(start + p.length * width);
  group.append(s("rect", { class: "ssr-grip", x: end - 3, y: y + 22, width: 6, height: BIN - 16, rx: 3 }));
  const arrow = y + 14 + BIN + 14;
  if (Math.abs(x(value) - x(start)) > 1) {
    const back = value < start;
    group.append(
      s("line", { class: "ssr-value", x1: x(start), x2: x(value) + (back ? 6 : -6), y1: arrow, y2: arrow }),
      s("path", { class: "ssr-arrowhead", d: `M${x(value)} ${arrow}l${back ? 8 : -8} -5v10z` }),
    );
  }
  const beyond = Math.max(x(start), x(value));
  const sum = signed(value - start, digits > 1 ? 2 : 1);
  group.append(s("text", { class: "ssr-sum", x: beyond + 8, y: arrow + 4 }, sum));
  return group;
}

/**
 * @param {number} i
 * @param {number} center
 * @param {number} pixels how wide it is
 * @param {number} y
 * @param {number} filled how high its filling is
 */
function bin(i, center, pixels, y, filled) {
  const box = { x: center - pixels / 2 + 0.75, width: Math.max(1, pixels - 1.5), rx: 3 };
  return s(
    "g",
    { class: "ssr-bin", "data-bin": i },
    s("rect", { class: "ssr-outline", ...box, y, height: BIN }),
    s("rect", { class: "ssr-fill", ...box, y: y + BIN - filled, height: filled }),
  );
}

/**
 * Write the bins' numbers and weights, as far as there is room.
 * @param {number[]} p
 * @param {number[]} centers
 * @param {number} pixels how wide a bin is
 * @param {number} y
 */
function binTexts(p, centers, pixels, y) {
  if (pixels <= 26) return [];
  // Where bins lie upon one another, each writes its number on a line of its own.
  const near = Math.min(48, 0.8 * pixels);
  const crowded = centers.some((one, i) => centers.some((other, j) => i < j && Math.abs(one - other) < near));
  /** @param {number} i @param {string} text @param {number} line */
  const write = (i, text, line) =>
    s("text", { class: "ssr-number", x: centers[i], y: y + line, "text-anchor": "middle" }, text);
  return p.flatMap((weight, i) => {
    if (crowded) return [write(i, `${i}: ${fixed(weight, 2)}`, 29 + 14 * (i % 3))];
    const name = write(i, pixels > 56 ? `bin ${i}` : `${i}`, 29);
    return pixels > 44 && weight >= 0.005 ? [name, write(i, `p ${fixed(weight, 2)}`, 57)] : [name];
  });
}
