// Small helpers that all widgets use: elements, numbers, and the size of the place they are shown in.

/**
 * What anywidget hands to `render`. On a page there is no kernel, and `send` is missing.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: unknown) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, listener: (...about: any[]) => void) => void} on
 * @property {(event: string, listener: (...about: any[]) => void) => void} off
 * @property {(content: object, callbacks?: object, buffers?: ArrayBuffer[]) => void} [send]
 * @property {{ kernel?: { interrupt: () => Promise<void> } | null }} [widget_manager]
 */

const SVG = "http://www.w3.org/2000/svg";
const REST = 700; // milliseconds without a move, after which an answer is read aloud

/**
 * Create an HTML element: properties and listeners by name, attributes that hold a dash with setAttribute.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} properties
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  element.append(...children);
  return element;
}

/**
 * Create a widget's outermost element. JupyterLab must leave it the keys that are shortcuts elsewhere.
 * @param {string} name
 * @param {Node[]} children
 */
export function shell(name, ...children) {
  const root = h("div", { className: `ssr ${name}`, "data-lm-suppress-shortcuts": "true" }, ...children);
  root.addEventListener("keydown", (event) => event.stopPropagation());
  return root;
}

/**
 * Create a button.
 * @param {() => void} press is not called while the button is busy
 * @param {Record<string, unknown>} properties
 * @param {(Node | string)[]} children
 */
export function button(press, properties, ...children) {
  const onclick = () => created.hasAttribute("aria-disabled") || press();
  const all = { type: "button", className: "ssr-button", onclick, ...properties };
  const created = h("button", all, ...children);
  return created;
}

/**
 * Let a button wait; disabled, it would lose the focus.
 * @param {HTMLButtonElement} pressed
 * @param {boolean} busy
 */
export function setBusy(pressed, busy) {
  if (busy) pressed.setAttribute("aria-disabled", "true");
  else pressed.removeAttribute("aria-disabled");
}

/**
 * Create an SVG element from its attributes.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Return what draws on a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function pen(canvas, settings) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", settings));
}

/**
 * Show a message, or hide it where there is none. The same text again is no news to those who listen.
 * @param {HTMLElement} message
 * @param {string} text
 */
export function say(message, text) {
  if (message.textContent !== text) message.textContent = text;
  message.hidden = !text;
}

/**
 * Return how to read a text aloud once no other one has followed for a while, and how to leave it unread.
 * @param {(text: string) => void} speak
 */
export function onceAtRest(speak) {
  let timer = 0;
  const forget = () => clearTimeout(timer);
  /** @param {string} text */
  const later = (text) => {
    forget();
    timer = setTimeout(() => speak(text), REST);
  };
  return { later, forget };
}

/**
 * Show a value in large letters, and its unit. The same value again is no news to those who listen.
 * @param {HTMLElement} place
 * @param {string} number
 * @param {string} unit
 */
export function sayValue(place, number, unit) {
  if (place.textContent === `${number} ${unit}`) return;
  place.replaceChildren(h("strong", {}, number), ` ${unit}`);
}

/**
 * Write a number with a fixed number of digits and a real minus sign.
 * @param {number} value
 */
export function fixed(value, digits = 1) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text.replace("-", "\u2212");
}

/**
 * Write a number with its sign.
 * @param {number} value
 */
export function signed(value, digits = 2) {
  return (value > 0 && Number(value.toFixed(digits)) !== 0 ? "+" : "") + fixed(value, digits);
}

/**
 * Write a share of 1.
 * @param {number} share
 */
export function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)} %`;
}

/**
 * Return the number from `low` to `high` that is nearest to `value`.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/**
 * Call `draw(width)` now and whenever the element's width changes; return how to end that.
 * @param {HTMLElement} element
 * @param {(width: number) => void} draw
 */
export function onWidth(element, draw) {
  const observer = new ResizeObserver(([entry]) => {
    if (entry.contentRect.width > 0) draw(entry.contentRect.width);
  });
  observer.observe(element);
  return () => observer.disconnect();
}

/**
 * Create the field, not shown, behind a button that opens a picture.
 * @param {(file: File) => void} take
 */
export function pictureInput(take) {
  const label = "A picture from this machine";
  const input = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": label });
  input.addEventListener("change", () => {
    if (input.files?.[0]) take(input.files[0]);
    input.value = "";
  });
  return input;
}

/**
 * Save a picture as a file of this machine.
 * @param {HTMLCanvasElement} canvas
 * @param {string} name
 */
export function download(canvas, name) {
  h("a", { href: canvas.toDataURL("image/png"), download: name }).click();
}

/**
 * Let files be dropped on an element.
 * @param {HTMLElement} element
 * @param {(file: File | undefined) => void} take
 */
export function onDrop(element, take) {
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    take(event.dataTransfer?.files[0]);
  });
}

/**
 * Listen to a model; return how to end that.
 * @param {Model} model
 * @param {Record<string, (...about: any[]) => void>} listeners by the event's name
 */
export function listen(model, listeners) {
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  return () => {
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
  };
}

/** Tell whether the reader wants nothing to move by itself. */
export function stillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
