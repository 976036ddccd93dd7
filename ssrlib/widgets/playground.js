// Sliders that look answers up in a table: the last slider's values are next to one another in it.

function render({ model, el }) {
  const choices = model.get("choices");
  const answers = model.get("answers");
  const image = h("img", { className: "ssr-seen", alt: "", hidden: true });
  const figure = h("img", { className: "ssr-figure", alt: "A figure for the values chosen above", hidden: true });
  const text = h("output", { className: "ssr-told", "aria-live": "polite" });
  const sliders = choices.map(({ name, values }) => {
    const middle = String(values.length >> 1);
    const input = h("input", { type: "range", min: 0, max: values.length - 1, step: 1, value: middle });
    const chosen = h("span", {});
    input.addEventListener("input", () => show());
    return { input, chosen, values, row: h("label", { className: "ssr-row" }, h("span", {}, name), input, chosen) };
  });
  const show = () => {
    let place = 0;
    for (const { input, chosen, values } of sliders) {
      place = place * values.length + Number(input.value);
      chosen.textContent = values[input.value];
      input.setAttribute("aria-valuetext", chosen.textContent);
    }
    const answer = answers[place];
    text.textContent = answer.text;
    image.hidden = !answer.image;
    figure.hidden = !answer.figure;
    if (answer.image) image.src = answer.image;
    if (answer.figure) figure.src = answer.figure;
  };
  const told = h("div", { className: "ssr-panel" }, image, text);
  el.replaceChildren(shell("ssr-playground", ...sliders.map(({ row }) => row), figure, told));
  show();
}

export default { render };
