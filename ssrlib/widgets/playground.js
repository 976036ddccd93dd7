// Sliders that look answers up in a table: the last slider's values are next to one another in it.

import { h, shell } from "./dom.js";

/** @import { Model } from "./dom.js" */

/**
 * @typedef {{ name: string, values: string[] }} Choice
 * @typedef {{ text: string, image?: string, figure?: string }} Answer
 */

/** @param {{ model: Model, el: HTMLElement }} place */
function render({ model, el }) {
  const choices = /** @type {Choice[]} */ (model.get("choices"));
  const answers = /** @type {Answer[]} */ (model.get("answers"));
  const image = h("img", { className: "ssr-seen", alt: "", hidden: true });
  const alt = "A figure for the values chosen above";
  const figure = h("img", { className: "ssr-figure", alt, hidden: true });
  const text = h("output", { className: "ssr-told", "aria-live": "polite" });
  const sliders = choices.map(({ name, values }) => {
    const middle = String(values.length >> 1);
    const input = h("input", { type: "range", min: 0, max: values.length - 1, step: 1, value: middle });
    const chosen = h("span", {});
    input.addEventListener("input", () => show());
    const row = h("label", { className: "ssr-row" }, h("span", {}, name), input, chosen);
    return { input, chosen, values, row };
  });
  const show = () => {
    let place = 0;
    for (const { input, chosen, values } of sliders) {
      place = place * values.length + Number(input.value);
      chosen.textContent = values[Number(input.value)];
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
