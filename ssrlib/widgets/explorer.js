// The stagewise explorer: drag weights, shifts and widths, and see bins move and the value change.

const LIMITS = { p: [0, 1.5], eta: [-1, 1], delta: [-0.9, 1] };
const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));
const copy = (numbers) => JSON.parse(JSON.stringify(numbers));

function render({ model, el }) {
  const numbers = { p: [], eta: [], delta: [], range: 0, unit: "" };
  const read = () => {
    for (const name of ["p", "eta", "delta"]) numbers[name] = copy(model.get(name));
    numbers.range = model.get("value_range");
    numbers.unit = model.get("unit");
  };
  let sending = false;
  const send = () => {
    sending = true;
    for (const name of ["p", "eta", "delta"]) model.set(name, copy(numbers[name]));
    model.set("value_range", numbers.range);
    sending = false;
    model.save_changes();
  };

  const presets = h("div", { className: "ssr-presets", role: "group", "aria-label": "Examples" });
  const answer = h("output", { className: "ssr-answer", "aria-live": "polite" });
  const sum = h("p", { className: "ssr-sumline" });
  const note = h("p", { className: "ssr-note" });
  const svg = s("svg", { class: "ssr-picture", role: "img", tabindex: -1 });
  const hint = h("p", { className: "ssr-hint" }, "Drag a bin up or down for its weight, sideways for its shift, and a grip for the width.");
  const picture = h("div", { className: "ssr-canvas" }, svg, hint);
  const controls = h("div", { className: "ssr-controls" });
  const head = h("div", { className: "ssr-head" }, h("div", {}, presets, note), h("div", {}, answer, sum));
  el.replaceChildren(shell("ssr-explorer", head, picture, controls));

  let drawn = null;
  let width = 0;
  const draw = () => {
    if (!width || !numbers.p.length) return;
    drawn = drawStages(svg, numbers, width);
    const { terms } = drawn;
    const value = terms.at(-1).value;
    const digits = numbers.range < 10 ? 3 : 1;
    answer.replaceChildren(h("strong", {}, fixed(value, digits)), ` ${numbers.unit}`);
    answer.dataset.value = value;
    const parts = terms.map((term) => term.value - term.start);
    const added = parts.map((part, k) => (k ? (part < 0 ? " \u2212 " : " + ") : "") + fixed(k ? Math.abs(part) : part, digits));
    sum.textContent = `${added.join("")} = ${fixed(value, digits)}`;
    svg.setAttribute("aria-label", `${terms.length} stages of bins, adding up to ${fixed(value, digits)} ${numbers.unit}`);
    for (const control of controls.querySelectorAll("input")) control.refresh();
  };

  /** One slider for `numbers[name][k]`, or for bin i of it. */
  const slider = (name, k, i, label, describe) => {
    const get = () => (i === null ? numbers[name][k] : numbers[name][k][i]);
    const [low, high] = LIMITS[name];
    const input = h("input", { type: "range", min: low, max: high, step: "any", className: `ssr-${name}` });
    const text = h("span", { className: "ssr-number" });
    input.setAttribute("aria-label", label);
    const move = (value) => {
      if (i === null) numbers[name][k] = value;
      else numbers[name][k][i] = value;
      draw();
      send();
    };
    input.addEventListener("input", () => move(input.valueAsNumber));
    input.addEventListener("keydown", (event) => {
      // Without a step, browsers move by too little or too much.
      const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const value = Math.round(get() / 0.02 + steps[event.key]) * 0.02;
      move(clamp(Number(value.toFixed(2)), [low, Number(input.max)]));
    });
    input.addEventListener("dblclick", () => move(0));
    input.refresh = () => {
      if (name === "p") input.max = Math.max(high, ...numbers.p[k]);
      input.value = get();
      const share = (get() - low) / (Number(input.max) - low);
      input.style.setProperty("--share", `${100 * share}%`);
      text.textContent = describe(get());
      input.setAttribute("aria-valuetext", text.textContent);
    };
    return { input, text };
  };

  const build = () => {
    controls.replaceChildren(
      ...numbers.p.map((weights, k) => {
        const bins = weights.map((_, i) => {
          const p = slider("p", k, i, `Stage ${k + 1}, bin ${i}: weight p`, (value) => fixed(value, 2));
          const eta = slider("eta", k, i, `Stage ${k + 1}, bin ${i}: shift eta, in bin widths`, (value) => signed(value));
          return h("div", { className: "ssr-column" }, p.text, p.input, h("span", { className: "ssr-name" }, `bin ${i}`), eta.input, eta.text);
        });
        const delta = slider("delta", k, null, `Stage ${k + 1}: width scale delta`, (value) => signed(value));
        const names = h("div", { className: "ssr-column ssr-names", "aria-hidden": true });
        names.append(h("span", {}, "weight p"), h("span", {}, "shift \u03b7"));
        return h(
          "fieldset", { className: "ssr-card" },
          h("legend", {}, `Stage ${k + 1}`),
          h("div", { className: "ssr-columns" }, names, ...bins),
          h("label", { className: "ssr-row" }, h("span", {}, "width \u03b4"), delta.input, delta.text),
        );
      }),
    );
  };

  const shape = () => numbers.p.map((row) => row.length).join();
  let built = "";
  const show = () => {
    if (shape() !== built) build();
    built = shape();
    draw();
  };

  // Bins glide to a preset's places; only the end is told to Python.
  let glide = 0;
  const load = (preset) => {
    cancelAnimationFrame(glide);
    const target = { p: copy(preset.p), eta: copy(preset.eta), delta: copy(preset.delta) };
    const from = copy(numbers);
    const same = target.p.map((row) => row.length).join() === built;
    numbers.range = preset.value_range;
    note.textContent = preset.note;
    Object.assign(numbers, copy(target));
    send();
    if (!same || stillness()) return show();
    const started = performance.now();
    const mix = (a, b, t) => (Array.isArray(a) ? a.map((value, i) => mix(value, b[i], t)) : a + (b - a) * t);
    const step = (now) => {
      const t = Math.min(1, Math.max(0, (now - started) / 400));
      const eased = t * t * (3 - 2 * t);
      for (const name of ["p", "eta", "delta"]) numbers[name] = t < 1 ? mix(from[name], target[name], eased) : copy(target[name]);
      numbers.range = mix(from.range, preset.value_range, eased);
      draw();
      if (t < 1) glide = requestAnimationFrame(step);
    };
    glide = requestAnimationFrame(step);
  };

  const offer = () => {
    presets.replaceChildren(
      ...model.get("presets").map((preset) => {
        const button = h("button", { type: "button", className: "ssr-button", onclick: () => load(preset) });
        if (preset.image) button.append(h("img", { src: preset.image, alt: "", width: 28, height: 28 }));
        button.append(preset.name);
        return button;
      }),
    );
  };

  // In the picture: up and down changes a bin's weight, sideways its shift; the grip changes the width.
  svg.addEventListener("pointerdown", (event) => {
    const row = event.target.closest("[data-stage]");
    const bin = event.target.closest("[data-bin]");
    const grip = event.target.closest(".ssr-grip");
    if (!row || (!bin && !grip)) return;
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    const k = Number(row.dataset.stage);
    const i = bin && Number(bin.dataset.bin);
    const before = copy(numbers);
    const { x, top, terms } = drawn;
    const pixels = x(1) - x(0);
    let way = grip ? "delta" : null;
    const move = (now) => {
      const dx = now.clientX - event.clientX;
      const dy = now.clientY - event.clientY;
      if (!way && Math.hypot(dx, dy) > 4) way = Math.abs(dx) > Math.abs(dy) ? "eta" : "p";
      if (way === "p") numbers.p[k][i] = clamp(before.p[k][i] - (dy / BIN) * top[k], [0, Math.max(LIMITS.p[1], top[k])]);
      if (way === "eta") numbers.eta[k][i] = clamp(before.eta[k][i] + dx / pixels / terms[k].width, LIMITS.eta);
      if (way === "delta") {
        const width = Math.max(1e-6, terms[k].width + dx / pixels / before.p[k].length);
        numbers.delta[k] = clamp((terms[k].width * (1 + before.delta[k])) / width - 1, LIMITS.delta);
      }
      if (way) draw();
      if (way) send();
    };
    svg.addEventListener("pointermove", move);
    const end = () => svg.removeEventListener("pointermove", move);
    svg.addEventListener("lostpointercapture", end, { once: true });
  });

  // Python sets several at once and each tells of itself: the first to be heard reads them all.
  const changed = () => {
    if (sending) return;
    cancelAnimationFrame(glide);
    read();
    show();
  };
  for (const name of ["p", "eta", "delta", "value_range"]) model.on(`change:${name}`, changed);
  model.on("change:presets", offer);
  offer();
  read();
  note.textContent = model.get("presets")[0]?.note ?? "";
  const stop = onWidth(picture, (now) => {
    width = now;
    show();
  });
  return () => {
    cancelAnimationFrame(glide);
    stop();
  };
}

export default { render };
