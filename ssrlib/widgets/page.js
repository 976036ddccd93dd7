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
