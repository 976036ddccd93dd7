"""What all widgets share: their files, and a form that works on a page with no kernel and no network."""

import json
import uuid
from pathlib import Path

import anywidget
import ipywidgets

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "style.css").read_text()

# What stands in for the kernel's model on a page: it keeps the state, and tells who listens.
STAND_IN = """
const heard = {};
const model = {
  get: (name) => state[name],
  set: (name, value) => {
    state[name] = value;
    for (const listener of heard[`change:${name}`] ?? []) listener();
  },
  save_changes: () => {},
  on: (event, listener) => (heard[event] ??= []).push(listener),
  off: () => {},
};
"""


def module(*names: str) -> str:
    """Return JavaScript files one after the other, as one module: a widget's module cannot import."""
    return "\n".join((FOLDER / name).read_text() for name in names)


def as_page(script: str, state: dict) -> str:
    """Return a module with a `render`, and its state, as HTML that needs no kernel, server or other file."""
    place = f"ssr-{uuid.uuid4().hex}"
    script += f"\nconst state = {json.dumps(state)};" + STAND_IN
    script += f"render({{ model, el: document.getElementById({place!r}) }});"
    # A script ends at the first "</script", even within a string.
    script = script.replace("</", "<\\/")
    return f'<style>{STYLE}</style><div id="{place}"></div><script type="module">{script}</script>'


class Widget(anywidget.AnyWidget):
    """A widget that a notebook shows live, and a page shows as HTML with its module and state inside.

    On a page there is no kernel: the module's `model` then has no `send`, and its changes stay in the
    browser.
    """

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return data | {"text/html": self.page()}, metadata

    def page(self) -> str:
        """Return the widget as HTML that needs no kernel, no server and no other file."""
        own = set(self.keys) - set(ipywidgets.DOMWidget.class_trait_names())
        state = {name: getattr(self, name) for name in sorted(own) if not name.startswith("_")}
        return as_page(self._esm, state)
