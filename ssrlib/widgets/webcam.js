// The webcam demo's browser side: camera to JPEG frames, answers to boxes.

const MOST_UNANSWERED = 2;
const PATIENCE = 5000; // milliseconds without an answer, after which the page says so
const STILL_SIDE = 1280;
const CROWD = 4; // more faces than this need shorter labels
const REMEMBERED = 12000; // milliseconds of ages in the small chart

const MESSAGES = {
  start: "Press Start and look into the camera, or drop a photo here.",
  source: "Press Start.",
  page: "This demo needs Python behind it: run this chapter in JupyterLab (make lab).",
  asking: "The browser asks whether this page may use the camera.",
  NotFoundError: "No camera was found. Connect one and press Start, or drop a photo here.",
  NotAllowedError: "The browser was told not to show the camera to this page. Allow it at the address bar and press Start, or drop a photo here.",
  NotReadableError: "The camera is taken by another program. Close that program and press Start, or drop a photo here.",
  OverconstrainedError: "The chosen camera has gone. Press Start to take another one, or drop a photo here.",
  insecure: "Browsers show the camera only to pages from this machine or over https. Open JupyterLab that way, or drop a photo here.",
  ended: "The camera has gone. Connect it again and press Start.",
  waiting: "Python has not answered yet. If it is busy with another cell, the demo goes on by itself; if the kernel was restarted, run this cell again.",
  gone: "The kernel has gone. Run this cell again.",
  hidden: "Paused while this tab is in the background.",
  nobody: "No face is seen. Look straight into the camera, with light on your face.",
  nobodyHere: "No face was found in this photo.",
  image: "The browser cannot read this file as an image.",
};

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  const source = model.get("source");
  const live = Boolean(model.send);

  // The parts that one can see, from top to bottom.
  const button = (text, onclick, extra = {}) => h("button", { type: "button", className: "ssr-button", onclick, ...extra }, text);
  const check = (text, checked) => h("label", { className: "ssr-check" }, h("input", { type: "checkbox", checked }), text);
  const start = button("Start", () => (running ? stop(first) : go()), { className: "ssr-button ssr-main" });
  const freeze = button("Freeze", () => setFrozen(!frozen), { disabled: true });
  const cameras = h("select", { className: "ssr-select", hidden: true, "aria-label": "Camera" });
  const file = h("input", { type: "file", accept: "image/*", hidden: true });
  const open = button("Open a photo", () => file.click());
  const mirror = check("Mirror", true);
  const smooth = check("Smooth", true);
  const bar = h("div", { className: "ssr-bar", role: "toolbar", "aria-label": "Camera controls" }, start, freeze, cameras, open, file, mirror, smooth);
  const video = h("video", { autoplay: true, muted: true, playsInline: true, hidden: true });
  const still = h("canvas", { hidden: true, "aria-hidden": "true" });
  const boxes = h("div", { className: "ssr-boxes" });
  const message = h("p", { className: "ssr-message", role: "status" });
  const stage = h("div", { className: "ssr-screen" }, video, still, boxes, message);
  const rate = h("span", { className: "ssr-rate" });
  const privacy = h("span", {}, "Frames stay in memory; none is saved.");
  const status = h("div", { className: "ssr-status" }, rate, privacy);
  const spoken = h("p", { className: "ssr-hearing", "aria-live": "polite" });
  const details = h("details", { className: "ssr-details" }, h("summary", {}, "What the network sees"));
  const notes = h("details", { className: "ssr-details" }, h("summary", {}, "Write down what you try"));
  const root = shell("ssr-webcam", bar, stage, status, details, notes, spoken);
  el.replaceChildren(root);

  let running = false;
  let frozen = false;
  let frozenAt = null; // a frozen picture keeps its time, however late it is asked about again
  let again = false; // a frozen picture waits for a free place among the unanswered
  let turn = 0; // counts starts and stops: what began before the last of them is over
  let stream = null;
  let photo = null; // a still that was dropped, as a JPEG
  let count = 0;
  let shown = 0; // the number of the newest answer on the screen
  let answer = null;
  let chosen = null;
  const unanswered = new Map(); // the number of a frame and when it was sent
  const answered = []; // when the latest answers came
  const ages = []; // the chosen face's ages of the last seconds
  const first = source ? MESSAGES.source : MESSAGES.start;

  const say = (text) => {
    if (message.textContent !== text) message.textContent = text;
    message.hidden = !text;
  };

  // Frames go out.

  const sendFrame = (content, blob) => {
    const id = ++count;
    unanswered.set(id, performance.now());
    const asked = { kind: "frame", id, view, time: frozenAt ?? performance.now(), chosen, details: details.open, ...content };
    if (!blob) return model.send(asked);
    return blob.arrayBuffer().then((bytes) => model.send(asked, undefined, [bytes]));
  };
  const canvas = document.createElement("canvas");
  const toJpeg = (picture, width, height) => {
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").drawImage(picture, 0, 0, width, height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  };
  let encoding = false;
  const sendVideo = async () => {
    const full = unanswered.size >= MOST_UNANSWERED;
    if (encoding || full || !video.videoWidth || document.hidden || (frozen && !again)) return;
    encoding = true;
    again = false;
    try {
      const blob = await toJpeg(video, video.videoWidth, video.videoHeight);
      if (running && blob && !document.hidden) await sendFrame({}, blob);
    } finally {
      encoding = false;
    }
    if (again) sendVideo();
  };
  const askAgain = () => {
    if (!live) return;
    if (photo) return sendFrame({ still: true }, photo);
    again = frozen && !source;
    if (again) sendVideo();
  };
  /** Send the camera's frames as they come, until this camera is stopped. */
  const pump = (own) => {
    if (own !== stream) return;
    sendVideo();
    video.requestVideoFrameCallback(() => pump(own));
  };
  const pull = () => {
    while (running && source && !frozen && !document.hidden && unanswered.size < MOST_UNANSWERED) sendFrame({ kind: "next" });
  };

  // Answers come in.

  const hear = (content, buffers) => {
    if (content.view !== view) return;
    const sent = unanswered.get(content.id);
    unanswered.delete(content.id);
    if (again) sendVideo();
    if (content.id <= shown || sent === undefined) return;
    shown = content.id;
    if (!running && !photo) return;
    const now = performance.now();
    answered.push([now, now - sent, content.milliseconds]);
    if (content.error) {
      if (source) stop(content.error);
      else say(`${content.error[0].toUpperCase()}${content.error.slice(1)}.`);
      return;
    }
    answer = content;
    const nobody = photo ? MESSAGES.nobodyHere : MESSAGES.nobody;
    say(answer.faces.length ? "" : nobody);
    const pictures = [...buffers];
    if (source) showJpeg(pictures.shift(), content.id);
    drawBoxes();
    if (content.details) drawDetails(content.details, pictures[0]);
    remember(now);
    pull();
  };

  const showJpeg = async (bytes, id) => {
    const image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    if (id !== shown) return;
    showStill(image);
  };
  const showStill = (image) => {
    still.width = image.width;
    still.height = image.height;
    still.getContext("2d").drawImage(image, 0, 0);
    still.hidden = false;
    video.hidden = true;
  };

  const sentence = (face) => {
    const range = face.age_low === null ? "" : `, between ${face.age_low.toFixed(0)} and ${face.age_high.toFixed(0)}`;
    return `about ${face.age.toFixed(0)} years${range}; ${face.gender} ${percent(face)}`;
  };
  const percent = (face) => `${(100 * Math.max(face.p_male, 1 - face.p_male)).toFixed(0)} %`;
  const theChosen = () => answer?.faces.find((face) => face.track === chosen) ?? answer?.faces[0];
  const value = (face) => (smooth.firstChild.checked ? face.age : face.latest);

  const tags = new Map(); // a face's button by its track
  const drawBoxes = () => {
    const { width, height, faces } = answer;
    stage.style.aspectRatio = `${width} / ${height}`;
    root.classList.toggle("ssr-mirrored", mirrored());
    const now = new Set(faces.map((face) => face.track));
    for (const [track, tag] of tags) {
      if (now.has(track)) continue;
      tag.remove();
      tags.delete(track);
    }
    const choice = theChosen()?.track;
    for (const face of faces) {
      if (!tags.has(face.track)) {
        const choose = () => {
          chosen = face.track;
          ages.length = 0;
          askAgain();
          drawBoxes();
        };
        const tag = h("button", { type: "button", className: "ssr-face", onclick: choose }, h("span", { className: "ssr-label" }));
        tags.set(face.track, tag);
        boxes.append(tag);
      }
      const tag = tags.get(face.track);
      const [x, y, w, high] = face.box;
      const left = mirrored() ? width - x - w : x;
      Object.assign(tag.style, {
        left: `${(100 * left) / width}%`, top: `${(100 * y) / height}%`,
        width: `${(100 * w) / width}%`, height: `${(100 * high) / height}%`,
      });
      tag.setAttribute("aria-pressed", face.track === choice);
      tag.setAttribute("aria-label", `Face ${face.track}: ${sentence(face)}`);
      tag.classList.toggle("ssr-below", y < 0.16 * height);
      // In a crowd a small face has room for its age only; the chosen one shows all.
      tag.classList.toggle("ssr-short", faces.length > CROWD && w < 0.25 * width && face.track !== choice);
      const range = face.age_low === null ? [] : [h("span", {}, `${face.age_low.toFixed(0)}\u2013${face.age_high.toFixed(0)}`)];
      const gender = h("span", {}, `${face.gender} ${percent(face)}`);
      tag.firstChild.replaceChildren(h("strong", {}, value(face).toFixed(0)), ...range, gender);
    }
  };
  const mirrored = () => mirror.firstChild.checked && !source && !photo;

  // What the network sees: 64 x 64 pixels, the stages, and the age over time.

  const seen = h("canvas", { className: "ssr-seen", width: 64, height: 64, role: "img", "aria-label": "The 64 by 64 pixels that the network reads" });
  const terms = s("svg", { class: "ssr-picture", role: "img", "aria-label": "The bins of the three stages for the chosen face" });
  const termsPlace = h("div", { className: "ssr-canvas" }, terms);
  const termsText = h("p", { className: "ssr-note" });
  const chart = s("svg", { class: "ssr-picture ssr-chart", role: "img", "aria-label": "The age over the last seconds: single readings and their average" });
  const chartPlace = h("div", { className: "ssr-canvas" }, chart);
  const chartText = h("p", { className: "ssr-note" }, "The last 12 seconds: dots are single frames, the line is the average that the label shows.");
  details.append(h("div", { className: "ssr-panel" }, h("div", {}, seen), h("div", {}, chartPlace, chartText)), termsPlace, termsText);
  let wide = 0;
  let lastTerms = null;
  const drawDetails = (found, pixels) => {
    const image = new ImageData(64, 64);
    const bytes = new Uint8Array(pixels.buffer ?? pixels, pixels.byteOffset ?? 0, 64 * 64 * 3);
    for (let i = 0; i < 64 * 64; i++) image.data.set([...bytes.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    seen.getContext("2d").putImageData(image, 0, 0);
    lastTerms = { ...found, range: found.value_range, unit: "years" };
    drawTerms();
  };
  const drawTerms = () => {
    if (!lastTerms || !wide) return;
    const drawn = drawStages(terms, lastTerms, wide);
    const sum = drawn.terms.at(-1).value;
    termsText.textContent = `The stages of this one picture add up to ${sum.toFixed(1)} years. The label also averages over time, and over the picture's mirror image.`;
  };
  const remember = (now) => {
    const face = theChosen();
    if (face && !photo) ages.push([now, face.latest, face.age]);
    while (ages.length && now - ages[0][0] > REMEMBERED) ages.shift();
    if (details.open) drawChart(now);
  };
  const drawChart = (now) => {
    const width = chartPlace.clientWidth;
    const height = 120;
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    chart.setAttribute("height", height);
    if (!ages.length || !width) return chart.replaceChildren();
    const all = ages.flatMap(([, latest, age]) => [latest, age]);
    const low = Math.floor(Math.min(...all) - 2);
    const high = Math.ceil(Math.max(...all) + 2);
    const x = (time) => width - 8 - ((now - time) / REMEMBERED) * (width - 40);
    const y = (age) => 8 + ((high - age) / (high - low)) * (height - 16);
    const grid = ticks(low, high, 4).flatMap((tick) => [
      s("line", { class: "ssr-grid", x1: 32, x2: width - 8, y1: y(tick), y2: y(tick) }),
      s("text", { x: 26, y: y(tick) + 4, "text-anchor": "end" }, `${tick}`),
    ]);
    const dots = ages.map(([time, latest]) => s("circle", { class: "ssr-dot", cx: x(time), cy: y(latest), r: 2 }));
    const line = s("polyline", { class: "ssr-value", fill: "none", points: ages.map(([time, , age]) => `${x(time)},${y(age)}`).join(" ") });
    chart.replaceChildren(s("g", { class: "ssr-axis" }, ...grid), ...dots, line);
  };

  // The reader's own experiment: a row for each thing tried.

  const what = h("input", { type: "text", placeholder: "with glasses", "aria-label": "What you try" });
  const form = h("form", { className: "ssr-bar" }, what, h("button", { className: "ssr-button" }, "Write down"));
  const table = h("table", { className: "ssr-table" });
  notes.append(form, table);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const face = theChosen();
    if (!face) return say("There is no face to write down.");
    const { age, age_low, age_high, p_male, gender } = face;
    const row = { what: what.value || `try ${model.get("notes").length + 1}`, age, age_low, age_high, p_male, gender };
    model.set("notes", [...model.get("notes"), JSON.parse(JSON.stringify(row))]);
    model.save_changes();
    what.value = "";
    what.focus();
  });
  what.addEventListener("keydown", (event) => {
    // JupyterLab takes Enter for its own before the form can.
    if (event.key !== "Enter") return;
    event.preventDefault();
    form.requestSubmit();
  });
  const drawNotes = () => {
    const rows = model.get("notes").map((row) => {
      const range = row.age_low === null ? "" : `${row.age_low.toFixed(0)}\u2013${row.age_high.toFixed(0)}`;
      const cells = [row.what, row.age.toFixed(1), range, `${row.gender} ${percent(row)}`];
      return h("tr", {}, ...cells.map((text) => h("td", {}, text)));
    });
    const names = ["what", "age", "interval", "gender"].map((text) => h("th", { scope: "col" }, text));
    table.replaceChildren(...(rows.length ? [h("thead", {}, h("tr", {}, ...names)), h("tbody", {}, ...rows)] : []));
  };

  // Start, stop, freeze.

  const go = async () => {
    stop("");
    photo = null;
    const own = turn;
    if (source) {
      setRunning(true);
      say("Opening \u2026");
      return pull();
    }
    if (!navigator.mediaDevices) return say(MESSAGES.insecure);
    say(MESSAGES.asking);
    start.disabled = true;
    let opened;
    try {
      const device = cameras.value ? { deviceId: { exact: cameras.value } } : { facingMode: "user" };
      opened = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 }, ...device } });
    } catch (error) {
      // A camera that cannot be had must not be asked for again and again.
      cameras.replaceChildren();
      cameras.hidden = true;
      if (own === turn) say(MESSAGES[error.name] ?? `The camera could not be opened: ${error.message}`);
      return;
    } finally {
      start.disabled = false;
    }
    // Meanwhile a photo may have been dropped, another camera chosen, or the cell run again.
    if (own !== turn || !root.isConnected) return endTracks(opened);
    stream = opened;
    opened.getVideoTracks()[0].addEventListener("ended", () => opened === stream && stop(MESSAGES.ended));
    video.srcObject = opened;
    video.hidden = false;
    still.hidden = true;
    setRunning(true);
    say("Waiting for the first answer \u2026");
    pump(opened);
    offerCameras(opened);
  };
  const offerCameras = async (own) => {
    const found = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
    const current = own.getVideoTracks()[0].getSettings().deviceId;
    cameras.replaceChildren(...found.map((device, i) => new Option(device.label || `Camera ${i + 1}`, device.deviceId)));
    cameras.value = current;
    cameras.hidden = found.length < 2;
  };
  const endTracks = (opened) => {
    for (const track of opened?.getTracks() ?? []) track.stop();
  };
  const setRunning = (now) => {
    running = now;
    root.classList.toggle("ssr-idle", !now && !photo);
    start.textContent = now ? "Stop" : "Start";
    freeze.disabled = !now;
    setFrozen(false);
  };
  const setFrozen = (now) => {
    frozen = now;
    frozenAt = now ? performance.now() : null;
    again = false;
    freeze.textContent = now ? "Go on" : "Freeze";
    freeze.setAttribute("aria-pressed", now);
    if (!stream) return now || pull();
    if (!now) return video.play().catch(() => {});
    video.pause();
    askAgain();
  };
  const stop = (text) => {
    const asked = running;
    turn += 1;
    endTracks(stream);
    stream = video.srcObject = null;
    setRunning(false);
    unanswered.clear();
    answered.length = ages.length = 0;
    answer = chosen = null;
    tags.clear();
    boxes.replaceChildren();
    video.hidden = still.hidden = true;
    rate.textContent = "";
    say(text);
    if (asked && live) model.send({ kind: "stop", view });
  };

  const show = async (chosenFile) => {
    stop("");
    const own = turn;
    try {
      const image = await createImageBitmap(chosenFile, { imageOrientation: "from-image" });
      const scale = Math.min(1, STILL_SIDE / Math.max(image.width, image.height));
      const jpeg = await toJpeg(image, Math.round(image.width * scale), Math.round(image.height * scale));
      if (own !== turn) return;
      photo = jpeg;
      stage.style.aspectRatio = `${image.width} / ${image.height}`;
      showStill(canvas);
      root.classList.remove("ssr-idle");
    } catch {
      return say(MESSAGES.image);
    }
    say("Reading \u2026");
    askAgain();
  };
  file.addEventListener("change", () => file.files[0] && show(file.files[0]));
  stage.addEventListener("dragover", (event) => event.preventDefault());
  stage.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (live && event.dataTransfer.files[0]) show(event.dataTransfer.files[0]);
  });
  cameras.addEventListener("change", go);
  for (const box of [mirror, smooth]) box.addEventListener("change", () => answer && drawBoxes());
  details.addEventListener("toggle", askAgain);

  // Once a second: how fast it goes, whether Python answers, and a word for those who listen.
  const look = () => {
    const now = performance.now();
    while (answered.length && now - answered[0][0] > 3000) answered.shift();
    const oldest = Math.min(...unanswered.values());
    if (now - oldest > PATIENCE) say(MESSAGES.waiting);
    if (running && !frozen && answered.length > 1) {
      const seconds = (answered.at(-1)[0] - answered[0][0]) / 1000;
      const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1].toFixed(0);
      const speed = ((answered.length - 1) / seconds).toFixed(0);
      const there = middle(answered.map(([, latency]) => latency));
      const inside = middle(answered.map(([, , milliseconds]) => milliseconds));
      const frames = speed === "1" ? "frame" : "frames";
      rate.textContent = `${speed} ${frames} a second; ${there} ms from frame to answer, ${inside} of them in Python`;
    }
    const face = theChosen();
    const text = face ? sentence(face) : "";
    if (text !== spoken.textContent && Math.floor(now / 1000) % 4 === 0) spoken.textContent = text;
  };
  const looking = setInterval(look, 1000);
  const onHidden = () => {
    if (!running) return;
    if (document.hidden) return say(MESSAGES.hidden);
    if (message.textContent === MESSAGES.hidden) say("");
    pull();
  };
  document.addEventListener("visibilitychange", onHidden);
  const onGone = () => stop(MESSAGES.gone);

  stop(live ? first : MESSAGES.page);
  if (source) for (const part of [open, mirror]) part.hidden = true;
  if (!live) {
    root.classList.add("ssr-note-only");
    for (const part of [bar, status, details, notes]) part.hidden = true;
  }
  model.on("msg:custom", hear);
  model.on("comm_live_update", onGone);
  model.on("change:notes", drawNotes);
  drawNotes();
  const endWidth = onWidth(termsPlace, (now) => {
    wide = now;
    drawTerms();
  });
  return () => {
    stop("");
    clearInterval(looking);
    endWidth();
    document.removeEventListener("visibilitychange", onHidden);
    model.off("msg:custom", hear);
    model.off("comm_live_update", onGone);
    model.off("change:notes", drawNotes);
  };
}

export default { render };
