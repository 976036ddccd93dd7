// Try the networks in the browser: a picture or the camera under an oval, and what they read there.

import { ageInterval, likelierGender, probability } from "./calibration.js";
import { Camera, watchTab } from "./camera.js";
import { cropFace, FACE, mirrorImage } from "./crop.js";
import { button, clamp, h, onDrop, onWidth, pen, percent, pictureInput, s, say, shell } from "./dom.js";
import { forward, unpack } from "./network.js";
import { drawStages } from "./stages.js";

/** @import { Model } from "./dom.js" */
/** @import { Square } from "./crop.js" */
/** @import { AgeCalibration, GenderCalibration } from "./calibration.js" */
/** @import { Network } from "./network.js" */
/** @import { Terms } from "./stages.js" */

/**
 * @typedef {{ name: string, note: string, image: string, square: Square }} Preset
 * @typedef {{ x: number, y: number, rx: number, ry: number, eyes: [number, number][] }} Guide
 * @typedef {{ picture: HTMLCanvasElement | HTMLVideoElement, width: number, height: number }} Source
 * @typedef {{ networks: Record<"age" | "gender", Network>, age: AgeCalibration | null, gender: GenderCalibration | null }} Built
 */

/**
 * What the networks answer to a face and its mirror image.
 * @typedef {object} Reading
 * @property {number[]} ages
 * @property {number[]} scores for "male"
 * @property {Terms} terms of the face itself
 * @property {number} milliseconds
 */

const MOST_SIDE = 1600; // pixels; larger pictures are made smaller first
const AVERAGED = 8; // the camera's latest readings
const HUSH = 4000; // milliseconds between two answers that are read aloud
const REST = 700; // milliseconds without a move, after which an answer is read aloud
// The screen is 400 x 300 units; the networks get this square of it.
const SCREEN = { width: 400, height: 300 };
const SQUARE = { x: 101, y: 60, side: 198 };
const LEAST_SIDE = 8; // of the square, in the picture's pixels

const REASONS = {
  waiting: "Waiting for the camera\u2019s first picture \u2026",
  image: "The browser cannot read this file as an image. Choose another one.",
  noFile: "This was no file. Save the picture first, then drop the file here.",
};
const PLACE = "Move and resize the picture until the face fills the oval, with the eyes on the marks.";
const LIVE = "Bring your face into the oval, with your eyes on the marks. " +
  "Nobody looks for faces here: a wall gets an answer, too.";
const HELP = "The picture under the oval. " +
  "Drag it, or move it with the arrow keys and resize it with plus and minus.";
const PRIVACY = "Nothing leaves this page: pictures stay in this tab\u2019s memory, " +
  "and there is no server that could get them.";

class TryIt {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    const built = build(model);
    this.networks = built.networks;
    this.presets = /** @type {Preset[]} */ (model.get("pictures"));
    this.turn = 0; // which request for a picture is the latest: an older one that ends later is dropped
    this.live = false; // whether the camera is shown, or will be once its first picture is there
    this.first = false; // whether that has still to come
    this.ended = false;
    this.busy = false;
    this.again = false;
    /** @type {Reading[]} */
    this.readings = []; // of this picture, or the camera's latest

    this.bar = bar(this);
    this.finder = new Finder(model.get("guide"), () => this.ask());
    this.result = new Result(built);
    this.note = h("p", { className: "ssr-note" });
    const left = h("div", {}, this.finder.screen, this.finder.sizeRow, this.note);
    const halves = h("div", { className: "ssr-halves" }, left, this.result.element);
    const privacy = h("p", { className: "ssr-note" }, PRIVACY);
    this.root = shell("ssr-try", this.bar.element, halves, ...this.result.below, privacy, this.result.spoken);
    el.replaceChildren(this.root);

    const video = h("video", { muted: true, playsInline: true });
    const { message } = this.finder;
    const texts = { again: "press the button again", instead: "choose a picture" };
    const lost = (/** @type {string} */ text) => this.leaveCamera(text);
    this.camera = new Camera({ video, message, ...texts, onFrame: () => this.onFrame(video), onGone: lost });
    onDrop(this.root, (file) => file ? this.useFile(file) : say(message, REASONS.noFile));
    const untold = watchTab(message, () => this.camera.stream !== null, () => {});
    this.usePreset(this.presets[0]);
    this.end = () => {
      this.ended = true;
      this.camera.close();
      this.finder.end();
      this.result.end();
      untold();
    };
  }

  // What the networks read.

  /** Read what is under the oval now; if that is being done already, do it once more after that. */
  async ask() {
    this.again = true;
    if (this.busy) return;
    this.busy = true;
    while (this.again && !this.ended) {
      this.again = false;
      const { source } = this.finder;
      const face = cropFace(source.picture, source.width, source.height, this.finder.square());
      const reading = await read(this.networks, face);
      if (source !== this.finder.source) continue;
      const averaged = this.live ? AVERAGED : 1;
      this.readings = [...this.readings, reading].slice(-averaged);
      this.result.show(this.readings, face, averaged, this.turn);
    }
    this.busy = false;
  }

  // Where pictures come from.

  /**
   * @param {Source} source
   * @param {string} note
   * @param {Square} [square] the face
   */
  setSource(source, note, square) {
    this.readings = [];
    this.note.textContent = note;
    say(this.finder.message, "");
    this.finder.show(source, this.live, square);
  }

  /**
   * @param {Promise<HTMLImageElement | ImageBitmap>} decoding
   * @param {string} note
   * @param {Preset} [preset]
   */
  async usePicture(decoding, note, preset) {
    const mine = ++this.turn;
    let decoded;
    try {
      decoded = await decoding;
    } catch {
      return say(this.finder.message, REASONS.image);
    }
    if (mine !== this.turn || this.ended) return;
    this.camera.close();
    this.setLive(false);
    this.press(preset);
    const picture = shrunk(decoded);
    this.setSource({ picture, width: picture.width, height: picture.height }, note, preset?.square);
  }

  /** @param {Preset} preset */
  usePreset(preset) {
    const image = h("img", { src: preset.image });
    this.usePicture(image.decode().then(() => image), preset.note, preset);
  }

  /** @param {File} file */
  useFile(file) {
    this.usePicture(createImageBitmap(file), PLACE);
  }

  async useCamera() {
    const mine = ++this.turn;
    const wanted = () => mine === this.turn && !this.ended;
    if (!await this.camera.open({ facingMode: "user" }, wanted)) return;
    say(this.finder.message, REASONS.waiting);
    this.setLive(true);
    this.first = true;
  }

  /** @param {HTMLVideoElement} video */
  onFrame(video) {
    const { videoWidth: width, videoHeight: height } = video;
    const { source } = this.finder;
    if (this.first || width !== source.width || height !== source.height) {
      this.first = false;
      this.press();
      this.setSource({ picture: video, width, height }, LIVE);
    } else if (!document.hidden) {
      this.finder.draw();
      if (!this.busy) this.ask();
    }
  }

  /** @param {string} text what is said instead */
  leaveCamera(text) {
    this.camera.close();
    this.setLive(false);
    this.usePreset(this.presets[0]);
    say(this.finder.message, text);
  }

  /** @param {boolean} live */
  setLive(live) {
    this.live = live;
    this.finder.live = live;
    this.bar.start.textContent = live ? "Stop" : "Use the camera";
    this.root.classList.toggle("ssr-live", live);
  }

  /** @param {Preset} [preset] whose button looks pressed */
  press(preset) {
    for (const [i, one] of this.bar.presets.entries()) {
      one.setAttribute("aria-pressed", String(this.presets[i] === preset));
    }
  }
}

/**
 * @param {Model} model
 * @returns {Built}
 */
function build(model) {
  const { age, gender } = model.get("networks");
  const networks = { age: unpack(age), gender: unpack(gender) };
  return { networks, age: age.calibration, gender: gender.calibration };
}

/** @param {TryIt} page */
function bar(page) {
  const toggle = () => page.live ? page.leaveCamera("") : page.useCamera();
  const start = button(toggle, { className: "ssr-button ssr-main" }, "Use the camera");
  const file = pictureInput((chosen) => page.useFile(chosen));
  const open = button(() => file.click(), {}, "Choose a picture");
  const presets = page.presets.map((preset) => {
    const image = h("img", { src: preset.image, alt: "" });
    return button(() => page.usePreset(preset), { "aria-pressed": "false" }, image, preset.name);
  });
  const group = { className: "ssr-bar", role: "group", "aria-label": "What to read" };
  return { element: h("div", group, start, open, file, ...presets), start, presets };
}

/**
 * Return a copy of a picture, smaller if it is large.
 * @param {HTMLImageElement | ImageBitmap} picture
 */
function shrunk(picture) {
  const scale = Math.min(1, MOST_SIDE / Math.max(picture.width, picture.height));
  const size = { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) };
  const copy = h("canvas", size);
  const context = pen(copy);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, copy.width, copy.height);
  return copy;
}

/**
 * Read a face and its mirror image.
 * @param {Record<"age" | "gender", Network>} networks
 * @param {ImageData} face
 * @returns {Promise<Reading>}
 */
async function read(networks, face) {
  const sides = [face, mirrorImage(face)];
  let milliseconds = 0;
  /** @param {Network} network */
  const both = async (network) => {
    const found = [];
    for (const side of sides) {
      const begin = performance.now();
      found.push(forward(network, side.data));
      milliseconds += performance.now() - begin;
      await new Promise((resolve) => setTimeout(resolve)); // lets the page draw and listen
    }
    return found;
  };
  const ages = await both(networks.age);
  const scores = await both(networks.gender);
  const [values, likes] = [ages, scores].map((found) => found.map(({ value }) => value));
  return { ages: values, scores: likes, terms: ages[0], milliseconds };
}

/** The picture under the oval, to drag and to resize. */
class Finder {
  /**
   * @param {Guide} guide
   * @param {() => void} onMove
   */
  constructor(guide, onMove) {
    this.onMove = onMove;
    this.live = false;
    /** @type {Source} */
    this.source = { picture: h("canvas"), width: 0, height: 0 }; // nothing, until the first picture is there
    this.view = { x: 0, y: 0, side: 0 }; // the middle of the square and its side, in the picture's pixels
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.message = h("p", { className: "ssr-message", role: "status", hidden: true });
    const screen = { className: "ssr-screen", tabIndex: 0, role: "application", "aria-label": HELP };
    this.screen = h("div", screen, this.canvas, guideLines(guide), this.message);
    this.size = h("input", { type: "range", min: 0, max: 1, step: 0.002 });
    this.sizeRow = h("label", { className: "ssr-row" }, h("span", {}, "Size"), this.size);
    this.size.addEventListener("input", () => this.onSize());
    this.screen.addEventListener("keydown", (event) => this.onKey(event));
    this.pointers = this.followPointers();
    this.end = onWidth(this.screen, () => this.draw());
  }

  /** The least and the largest side of the square. */
  limits() {
    return [LEAST_SIDE, 1.5 * Math.max(this.source.width, this.source.height)];
  }

  /**
   * Show another picture.
   * @param {Source} source
   * @param {boolean} live
   * @param {Square} [square] the face; otherwise all of the picture is shown
   */
  show(source, live, square) {
    this.source = source;
    this.pointers.clear();
    const { width, height } = source;
    if (square) return this.moveTo(square.left + square.side / 2, square.top + square.side / 2, square.side);
    // All of a picture fills the screen; faces in front of a camera are smaller than the oval.
    const whole = SQUARE.side * Math.max(width / SCREEN.width, height / SCREEN.height);
    const side = live ? whole / 1.5 : whole;
    const below = SQUARE.y + SQUARE.side / 2 - SCREEN.height / 2;
    this.moveTo(width / 2, height / 2 + (below * side) / SQUARE.side, side);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} side
   */
  moveTo(x, y, side) {
    const { width, height } = this.source;
    const [least, most] = this.limits();
    this.view = { x: clamp(x, 0, width), y: clamp(y, 0, height), side: clamp(side, least, most) };
    this.size.value = String(Math.log(most / this.view.side) / Math.log(most / least));
    this.draw();
    this.onMove();
  }

  /** What the networks get, in whole pixels of the picture. */
  square() {
    const side = Math.round(this.view.side);
    return { left: Math.round(this.view.x - side / 2), top: Math.round(this.view.y - side / 2), side };
  }

  draw() {
    const { canvas, screen, source, view } = this;
    if (!screen.clientWidth || !source.width) return;
    canvas.width = screen.clientWidth * devicePixelRatio;
    canvas.height = screen.clientHeight * devicePixelRatio;
    const context = pen(canvas);
    const unit = canvas.width / SCREEN.width;
    const scale = (unit * SQUARE.side) / view.side;
    context.imageSmoothingEnabled = scale < 4;
    context.imageSmoothingQuality = "high";
    if (this.live) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
    const x = unit * (SQUARE.x + SQUARE.side / 2) - scale * view.x;
    const y = unit * (SQUARE.y + SQUARE.side / 2) - scale * view.y;
    context.drawImage(source.picture, x, y, scale * source.width, scale * source.height);
  }

  onSize() {
    if (!this.source.width) return;
    const [least, most] = this.limits();
    this.moveTo(this.view.x, this.view.y, most * (least / most) ** Number(this.size.value));
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const { x, y, side } = this.view;
    const step = side / (event.shiftKey ? 8 : 64);
    /** @type {Record<string, [number, number, number]>} */
    const moves = {
      ArrowLeft: [step, 0, 1],
      ArrowRight: [-step, 0, 1],
      ArrowUp: [0, step, 1],
      ArrowDown: [0, -step, 1],
      "+": [0, 0, 0.97],
      "-": [0, 0, 1 / 0.97],
    };
    if (!(event.key in moves) || !this.source.width) return;
    event.preventDefault();
    const [dx, dy, factor] = moves[event.key];
    if (this.live) this.moveTo(x, y, side * factor);
    else this.moveTo(x + dx, y + dy, side * factor);
  }

  /** Let one finger drag the picture, and two resize it; return where the fingers are. */
  followPointers() {
    /** @type {Map<number, [number, number]>} */
    const pointers = new Map();
    const { screen } = this;
    screen.addEventListener("pointerdown", (event) => {
      if (this.live || !this.source.width) return;
      screen.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    screen.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId) || this.live) return;
      const before = middle(pointers);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      const now = middle(pointers);
      const { x, y, side } = this.view;
      const pixels = (side / SQUARE.side) * (SCREEN.width / screen.clientWidth);
      const factor = before.apart / Math.max(1, now.apart);
      this.moveTo(x - (now.x - before.x) * pixels, y - (now.y - before.y) * pixels, side * factor);
    });
    screen.addEventListener("lostpointercapture", (event) => pointers.delete(event.pointerId));
    return pointers;
  }
}

/**
 * Return the middle of all fingers, and how far the first two are apart.
 * @param {Map<number, [number, number]>} pointers
 */
function middle(pointers) {
  const all = [...pointers.values()];
  const [x, y] = [0, 1].map((i) => mean(all.map((point) => point[i])));
  return { x, y, apart: all.length > 1 ? Math.hypot(all[0][0] - all[1][0], all[0][1] - all[1][1]) : 1 };
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** What the networks answer: in words, as numbers, and as the stages' bins. */
class Result {
  /** @param {Built} built */
  constructor(built) {
    this.built = built;
    this.coverage = percent(built.age?.coverage ?? 0).replace(" ", "\u00a0");
    this.quickest = Infinity;
    this.spokenAt = -Infinity;
    this.speaking = 0; // a timer
    const label = "The 64 by 64 pixels that the networks get";
    const size = { width: FACE, height: FACE };
    this.seen = h("canvas", { className: "ssr-seen", ...size, role: "img", "aria-label": label });
    this.age = h("div", { className: "ssr-answer" });
    this.lines = h("dl", { className: "ssr-lines" });
    const caption = h("p", { className: "ssr-sumline" }, "what the networks get: 64 \u00d7 64 pixels");
    const halves = [h("div", {}, this.age, this.lines), h("div", {}, this.seen, caption)];
    this.element = h("div", { className: "ssr-result" }, ...halves);

    const bins = "The bins of the three stages of the age network";
    this.picture = s("svg", { class: "ssr-picture", role: "img", "aria-label": bins });
    this.text = h("p", { className: "ssr-note" });
    const place = h("div", { className: "ssr-canvas" }, this.picture);
    this.below = [place, this.text];
    this.spoken = h("p", { className: "ssr-hearing", "aria-live": "polite" });
    this.width = 0;
    this.redraw = () => {};
    const rest = onWidth(place, (width) => {
      this.width = width;
      this.redraw();
    });
    this.end = () => {
      rest();
      clearTimeout(this.speaking);
    };
  }

  /**
   * @param {Reading[]} readings their mean is the answer
   * @param {ImageData} face the last of them
   * @param {number} averaged how many pictures are, at most
   * @param {number} turn
   */
  show(readings, face, averaged, turn) {
    const last = readings[readings.length - 1];
    const years = mean(readings.flatMap(({ ages }) => ages));
    const apart = mean(readings.map(({ ages }) => Math.abs(ages[0] - ages[1])));
    const interval = ageInterval(this.built.age, years, apart);
    const male = probability(this.built.gender, mean(readings.flatMap(({ scores }) => scores)));
    this.quickest = Math.min(this.quickest, last.milliseconds);
    Object.assign(this.age.dataset, { age: years, low: interval?.[0], high: interval?.[1], male, turn });
    this.age.replaceChildren(h("strong", {}, years.toFixed(0)), " years");

    const range = interval && `${interval[0].toFixed(0)} to ${interval[1].toFixed(0)}`;
    const calibrated = this.built.gender !== null;
    const likelier = likelierGender(male);
    const gender = calibrated ? `${likelier} ${percent(Math.max(male, 1 - male))}` : likelier;
    const facts = {
      interval: range ? `${range} (${this.coverage})` : "not shown: these weights have no calibration",
      gender: calibrated ? gender : `${gender}; no calibration, so no probability`,
      p_male: `${male.toFixed(2)}${calibrated ? "" : ", a mere score"}`,
      time: `${last.milliseconds.toFixed(0)} ms a face`,
      "at best": `${this.quickest.toFixed(0)} ms`,
    };
    const rows = Object.entries(facts).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]);
    this.lines.replaceChildren(...rows);
    pen(this.seen).putImageData(face, 0, 0);
    this.drawStages(last, averaged);
    const live = averaged > 1;
    this.speak(`About ${years.toFixed(0)} years${range ? `, between ${range}` : ""}; ${gender}.`, live);
  }

  /**
   * @param {Reading} reading
   * @param {number} averaged
   */
  drawStages({ terms, ages }, averaged) {
    this.redraw = () => {
      if (this.width) drawStages(this.picture, { ...terms, unit: "years" }, this.width);
    };
    this.redraw();
    const mirrored = ages[1].toFixed(1);
    const over = averaged > 1 ? `, averaged over the last ${averaged} pictures` : "";
    this.text.textContent = `The stages of the age network add up to ${ages[0].toFixed(1)} years ` +
      `for these pixels, and to ${mirrored} for their mirror image. ` +
      `The answer is the mean of the two${over}.`;
  }

  /**
   * Let those who listen hear the answer once the picture rests, and the camera's now and then.
   * @param {string} text
   * @param {boolean} live
   */
  speak(text, live) {
    if (live && performance.now() - this.spokenAt < HUSH) return;
    clearTimeout(this.speaking);
    const aloud = () => {
      this.spokenAt = performance.now();
      this.spoken.textContent = text;
    };
    if (live) aloud();
    else this.speaking = setTimeout(aloud, REST);
  }
}

/**
 * Draw the oval, the square that the networks get, and where the eyes should be.
 * @param {Guide} guide
 */
function guideLines({ x, y, rx, ry, eyes }) {
  /** @param {number} px @param {number} py */
  const at = (px, py) => [SQUARE.x + px * SQUARE.side, SQUARE.y + py * SQUARE.side];
  const [cx, cy] = at(x, y);
  const [wide, high] = [rx * SQUARE.side, ry * SQUARE.side];
  const oval = `M${cx - wide} ${cy}a${wide} ${high} 0 1 0 ${2 * wide} 0a${wide} ${high} 0 1 0 ${-2 * wide} 0`;
  const marks = eyes.map((eye) => {
    const [ex, ey] = at(...eye);
    return `M${ex - 7} ${ey}h14M${ex} ${ey - 4}v8`;
  });
  const around = `M0 0h${SCREEN.width}v${SCREEN.height}h${-SCREEN.width}z${oval}`;
  const box = { x: SQUARE.x, y: SQUARE.y, width: SQUARE.side, height: SQUARE.side };
  return s(
    "svg",
    { class: "ssr-guide", viewBox: `0 0 ${SCREEN.width} ${SCREEN.height}`, "aria-hidden": "true" },
    s("path", { class: "ssr-shade", d: around, "fill-rule": "evenodd" }),
    s("rect", { class: "ssr-square", ...box }),
    s("path", { class: "ssr-oval", d: oval }),
    s("path", { class: "ssr-eyes", d: marks.join("") }),
  );
}

/** @param {{ model: Model, el: HTMLElement }} place */
function render({ model, el }) {
  return new TryIt(model, el).end;
}

export default { render };
