// What stands in for the kernel's model on a page: it keeps the state, and tells who listens.

/** @import { Model } from "./dom.js" */

/**
 * @param {Record<string, unknown>} state
 * @returns {Model}
 */
export function modelOf(state) {
  /** @type {Record<string, (() => void)[]>} */
  const listeners = {};
  return {
    get: (name) => state[name],
    set: (name, value) => {
      state[name] = value;
      for (const listener of listeners[`change:${name}`] ?? []) listener();
    },
    save_changes: () => {},
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    off: () => {},
  };
}

/**
 * Show a widget in a place of the page, and end those whose place is gone: a cell was run again.
 * @param {(shown: { model: Model, el: HTMLElement }) => (() => void) | void} render
 * @param {Model} model
 * @param {HTMLElement} el
 */
export function showOn(render, model, el) {
  const page = /** @type {{ ssrShown?: Map<HTMLElement, (() => void) | void> }} */ (globalThis);
  const all = page.ssrShown ??= new Map();
  for (const [place, end] of all) {
    if (place.isConnected) continue;
    end?.();
    all.delete(place);
  }
  all.set(el, render({ model, el }));
}
