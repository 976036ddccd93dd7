// The stagewise explorer: drag weights, shifts and widths, and see bins move and the value change.

import {
  button,
  clamp,
  fixed,
  h,
  listen,
  onceAtRest,
  onWidth,
  s,
  say,
  sayValue,
  shell,
  signed,
  stillness,
} from "./dom.js";
import { BIN, derivatives, drawStages } from "./stages.js";

/** @import { Model } from "./dom.js" */
/** @import { Terms } from "./stages.js" */

/**
 * @typedef {"p" | "eta" | "delta"} Name of what can be moved
 * @typedef {{ name: string, note: string, image?: string, value_range: number, unit: string } & Omit<Terms, "range">} Preset
 * @typedef {Terms & { unit: string }} Shown
 * @typedef {{ input: HTMLInputElement, text: HTMLElement, pull: HTMLElement, refresh: () => void }} Slider
 */

/** @type {Record<Name, [number, number]>} */
const LIMITS = { p: [0, 1.5], eta: [-1, 1], delta: [-0.9, 1] };
/** @type {Name[]} */
const NAMES = ["p", "eta", "delta"];
const GLIDE = 400; // milliseconds
/** @type {Record<string, number>} */
const KEYS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };
const STEP = 0.1;
const PULLS =
  `Small: what the value would gain if that number grew by ${STEP}, by the formula's derivatives.`;
const HINT = "Drag a bin up or down for its weight, sideways for its shift, and a grip for the width.";

class StagewiseExplorer {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.terms = this.read();
    this.width = 0; // of the picture, in pixels; not known yet
    this.built = ""; // for which stages and bins there are sliders
    this.sending = false;
    this.grabbed = false; // whether a pointer drags a bin: a second one must wait
    this.endGlide = () => {};
    /** @type {ReturnType<typeof drawStages> | null} */
    this.drawn = null;
    this.pulls = derivatives(this.terms);
    /** @type {Slider[]} */
    this.sliders = [];

    this.presets = h("div", { className: "ssr-presets", role: "group", "aria-label": "Examples" });
    // While it moves, the answer changes many times a second: those who listen hear where it comes to rest.
    this.answer = h("output", { className: "ssr-answer", "aria-live": "off" });
    this.spoken = h("p", { className: "ssr-hearing", "aria-live": "polite" });
    this.aloud = onceAtRest((text) => say(this.spoken, text));
    this.sum = h("p", { className: "ssr-sumline" });
    this.note = h("p", { className: "ssr-note" });
    this.svg = s("svg", { class: "ssr-picture", role: "img", tabindex: -1 });
    this.controls = h("div", { className: "ssr-controls" });
    const texts = [h("div", {}, this.presets, this.note), h("div", {}, this.answer, this.sum)];
    const head = h("div", { className: "ssr-head" }, ...texts);
    const picture = h("div", { className: "ssr-canvas" }, this.svg, h("p", { className: "ssr-hint" }, HINT));
    const hint = h("p", { className: "ssr-hint" }, PULLS);
    el.replaceChildren(shell("ssr-explorer", head, picture, this.controls, hint, this.spoken));

    this.offer();
    this.recognize();
    this.svg.addEventListener("pointerdown", (event) => this.grab(event));
    // Python sets several at once and each tells of itself: the first to be heard reads them all.
    const changed = () => this.changed();
    const heard = Object.fromEntries(
      [...NAMES, "value_range", "unit"].map((name) => [`change:${name}`, changed]),
    );
    const deaf = listen(model, { ...heard, "change:presets": () => this.offer() });
    const rest = onWidth(picture, (width) => {
      this.width = width;
      this.show();
    });
    this.end = () => {
      this.endGlide();
      this.aloud.forget();
      deaf();
      rest();
    };
  }

  /** @returns {Shown} */
  read() {
    const [p, eta, delta] = NAMES.map((name) => structuredClone(this.model.get(name)));
    return { p, eta, delta, range: this.model.get("value_range"), unit: this.model.get("unit") };
  }

  /** What is written about an example holds only while it is the one that is shown. */
  recognize() {
    const shown = JSON.stringify(this.terms);
    const presets = /** @type {Preset[]} */ (this.model.get("presets"));
    this.note.textContent = presets.find((preset) => JSON.stringify(termsOf(preset)) === shown)?.note ?? "";
  }

  send() {
    this.sending = true;
    for (const name of NAMES) this.model.set(name, structuredClone(this.terms[name]));
    this.model.set("value_range", this.terms.range);
    this.model.set("unit", this.terms.unit);
    this.sending = false;
    this.model.save_changes();
  }

  changed() {
    const now = this.read();
    // Another view of the same explorer sets one after the other: they fit when the last one is there.
    if (this.sending || !fits(now)) return;
    this.endGlide();
    this.terms = now;
    this.recognize();
    this.show();
  }

  offer() {
    const presets = /** @type {Preset[]} */ (this.model.get("presets"));
    this.presets.replaceChildren(...presets.map((preset) => {
      const image = preset.image ? [h("img", { src: preset.image, alt: "", width: 28, height: 28 })] : [];
      return button(() => this.load(preset), {}, ...image, preset.name);
    }));
  }

  /**
   * Let bins glide to a preset's places; only the end is told to Python.
   * @param {Preset} preset
   */
  load(preset) {
    this.endGlide();
    const from = this.terms;
    const target = structuredClone(termsOf(preset));
    this.terms = target;
    this.recognize();
    this.send();
    if (shape(from.p) !== shape(target.p) || stillness()) return this.show();
    this.endGlide = glide((share) => {
      this.terms = share < 1 ? mix(from, target, share) : target;
      this.draw();
    });
  }

  show() {
    if (shape(this.terms.p) !== this.built) this.build();
    this.built = shape(this.terms.p);
    this.draw();
  }

  draw() {
    if (!this.width) return;
    const { range, p, unit } = this.terms;
    this.drawn = drawStages(this.svg, this.terms, this.width);
    const { stages } = this.drawn;
    const digits = range < 10 ? 3 : 1;
    const value = stages[stages.length - 1].value;
    const text = fixed(value, digits);
    if (this.answer.dataset.value) this.aloud.later(`${text} ${unit}`);
    sayValue(this.answer, text, unit);
    this.answer.dataset.value = String(value);
    this.sum.textContent = `${sumText(stages, digits)} = ${text}`;
    this.svg.setAttribute("aria-label", `${p.length} stages of bins, adding up to ${text} ${unit}`);
    this.pulls = derivatives(this.terms);
    for (const { refresh } of this.sliders) refresh();
  }

  /** Make the sliders for the stages and bins that there are now. */
  build() {
    this.sliders = [];
    this.controls.replaceChildren(...this.terms.p.map((weights, k) => {
      const bins = weights.map((_, i) => {
        const p = this.slider("p", k, i, `Stage ${k + 1}, bin ${i}: weight p`);
        const eta = this.slider("eta", k, i, `Stage ${k + 1}, bin ${i}: shift eta, in bin widths`);
        const name = h("span", { className: "ssr-name" }, `bin ${i}`);
        return h(
          "div",
          { className: "ssr-column" },
          p.pull,
          p.text,
          p.input,
          name,
          eta.input,
          eta.text,
          eta.pull,
        );
      });
      const delta = this.slider("delta", k, k, `Stage ${k + 1}: width scale delta`);
      const names = h("div", { className: "ssr-column ssr-names", "aria-hidden": "true" });
      names.append(h("span", {}, "weight p"), h("span", {}, "shift \u03b7"));
      return h(
        "fieldset",
        { className: "ssr-card" },
        h("legend", {}, `Stage ${k + 1}`),
        h("div", { className: "ssr-columns" }, names, ...bins),
        h(
          "label",
          { className: "ssr-row" },
          h("span", {}, "width \u03b4"),
          delta.input,
          delta.text,
          delta.pull,
        ),
      );
    }));
  }

  /**
   * One slider, and its number beside it.
   * @param {Name} name
   * @param {number} k the stage
   * @param {number} i the place among the stage's weights or shifts, or among all widths
   * @param {string} label
   * @returns {Slider}
   */
  slider(name, k, i, label) {
    const row = () => name === "delta" ? this.terms.delta : this.terms[name][k];
    const [low, high] = LIMITS[name];
    const input = h("input", { type: "range", min: low, max: high, step: "any", className: `ssr-${name}` });
    const text = h("span", { className: "ssr-number" });
    const pull = h("span", { className: "ssr-pull", "aria-hidden": "true" });
    input.setAttribute("aria-label", label);
    /** @param {number} value */
    const move = (value) => {
      this.endGlide();
      this.note.textContent = "";
      row()[i] = value;
      this.draw();
      this.send();
    };
    input.addEventListener("input", () => move(input.valueAsNumber));
    input.addEventListener("dblclick", () => move(0));
    input.addEventListener("keydown", (event) => {
      // Without a step, browsers move by too little or too much.
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      const value = Math.round(row()[i] / 0.02 + KEYS[event.key]) * 0.02;
      move(clamp(Number(value.toFixed(2)), low, Number(input.max)));
    });
    const refresh = () => {
      const value = row()[i];
      if (name === "p") input.max = String(Math.max(high, ...row()));
      input.value = String(value);
      const share = (value - low) / (Number(input.max) - low);
      input.style.setProperty("--share", `${100 * share}%`);
      text.textContent = name === "p" ? fixed(value, 2) : signed(value);
      input.setAttribute("aria-valuetext", text.textContent);
      const gain = STEP * (name === "delta" ? this.pulls.delta : this.pulls[name][k])[i];
      pull.textContent = signed(gain, this.terms.range < 10 ? 3 : 1);
      pull.dataset.value = String(gain);
      input.setAttribute("aria-description", `${STEP} more would change the value by ${pull.textContent}`);
    };
    const slider = { input, text, pull, refresh };
    this.sliders.push(slider);
    return slider;
  }

  /**
   * In the picture: up and down changes a bin's weight, sideways its shift; the grip changes the width.
   * @param {PointerEvent} event
   */
  grab(event) {
    const target = /** @type {Element} */ (event.target);
    const [row, bin] = ["stage", "bin"].map((name) =>
      target.closest(`[data-${name}]`)?.getAttribute(`data-${name}`)
    );
    const grip = target.closest(".ssr-grip");
    if (!this.drawn || !row || (!bin && !grip) || event.button || this.grabbed) return;
    event.preventDefault();
    this.endGlide();
    this.grabbed = true;
    this.svg.setPointerCapture(event.pointerId);
    const drag = this.drag(Number(row), Number(bin), this.drawn);
    /** @type {Name | null} */
    let name = grip ? "delta" : null;
    /** @param {PointerEvent} now */
    const move = (now) => {
      const dx = now.clientX - event.clientX;
      const dy = now.clientY - event.clientY;
      if (!name && Math.hypot(dx, dy) > 4) name = Math.abs(dx) > Math.abs(dy) ? "eta" : "p";
      if (!name || now.pointerId !== event.pointerId) return;
      this.note.textContent = "";
      drag[name](dx, dy);
      this.draw();
      this.send();
    };
    this.svg.addEventListener("pointermove", move);
    const end = () => {
      this.grabbed = false;
      this.svg.removeEventListener("pointermove", move);
    };
    this.svg.addEventListener("lostpointercapture", end, { once: true });
  }

  /**
   * Return what dragging by some pixels changes, from now on.
   * @param {number} k the stage
   * @param {number} i the bin
   * @param {ReturnType<typeof drawStages>} drawn
   * @returns {Record<Name, (dx: number, dy: number) => void>}
   */
  drag(k, i, { x, top, stages }) {
    const { p, eta, delta } = structuredClone(this.terms);
    const pixels = x(1) - x(0);
    const { width } = stages[k];
    return {
      p: (_, dy) => {
        const most = Math.max(LIMITS.p[1], top[k]);
        this.terms.p[k][i] = clamp(p[k][i] - (dy / BIN) * top[k], LIMITS.p[0], most);
      },
      eta: (dx) => {
        this.terms.eta[k][i] = clamp(eta[k][i] + dx / pixels / width, ...LIMITS.eta);
      },
      delta: (dx) => {
        const wider = Math.max(1e-6, width + dx / pixels / p[k].length);
        this.terms.delta[k] = clamp((width * (1 + delta[k])) / wider - 1, ...LIMITS.delta);
      },
    };
  }
}

/** @param {Preset} preset @returns {Shown} */
function termsOf({ p, eta, delta, value_range: range, unit }) {
  return { p, eta, delta, range, unit };
}

/** @param {number[][]} rows */
function shape(rows) {
  return rows.map((row) => row.length).join();
}

/** Whether there is a shift for each weight, and a change of width for each stage. @param {Shown} terms */
function fits({ p, eta, delta }) {
  return p.length === delta.length && shape(p) === shape(eta);
}

/**
 * Write what the stages add, one after the other.
 * @param {{ start: number, value: number }[]} stages
 * @param {number} digits
 */
function sumText(stages, digits) {
  const [first, ...others] = stages.map(({ start, value }) => value - start);
  const rest = others.map((part) => ` ${part < 0 ? "\u2212" : "+"} ${fixed(Math.abs(part), digits)}`);
  return fixed(first, digits) + rest.join("");
}

/**
 * @param {Shown} from
 * @param {Shown} to
 * @param {number} share of the way
 * @returns {Shown}
 */
function mix(from, to, share) {
  /** @param {number} a @param {number} b */
  const between = (a, b) => a + (b - a) * share;
  /** @param {number[]} row @param {number[]} other */
  const rows = (row, other) => row.map((a, i) => between(a, other[i]));
  return {
    p: from.p.map((row, k) => rows(row, to.p[k])),
    eta: from.eta.map((row, k) => rows(row, to.eta[k])),
    delta: rows(from.delta, to.delta),
    range: between(from.range, to.range),
    unit: to.unit,
  };
}

/**
 * Call `step` with shares that grow from 0 to 1, fast in the middle; return how to end that.
 * @param {(share: number) => void} step
 */
function glide(step) {
  const started = performance.now();
  /** @param {number} now */
  const frame = (now) => {
    const t = clamp((now - started) / GLIDE, 0, 1);
    step(t * t * (3 - 2 * t));
    if (t < 1) request = requestAnimationFrame(frame);
  };
  let request = requestAnimationFrame(frame);
  return () => cancelAnimationFrame(request);
}

/** @param {{ model: Model, el: HTMLElement }} place */
function render({ model, el }) {
  return new StagewiseExplorer(model, el).end;
}

export default { render };
