// The webcam demo's browser side: camera to JPEG frames, answers to boxes.

import { Camera, watchTab } from "./camera.js";
import { Chart, line } from "./chart.js";
import { FACE } from "./face.js";
import {
  button,
  download,
  fixed,
  h,
  listen,
  onDrop,
  onWidth,
  pen,
  percent,
  pictureInput,
  s,
  say,
  setBusy,
  shell,
} from "./dom.js";
import { drawStages } from "./stages.js";

/** @import { Model } from "./dom.js" */
/** @import { Point } from "./chart.js" */
/** @import { Terms } from "./stages.js" */

/**
 * @typedef {object} Numbers of a face
 * @property {number} age
 * @property {number | null} age_low
 * @property {number | null} age_high
 * @property {number} p_male
 * @property {string} gender
 */

/**
 * @typedef {object} Seen as webcam.py sends it, beside the averaged numbers
 * @property {number} track
 * @property {[number, number, number, number]} box left, top, width and height in the frame's pixels
 * @property {Numbers} latest of this frame alone
 * @property {Numbers} label the averages that keep still: in whole years, and p_male in hundredths
 * @property {boolean} sure whether it is a face at all
 * @typedef {Numbers & Seen} Face
 */

/** @typedef {Omit<Terms, "range"> & { value_range: number, unit: string }} FaceTerms of the chosen face */

/**
 * @typedef {object} Answer
 * @property {number} id
 * @property {string} view
 * @property {number} width
 * @property {number} height
 * @property {Face[]} faces
 * @property {"dark" | "small" | "tilted" | ""} hint what keeps faces from being found or read well
 * @property {Partial<FaceTerms>} [details] without terms, where the network has no stages
 * @property {number} milliseconds
 * @property {string} [error]
 */

/** @typedef {Numbers & { what: string }} Note */

/** @typedef {{ left: number, top: number, right: number, bottom: number }} Area in pixels of the page */

/** @typedef {{ track: number, tag: HTMLButtonElement, face: Area }} Placed a face's tag and where it belongs */

const MOST_UNANSWERED = 2;
const PATIENCE = 5000; // milliseconds without an answer, after which the page says so
const SPEED_OVER = 3000; // milliseconds
const STILL_SIDE = 1280;
const DRAG = 12; // pixels of the page: a shorter drag is a click
const LOST = 1500; // milliseconds for which a face that is not seen keeps the focus
const GAP = 6; // between a face and its label, as in style.css
const REMEMBERED = 12000; // milliseconds of ages in the small chart

const MESSAGES = {
  start: "Press Start and look into the camera, or drop a photo here.",
  source: "Press Start.",
  page: "This demo needs Python behind it: run this chapter in JupyterLab (make lab).",
  saved: "This demo needs Python behind it: run this cell (Shift+Enter).",
  waiting: "Python has not answered yet. If it is busy with another cell, the demo goes on by itself; " +
    "if the kernel was restarted, run this cell again.",
  gone: "The kernel has gone. Run this cell again.",
  unseen: "No face is seen.",
  nobody: "No face is seen. Look into the camera, or draw a box around a face.",
  nobodyHere: "No face was found in this photo. Draw a box around one.",
  image: "The browser cannot read this file as an image.",
};

const HINTS = {
  dark: "The picture is dark: more light, please.",
  small: "Come closer: this face has fewer pixels than the network reads.",
  tilted: "Hold your head upright: a face is turned too far to be read.",
};
const HINTS_HERE = {
  ...HINTS,
  dark: "No face was found: the photo is dark. Draw a box around one.",
  tilted: "A face is turned too far to be read: turn the photo.",
};

/** What to say where no Python answers. Jupyter's own pages, which can run the cell, have their settings in them. */
function withoutPython() {
  return document.getElementById("jupyter-config-data") ? MESSAGES.saved : MESSAGES.page;
}

class WebcamDemo {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.source = /** @type {string} */ (model.get("source"));
    this.first = this.source ? MESSAGES.source : MESSAGES.start;
    this.channel = new Channel(model);
    this.running = false;
    this.turn = 0; // counts starts and stops: what began before the last of them is over
    /** @type {number | null} */
    this.frozenAt = null; // a frozen picture keeps its time, however late it is asked about again
    /** @type {number[][]} */
    this.drawn = []; // boxes that somebody drew on a picture that stands still: left, top, width, height
    this.again = false; // a frozen picture waits for a free place among the unanswered
    this.encoding = false;
    /** @type {Blob | null} */
    this.photo = null; // a still that was dropped, as a JPEG
    /** @type {Answer | null} */
    this.answer = null;
    /** @type {number | null} */
    this.chosen = null;

    this.controls = controls(this);
    this.screen = screen(this);
    this.details = new Details(() => this.askAgain());
    this.notes = new Notes(model, () => this.shown(this.theChosen()), this.screen.message);
    this.rate = h("span", { className: "ssr-rate" });
    this.spoken = h("p", { className: "ssr-hearing", "aria-live": "polite" });
    const privacy = h("span", {}, "Frames stay in memory; none is saved unless you ask for it.");
    const status = h("div", { className: "ssr-status" }, this.rate, privacy);
    const folded = [this.details.element, this.notes.element];
    this.root = shell("ssr-webcam", this.controls.bar, this.screen.place, status, ...folded, this.spoken);
    el.replaceChildren(this.root);
    const { message, video } = this.screen;
    const lost = (/** @type {string} */ text) => this.stop(text);
    const again = { again: "press Start", instead: "drop a photo here" };
    this.camera = new Camera({ video, message, ...again, onFrame: () => this.sendVideo(), onGone: lost });

    this.stop(model.send ? this.first : withoutPython());
    if (this.source) { for (const part of [this.controls.open, this.controls.mirror]) part.hidden = true; }
    if (!model.send) {
      this.root.classList.add("ssr-note-only");
      for (const part of [this.controls.bar, status, ...folded]) part.hidden = true;
    }
    this.end = this.begin();
  }

  /** Listen to Python and look around; return how to end everything. */
  begin() {
    const ends = [
      listen(this.model, {
        "msg:custom": (content, buffers) => this.hear(content, buffers),
        comm_live_update: () => this.stop(MESSAGES.gone),
      }),
      watchTab(this.screen.message, () => this.running, () => this.pull()),
      this.details.end,
      this.notes.end,
    ];
    const looking = setInterval(() => this.look(), 1000);
    return () => {
      this.stop("");
      clearInterval(looking);
      for (const end of ends) end();
    };
  }

  // Start, stop, freeze.

  async start() {
    this.stop("");
    const own = this.turn;
    const { cameras, start } = this.controls;
    const { message, video } = this.screen;
    if (this.source) {
      this.setRunning(true);
      say(message, "Opening \u2026");
      return this.pull();
    }
    setBusy(start, true);
    const which = cameras.value ? { deviceId: { exact: cameras.value } } : { facingMode: "user" };
    // Meanwhile a photo may have been dropped, another camera chosen, or the cell run again.
    const wanted = () => own === this.turn && this.root.isConnected;
    const opened = await this.camera.open(which, wanted);
    setBusy(start, false);
    if (own !== this.turn) return;
    if (!opened) {
      // A camera that cannot be had must not be asked for again and again.
      cameras.replaceChildren();
      cameras.hidden = true;
      return;
    }
    video.hidden = false;
    this.setRunning(true);
    this.drawBoxes();
    say(message, "Waiting for the first answer \u2026");
    offerCameras(cameras, this.camera);
  }

  /** @param {string} text what is said instead */
  stop(text) {
    const asked = this.running;
    this.turn += 1;
    this.camera.close();
    this.photo = this.answer = this.chosen = null;
    this.setRunning(false);
    this.channel.clear();
    this.details.forget();
    this.screen.boxes.clear();
    this.screen.place.classList.remove("ssr-drawable", "ssr-nobody");
    this.screen.video.hidden = this.screen.still.hidden = true;
    this.rate.textContent = "";
    say(this.screen.message, text);
    if (asked) this.channel.tellStop();
  }

  /** @param {boolean} running */
  setRunning(running) {
    this.running = running;
    this.root.classList.toggle("ssr-idle", !running);
    this.controls.start.textContent = running ? "Stop" : "Start";
    this.controls.freeze.disabled = !running;
    this.controls.save.disabled = true;
    this.freeze(false);
  }

  /** @param {boolean} frozen */
  freeze(frozen) {
    this.frozenAt = frozen ? performance.now() : null;
    this.drawn = [];
    this.again = false;
    this.controls.freeze.textContent = frozen ? "Go on" : "Freeze";
    this.controls.freeze.setAttribute("aria-pressed", String(frozen));
    if (!this.camera.stream) {
      if (!frozen) this.pull();
    } else if (frozen) {
      this.screen.video.pause();
      this.askAgain();
    } else {
      this.screen.video.play().catch(() => {});
    }
  }

  /** Let the picture stand still, as a photo does; return whether it had to be frozen for that. */
  hold() {
    const moves = !this.photo && this.frozenAt === null;
    if (moves) this.freeze(true);
    return moves;
  }

  /**
   * Show a photo instead of the camera.
   * @param {File} file
   */
  async show(file) {
    this.stop("");
    const own = this.turn;
    const { place, message } = this.screen;
    try {
      const image = await createImageBitmap(file, { imageOrientation: "from-image" });
      const scale = Math.min(1, STILL_SIDE / Math.max(image.width, image.height));
      const size = [image.width, image.height].map((side) => Math.round(side * scale));
      const { canvas, jpeg } = await toJpeg(image, size[0], size[1]);
      const { width, height } = image;
      image.close();
      if (own !== this.turn) return;
      setShape(place, width, height);
      this.photo = jpeg;
      showStill(this.screen, canvas);
    } catch {
      if (own === this.turn) say(message, MESSAGES.image);
      return;
    }
    this.root.classList.remove("ssr-idle");
    say(message, "Reading \u2026");
    this.askAgain();
  }

  // Frames go out.

  async sendVideo() {
    const { video } = this.screen;
    const resting = document.hidden || (this.frozenAt !== null && !this.again);
    if (this.encoding || this.channel.full || !video.videoWidth || resting) return;
    this.encoding = true;
    this.again = false;
    try {
      const { jpeg } = await toJpeg(video, video.videoWidth, video.videoHeight);
      if (this.running && jpeg && !document.hidden) await this.ask({}, jpeg);
    } finally {
      this.encoding = false;
    }
    if (this.again) this.sendVideo();
  }

  /** Ask about the same picture once more: another face is chosen, or its details are opened. */
  askAgain() {
    if (this.photo) return this.ask({ still: true }, this.photo);
    this.again = this.frozenAt !== null && !this.source;
    if (this.again) this.sendVideo();
  }

  /** Ask for frames of a source in Python. */
  pull() {
    const resting = this.frozenAt !== null || document.hidden;
    while (this.running && this.source && !resting && !this.channel.full) this.ask({ kind: "next" });
  }

  /**
   * @param {object} content
   * @param {Blob} [picture]
   */
  ask(content, picture) {
    const time = this.frozenAt ?? performance.now();
    const about = { time, chosen: this.chosen, details: this.details.element.open, boxes: this.drawn };
    return this.channel.send({ ...about, ...content }, picture);
  }

  // Answers come in.

  /**
   * @param {Answer} answer
   * @param {DataView<ArrayBuffer>[]} buffers
   */
  hear(answer, buffers) {
    if (answer.view !== this.channel.view) return;
    const fresh = this.channel.take(answer);
    if (this.again) this.sendVideo();
    if (!fresh) return;
    const { message } = this.screen;
    const { error } = answer;
    if (error && this.source) return this.stop(error);
    if (error) return say(message, `${error[0].toUpperCase()}${error.slice(1)}.`);
    this.answer = answer;
    if (!this.running || !document.hidden) say(message, this.adviceOn(answer)); // a late answer: it is paused
    this.controls.save.disabled = false;
    this.screen.place.classList.toggle("ssr-drawable", this.canDraw);
    this.screen.place.classList.toggle("ssr-nobody", this.canDraw && !answer.faces.length);
    const pictures = [...buffers];
    if (this.source) this.showJpeg(pictures.shift(), answer.id);
    this.drawBoxes();
    if (answer.details) this.details.draw(answer.details, pictures[0]);
    this.details.remember(this.photo ? undefined : this.theChosen());
    this.pull();
  }

  /** What to do about an answer that shows nobody, or a face that cannot be read well. @param {Answer} answer */
  adviceOn({ faces, hint }) {
    // A video cannot be told to come closer.
    if (this.source) return faces.length ? "" : MESSAGES.unseen;
    if (hint) return (this.photo ? HINTS_HERE : HINTS)[hint];
    if (faces.length) return "";
    return this.photo ? MESSAGES.nobodyHere : MESSAGES.nobody;
  }

  /**
   * @param {DataView<ArrayBuffer> | undefined} bytes
   * @param {number} id
   */
  async showJpeg(bytes, id) {
    if (!bytes) return;
    const own = this.turn;
    const image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    if (own === this.turn && id === this.channel.shown) showStill(this.screen, image);
    image.close();
  }

  theChosen() {
    return this.answer?.faces.find((face) => face.track === this.chosen) ?? this.answer?.faces[0];
  }

  /** A face's numbers, before they are rounded for its label. @param {Face | undefined} face */
  shown(face) {
    return face && (isChecked(this.controls.smooth) ? face : face.latest);
  }

  /** A box's pixels must be in the browser: frames of a source are Python's. */
  get canDraw() {
    return this.answer !== null && !this.source;
  }

  /**
   * Read what is in a box, whether or not it is found to be a face.
   * @param {Area} area of the page
   */
  readBox({ left, top, right, bottom }) {
    if (!this.answer) return;
    const { width, height } = this.answer;
    const place = this.screen.boxes.element.getBoundingClientRect();
    const scale = width / place.width;
    const wide = (right - left) * scale;
    const x = (this.mirrored ? place.right - right : left - place.left) * scale;
    const y = (top - place.top) * (height / place.height);
    const sides = [wide, (bottom - top) * (height / place.height)];
    const box = [x, y, ...sides.map((side) => Math.max(1, side))].map(Math.round);
    this.drawn = [...this.drawn, box]; // a new list: what was asked before had the old one
    this.askAgain();
  }

  /** Save the picture with its boxes and labels, as it is on the screen. */
  savePicture() {
    if (!this.answer) return;
    const { width, height } = this.answer;
    const { still, video, boxes } = this.screen;
    const canvas = h("canvas", { width, height });
    const ink = pen(canvas);
    if (this.mirrored) ink.setTransform(-1, 0, 0, 1, width, 0);
    ink.drawImage(still.hidden ? video : still, 0, 0, width, height);
    ink.resetTransform();
    boxes.paint(ink, width);
    download(canvas, "faces.png");
  }

  /** @param {number} track */
  choose(track) {
    this.chosen = track;
    this.details.forget();
    this.askAgain();
    this.drawBoxes();
  }

  drawBoxes() {
    this.root.classList.toggle("ssr-mirrored", this.mirrored);
    if (!this.answer) return;
    setShape(this.screen.place, this.answer.width, this.answer.height);
    const smooth = isChecked(this.controls.smooth);
    const { boxes } = this.screen;
    boxes.arrange(boxes.draw(this.answer, this.theChosen()?.track, this.mirrored, smooth), this.chosen);
  }

  get mirrored() {
    return isChecked(this.controls.mirror) && !this.source && !this.photo;
  }

  /** Once a second: how fast it goes, whether Python answers, and a word for those who listen. */
  look() {
    const now = performance.now();
    if (this.channel.waits(now)) say(this.screen.message, MESSAGES.waiting);
    const speed = this.channel.speed(now);
    if (this.running && this.frozenAt === null) this.rate.textContent = speed;
    const face = this.theChosen();
    const text = face ? sentence(face, isChecked(this.controls.smooth)) : "";
    const turn = Math.floor(now / 1000) % 4 === 0;
    if (text !== this.spoken.textContent && turn) this.spoken.textContent = text;
  }
}

/** @param {WebcamDemo} demo */
function controls(demo) {
  const main = { className: "ssr-button ssr-main" };
  const press = () => demo.running ? demo.stop(demo.first) : demo.start();
  const start = button(press, main, "Start");
  const freeze = button(() => demo.freeze(demo.frozenAt === null), { disabled: true }, "Freeze");
  const cameras = h("select", { className: "ssr-select", hidden: true, "aria-label": "Camera" });
  const file = pictureInput((chosen) => demo.show(chosen));
  const open = button(() => file.click(), {}, "Open a photo");
  const [mirror, smooth] = ["Mirror", "Smooth"].map((text) =>
    h("label", { className: "ssr-check" }, h("input", { type: "checkbox", checked: true }), text)
  );
  const save = button(() => demo.savePicture(), { disabled: true }, "Save picture");
  const parts = [start, freeze, cameras, open, file, save, mirror, smooth];
  const bar = h("div", { className: "ssr-bar", role: "toolbar", "aria-label": "Camera controls" }, ...parts);
  cameras.addEventListener("change", () => demo.start());
  for (const check of [mirror, smooth]) check.addEventListener("change", () => demo.drawBoxes());
  return { bar, start, freeze, cameras, open, save, mirror, smooth };
}

/** @param {HTMLLabelElement} check */
function isChecked(check) {
  return /** @type {HTMLInputElement} */ (check.control).checked;
}

/** @param {WebcamDemo} demo */
function screen(demo) {
  const video = h("video", { autoplay: true, muted: true, playsInline: true, hidden: true });
  const still = h("canvas", { hidden: true, "aria-hidden": "true" });
  const boxes = new Boxes((track) => demo.choose(track), () => demo.controls.start.focus());
  const message = h("p", { className: "ssr-message", role: "status" });
  const place = h("div", { className: "ssr-screen" }, video, still, boxes.element, message);
  video.addEventListener("loadedmetadata", () => setShape(place, video.videoWidth, video.videoHeight));
  onDrop(place, (file) => {
    if (file && demo.model.send && !demo.source) demo.show(file);
  });
  const drawn = { mayBegin: () => demo.canDraw, onBegin: () => demo.hold() };
  onDrawn(place, { ...drawn, onEnd: (area) => demo.readBox(area), onNothing: () => demo.freeze(false) });
  return { place, video, still, boxes, message };
}

/**
 * Give the screen a picture's shape; style.css keeps it from being higher than the window.
 * @param {HTMLElement} place
 * @param {number} width
 * @param {number} height
 */
function setShape(place, width, height) {
  place.style.setProperty("--ratio", String(width / height));
}

/**
 * Let people draw a box with the mouse, a pen or a finger.
 * @param {HTMLElement} place
 * @param {{ mayBegin: () => boolean, onBegin: () => boolean, onEnd: (area: Area) => void, onNothing: () => void }} drawn
 *   `onBegin` says whether it froze the picture, and `onNothing` undoes that if no box came of it
 */
function onDrawn(place, { mayBegin, onBegin, onEnd, onNothing }) {
  const sketch = h("div", { className: "ssr-sketch", hidden: true });
  place.append(sketch);
  /** @type {Area | null} */
  let area = null;
  let [x, y] = [0, 0]; // where the drag began
  let froze = false;
  place.addEventListener("pointerdown", (event) => {
    const isFace = /** @type {Element} */ (event.target).closest(".ssr-face");
    if (event.button || !event.isPrimary || isFace || !mayBegin()) return;
    [x, y] = [event.clientX, event.clientY];
    place.setPointerCapture(event.pointerId);
  });
  place.addEventListener("pointermove", (event) => {
    if (!place.hasPointerCapture(event.pointerId)) return;
    const edge = place.getBoundingClientRect();
    const toX = Math.min(edge.right, Math.max(edge.left, event.clientX));
    const toY = Math.min(edge.bottom, Math.max(edge.top, event.clientY));
    if (Math.min(Math.abs(toX - x), Math.abs(toY - y)) < DRAG && !area) return;
    if (!area) froze = onBegin();
    area = {
      left: Math.min(x, toX),
      top: Math.min(y, toY),
      right: Math.max(x, toX),
      bottom: Math.max(y, toY),
    };
    const at = { left: area.left - edge.left, top: area.top - edge.top };
    const size = { width: area.right - area.left, height: area.bottom - area.top };
    for (const [name, value] of Object.entries({ ...at, ...size })) {
      sketch.style.setProperty(name, `${value}px`);
    }
    sketch.hidden = false;
  });
  const end = (/** @type {boolean} */ isWhole) => {
    const size = area ? Math.min(area.right - area.left, area.bottom - area.top) : 0;
    if (area && isWhole && size >= DRAG) onEnd(area);
    else if (area && froze) onNothing();
    area = null;
    sketch.hidden = true;
  };
  place.addEventListener("pointerup", () => end(true));
  place.addEventListener("pointercancel", () => end(false));
}

/**
 * Show a picture that stands still, in place of the video.
 * @param {{ still: HTMLCanvasElement, video: HTMLVideoElement }} screen
 * @param {HTMLCanvasElement | ImageBitmap} image
 */
function showStill({ still, video }, image) {
  still.width = image.width;
  still.height = image.height;
  pen(still).drawImage(image, 0, 0);
  still.hidden = false;
  video.hidden = true;
}

/**
 * @param {CanvasImageSource} picture
 * @param {number} width
 * @param {number} height
 * @returns {Promise<{ canvas: HTMLCanvasElement, jpeg: Blob | null }>}
 */
function toJpeg(picture, width, height) {
  const canvas = h("canvas", { width, height });
  pen(canvas).drawImage(picture, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob((jpeg) => resolve({ canvas, jpeg }), "image/jpeg", 0.85));
}

/**
 * Let people choose among several cameras.
 * @param {HTMLSelectElement} cameras
 * @param {Camera} camera
 */
async function offerCameras(cameras, camera) {
  const current = camera.stream?.getVideoTracks()[0].getSettings().deviceId ?? "";
  const devices = await navigator.mediaDevices.enumerateDevices();
  const found = devices.filter((device) => device.kind === "videoinput");
  const options = found.map(({ label, deviceId }, i) => new Option(label || `Camera ${i + 1}`, deviceId));
  cameras.replaceChildren(...options);
  cameras.value = current;
  cameras.hidden = found.length < 2;
}

/** Messages to Python: no queue grows, and no answer is shown after a newer one. */
class Channel {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.view = Math.random().toString(36).slice(2);
    this.count = 0;
    this.shown = 0; // the number of the newest answer
    /** @type {Map<number, number>} */
    this.unanswered = new Map(); // the number of a message, and when it was sent
    /** @type {{ at: number, there: number, inside: number }[]} */
    this.answered = []; // when the latest answers came, and after how many milliseconds
  }

  get full() {
    return this.unanswered.size >= MOST_UNANSWERED;
  }

  /**
   * @param {object} content
   * @param {Blob} [picture]
   */
  async send(content, picture) {
    const id = ++this.count;
    this.unanswered.set(id, performance.now());
    const buffers = picture && [await picture.arrayBuffer()];
    this.model.send?.({ kind: "frame", id, view: this.view, ...content }, undefined, buffers);
  }

  tellStop() {
    this.model.send?.({ kind: "stop", view: this.view });
  }

  /**
   * Take in an answer; return whether it is newer than what was shown.
   * @param {Answer} answer
   */
  take({ id, milliseconds }) {
    const sent = this.unanswered.get(id);
    this.unanswered.delete(id);
    if (id <= this.shown || sent === undefined) return false;
    this.shown = id;
    const at = performance.now();
    this.answered.push({ at, there: at - sent, inside: milliseconds });
    return true;
  }

  /** @param {number} now */
  waits(now) {
    return now - Math.min(...this.unanswered.values()) > PATIENCE;
  }

  /**
   * Tell how fast answers came lately, if any did.
   * @param {number} now
   */
  speed(now) {
    while (this.answered.length && now - this.answered[0].at > SPEED_OVER) this.answered.shift();
    const { length } = this.answered;
    if (length < 2) return "";
    const seconds = (this.answered[length - 1].at - this.answered[0].at) / 1000;
    if (!seconds) return "";
    /** @param {number[]} values */
    const middle = (values) => values.sort((a, b) => a - b)[length >> 1].toFixed(0);
    const speed = ((length - 1) / seconds).toFixed(0);
    const there = middle(this.answered.map((answer) => answer.there));
    const inside = middle(this.answered.map((answer) => answer.inside));
    const frames = speed === "1" ? "frame" : "frames";
    return `${speed} ${frames} a second; ${there} ms from frame to answer, ${inside} of them in Python`;
  }

  clear() {
    this.unanswered.clear();
    this.answered = [];
  }
}

/** The faces' boxes over the picture, each a button that chooses its face. */
class Boxes {
  /**
   * @param {(track: number) => void} onChoose
   * @param {() => void} onLost takes the focus of a face that has gone
   */
  constructor(onChoose, onLost) {
    this.onChoose = onChoose;
    this.onLost = onLost;
    this.element = h("div", { className: "ssr-boxes" });
    /** @type {Map<number, HTMLButtonElement>} */
    this.tags = new Map(); // by the face's track
    /** @type {Map<number, number>} */
    this.missed = new Map(); // since when a face with the focus is not seen
  }

  clear() {
    this.tags.clear();
    this.missed.clear();
    this.element.replaceChildren();
  }

  /**
   * @param {Answer} answer
   * @param {number | undefined} chosen
   * @param {boolean} mirrored
   * @param {boolean} smooth
   * @returns {Placed[]}
   */
  draw({ width, height, faces }, chosen, mirrored, smooth) {
    const across = this.element.clientWidth / width;
    const down = this.element.clientHeight / height;
    for (const [track, tag] of this.tags) {
      const isSeen = faces.some((face) => face.track === track);
      // Who has put the focus there would lose it with the first frame in which the face is missed.
      tag.classList.toggle("ssr-missed", !isSeen);
      const since = this.missed.get(track) ?? performance.now();
      if (isSeen) this.missed.delete(track);
      else this.missed.set(track, since);
      const isFocused = tag === document.activeElement;
      if (isSeen || (isFocused && performance.now() - since < LOST)) continue;
      if (isFocused) this.onLost();
      tag.remove();
      this.tags.delete(track);
      this.missed.delete(track);
    }
    return faces.map((face) => {
      const tag = this.tags.get(face.track) ?? this.add(face.track);
      const [x, y, wide, high] = face.box;
      const left = mirrored ? width - x - wide : x;
      Object.assign(tag.style, {
        left: `${(100 * left) / width}%`,
        top: `${(100 * y) / height}%`,
        width: `${(100 * wide) / width}%`,
        height: `${(100 * high) / height}%`,
      });
      const isChosen = face.track === chosen;
      tag.setAttribute("aria-pressed", String(isChosen));
      const shown = labeled(face, smooth);
      // Who has put the focus there would hear a new name several times a second.
      if (tag !== document.activeElement) {
        tag.setAttribute("aria-label", `Face ${face.track}: ${sentence(face, smooth)}`);
      }
      const age = h("strong", {}, fixed(shown.age, 0));
      const others = [rangeOf(shown, "\u2013"), genderOf(shown), face.sure ? "" : "a face?"].filter(Boolean);
      labelOf(tag).replaceChildren(age, ...others.map((text) => h("span", {}, text)));
      // Not where the tag is: it is still on its way there.
      const area = {
        left: left * across,
        right: (left + wide) * across,
        top: y * down,
        bottom: (y + high) * down,
      };
      return { track: face.track, tag, face: area };
    });
  }

  /**
   * Put labels where they cover no other face and no other label: above their face, below it, in it; or only the
   * age. The face that somebody chose shows all.
   * @param {Placed[]} tags
   * @param {number | null} chosen
   */
  arrange(tags, chosen) {
    const { clientWidth: width, clientHeight: height } = this.element;
    const big = (/** @type {Area} */ { left, right }) => right - left;
    tags.sort((a, b) => big(b.face) - big(a.face));
    for (const { tag } of tags) tag.classList.remove("ssr-short");
    const labels = tags.map(({ tag }) => [labelOf(tag).offsetWidth, labelOf(tag).offsetHeight]);
    /** @type {Area[]} */
    const taken = [];
    for (const [i, { track, tag, face }] of tags.entries()) {
      const [wide, high] = labels[i];
      const isRight = face.left + face.right > width;
      const left = isRight ? face.right - wide : face.left;
      const others = [...taken, ...tags.filter((other) => other.tag !== tag).map((other) => other.face)];
      const free = PLACES.find((name) => {
        const top = { above: face.top - GAP - high, below: face.bottom + GAP, inside: face.top + GAP }[name];
        const area = { left, top, right: left + wide, bottom: top + high };
        const isIn = left >= 0 && area.right <= width && top >= 0 && area.bottom <= height;
        return isIn && !others.some((other) => meet(area, other)) && taken.push(area);
      });
      const place = free ?? (track === chosen ? "inside" : undefined);
      tag.classList.toggle("ssr-right", isRight);
      for (const name of ["below", "inside"]) tag.classList.toggle(`ssr-${name}`, place === name);
      tag.classList.toggle("ssr-short", !place);
    }
  }

  /**
   * Draw the boxes and labels as they stand on the screen.
   * @param {CanvasRenderingContext2D} ink
   * @param {number} width of the picture
   */
  paint(ink, width) {
    const scale = width / this.element.clientWidth;
    ink.scale(scale, scale);
    ink.textBaseline = "middle";
    for (const tag of this.tags.values()) {
      if (tag.classList.contains("ssr-missed")) continue;
      const color = getComputedStyle(tag).borderTopColor;
      const face = inside(tag, this.element);
      Object.assign(ink, { strokeStyle: color, lineWidth: 2 });
      ink.strokeRect(face.left, face.top, face.right - face.left, face.bottom - face.top);
      const label = inside(labelOf(tag), this.element);
      const look = getComputedStyle(labelOf(tag));
      ink.fillStyle = look.backgroundColor;
      ink.fillRect(label.left, label.top, label.right - label.left, label.bottom - label.top);
      for (const part of labelOf(tag).children) {
        const { left, right, top, bottom } = inside(part, this.element);
        // Where digits have one width, the shorthand is empty: as one, it could not say so.
        const { fontStyle, fontWeight, fontSize, fontFamily, color: fillStyle } = getComputedStyle(part);
        const font = `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
        Object.assign(ink, { font, fillStyle });
        if (right > left) ink.fillText(part.textContent ?? "", left, (top + bottom) / 2);
      }
    }
  }

  /** @param {number} track */
  add(track) {
    const label = h("span", { className: "ssr-label" });
    const tag = button(() => this.onChoose(track), { className: "ssr-face" }, label);
    this.tags.set(track, tag);
    this.element.append(tag);
    return tag;
  }
}

const PLACES = /** @type {const} */ (["above", "below", "inside"]);

/** @param {HTMLButtonElement} tag */
function labelOf(tag) {
  return /** @type {HTMLElement} */ (tag.firstElementChild);
}

/**
 * Where an element lies in another one.
 * @param {Element} element
 * @param {Element} whole
 * @returns {Area}
 */
function inside(element, whole) {
  const { left: x, top: y } = whole.getBoundingClientRect();
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return { left: left - x, top: top - y, right: right - x, bottom: bottom - y };
}

/** @param {Area} a @param {Area} b */
function meet(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/**
 * Write the interval of a face's age, if its weights have a calibration.
 * @param {Pick<Face, "age_low" | "age_high">} face
 * @param {string} between
 */
function rangeOf({ age_low, age_high }, between) {
  return age_low === null || age_high === null ? "" : fixed(age_low, 0) + between + fixed(age_high, 0);
}

/** @param {Pick<Face, "gender" | "p_male">} face */
function genderOf({ gender, p_male }) {
  return `${gender} ${percent(Math.max(p_male, 1 - p_male))}`;
}

/**
 * A face's numbers as its label shows them.
 * @param {Face} face
 * @param {boolean} smooth
 * @returns {Numbers}
 */
function labeled(face, smooth) {
  return smooth ? { ...face, ...face.label } : face.latest;
}

/** @param {Face} face @param {boolean} smooth */
function sentence(face, smooth) {
  const shown = labeled(face, smooth);
  const range = rangeOf(shown, " and ");
  const doubt = face.sure ? "" : "; not sure that it is a face";
  return `about ${fixed(shown.age, 0)} years${range && `, between ${range}`}; ${genderOf(shown)}${doubt}`;
}

const SUMMARY = "The age over the last seconds: single readings and their average";
const CHART_TEXT =
  "The last 12 seconds: dots are single frames, the line is the average that the label shows.";

/** What the network sees: 64 x 64 pixels, the stages, and the age over time. */
class Details {
  /** @param {() => void} onToggle */
  constructor(onToggle) {
    const label = "The 64 by 64 pixels that the network reads";
    const size = { width: FACE, height: FACE };
    this.seen = h("canvas", { className: "ssr-seen", ...size, role: "img", "aria-label": label });
    const bins = "The bins of the three stages for the chosen face";
    this.stages = s("svg", { class: "ssr-picture", role: "img", "aria-label": bins });
    this.text = h("p", { className: "ssr-note" });
    this.chart = new Chart(120, { left: 32, right: 8, top: 8, bottom: 8 });
    const charts = h("div", {}, this.chart.place, h("p", { className: "ssr-note" }, CHART_TEXT));
    const panel = h("div", { className: "ssr-panel" }, h("div", {}, this.seen), charts);
    const place = h("div", { className: "ssr-canvas" }, this.stages);
    const parts = [h("summary", {}, "What the network sees"), panel, place, this.text];
    this.element = h("details", { className: "ssr-details" }, ...parts);
    this.element.addEventListener("toggle", onToggle);
    this.width = 0;
    /** @type {FaceTerms | null} */
    this.shown = null;
    /** @type {{ time: number, latest: number, age: number }[]} */
    this.ages = []; // the chosen face's, of the last seconds
    this.track = 0; // whose they are
    this.end = onWidth(place, (width) => {
      this.width = width;
      this.drawStages();
    });
  }

  /**
   * @param {Partial<FaceTerms>} terms
   * @param {DataView<ArrayBuffer>} pixels RGB
   */
  draw(terms, pixels) {
    const image = new ImageData(FACE, FACE);
    for (let i = 0; i < FACE * FACE; i++) {
      for (let color = 0; color < 3; color++) image.data[4 * i + color] = pixels.getUint8(3 * i + color);
      image.data[4 * i + 3] = 255;
    }
    pen(this.seen).putImageData(image, 0, 0);
    this.shown = terms.p ? /** @type {FaceTerms} */ (terms) : null;
    if (!this.shown) {
      this.text.textContent = "This network runs without PyTorch, and tells nothing of its stages.";
    }
    this.drawStages();
  }

  drawStages() {
    if (!this.shown || !this.width) return;
    const { value_range: range, ...terms } = this.shown;
    const { stages } = drawStages(this.stages, { ...terms, range }, this.width);
    const sum = stages[stages.length - 1].value.toFixed(1);
    this.text.textContent = `The stages of this one picture add up to ${sum} years. ` +
      "The label also averages over time, and over the picture\u2019s mirror image.";
  }

  /** @param {Face | undefined} face */
  remember(face) {
    const time = performance.now();
    if (face && face.track !== this.track) this.ages = [];
    this.track = face ? face.track : this.track;
    if (face) this.ages.push({ time, latest: face.latest.age, age: face.age });
    this.ages = this.ages.filter((age) => time - age.time <= REMEMBERED);
    if (this.element.open) this.drawAges(time);
  }

  /** What is shown belongs to another face, or to nobody. */
  forget() {
    this.ages = [];
    this.shown = null;
    this.stages.replaceChildren();
    this.chart.svg.replaceChildren();
    this.text.textContent = "";
    pen(this.seen).clearRect(0, 0, FACE, FACE);
  }

  /** @param {number} now */
  drawAges(now) {
    if (!this.ages.length) return this.chart.svg.replaceChildren();
    const all = this.ages.flatMap(({ latest, age }) => [latest, age]);
    const low = Math.floor(Math.min(...all) - 2);
    const high = Math.ceil(Math.max(...all) + 2);
    const scales = this.chart.begin([-REMEMBERED, 0], [low, high], [], SUMMARY);
    if (!scales) return;
    const dots = this.ages.map(({ time, latest }) =>
      s("circle", { class: "ssr-dot", cx: scales.x(time - now), cy: scales.y(latest), r: 2 })
    );
    /** @type {Point[]} */
    const points = this.ages.map(({ time, age }) => [time - now, age]);
    this.chart.svg.append(...dots, line("ssr-value", points, scales));
  }
}

/** The reader's own experiment: a row for each thing tried. */
class Notes {
  /**
   * @param {Model} model
   * @param {() => Numbers | undefined} face
   * @param {HTMLElement} message
   */
  constructor(model, face, message) {
    this.model = model;
    this.what = h("input", { type: "text", placeholder: "with glasses", "aria-label": "What you try" });
    const write = h("button", { className: "ssr-button" }, "Write down");
    const form = h("form", { className: "ssr-bar" }, this.what, write);
    this.table = h("table", { className: "ssr-table" });
    const parts = [h("summary", {}, "Write down what you try"), form, this.table];
    this.element = h("details", { className: "ssr-details" }, ...parts);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const shown = face();
      if (shown) this.add(shown);
      else say(message, "There is no face to write down.");
    });
    this.what.addEventListener("keydown", (event) => {
      // JupyterLab takes Enter for its own before the form can.
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.end = listen(model, { "change:notes": () => this.draw() });
    this.draw();
  }

  /** @param {Numbers} face */
  add({ age, age_low, age_high, p_male, gender }) {
    const notes = this.model.get("notes");
    const what = this.what.value || `try ${notes.length + 1}`;
    this.model.set("notes", [...notes, { what, age, age_low, age_high, p_male, gender }]);
    this.model.save_changes();
    this.what.value = "";
    this.what.focus();
  }

  draw() {
    const notes = /** @type {Note[]} */ (this.model.get("notes"));
    const names = ["what", "age", "interval", "gender"].map((text) => h("th", { scope: "col" }, text));
    const rows = notes.map((note) => {
      const cells = [note.what, fixed(note.age), rangeOf(note, "\u2013"), genderOf(note)];
      return h("tr", {}, ...cells.map((text) => h("td", {}, text)));
    });
    const parts = [h("thead", {}, h("tr", {}, ...names)), h("tbody", {}, ...rows)];
    this.table.replaceChildren(...(rows.length ? parts : []));
  }
}

/** @param {{ model: Model, el: HTMLElement }} place */
function render({ model, el }) {
  return new WebcamDemo(model, el).end;
}

export default { render };
