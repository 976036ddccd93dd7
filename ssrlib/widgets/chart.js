// What charts share: scales, axes with round numbers, and lines.

import { h, s } from "./dom.js";

/**
 * @typedef {[number, number]} Point
 * @typedef {[number, number]} Range the lowest and the highest
 * @typedef {(value: number) => number} Scale from a value to pixels
 * @typedef {{ left: number, right: number, top: number, bottom: number }} Margin in pixels
 * @typedef {{ x: Scale, y: Scale }} Scales
 */

/**
 * Return what turns values of one range into those of another, in a straight line.
 * @param {Range} values
 * @param {Range} pixels
 * @returns {Scale}
 */
export function scale([low, high], [from, to]) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

/**
 * Return round numbers from `low` to `high`, about `count` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

/**
 * Write a round number without the last digits that computers get wrong.
 * @param {number} tick
 */
export function tickText(tick) {
  return String(Number(tick.toPrecision(6)));
}

/**
 * Empty a picture, and give it its size in pixels.
 * @param {SVGElement} svg
 * @param {number} width
 * @param {number} height
 */
export function begin(svg, width, height) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", String(height));
  svg.replaceChildren();
}

/** A chart as wide as there is room, and what stands above it. */
export class Chart {
  /**
   * @param {number} height
   * @param {Margin} margin
   * @param {Node[]} above
   */
  constructor(height, margin, ...above) {
    this.height = height;
    this.margin = margin;
    this.svg = s("svg", { class: "ssr-picture", role: "img" });
    this.place = h("div", { className: "ssr-canvas" }, ...above, this.svg);
  }

  /**
   * Draw lines at round heights, and names below; the old drawing goes. Returns what turns values into pixels.
   * @param {Range} across
   * @param {Range} up
   * @param {[number, string][]} names where they stand, and what is written there
   * @param {string} summary for those who listen
   * @returns {Scales | null} or null where there is no room
   */
  begin(across, up, names, summary) {
    const { height, margin, svg } = this;
    const width = this.place.clientWidth;
    if (!width) return null;
    begin(svg, width, height);
    svg.setAttribute("aria-label", summary);
    const x = scale(across, [margin.left, width - margin.right]);
    const y = scale(up, [height - margin.bottom, margin.top]);
    const group = s("g", { class: "ssr-axis" });
    for (const tick of ticks(...up, 4)) {
      group.append(
        s("line", { class: "ssr-grid", x1: margin.left, x2: width - margin.right, y1: y(tick), y2: y(tick) }),
        s("text", { x: margin.left - 6, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick)),
      );
    }
    for (const [place, name] of names) {
      group.append(s("text", { x: x(place), y: height - 8, "text-anchor": "middle" }, name));
    }
    svg.append(group);
    return { x, y };
  }
}

/**
 * Draw a line from point to point.
 * @param {string} name its class
 * @param {Point[]} points
 * @param {Scales} scales
 */
export function line(name, points, { x, y }) {
  const places = points.map(([a, b]) => `${x(a)},${y(b)}`);
  return s("polyline", { class: name, fill: "none", points: places.join(" ") });
}
