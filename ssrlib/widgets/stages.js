// Soft stagewise regression in the browser: the sum, and the picture of it. As in ssrlib/network.py.

/** Return each stage's bins: where the stage starts, its bins' width, and the value after it. */
function stageTerms(p, eta, delta, range) {
  const terms = [];
  let value = 0;
  let width = range;
  for (let k = 0; k < p.length; k++) {
    width = width / (p[k].length * (1 + delta[k]));
    const start = value;
    value = start + width * p[k].reduce((sum, weight, i) => sum + (i + eta[k][i]) * weight, 0);
    terms.push({ start, width, value });
  }
  return terms;
}

const ROW = 104;
const BIN = 50;
const TOP = 30;

/**
 * Draw each stage's bins to scale below one another on one axis, and the value that they add up to.
 * Returns what turns years into pixels: `x` of a value, and `top`, the weight that fills a stage's bin.
 */
function drawStages(svg, { p, eta, delta, range, unit }, width) {
  const terms = stageTerms(p, eta, delta, range);
  const edges = terms.flatMap(({ start, width }, k) => [
    ...eta[k].flatMap((shift, i) => [start + (i + shift) * width, start + (i + shift + 1) * width]),
    start + p[k].length * width,
  ]);
  // A stage may reach far beyond the range; the axis follows it up to twice the range, then cuts it off.
  const high = Math.min(Math.max(range, ...edges), 2 * range);
  const low = Math.max(Math.min(0, ...edges), -0.5 * range);
  const left = 12;
  const x = (value) => left + ((value - low) / (high - low)) * (width - 2 * left);
  const height = TOP + ROW * p.length + 34;
  const top = p.map((weights) => Math.max(1, ...weights));

  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren(axis(x, low, high, height, width, unit));
  terms.forEach((term, k) => {
    svg.append(stageRow(k, term, { p: p[k], eta: eta[k], x, top: top[k], unit, middle: width / 2 }));
  });
  const end = terms.at(-1).value;
  const bottom = TOP + ROW * p.length;
  svg.append(
    s("line", { class: "ssr-value", x1: x(end), x2: x(end), y1: bottom - 26, y2: bottom + 6 }),
    s("path", { class: "ssr-arrowhead", d: `M${x(end)} ${bottom + 10}l-5 -8h10z` }),
  );
  return { x, top, terms };
}

function axis(x, low, high, height, width, unit) {
  const group = s("g", { class: "ssr-axis", "aria-hidden": true });
  const base = height - 22;
  group.append(s("line", { x1: x(low), x2: x(high), y1: base, y2: base }));
  for (const tick of ticks(low, high, width / 70)) {
    group.append(
      s("line", { class: "ssr-grid", x1: x(tick), x2: x(tick), y1: 12, y2: base }),
      s("text", { x: x(tick), y: base + 16, "text-anchor": "middle" }, String(Number(tick.toPrecision(6)))),
    );
  }
  group.append(s("text", { class: "ssr-unit", x: width - 4, y: 10, "text-anchor": "end" }, unit));
  return group;
}

function stageRow(k, { start, width, value }, { p, eta, x, top, unit, middle }) {
  // Text goes to the right of its point, or to the left of one that is far to the right.
  const label = (name, at, height, text) => {
    const side = at > middle * 1.3 ? { x: at - 8, "text-anchor": "end" } : { x: at + 8 };
    return s("text", { class: name, y: height, ...side }, text);
  };
  const y = TOP + k * ROW;
  const group = s("g", { class: "ssr-stage", "data-stage": k });
  const pixels = x(start + width) - x(start);
  const digits = width < 0.1 ? 3 : width < 10 ? 2 : 1;
  const centers = eta.map((shift, i) => x(start + (i + shift) * width) + pixels / 2);
  // Where bins lie upon one another, each writes its number on a line of its own.
  const near = Math.min(48, 0.8 * pixels);
  const crowded = centers.some((one, i) => centers.some((other, j) => i < j && Math.abs(one - other) < near));
  const title = `stage ${k + 1}: bins ${fixed(width, digits)} ${unit} wide`;
  group.append(
    s("line", { class: "ssr-value", x1: x(start), x2: x(start), y1: k ? y - 26 : y, y2: y + BIN + 28 }),
    label("ssr-title", x(start), y + 8, title),
  );
  const numbers = [];
  p.forEach((weight, i) => {
    const from = centers[i] - pixels / 2;
    const filled = (Math.max(0, weight) / top) * BIN;
    const box = { x: from + 0.75, width: Math.max(1, pixels - 1.5), rx: 3 };
    const bin = s("g", { class: "ssr-bin", "data-bin": i });
    bin.append(
      s("rect", { class: "ssr-outline", ...box, y: y + 14, height: BIN }),
      s("rect", { class: "ssr-fill", ...box, y: y + 14 + BIN - filled, height: filled }),
    );
    const write = (text, line) => {
      const at = { x: centers[i], y: y + line, "text-anchor": "middle" };
      numbers.push(s("text", { class: "ssr-number", ...at }, text));
    };
    if (pixels > 26 && crowded) {
      write(`${i}: ${fixed(weight, 2)}`, 29 + 14 * (i % 3));
    } else if (pixels > 26) {
      write(pixels > 56 ? `bin ${i}` : `${i}`, 29);
      if (pixels > 44 && weight >= 0.005) {
        write(`p ${fixed(weight, 2)}`, 57);
      }
    }
    group.append(bin);
  });
  group.append(...numbers);
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
