"""What all widgets share: their files, and a form that works on a page with no kernel and no network."""

import base64
import json
import re
import uuid
from pathlib import Path
from typing import Any

import anywidget
import cv2
import ipywidgets
import numpy as np

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "style.css").read_text("utf-8")

# What stands in a widget's place until its script runs. From notebooks that it does not trust, Jupyter strips
# all scripts.
INSTEAD = (
    "A widget belongs here: if it does not appear, allow scripts; in a notebook, run this cell or trust it."
)

# How the modules name one another; a widget's own module cannot import from a file.
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


def module(*names: str) -> str:
    """Return JavaScript files, each after those that it imports, as one module that imports nothing."""
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in texts:
            text = (FOLDER / name).read_text("utf-8")
            for other in IMPORT.findall(text):
                add(other)
            texts[name] = EXPORT.sub("", IMPORT.sub("", text))

    for name in names:
        add(name)
    return "\n".join(texts.values())


def encoded(picture: np.ndarray, kind: str, quality: int = 85) -> bytes:
    """Return an RGB picture as the bytes of a "png" or "jpeg" file; only a JPEG has a quality."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else []
    return cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def data_url(data: bytes, kind: str) -> str:
    """Return an image file's bytes as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def as_page(script: str, state: dict[str, Any]) -> str:
    """Return a module with a `render`, and its state, as HTML that needs no kernel, server or other file."""
    place = f"ssr-{uuid.uuid4().hex}"
    # Within a script, "</script" ends it, and "<!--" with "<script" hides its end, also in a string.
    values = json.dumps(state).replace("<", "\\u003c")
    script += f"\n{module('page.js')}\nconst model = modelOf({values});"
    script += f"showOn(render, model, document.getElementById({place!r}));"
    script = script.replace("</", "<\\/")
    instead = f'<div id="{place}"><p>{INSTEAD}</p></div>'
    return f'<style>{STYLE}</style>{instead}<script type="module">{script}</script>'


class Widget(anywidget.AnyWidget):
    """A widget that a notebook shows live, and a page shows as HTML with its module and state inside.

    On a page there is no kernel: the module's `model` then has no `send`, and its changes stay in the
    browser.
    """

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return data | {"text/html": self.page()}, metadata

    def page(self) -> str:
        """Return the widget as HTML that needs no kernel, no server and no other file."""
        own = set(self.keys) - set(ipywidgets.DOMWidget.class_trait_names())
        state = {name: getattr(self, name) for name in sorted(own) if not name.startswith("_")}
        return as_page(self._esm, state)
