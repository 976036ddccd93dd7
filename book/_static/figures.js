// A figure shrinks to a narrow screen. A tap enlarges it, to be scrolled; the next tap, or Escape, closes it.

/** @param {HTMLImageElement} picture */
function enlarge(picture) {
  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.append(picture.cloneNode());
  dialog.addEventListener("click", () => dialog.close());
  // Sphinx listens to Escape everywhere, and would keep it from the dialog.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("DOMContentLoaded", () => {
  /** @type {NodeListOf<HTMLImageElement>} */
  const pictures = document.querySelectorAll("article figure img");
  for (const picture of pictures) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.title = "Enlarge";
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => enlarge(picture));
  }
});
