// Try the networks in the browser: a picture or the camera under an oval, and what they read there.

const MOST_SIDE = 1600; // pixels; larger pictures are made smaller first
const AVERAGED = 8; // the camera's latest readings
const HUSH = 4000; // milliseconds between two answers that are read aloud
// The screen is 400 x 300 units; the networks get this square of it.
const SCREEN = { width: 400, height: 300 };
const SQUARE = { x: 101, y: 60, side: 198 };

const REASONS = {
  asking: "The browser asks whether this page may use the camera.",
  waiting: "Waiting for the camera\u2019s first picture \u2026",
  NotFoundError: "No camera was found. Connect one and press the button again, or choose a picture.",
  NotAllowedError: "The browser was told not to show the camera to this page. Allow it at the address bar and press the button again, or choose a picture.",
  NotReadableError: "The camera is taken by another program. Close that program and press the button again, or choose a picture.",
  insecure: "Browsers show the camera only to pages from this machine or over https. Choose a picture instead.",
  ended: "The camera has gone. Connect it again and press the button, or choose a picture.",
  hidden: "Paused while this tab is in the background.",
  image: "The browser cannot read this file as an image. Choose another one.",
  noFile: "This was no file. Save the picture first, then drop the file here.",
};
const PLACE = "Move and resize the picture until the face fills the oval, with the eyes on the marks.";
const LIVE = "Bring your face into the oval, with your eyes on the marks. Nobody looks for faces here: a wall gets an answer, too.";

function render({ model, el }) {
  const networks = {};
  const calibrations = {};
  for (const [target, { calibration, ...packed }] of Object.entries(model.get("networks"))) {
    networks[target] = unpack(packed);
    calibrations[target] = calibration;
  }

  // The parts that one can see, from top to bottom.
  const button = (onclick, extra, ...content) => h("button", { type: "button", className: "ssr-button", onclick, ...extra }, ...content);
  const start = button(() => (stream ? leaveCamera("") : useCamera()), { className: "ssr-button ssr-main" }, "Use the camera");
  const file = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "A picture from this machine" });
  const open = button(() => file.click(), {}, "Choose a picture");
  const presets = model.get("pictures").map((preset) =>
    button(() => usePreset(preset), { "aria-pressed": "false" }, h("img", { src: preset.image, alt: "" }), preset.name),
  );
  const bar = h("div", { className: "ssr-bar", role: "group", "aria-label": "What to read" }, start, open, file, ...presets);
  const canvas = h("canvas", { "aria-hidden": "true" });
  const message = h("p", { className: "ssr-message", role: "status", hidden: true });
  const help = "The picture under the oval. Drag it, or move it with the arrow keys and resize it with plus and minus.";
  const screen = h("div", { className: "ssr-screen", tabIndex: 0, role: "application", "aria-label": help }, canvas, guideLines(model.get("guide")), message);
  const size = h("input", { type: "range", min: 0, max: 1, step: 0.002 });
  const sizeRow = h("label", { className: "ssr-row" }, h("span", {}, "Size"), size);
  const note = h("p", { className: "ssr-note" });
  const left = h("div", {}, screen, sizeRow, note);
  const seen = h("canvas", { className: "ssr-seen", width: FACE, height: FACE, role: "img", "aria-label": "The 64 by 64 pixels that the networks get" });
  const age = h("div", { className: "ssr-answer" });
  const lines = h("dl", { className: "ssr-lines" });
  const pixels = h("div", {}, seen, h("p", { className: "ssr-sumline" }, "what the networks get: 64 \u00d7 64 pixels"));
  const right = h("div", { className: "ssr-result" }, h("div", {}, age, lines), pixels);
  const picture = s("svg", { class: "ssr-picture", role: "img", "aria-label": "The bins of the three stages of the age network" });
  const pictureText = h("p", { className: "ssr-note" });
  const picturePlace = h("div", { className: "ssr-canvas" }, picture);
  const spoken = h("p", { className: "ssr-hearing", "aria-live": "polite" });
  const privacy = h("p", { className: "ssr-note" }, "Nothing leaves this page: pictures stay in this tab\u2019s memory, and there is no server that could get them.");
  const root = shell("ssr-try", bar, h("div", { className: "ssr-halves" }, left, right), picturePlace, pictureText, privacy, spoken);
  el.replaceChildren(root);

  let source = null; // a canvas, or the camera's video, and its size
  let view = null; // the middle of the square and its side, in the picture's pixels
  let stream = null;
  let turn = 0; // which request for a picture is the latest: an older one that ends later is dropped
  let ended = false;
  const readings = []; // of this picture, or the camera's latest
  const video = h("video", { muted: true, playsInline: true });

  const say = (text) => {
    message.textContent = text;
    message.hidden = !text;
  };

  // The picture under the oval.

  const limits = () => [8, 1.5 * Math.max(source.width, source.height)];
  const moveTo = (x, y, side) => {
    const [least, most] = limits();
    view = { x: clamp(x, 0, source.width), y: clamp(y, 0, source.height), side: clamp(side, least, most) };
    size.value = Math.log(most / view.side) / Math.log(most / least);
    draw();
    ask();
  };
  const square = () => {
    const side = Math.round(view.side);
    return { left: Math.round(view.x - side / 2), top: Math.round(view.y - side / 2), side };
  };
  const draw = () => {
    if (!view || !screen.clientWidth) return;
    canvas.width = screen.clientWidth * devicePixelRatio;
    canvas.height = screen.clientHeight * devicePixelRatio;
    const pen = canvas.getContext("2d");
    const unit = canvas.width / SCREEN.width;
    const scale = (unit * SQUARE.side) / view.side;
    pen.imageSmoothingEnabled = scale < 4;
    pen.imageSmoothingQuality = "high";
    if (stream) pen.setTransform(-1, 0, 0, 1, canvas.width, 0);
    const x = unit * (SQUARE.x + SQUARE.side / 2) - scale * view.x;
    const y = unit * (SQUARE.y + SQUARE.side / 2) - scale * view.y;
    pen.drawImage(source.picture, x, y, scale * source.width, scale * source.height);
  };

  const pointers = new Map();
  const middle = () => {
    const all = [...pointers.values()];
    const [x, y] = [0, 1].map((i) => all.reduce((sum, point) => sum + point[i], 0) / all.length);
    return { x, y, apart: all.length > 1 ? Math.hypot(all[0][0] - all[1][0], all[0][1] - all[1][1]) : 1 };
  };
  screen.addEventListener("pointerdown", (event) => {
    if (stream || !view) return;
    screen.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  screen.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId) || stream) return;
    const before = middle();
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const now = middle();
    const pixels = (view.side / SQUARE.side) * (SCREEN.width / screen.clientWidth);
    moveTo(view.x - (now.x - before.x) * pixels, view.y - (now.y - before.y) * pixels, view.side * (before.apart / Math.max(1, now.apart)));
  });
  screen.addEventListener("lostpointercapture", (event) => pointers.delete(event.pointerId));
  screen.addEventListener("keydown", (event) => {
    if (!view) return;
    const step = view.side / (event.shiftKey ? 8 : 64);
    const moves = { ArrowLeft: [step, 0, 1], ArrowRight: [-step, 0, 1], ArrowUp: [0, step, 1], ArrowDown: [0, -step, 1] };
    const [dx, dy, factor] = { ...moves, "+": [0, 0, 0.97], "-": [0, 0, 1 / 0.97] }[event.key] ?? [];
    if (!factor) return;
    event.preventDefault();
    if (stream) moveTo(view.x, view.y, view.side * factor);
    else moveTo(view.x + dx, view.y + dy, view.side * factor);
  });
  size.addEventListener("input", () => {
    const [least, most] = limits();
    moveTo(view.x, view.y, most * (least / most) ** size.value);
  });

  // What the networks read there.

  const read = async (face) => {
    const sides = [face, mirrorImage(face)];
    const results = { age: [], gender: [] };
    let milliseconds = 0;
    for (const [target, found] of Object.entries(results)) {
      for (const side of sides) {
        const begin = performance.now();
        found.push(forward(networks[target], side.data));
        milliseconds += performance.now() - begin;
        await new Promise((resolve) => setTimeout(resolve)); // lets the page draw and listen
      }
    }
    const [ages, scores] = [results.age, results.gender].map((found) => found.map(({ value }) => value));
    return { ages, scores, stages: results.age[0].stages, milliseconds };
  };
  let quickest = Infinity;
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  let busy = false;
  let again = false;
  /** Read what is under the oval now; if that is being done already, do it once more after that. */
  const ask = async () => {
    again = true;
    if (busy) return;
    busy = true;
    while (again && !ended) {
      again = false;
      const from = source;
      const face = cropFace(source.picture, source.width, source.height, square());
      const reading = await read(face);
      if (from !== source) continue;
      while (readings.length >= (stream ? AVERAGED : 1)) readings.shift();
      readings.push(reading);
      tell(face);
    }
    busy = false;
  };

  const tell = (face) => {
    const last = readings.at(-1);
    const years = mean(readings.flatMap(({ ages }) => ages));
    const apart = mean(readings.map(({ ages }) => Math.abs(ages[0] - ages[1])));
    quickest = Math.min(quickest, last.milliseconds);
    const score = mean(readings.flatMap(({ scores }) => scores));
    const interval = ageInterval(calibrations.age, years, apart);
    const male = probability(calibrations.gender, score);
    Object.assign(age.dataset, { age: years, low: interval?.[0], high: interval?.[1], male, turn });
    age.replaceChildren(h("strong", {}, years.toFixed(0)), " years");
    const range = interval && `${interval[0].toFixed(0)} to ${interval[1].toFixed(0)}`;
    const likelier = male > 0.5 ? "male" : "female";
    const sure = `${(100 * Math.max(male, 1 - male)).toFixed(0)} %`;
    const facts = {
      interval: range ? `${range} (90\u00a0%)` : "not shown: these weights have no calibration",
      gender: calibrations.gender ? `${likelier} ${sure}` : `${likelier}; no calibration, so no probability`,
      p_male: `${male.toFixed(2)}${calibrations.gender ? "" : ", a mere score"}`,
      time: `${last.milliseconds.toFixed(0)} ms a face`,
      "at best": `${quickest.toFixed(0)} ms`,
    };
    lines.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    seen.getContext("2d").putImageData(face, 0, 0);
    drawTerms();
    speak(`About ${years.toFixed(0)} years${range ? `, between ${range}` : ""}; ${likelier}${calibrations.gender ? ` ${sure}` : ""}.`);
  };
  let wide = 0;
  const drawTerms = () => {
    if (!readings.length || !wide) return;
    const { stages, ages } = readings.at(-1);
    const { lambda_eta, lambda_delta, value_range } = networks.age.settings;
    const terms = {
      p: stages.map(({ p }) => [...p]),
      eta: stages.map(({ eta }) => [...eta].map((shift) => lambda_eta * shift)),
      delta: stages.map(({ delta }) => lambda_delta * delta),
    };
    const sum = drawStages(picture, { ...terms, range: value_range, unit: "years" }, wide).terms.at(-1).value;
    const averaged = stream ? `, averaged over the last ${AVERAGED} pictures` : "";
    pictureText.textContent = `The stages of the age network add up to ${sum.toFixed(1)} years for these pixels, and to ${ages[1].toFixed(1)} for their mirror image. The answer is the mean of the two${averaged}.`;
  };

  let speaking = null;
  let spokenAt = -Infinity;
  /** Let those who listen hear the answer once the picture rests, and the camera's now and then. */
  const speak = (text) => {
    if (stream && performance.now() - spokenAt < HUSH) return;
    clearTimeout(speaking);
    const aloud = () => {
      spokenAt = performance.now();
      spoken.textContent = text;
    };
    if (stream) aloud();
    else speaking = setTimeout(aloud, 700);
  };

  // Where pictures come from.

  const setSource = (picture, width, height, text, at) => {
    source = { picture, width, height };
    readings.length = 0;
    pointers.clear();
    note.textContent = text;
    say("");
    if (at) return moveTo(at.left + at.side / 2, at.top + at.side / 2, at.side);
    // All of a picture fills the screen; faces in front of a camera are smaller than the oval.
    const side = (SQUARE.side * Math.max(width / SCREEN.width, height / SCREEN.height)) / (stream ? 1.5 : 1);
    const below = SQUARE.y + SQUARE.side / 2 - SCREEN.height / 2;
    moveTo(width / 2, height / 2 + (below * side) / SQUARE.side, side);
  };
  const usePicture = async (decoding, text, pressed, at) => {
    const mine = ++turn;
    let decoded;
    try {
      decoded = await decoding;
    } catch {
      return say(REASONS.image);
    }
    if (mine !== turn || ended) return;
    endCamera();
    const scale = Math.min(1, MOST_SIDE / Math.max(decoded.width, decoded.height));
    const copy = h("canvas", { width: Math.round(decoded.width * scale), height: Math.round(decoded.height * scale) });
    const pen = copy.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(decoded, 0, 0, copy.width, copy.height);
    press(pressed);
    setSource(copy, copy.width, copy.height, text, at);
  };
  const press = (pressed) => presets.forEach((preset, i) => preset.setAttribute("aria-pressed", i === pressed));
  const usePreset = (preset) => {
    const image = h("img", { src: preset.image });
    usePicture(image.decode().then(() => image), preset.note, model.get("pictures").indexOf(preset), preset.square);
  };
  const useFile = (chosen) => usePicture(createImageBitmap(chosen), PLACE);
  file.addEventListener("change", () => {
    if (file.files[0]) useFile(file.files[0]);
    file.value = "";
  });
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (event.dataTransfer.files[0]) useFile(event.dataTransfer.files[0]);
    else say(REASONS.noFile);
  });

  const useCamera = async () => {
    if (!navigator.mediaDevices) return say(REASONS.insecure);
    const mine = ++turn;
    say(REASONS.asking);
    let own;
    try {
      own = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" } });
    } catch (error) {
      if (mine === turn) say(REASONS[error.name] ?? `The camera could not be opened: ${error.message}`);
      return;
    }
    if (mine !== turn || ended) return own.getTracks().forEach((track) => track.stop());
    say(REASONS.waiting);
    stream = own;
    setLive(true);
    own.getVideoTracks()[0].addEventListener("ended", () => own === stream && leaveCamera(REASONS.ended));
    video.srcObject = own;
    video.play().catch(() => {});
    video.requestVideoFrameCallback(() => pump(own, true));
  };
  /** Show and read the camera's pictures as they come, until this camera is stopped. */
  const pump = (own, first) => {
    if (own !== stream || ended) return;
    const { videoWidth: width, videoHeight: height } = video;
    if (first || width !== source.width || height !== source.height) {
      press(-1);
      setSource(video, width, height, LIVE);
    } else if (!document.hidden) {
      draw();
      if (!busy) ask();
    }
    video.requestVideoFrameCallback(() => pump(own));
  };
  const endCamera = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    setLive(false);
  };
  const setLive = (live) => {
    start.textContent = live ? "Stop" : "Use the camera";
    root.classList.toggle("ssr-live", live);
  };
  const leaveCamera = (text) => {
    endCamera();
    usePreset(model.get("pictures")[0]);
    say(text);
  };
  const onHidden = () => stream && say(document.hidden ? REASONS.hidden : "");
  document.addEventListener("visibilitychange", onHidden);

  usePreset(model.get("pictures")[0]);
  const stops = [
    onWidth(screen, draw),
    onWidth(picturePlace, (now) => {
      wide = now;
      drawTerms();
    }),
  ];
  return () => {
    ended = true;
    endCamera();
    clearTimeout(speaking);
    for (const stop of stops) stop();
    document.removeEventListener("visibilitychange", onHidden);
  };
}

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** Draw the oval, the square that the networks get, and where the eyes should be. */
function guideLines({ x, y, rx, ry, eyes }) {
  const at = (px, py) => [SQUARE.x + px * SQUARE.side, SQUARE.y + py * SQUARE.side];
  const [cx, cy] = at(x, y);
  const [wide, high] = [rx * SQUARE.side, ry * SQUARE.side];
  const oval = `M${cx - wide} ${cy}a${wide} ${high} 0 1 0 ${2 * wide} 0a${wide} ${high} 0 1 0 ${-2 * wide} 0`;
  const marks = eyes.map((eye) => {
    const [ex, ey] = at(...eye);
    return `M${ex - 7} ${ey}h14M${ex} ${ey - 4}v8`;
  });
  return s(
    "svg",
    { class: "ssr-guide", viewBox: `0 0 ${SCREEN.width} ${SCREEN.height}`, "aria-hidden": "true" },
    s("path", { class: "ssr-shade", d: `M0 0h${SCREEN.width}v${SCREEN.height}h${-SCREEN.width}z${oval}`, "fill-rule": "evenodd" }),
    s("rect", { class: "ssr-square", x: SQUARE.x, y: SQUARE.y, width: SQUARE.side, height: SQUARE.side }),
    s("path", { class: "ssr-oval", d: oval }),
    s("path", { class: "ssr-eyes", d: marks.join("") }),
  );
}

export default { render };
