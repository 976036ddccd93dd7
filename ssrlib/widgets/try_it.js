// Try the networks in the browser: a picture or the camera under an oval, and what they read there.

import { ageInterval, likelierGender, probability } from "./calibration.js";
import { Camera, watchTab } from "./camera.js";
import { FACE, mirrorImage } from "./face.js";
import {
  button,
  clamp,
  download,
  fixed,
  h,
  onceAtRest,
  onDrop,
  onWidth,
  pen,
  percent,
  pictureInput,
  s,
  say,
  shell,
} from "./dom.js";
import {
  findFaces,
  inverse,
  isSure,
  lookAgain,
  matrixOf,
  scaled,
  similarity,
  straightened,
  toPicture,
  unpackFinder,
  viewBy,
  warp,
} from "./finder.js";
import { forward, unpack } from "./network.js";
import { drawStages } from "./stages.js";

/** @import { Model } from "./dom.js" */
/** @import { Look, Pixels, View, XY } from "./finder.js" */
/** @import { AgeCalibration, GenderCalibration } from "./calibration.js" */
/** @import { Network } from "./network.js" */
/** @import { Terms } from "./stages.js" */

/**
 * @typedef {Look & { isSure: () => boolean }} Found of a search, in the pixels of the picture that is shown
 * @typedef {{ name: string, note: string, image: string, drawn: boolean }} Preset
 * @typedef {{ x: number, y: number, rx: number, ry: number, eyes: [number, number][], points: XY[] }} Guide
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
const LIVE_SIDE = 640; // the same for the camera's
const SEARCHED = 640; // pictures are searched for faces at this size, and the camera's at half of it
const SEARCH_EVERY = 1000; // milliseconds: in between, the camera's faces are looked for where they were
const SEEK_EVERY = 250; // the same while nobody is seen
const MISSED = 600; // milliseconds for which a face that is not found may be back at once
const AVERAGED = 8; // the camera's latest readings
const HUSH = 4000; // milliseconds between two answers that are read aloud
// The screen is 400 x 300 units; the networks get this square of it.
const SCREEN = { width: 400, height: 300 };
const SQUARE = { x: 101, y: 60, side: 198 };
const LEAST_SIDE = 8; // of the square, in the picture's pixels
const TAP = 6; // a finger that moves by fewer pixels taps

const REASONS = {
  waiting: "Waiting for the camera\u2019s first picture \u2026",
  image: "The browser cannot read this file as an image. Choose another one.",
  noFile: "This was no file. Save the picture first, then drop the file here.",
};
const FOUND =
  "The face was found, and turned upright. Drag the picture, or tap both eyes, to place it yourself.";
const NOBODY =
  "No face was found here. Drag and resize the picture until a face fills the oval, or tap both eyes.";
const BY_HAND = "Placed by hand: the eyes belong on the marks. A face that is seen there is turned upright.";
const LIVE = "The oval follows your face.";
const NO_FACE = "No face yet";
const ABSENT = "Nobody is seen. Look into the camera, with light on your face.";
const HELP = "The picture under the oval. " +
  "Drag it, or move it with the arrow keys, resize it with plus and minus, and turn it with comma and period.";
const PRIVACY = "Nothing leaves this page: pictures stay in this tab\u2019s memory, " +
  "and there is no server that could get them.";

class TryIt {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    const built = build(model);
    this.networks = built.networks;
    this.finder = unpackFinder(model.get("finder"));
    this.presets = /** @type {Preset[]} */ (model.get("pictures"));
    this.turn = 0; // which request for a picture is the latest: an older one that ends later is dropped
    this.live = false; // whether the camera is shown, or will be once its first picture is there
    this.first = false; // whether that has still to come
    this.ended = false;
    this.busy = false;
    this.again = false;
    this.byHand = false; // whether somebody moved the picture: then no face is looked for
    this.drawn = false; // whether the picture is a drawn face, which the finder does not know
    this.searched = -Infinity; // when the camera's picture was last searched as a whole
    this.seenAt = -Infinity; // when the camera last showed a face
    this.wanted = false; // whether somebody chose whom the camera's oval follows
    this.isFace = false; // whether the finder was once sure of the face that it shows
    /** @type {Found[]} */
    this.faces = []; // of this picture, in its pixels
    /** @type {Reading[]} */
    this.readings = []; // of this picture, or the camera's latest
    /** @type {View | null} */
    this.readAt = null; // where the last of them was read

    const guide = /** @type {Guide} */ (model.get("guide"));
    this.template = guide.points;
    this.bar = bar(this);
    this.oval = new Oval(guide, () => this.placedByHand());
    this.result = new Result(built);
    this.note = h("p", { className: "ssr-note" });
    this.crowd = h("div", { className: "ssr-bar", role: "group", "aria-label": "The faces in the picture" });
    this.find = button(() => this.findAgain(), { hidden: true }, "Find the face");
    this.save = button(() => this.saveFace(), {}, "Save this picture");
    const tools = h("div", { className: "ssr-bar" }, this.find, this.save);
    const left = h("div", {}, this.oval.screen, this.oval.sizeRow, this.crowd, tools, this.note);
    const halves = h("div", { className: "ssr-halves" }, left, this.result.element);
    const privacy = h("p", { className: "ssr-note" }, PRIVACY);
    this.root = shell("ssr-try", this.bar.element, halves, ...this.result.below, privacy, this.result.spoken);
    el.replaceChildren(this.root);

    const video = h("video", { muted: true, playsInline: true });
    const { message } = this.oval;
    const texts = { again: "press the button again", instead: "choose a picture" };
    const lost = (/** @type {string} */ text) => this.leaveCamera(text);
    this.camera = new Camera({ video, message, ...texts, onFrame: () => this.onFrame(video), onGone: lost });
    onDrop(this.root, (file) => file ? this.useFile(file) : say(message, REASONS.noFile));
    const unpasted = onPaste((file) => this.useFile(file), () => this.root.offsetParent !== null);
    const untold = watchTab(message, () => this.camera.stream !== null, () => {});
    this.usePreset(this.presets[0]);
    this.end = () => {
      this.ended = true;
      this.camera.close();
      this.oval.end();
      this.result.end();
      unpasted();
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
      const { readings, oval: { picture, view } } = this;
      const pixels = pixelsOf(picture);
      const { at, sure } = this.place(pixels, view);
      const face = warp(pixels, matrixOf(at), FACE);
      const reading = await read(this.networks, face);
      if (this.ended || readings !== this.readings) continue;
      // Each place that somebody chose has an answer of its own. What was begun at the place before is still
      // shown: while somebody drags, there is hardly anything else.
      const same = this.byHand && view !== this.readAt ? [] : readings;
      this.readAt = view;
      this.readings = [...same, reading].slice(this.live ? -AVERAGED : -1);
      this.result.show(this.readings, face, sure, this.live);
    }
    this.busy = false;
  }

  /** Begin anew: what was read belongs to another face, and so does what is being read just now. */
  forget() {
    this.readings = [];
    this.again = false;
    this.isFace = false;
  }

  /**
   * Where the face is, and whether it surely is one: as the finder found it, or as it sees one that somebody placed.
   * @param {Pixels} pixels
   * @param {View} view
   */
  place(pixels, view) {
    if (this.drawn || !this.byHand) return { at: view, sure: this.drawn || this.isFace };
    const seen = straightened(this.finder, pixels, this.template.map((point) => toPicture(view, point)));
    return { at: seen ? this.viewOf(seen) : view, sure: seen?.sure ?? false };
  }

  /** Search the picture, and show its largest face, or say that there is none. */
  search() {
    this.faces = this.searchedAt(SEARCHED);
    this.showCrowd();
    if (this.faces.length) return this.choose(this.faces[0]);
    this.forget();
    this.setByHand(false);
    this.note.textContent = NOBODY;
    this.result.nobody(false);
  }

  /** The faces of the picture as it is, in its pixels. @param {number} side at which it is searched */
  searchedAt(side) {
    const { picture } = this.oval;
    const small = shrunk(picture, side);
    const scale = picture.width / small.width;
    const pixels = pixelsOf(small);
    return findFaces(this.finder, pixels).map((face) => {
      /** @type {boolean | undefined} */
      let sure;
      // Asked only of the face that is shown: it takes time.
      const asked = () => sure ??= isSure(this.finder, pixels, face);
      return { points: scaled(face.points, scale), score: face.score, isSure: asked };
    });
  }

  /** @param {Found} face */
  choose(face) {
    this.forget();
    this.wanted = this.live;
    this.setByHand(false);
    this.note.textContent = FOUND;
    this.showFace(face);
    this.ask();
  }

  /** @param {Found} face that the finder found, or found again */
  showFace(face) {
    this.isFace ||= face.isSure();
    this.oval.moveTo(this.viewOf(face));
    this.pressFace(face);
  }

  /** @param {{ points: XY[] }} face @returns {View} */
  viewOf({ points }) {
    return viewBy(inverse(similarity(points, this.template)));
  }

  /** A button for each face, where there are several. A camera's stay for as long as there are as many faces. */
  showCrowd() {
    const several = this.faces.length < 2 ? [] : this.faces;
    if (several.length !== this.crowd.children.length) {
      this.crowd.replaceChildren(...several.map((_, i) => {
        const canvas = h("canvas", { width: FACE, height: FACE, "aria-hidden": "true" });
        const label = `Face ${i + 1} of ${several.length}`;
        return button(() => this.choose(this.faces[i]), { "aria-label": label }, canvas);
      }));
    }
    if (!several.length) return;
    const pixels = pixelsOf(this.oval.picture);
    for (const [i, canvas] of [...this.crowd.querySelectorAll("canvas")].entries()) {
      pen(canvas).putImageData(warp(pixels, matrixOf(this.viewOf(several[i])), FACE), 0, 0);
    }
  }

  /** @param {Found | null} chosen whose button looks pressed */
  pressFace(chosen) {
    for (const [i, one] of [...this.crowd.children].entries()) {
      one.setAttribute("aria-pressed", String(this.faces[i] === chosen));
    }
  }

  placedByHand() {
    if (!this.byHand) this.forget();
    this.pressFace(null);
    this.setByHand(true);
    this.note.textContent = BY_HAND;
    this.ask();
  }

  /** @param {boolean} byHand */
  setByHand(byHand) {
    this.byHand = byHand;
    this.find.hidden = !byHand || this.drawn;
    if (!byHand) this.oval.forgetTap();
  }

  findAgain() {
    this.oval.screen.focus(); // the button hides
    this.forget();
    if (this.live) this.setByHand(false);
    else this.search();
  }

  /** Save what the oval shows, with the picture around it, as a file of this machine. */
  saveFace() {
    download(this.oval.canvas, "face.png");
  }

  // Where pictures come from.

  /**
   * @param {Promise<HTMLImageElement | ImageBitmap>} decoding
   * @param {Preset} [preset]
   */
  async usePicture(decoding, preset) {
    const mine = ++this.turn;
    let decoded;
    try {
      decoded = await decoding;
    } catch {
      if (mine === this.turn) say(this.oval.message, REASONS.image);
      return;
    }
    const picture = shrunk(decoded, MOST_SIDE);
    if ("close" in decoded) decoded.close();
    if (mine !== this.turn || this.ended) return;
    this.camera.close();
    this.setLive(false);
    this.press(preset);
    this.show(picture, preset?.drawn ?? false);
    if (!this.drawn) return this.search();
    this.note.textContent = preset?.note ?? "";
    this.ask();
  }

  /** @param {HTMLCanvasElement} picture @param {boolean} drawn */
  show(picture, drawn) {
    this.forget();
    this.faces = [];
    this.drawn = drawn;
    this.setByHand(false);
    this.showCrowd();
    say(this.oval.message, "");
    this.oval.show(picture, drawn);
  }

  /** @param {Preset} preset */
  usePreset(preset) {
    const image = h("img", { src: preset.image });
    return this.usePicture(image.decode().then(() => image), preset);
  }

  /** @param {File} file */
  useFile(file) {
    this.usePicture(createImageBitmap(file));
  }

  async useCamera() {
    const mine = ++this.turn;
    const wanted = () => mine === this.turn && !this.ended && this.root.isConnected;
    if (!await this.camera.open({ facingMode: "user" }, wanted)) return;
    say(this.oval.message, REASONS.waiting);
    this.setLive(true);
    this.first = true;
  }

  /** @param {HTMLVideoElement} video */
  onFrame(video) {
    // On a page, nobody says when a notebook's cell has gone; and a camera that nobody sees must not go on.
    if (!this.root.isConnected) {
      this.camera.close();
      return this.setLive(false);
    }
    if (document.hidden) return;
    const scale = Math.min(1, LIVE_SIDE / Math.max(video.videoWidth, video.videoHeight));
    const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
    const { picture } = this.oval;
    if (this.first || width !== picture.width || height !== picture.height) {
      this.first = false;
      this.press();
      this.result.nobody(true);
      this.show(h("canvas", { width, height }), false);
    }
    pen(this.oval.picture, { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
    if (this.busy) return this.oval.draw();
    const seen = this.byHand || this.follow();
    this.oval.draw();
    if (seen) this.ask();
  }

  /** Move the oval with the face in it, or to the camera's largest; return whether there is one. */
  follow() {
    const now = performance.now();
    const seen = lookAgain(this.finder, pixelsOf(this.oval.picture), this.faces);
    const search = now - this.searched > (seen.length ? SEARCH_EVERY : SEEK_EVERY);
    const found = search ? this.searchedAt(SEARCHED / 2) : [];
    if (search) this.searched = now;
    const { x, y } = this.oval.view;
    /** @param {View} view */
    const isInOval = (view) => Math.hypot(view.x - x, view.y - y) < view.side / 2;
    /** @param {Found} face */
    const isShown = (face) => isInOval(this.viewOf(face));
    // A quick search may miss whom somebody chose.
    const kept = this.wanted && !found.some(isShown) ? seen.filter(isShown) : [];
    const faces = found.length ? [...found, ...kept] : seen;
    if (!faces.length) {
      if (now - this.seenAt > MISSED) this.lose();
      return false;
    }
    this.faces = faces;
    this.seenAt = now;
    this.note.textContent = LIVE;
    this.showCrowd();
    const views = faces.map((face) => this.viewOf(face));
    // Of two people, the one in the oval stays in it until the other is clearly nearer, or who was chosen is gone.
    const same = views.find((view) => isInOval(view) && (this.wanted || view.side > 0.8 * views[0].side));
    if (!same) {
      this.forget();
      this.wanted = false;
    }
    this.showFace(faces[same ? views.indexOf(same) : 0]);
    return true;
  }

  /** The camera shows nobody any more. */
  lose() {
    this.faces = [];
    this.wanted = false;
    this.showCrowd();
    this.note.textContent = ABSENT;
    this.forget();
    this.result.nobody(true);
  }

  /** @param {string} text what is said instead */
  async leaveCamera(text) {
    this.camera.close();
    this.setLive(false);
    const mine = this.turn + 1;
    await this.usePreset(this.presets[0]);
    if (mine === this.turn && text) say(this.oval.message, text);
  }

  /** @param {boolean} live */
  setLive(live) {
    this.live = live;
    this.oval.live = live;
    this.bar.start.textContent = live ? "Stop" : "Use the camera";
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

/** @param {HTMLCanvasElement} picture @returns {Pixels} */
function pixelsOf(picture) {
  return pen(picture, { willReadFrequently: true }).getImageData(0, 0, picture.width, picture.height);
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
 * @param {HTMLImageElement | ImageBitmap | HTMLCanvasElement} picture
 * @param {number} most pixels of its longer side
 */
function shrunk(picture, most) {
  const scale = Math.min(1, most / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((side) =>
    Math.max(1, Math.round(side * scale))
  );
  const copy = h("canvas", { width, height });
  const context = pen(copy, { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, copy.width, copy.height);
  return copy;
}

/**
 * Take pictures that are pasted anywhere on the page; return how to end that.
 * @param {(file: File) => void} take
 * @param {() => boolean} there
 */
function onPaste(take, there) {
  /** @param {ClipboardEvent} event */
  const pasted = (event) => {
    // What somebody pastes into a text is meant for the text.
    const text = "textarea, [contenteditable], input:not([type=range])";
    if (event.target instanceof Element && event.target.closest(text)) return;
    const file = [...event.clipboardData?.files ?? []].find(({ type }) => type.startsWith("image/"));
    if (file && there()) take(file);
  };
  document.addEventListener("paste", pasted);
  return () => document.removeEventListener("paste", pasted);
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

/** The picture under the oval, to drag, to resize and to turn. */
class Oval {
  /**
   * @param {Guide} guide
   * @param {() => void} onMove is called when somebody moved the picture
   */
  constructor(guide, onMove) {
    this.guide = guide;
    this.onMove = onMove;
    this.live = false;
    this.picture = h("canvas", { width: 0, height: 0 }); // nothing, until the first picture is there
    /** @type {View} */
    this.view = { x: 0, y: 0, side: 1, roll: 0 };
    /** @type {XY | null} */
    this.tapped = null; // the first of two eyes, in the picture's pixels
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.message = h("p", { className: "ssr-message", role: "status", hidden: true });
    const screen = { className: "ssr-screen", tabIndex: 0, role: "application", "aria-label": HELP };
    this.screen = h("div", screen, this.canvas, guideLines(guide), this.message);
    this.size = h("input", { type: "range", min: 0, max: 1, step: 0.002 });
    this.sizeRow = h("label", { className: "ssr-row" }, h("span", {}, "Size"), this.size);
    this.size.addEventListener("input", () => this.onSize());
    this.screen.addEventListener("keydown", (event) => this.onKey(event));
    this.screen.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.pointers = this.followPointers();
    this.end = onWidth(this.screen, () => this.draw());
  }

  /** The least and the largest side of the square. */
  limits() {
    return [LEAST_SIDE, 1.5 * Math.max(this.picture.width, this.picture.height)];
  }

  /**
   * Show another picture.
   * @param {HTMLCanvasElement} picture
   * @param {boolean} drawn all of it is the face
   */
  show(picture, drawn) {
    this.picture = picture;
    this.pointers.clear();
    const { width, height } = picture;
    const [x, y] = [(width - 1) / 2, (height - 1) / 2];
    if (drawn) return this.moveTo({ x, y, side: width, roll: 0 });
    // All of a picture fills the screen.
    const side = SQUARE.side * Math.max(width / SCREEN.width, height / SCREEN.height);
    const below = SQUARE.y + SQUARE.side / 2 - SCREEN.height / 2;
    this.moveTo({ x, y: y + (below * side) / SQUARE.side, side, roll: 0 });
  }

  /** @param {View} view */
  moveTo({ x, y, side, roll }) {
    const { width, height } = this.picture;
    const [least, most] = this.limits();
    this.view = { x: clamp(x, 0, width), y: clamp(y, 0, height), side: clamp(side, least, most), roll };
    this.size.value = String(Math.log(most / this.view.side) / Math.log(most / least));
    this.size.setAttribute("aria-valuetext", percent(SQUARE.side / this.view.side));
    this.draw();
  }

  /** Move the picture because somebody wants it there. @param {Partial<View>} change */
  place(change) {
    if (!this.picture.width) return;
    this.moveTo({ ...this.view, ...change });
    this.onMove();
  }

  draw() {
    const { canvas, screen, picture, view } = this;
    if (!screen.clientWidth || !picture.width) return;
    canvas.width = screen.clientWidth * devicePixelRatio;
    canvas.height = screen.clientHeight * devicePixelRatio;
    const context = pen(canvas);
    const unit = canvas.width / SCREEN.width;
    const scale = (unit * SQUARE.side) / view.side;
    context.imageSmoothingEnabled = scale < 4;
    context.imageSmoothingQuality = "high";
    if (this.live) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
    context.translate(unit * (SQUARE.x + SQUARE.side / 2), unit * (SQUARE.y + SQUARE.side / 2));
    context.rotate(-view.roll);
    context.scale(scale, scale);
    context.drawImage(picture, -view.x - 0.5, -view.y - 0.5);
  }

  /** Where a point of the screen lies in the picture. @param {{ clientX: number, clientY: number }} event @returns {XY} */
  under({ clientX, clientY }) {
    const { left, top, width } = this.screen.getBoundingClientRect();
    const unit = width / SCREEN.width;
    const across = (this.live ? left + width - clientX : clientX - left) / unit;
    const down = (clientY - top) / unit;
    const scale = FACE / SQUARE.side;
    return toPicture(this.view, [scale * (across - SQUARE.x) - 0.5, scale * (down - SQUARE.y) - 0.5]);
  }

  onSize() {
    const [least, most] = this.limits();
    this.place({ side: most * (least / most) ** Number(this.size.value) });
  }

  /** Zoom at the pointer: what is under it stays there. @param {WheelEvent} event */
  onWheel(event) {
    // Who only scrolls past the picture has not clicked into it; two fingers on a trackpad come as Ctrl.
    if (!event.ctrlKey && document.activeElement !== this.screen) return;
    event.preventDefault();
    const [u, v] = this.under(event);
    const { x, y, side } = this.view;
    const [least, most] = this.limits();
    const factor = clamp(side * Math.exp(clamp(event.deltaY, -100, 100) / 500), least, most) / side;
    this.place({ x: u + (x - u) * factor, y: v + (y - v) * factor, side: side * factor });
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const { side, roll } = this.view;
    const step = side / (event.shiftKey ? 8 : 64);
    /** @type {Record<string, () => void>} */
    const moves = {
      ArrowLeft: () => this.drag(step, 0),
      ArrowRight: () => this.drag(-step, 0),
      ArrowUp: () => this.drag(0, step),
      ArrowDown: () => this.drag(0, -step),
      "+": () => this.place({ side: side * 0.97 }),
      "-": () => this.place({ side: side / 0.97 }),
      ",": () => this.place({ roll: roll + Math.PI / 90 }),
      ".": () => this.place({ roll: roll - Math.PI / 90 }),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in moves)) return;
    event.preventDefault();
    moves[event.key]();
  }

  /** Move the square by pixels of the picture, as seen upright. @param {number} across @param {number} down */
  drag(across, down) {
    const { x, y, roll } = this.view;
    const [cos, sin] = [Math.cos(roll), Math.sin(roll)];
    const right = this.live ? -across : across;
    this.place({ x: x + cos * right - sin * down, y: y + sin * right + cos * down });
  }

  /** Wait no longer for the second of two eyes. */
  forgetTap() {
    if (this.tapped) say(this.message, "");
    this.tapped = null;
  }

  /** Take a tap for an eye; two of them place the face. @param {PointerEvent} event */
  onTap(event) {
    const eye = this.under(event);
    if (!this.tapped) {
      this.tapped = eye;
      return say(this.message, "And the other eye \u2026");
    }
    const eyes = [this.tapped, eye].sort((a, b) => this.across(a) - this.across(b));
    this.forgetTap();
    if (Math.hypot(eyes[0][0] - eyes[1][0], eyes[0][1] - eyes[1][1]) < 2) return;
    this.place(viewBy(similarity(this.guide.points.slice(0, 2), eyes)));
  }

  /** How far to the right a point of the picture is seen. @param {XY} point */
  across([x, y]) {
    const { roll } = this.view;
    return x * Math.cos(roll) + y * Math.sin(roll);
  }

  /** Let one finger drag the picture or tap on it, and two resize it; return where the fingers are. */
  followPointers() {
    /** @type {Map<number, [number, number]>} */
    const pointers = new Map();
    const { screen } = this;
    let moved = false;
    screen.addEventListener("pointerdown", (event) => {
      if (!this.picture.width || event.button) return;
      screen.setPointerCapture(event.pointerId);
      moved = pointers.size > 0;
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    screen.addEventListener("pointermove", (event) => {
      const old = pointers.get(event.pointerId);
      if (!old) return;
      if (!moved && Math.hypot(event.clientX - old[0], event.clientY - old[1]) < TAP) return;
      moved = true;
      const before = middle(pointers);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      const now = middle(pointers);
      const pixels = (this.view.side / SQUARE.side) * (SCREEN.width / screen.clientWidth);
      this.view.side *= before.apart / Math.max(1, now.apart);
      this.drag(-(now.x - before.x) * pixels, -(now.y - before.y) * pixels);
    });
    screen.addEventListener("pointerup", (event) => {
      if (!moved && pointers.has(event.pointerId)) this.onTap(event);
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
    this.empty = false; // whether it says that there is no face
    this.spokenAt = -Infinity;
    this.aloud = onceAtRest((text) => this.speak(text));
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
      this.aloud.forget();
    };
  }

  /** Say that there is no face, and so no answer. @param {boolean} live */
  nobody(live) {
    this.aloud.forget(); // what was read before
    const text = `${NO_FACE}.`;
    if (this.spoken.textContent !== text) this.tell(text, live);
    if (this.empty) return;
    this.empty = true;
    for (const name of ["age", "low", "high", "male"]) delete this.age.dataset[name];
    this.age.replaceChildren(NO_FACE);
    this.lines.replaceChildren();
    this.redraw = () => this.picture.replaceChildren();
    this.redraw();
    this.text.textContent = "";
    pen(this.seen).clearRect(0, 0, FACE, FACE);
  }

  /**
   * @param {Reading[]} readings their mean is the answer
   * @param {ImageData} face the last of them
   * @param {boolean} sure whether the finder is sure that it is a face
   * @param {boolean} live
   */
  show(readings, face, sure, live) {
    this.empty = false;
    const last = readings[readings.length - 1];
    const years = mean(readings.flatMap(({ ages }) => ages));
    const apart = mean(readings.map(({ ages }) => Math.abs(ages[0] - ages[1])));
    const interval = ageInterval(this.built.age, years, apart);
    const male = probability(this.built.gender, mean(readings.flatMap(({ scores }) => scores)));
    Object.assign(this.age.dataset, { age: years, low: interval?.[0], high: interval?.[1], male });
    this.age.replaceChildren(h("strong", {}, fixed(years, 0)), " years");

    const range = interval && `${fixed(interval[0], 0)} to ${fixed(interval[1], 0)}`;
    const calibrated = this.built.gender !== null;
    const likelier = likelierGender(male);
    const gender = calibrated ? `${likelier} ${percent(Math.max(male, 1 - male))}` : likelier;
    const facts = {
      interval: range ? `${range} (${this.coverage})` : "not shown: these weights have no calibration",
      gender: calibrated ? gender : `${gender}; no calibration, so no probability`,
      time: `${last.milliseconds.toFixed(0)} ms a face`,
      ...(sure ? {} : { "but": "not sure that it is a face" }),
    };
    const rows = Object.entries(facts).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]);
    this.lines.replaceChildren(...rows);
    pen(this.seen).putImageData(face, 0, 0);
    this.drawStages(last, live ? readings.length : 1);
    const doubt = sure ? "" : " Not sure that it is a face.";
    const text = `About ${fixed(years, 0)} years${range ? `, between ${range}` : ""}; ${gender}.${doubt}`;
    this.tell(text, live);
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
  tell(text, live) {
    if (!live) return this.aloud.later(text);
    if (performance.now() - this.spokenAt < HUSH) return;
    this.aloud.forget();
    this.speak(text);
  }

  /** @param {string} text */
  speak(text) {
    this.spokenAt = performance.now();
    this.spoken.textContent = text;
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
