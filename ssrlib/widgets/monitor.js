// The training monitor: the state that Python sends, as curves, bars and a line of numbers.

const PHASES = {
  ready: "Not started yet.",
  running: "Training",
  stopping: "Stopping after this step \u2026",
  stopped: "Stopped, with a checkpoint. Resume goes on from there.",
  finished: "Finished.",
  failed: "Ended by an error:",
};

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function render({ model, el }) {
  const live = Boolean(model.send);
  const button = (text, kind) => {
    const onclick = () => {
      pressed.disabled = true;
      model.send({ kind });
    };
    const pressed = h("button", { type: "button", className: "ssr-button ssr-main", hidden: true, onclick }, text);
    return pressed;
  };
  const stop = button("Stop", "stop");
  const resume = button("Resume", "resume");
  const phase = h("p", { className: "ssr-phase", role: "status" });
  const numbers = h("p", { className: "ssr-note" });
  const figure = h("output", { className: "ssr-answer" });
  const best = h("p", { className: "ssr-sumline" });
  const bar = h("progress", { className: "ssr-progress", max: 1, value: 0, "aria-label": "Share of the steps done" });
  const curves = s("svg", { class: "ssr-picture", role: "img" });
  const ages = s("svg", { class: "ssr-picture", role: "img" });
  const curvesPlace = h("div", { className: "ssr-canvas" }, h("p", { className: "ssr-hint" }), curves);
  const agesPlace = h("div", { className: "ssr-canvas" }, h("p", { className: "ssr-hint" }, "error by age on validation (years)"), ages);
  const head = h("div", { className: "ssr-head" }, h("div", {}, phase, numbers), h("div", {}, figure, best), stop, resume);
  const panel = h("div", { className: "ssr-charts" }, curvesPlace, agesPlace);
  el.replaceChildren(shell("ssr-monitor", head, bar, panel));

  const show = () => {
    const state = model.get("state");
    const { history, step, steps, rate, left } = state;
    const running = state.phase === "running";
    phase.textContent = [PHASES[state.phase], state.message].filter(Boolean).join(" ");
    stop.hidden = !live || !["running", "stopping"].includes(state.phase);
    stop.disabled = state.phase === "stopping";
    resume.hidden = !live || state.phase !== "stopped";
    resume.disabled = false;
    bar.value = steps ? step / steps : 0;
    const parts = steps ? [`epoch ${Math.min(history.length + 1, state.epochs)} of ${state.epochs}`, `step ${step.toLocaleString("en")} of ${steps.toLocaleString("en")}`] : [];
    if (rate && running) parts.push(`${Math.round(rate).toLocaleString("en")} faces a second`);
    if (left && running) parts.push(`${duration(left)} left`);
    numbers.textContent = parts.join(" \u00b7 ");
    const isAge = state.target === "age";
    const name = isAge ? "mae" : "accuracy";
    const say = (value) => (isAge ? `${value.toFixed(2)} years` : `${(100 * value).toFixed(1)} %`);
    figure.replaceChildren();
    best.textContent = "";
    if (history.length) {
      const values = history.map((row) => row[name]);
      figure.append(h("strong", {}, isAge ? values.at(-1).toFixed(2) : (100 * values.at(-1)).toFixed(1)), isAge ? " years" : " %");
      best.textContent = `validation ${isAge ? "error" : "accuracy"}; best ${say(isAge ? Math.min(...values) : Math.max(...values))}`;
    }
    curvesPlace.firstChild.replaceChildren("training loss (line) and validation error (dots), by epoch");
    drawCurves(state);
    drawAges(state.by_age);
    agesPlace.hidden = !isAge;
  };

  const frame = (svg, place, height, [left, right], [low, high], xTicks, summary) => {
    const width = place.clientWidth;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    svg.setAttribute("aria-label", summary);
    const x = (value) => 40 + ((value - left) / (right - left || 1)) * (width - 52);
    const y = (value) => 10 + ((high - value) / (high - low || 1)) * (height - 36);
    const grid = ticks(low, high, 4).flatMap((tick) => [
      s("line", { class: "ssr-grid", x1: 40, x2: width - 12, y1: y(tick), y2: y(tick) }),
      s("text", { x: 34, y: y(tick) + 4, "text-anchor": "end" }, String(Number(tick.toPrecision(4)))),
    ]);
    const names = xTicks.map(([value, text]) => s("text", { x: x(value), y: height - 8, "text-anchor": "middle" }, text));
    svg.replaceChildren(s("g", { class: "ssr-axis" }, ...grid, ...names));
    return { x, y };
  };

  const drawCurves = ({ loss, history, epochs }) => {
    if (!curvesPlace.clientWidth) return;
    const points = history.map(({ epoch, mae }) => [epoch, mae]);
    // The first losses are far above the rest, and would press all that matters into a line.
    const sorted = [...loss.map(([, value]) => value), ...points.map(([, value]) => value)].sort((a, b) => a - b);
    const high = sorted.length ? 1.15 * Math.min(sorted.at(-1), 2.5 * sorted[sorted.length >> 1]) : 1;
    const marks = ticks(0, epochs, Math.min(epochs, 8)).map((epoch) => [epoch, `${epoch}`]);
    const summary = points.length ? `Validation error after ${points.length} epochs: ${points.at(-1)[1].toFixed(2)}` : "No epoch has ended yet";
    const { x, y } = frame(curves, curvesPlace, 210, [0, epochs], [0, high], marks, summary);
    const line = (values, name) => s("polyline", { class: name, fill: "none", points: values.map(([a, b]) => `${x(a)},${y(Math.min(b, high))}`).join(" ") });
    curves.append(line(loss, "ssr-loss"), line(points, "ssr-value"));
    for (const [epoch, mae] of points) curves.append(s("circle", { class: "ssr-arrowhead", cx: x(epoch), cy: y(Math.min(mae, high)), r: 3.5 }));
  };

  const drawAges = (groups) => {
    if (!agesPlace.clientWidth) return;
    const high = groups.length ? 1.15 * Math.max(...groups.map(({ mae }) => mae)) : 1;
    const marks = groups.map(({ ages: name }, i) => [i + 0.5, name.split("-")[0]]);
    const summary = groups.map(({ ages: name, mae }) => `${name} years: ${mae.toFixed(1)}`).join(", ") || "Not measured yet";
    const { x, y } = frame(ages, agesPlace, 210, [0, Math.max(groups.length, 1)], [0, high], marks, summary);
    groups.forEach(({ mae, faces }, i) => {
      const width = Math.max(1, x(i + 0.85) - x(i + 0.15));
      const bar = s("rect", { class: "ssr-fill", x: x(i + 0.15), y: y(mae), width, height: y(0) - y(mae), rx: 2 });
      bar.append(s("title", {}, `${faces} faces`));
      ages.append(bar);
    });
  };

  model.on("change:state", show);
  const gone = () => {
    phase.textContent = "The kernel has gone. Run the cell again: training goes on from its checkpoint, if it had a folder.";
    stop.hidden = resume.hidden = true;
  };
  model.on("comm_live_update", gone);
  const end = onWidth(panel, show);
  return () => {
    end();
    model.off("change:state", show);
    model.off("comm_live_update", gone);
  };
}

export default { render };
