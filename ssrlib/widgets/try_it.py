"""The built-in networks on a page: forward pass, crop and calibration in the browser, with no kernel."""

import base64
from typing import Any

import cv2
import numpy as np
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ssrlib import FACE_SIZE, detectors, face_crop
from ssrlib.datasets import synthetic
from ssrlib.estimator import AgeGenderEstimator
from ssrlib.network import SSRNet
from ssrlib.widgets.base import as_page, module

# An oval that a face fills from the hairline to the chin, as shares of the square that UTKFace shows:
# `face_crop.TEMPLATE` has the eyes and the mouth there, and the usual thirds of a face give the rest.
OVAL = {"x": 0.5, "y": 0.46, "rx": 0.42, "ry": 0.56}


class TryIt:
    """Try the networks on a picture, on the camera or on drawn faces: all of it happens in the browser.

    A notebook shows it as HTML. It is no widget of ipywidgets, for it has nothing to tell a kernel.

    Args:
        photo: a picture to begin with, such as a portrait that anyone may use: uint8, height x width x
            3, RGB. Without one, the page begins with a drawn face.
        estimator: whose networks, calibration and crop to show; by default the built-in ones.

    Attributes:
        networks: for age and for gender, the network as `network.js` unpacks it, and its calibration.
        pictures: the examples that its buttons load.
        guide: where the oval and the eyes are in the square that the networks get, as shares of its side.

    Raises:
        ValueError: there is no face in the photo, or the estimator's backend is not PyTorch.

    >>> page = TryIt()
    >>> sorted(page.networks)
    ['age', 'gender']
    """

    def __init__(self, photo: np.ndarray | None = None, estimator: AgeGenderEstimator | None = None):
        estimator = estimator or AgeGenderEstimator()
        if not isinstance(estimator.age, SSRNet):
            raise ValueError(
                'the page is made from PyTorch\'s networks: use an estimator with backend="torch"'
            )
        self.networks = {
            "age": pack(estimator.age) | {"calibration": estimator.age_calibration},
            "gender": pack(estimator.gender) | {"calibration": estimator.gender_calibration},
        }
        self.pictures = ([] if photo is None else [_portrait(photo, estimator.crop)]) + _drawings()
        self.guide = _guide(estimator.crop)

    def page(self) -> str:
        """Return all of it as HTML that needs no kernel, no server and no other file."""
        script = module("try_it.js")
        return as_page(script, vars(self))

    _repr_html_ = page


def pack(network: SSRNet) -> dict[str, Any]:
    """Return a network in inference mode as JSON: its settings, and its layers' float32 numbers as base64.

    Batch norm is folded into the convolutions before it.

    >>> pack(SSRNet().eval())["layers"][0]  # a name, and how many weights and biases there are
    ['stream1.0', 864, 32]
    """
    layers = {}
    for name in ("stream1", "stream2"):
        for k, (convolution, norm, *_) in enumerate(getattr(network, name)):
            layers[f"{name}.{k}"] = fuse_conv_bn_eval(convolution, norm)
    for k, fusion in enumerate(network.fusions):
        for name, part in fusion.named_children():
            layers[f"fusions.{k}.{name}"] = next(m for m in part if isinstance(m, nn.Conv2d | nn.Linear))
    numbers = b"".join(_bytes(layer.weight) + _bytes(layer.bias) for layer in layers.values())
    stages = [{"block": block, "pool": pool} for block, pool, _ in network.STAGES[: len(network.fusions)]]
    return {
        "settings": network.settings | {"stages": stages},
        "mean": network.mean.flatten().tolist(),
        "std": network.std.flatten().tolist(),
        "layers": [[name, layer.weight.numel(), layer.bias.numel()] for name, layer in layers.items()],
        "numbers": base64.b64encode(numbers).decode(),
    }


def _bytes(values: Tensor) -> bytes:
    return values.detach().cpu().numpy().astype("<f4").tobytes()


def _portrait(photo: np.ndarray, crop: face_crop.Crop) -> dict[str, Any]:
    boxes = detectors.find(photo)
    if not boxes:
        raise ValueError("no face was found in the photo: the page needs one to begin with")
    square = crop.square(boxes[0])
    return {
        "name": "A portrait",
        "note": "A photo that anyone may use. Drag it: the answer follows where the face lies in the oval.",
        "image": _image(photo, "jpeg"),
        "square": {"left": square.x, "top": square.y, "side": square.width},
    }


def _drawings() -> list[dict[str, Any]]:
    """Drawn faces, each as it is: the square is the whole picture."""
    drawn, rows = synthetic.generate(4, seed=7)
    return [
        {
            "name": f"Drawing {number}",
            "note": f"Drawn with the age {row.age:.0f}, {row.gender}, in mind. "
            "The networks learned from photos, and a drawing is a strange sight to them.",
            "image": _image(face, "png"),
            "square": {"left": 0, "top": 0, "side": FACE_SIZE},
        }
        for number, (face, row) in enumerate(zip(drawn, rows.itertuples(), strict=True), start=1)
    ]


def _guide(crop: face_crop.Crop) -> dict[str, Any]:
    """Move the oval and the eyes from UTKFace's square to the one of a crop: both belong to one box."""
    size = (1 + 2 * face_crop.MARGIN) / (1 + 2 * crop.margin)
    shift = (face_crop.SHIFT - crop.shift) / (1 + 2 * crop.margin)

    def moved(x: float, y: float) -> tuple[float, float]:
        return 0.5 + size * (x - 0.5), 0.5 + size * (y - 0.5) + shift

    x, y = moved(OVAL["x"], OVAL["y"])
    eyes = [moved(*point) for point in (face_crop.TEMPLATE[:2] / FACE_SIZE).tolist()]
    return {"x": x, "y": y, "rx": size * OVAL["rx"], "ry": size * OVAL["ry"], "eyes": eyes}


def _image(picture: np.ndarray, kind: str) -> str:
    data = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
