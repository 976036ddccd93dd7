"""SSR-Net: read age and gender from a face with 40,531 parameters.

The modules follow a face's way, from a photo to a metric; the book's chapters follow the modules.
"""

import lazy_loader

FACE_SIZE = 64
"""A face's height and width in pixels, everywhere."""

# Imported on first use, as __init__.pyi lists them: the processes that prepare photos need not load torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
