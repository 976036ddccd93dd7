"""What a notebook shows: the formula to move, the training to watch, and a camera to look into.

Each widget is a Python class and a plain JavaScript module of the same name, with no build step in between.
They share `style.css`, and import the JavaScript that they share: `dom.js`, `chart.js`, `camera.js` and more.
"""

import lazy_loader

# Imported on first use, as __init__.pyi lists them: the webcam demo need not load what training needs.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
