// Small helpers that all widgets use: elements, numbers, and the size of the place they are shown in.

const SVG = "http://www.w3.org/2000/svg";

/** Create an HTML element: properties and listeners by name, attributes that hold a dash with setAttribute. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Create a widget's outermost element. JupyterLab must leave it the keys that are shortcuts elsewhere. */
function shell(name, ...children) {
  const root = h("div", { className: `ssr ${name}`, "data-lm-suppress-shortcuts": "true" }, ...children);
  root.addEventListener("keydown", (event) => event.stopPropagation());
  return root;
}

/** Create an SVG element from its attributes. */
function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Write a number with a fixed number of digits and a real minus sign. */
function fixed(value, digits = 1) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text.replace("-", "\u2212");
}

/** Write a number with its sign. */
function signed(value, digits = 2) {
  return (value > 0 && Number(value.toFixed(digits)) !== 0 ? "+" : "") + fixed(value, digits);
}

/** Return round numbers from `low` to `high`, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

/** Call `draw(width)` now and whenever the element's width changes; return how to end that. */
function onWidth(element, draw) {
  const observer = new ResizeObserver(([entry]) => {
    if (entry.contentRect.width > 0) draw(entry.contentRect.width);
  });
  observer.observe(element);
  return () => observer.disconnect();
}

const stillness = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
