// The training monitor: the state that Python sends, as curves, bars and a line of numbers.

import { Chart, line, ticks } from "./chart.js";
import { button, h, listen, onWidth, s, sayValue, setBusy, shell } from "./dom.js";

/** @import { Model } from "./dom.js" */
/** @import { Point } from "./chart.js" */

/**
 * @typedef {object} Metric that is measured on validation
 * @property {string} name its column of the history
 * @property {string} label
 * @property {string} unit "%" for shares of 1
 * @property {boolean} higher_is_better
 */

/**
 * @typedef {object} State as ssrlib/widgets/monitor.py has it
 * @property {keyof typeof PHASES} phase
 * @property {string} message
 * @property {string} target
 * @property {Metric} metric
 * @property {number} epochs
 * @property {number} step
 * @property {number} steps
 * @property {number | null} rate faces a second
 * @property {number | null} left seconds
 * @property {Point[]} loss by epoch
 * @property {Record<string, number>[]} history
 * @property {{ ages: string, mae: number, faces: number }[]} by_age
 * @property {Point[][]} earlier runs of this kernel: their metrics by epoch
 */

const PHASES = {
  ready: "Not started yet.",
  running: "Training",
  stopping: "Stopping after this step \u2026",
  stopped: "Stopped, with a checkpoint. Resume goes on from there.",
  finished: "Finished.",
  failed: "Ended by an error:",
};
const GONE =
  "The kernel has gone. Run the cell again: training goes on from its checkpoint, if it had a folder.";
const UNHEARD = "The kernel waits in a cell, and hears this only when training ends. " +
  "Interrupt it: training stops, and the run is kept.";
const PATIENCE = 5000; // milliseconds without an answer, after which the page says so
const HINTS = ["training loss (line) and validation (dots), by epoch", "error by age on validation (years)"];
const HEIGHT = 210;
const MARGIN = { left: 40, right: 16, top: 10, bottom: 26 };

class TrainingMonitor {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.dead = false; // whether the kernel has gone
    this.stopping = false; // was asked for, though the kernel may not have heard it yet
    this.unheard = false; // whether that was long ago, and only an interrupt gets through
    this.timer = 0; // until then
    this.stop = this.button("Stop", "stop");
    this.resume = this.button("Resume", "resume");
    this.phase = h("p", { className: "ssr-phase", role: "status", tabIndex: -1 });
    this.numbers = h("p", { className: "ssr-note" });
    this.latest = h("output", { className: "ssr-answer" });
    this.best = h("p", { className: "ssr-sumline" });
    this.bar = h("progress", { className: "ssr-progress", max: 1, "aria-label": "Share of the steps done" });
    const [curvesText, agesText] = HINTS.map((text) => h("p", { className: "ssr-hint" }, text));
    this.hint = curvesText;
    this.curves = new Chart(HEIGHT, MARGIN, curvesText);
    this.ages = new Chart(HEIGHT, MARGIN, agesText);
    const texts = [h("div", {}, this.phase, this.numbers), h("div", {}, this.latest, this.best)];
    const head = h("div", { className: "ssr-head" }, ...texts, this.stop, this.resume);
    const panel = h("div", { className: "ssr-charts" }, this.curves.place, this.ages.place);
    el.replaceChildren(shell("ssr-monitor", head, this.bar, panel));

    const deaf = listen(model, { "change:state": () => this.show(), comm_live_update: () => this.gone() });
    const rest = onWidth(panel, () => this.show());
    this.end = () => {
      clearTimeout(this.timer);
      rest();
      deaf();
    };
  }

  /**
   * @param {string} text
   * @param {"stop" | "resume"} kind of the message to Python
   */
  button(text, kind) {
    const press = () => {
      setBusy(pressed, true);
      this.stopping = kind === "stop";
      this.ask(kind);
      if (this.stopping) this.show();
    };
    const pressed = button(press, { className: "ssr-button ssr-main", hidden: true }, text);
    return pressed;
  }

  /**
   * While a cell waits for training, the kernel keeps messages until the cell has ended. An interrupt reaches
   * it, and ends the waiting and training. Only notebooks whose widgets know their kernel can send one: in the
   * others, the reader has to.
   * @param {"stop" | "resume"} kind
   */
  ask(kind) {
    const kernel = this.model.widget_manager?.kernel;
    const isKept = kind === "stop" && this.model.get("waiting");
    if (isKept && kernel) kernel.interrupt();
    else this.model.send?.({ kind });
    clearTimeout(this.timer);
    if (isKept && !kernel) this.timer = setTimeout(() => this.giveUp(), PATIENCE);
  }

  giveUp() {
    this.unheard = true;
    this.show();
  }

  gone() {
    this.dead = true;
    this.phase.textContent = GONE;
    this.stop.hidden = this.resume.hidden = true;
  }

  show() {
    const state = { .../** @type {State} */ (this.model.get("state")) };
    this.stopping &&= ["running", "stopping"].includes(state.phase);
    this.unheard &&= this.stopping && state.phase === "running";
    if (this.stopping) state.phase = "stopping";
    const live = Boolean(this.model.send);
    const told = [PHASES[state.phase], state.message].filter(Boolean).join(" ");
    this.phase.textContent = this.unheard ? UNHEARD : told;
    const focused = document.activeElement;
    this.stop.hidden = !live || !["running", "stopping"].includes(state.phase);
    setBusy(this.stop, state.phase === "stopping");
    this.resume.hidden = !live || state.phase !== "stopped";
    setBusy(this.resume, false);
    // A button that hides hands its focus on; in the end both hide.
    const other = focused === this.stop ? this.resume : this.stop;
    if ([this.stop, this.resume].some((one) => one === focused && one.hidden)) {
      (other.hidden ? this.phase : other).focus();
    }
    this.bar.value = state.steps ? state.step / state.steps : 0;
    this.numbers.textContent = progress(state).join(" \u00b7 ");
    this.tellMetric(state);
    this.drawCurves(state);
    this.ages.place.hidden = state.target !== "age";
    this.drawAges(state.by_age);
    if (this.dead) this.gone();
  }

  /** @param {State} state */
  tellMetric({ history, metric }) {
    if (!history.length) {
      this.latest.replaceChildren();
      this.best.textContent = "";
      return;
    }
    const values = history.map((row) => row[metric.name]);
    sayValue(this.latest, ...worded(values[values.length - 1], metric));
    const best = (metric.higher_is_better ? Math.max : Math.min)(...values);
    this.best.textContent = `validation ${metric.label}; best ${worded(best, metric).join(" ")}`;
  }

  /** @param {State} state */
  drawCurves({ loss, history, epochs, metric, earlier }) {
    this.hint.textContent = HINTS[0] + (earlier.length ? "; earlier runs in gray" : "");
    const points = history.map((row) => /** @type {Point} */ ([row.epoch, row[metric.name]]));
    const high = 1.15 * Math.max(...[loss, points, ...earlier].map(most)) || 1;
    const marks = ticks(0, epochs, Math.min(epochs, 8));
    const last = points.at(-1);
    const summary = last
      ? `Validation ${metric.label} after ${points.length} epochs: ${worded(last[1], metric).join(" ")}`
      : "No epoch has ended yet";
    /** @type {[number, string][]} */
    const names = marks.map((epoch) => [epoch, `${epoch}`]);
    const scales = this.curves.begin([0, epochs], [0, high], names, summary);
    if (!scales) return;
    /** @param {Point[]} all @returns {Point[]} */
    const inside = (all) => all.map(([epoch, value]) => [epoch, Math.min(value, high)]);
    const seen = earlier.map((run) => inside(run.filter(([epoch]) => epoch <= epochs)));
    this.curves.svg.append(
      ...seen.map((run) => line("ssr-earlier", run, scales)),
      line("ssr-loss", inside(loss), scales),
      line("ssr-value", inside(points), scales),
      ...inside(points).map(([epoch, value]) =>
        s("circle", { class: "ssr-arrowhead", cx: scales.x(epoch), cy: scales.y(value), r: 3.5 })
      ),
    );
  }

  /** @param {State["by_age"]} groups */
  drawAges(groups) {
    const high = 1.15 * Math.max(0, ...groups.map(({ mae }) => mae)) || 1;
    /** @type {[number, string][]} */
    const names = groups.map(({ ages }, i) => [i + 0.5, ages.split("-")[0]]);
    const said = groups.map(({ ages, mae }) => `${ages} years: ${mae.toFixed(1)}`).join(", ");
    const scales = this.ages.begin([0, groups.length || 1], [0, high], names, said || "Not measured yet");
    if (!scales) return;
    const { x, y } = scales;
    groups.forEach(({ mae, faces }, i) => {
      const [left, right] = [x(i + 0.15), x(i + 0.85)];
      const box = { x: left, y: y(mae), width: Math.max(1, right - left), height: y(0) - y(mae), rx: 2 };
      this.ages.svg.append(s("rect", { class: "ssr-fill", ...box }, s("title", {}, `${faces} faces`)));
    });
  }
}

/**
 * Return how far up a curve matters: the first values are far above the rest, and would press all that
 * matters into a line.
 * @param {Point[]} points
 */
function most(points) {
  const values = points.map(([, value]) => value).sort((a, b) => a - b);
  return values.length ? Math.min(values[values.length - 1], 2.5 * values[values.length >> 1]) : 0;
}

/**
 * Write a value of a metric: the number, and its unit.
 * @param {number} value
 * @param {Metric} metric
 * @returns {[string, string]}
 */
function worded(value, { unit }) {
  return unit === "%" ? [(100 * value).toFixed(1), unit] : [value.toFixed(2), unit];
}

/**
 * Say how far training is, how fast, and for how long it goes on.
 * @param {State} state
 */
function progress({ phase, history, epochs, step, steps, rate, left }) {
  if (!steps) return [];
  const epoch = Math.min(history.length + 1, epochs);
  const parts = [`epoch ${epoch} of ${epochs}`, `step ${grouped(step)} of ${grouped(steps)}`];
  if (rate && phase === "running") parts.push(`${grouped(Math.round(rate))} faces a second`);
  if (left && phase === "running") parts.push(`${duration(left)} left`);
  return parts;
}

/** @param {number} count */
function grouped(count) {
  return count.toLocaleString("en");
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** @param {{ model: Model, el: HTMLElement }} place */
function render({ model, el }) {
  return new TrainingMonitor(model, el).end;
}

export default { render };
