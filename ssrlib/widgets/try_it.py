"""The built-in networks on a page: forward pass, crop and calibration in the browser, with no kernel."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ssrlib import FACE_SIZE, detectors, face_crop, finder
from ssrlib.datasets import synthetic
from ssrlib.estimator import AgeGenderEstimator
from ssrlib.landmarks import TEMPLATE
from ssrlib.network import SSRNet
from ssrlib.tracking import find_new
from ssrlib.widgets.base import as_page, data_url, encoded, module

# An oval that a face fills from the hairline to the chin, as shares of the square that UTKFace shows:
# `landmarks.TEMPLATE` has the eyes and the mouth there, and the usual thirds of a face give the rest.
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
        finder: the face finder as `finder.js` unpacks it.
        pictures: the examples that its buttons load.
        guide: where the oval and the eyes are in the square that the networks get, as shares of its side,
            and where the five points of a face belong in its 64 x 64 pixels.

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
        self.finder = pack_finder()
        self.pictures = ([] if photo is None else [_portrait(photo)]) + _drawings()
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


def pack_finder() -> dict[str, Any]:
    """Return the built-in face finder as JSON, for finder.js: its networks and the rules around them.

    >>> packed = pack_finder()
    >>> packed["finder"][0]["size"], packed["finder"][-1]["biases"], len(packed["template"])
    (3, 11, 5)
    """
    first, second = finder.load()
    steps = {"finder": list(_steps(first.net)), "refiner": list(_steps(second.net))}
    names = (
        "stride",
        "reach",
        "lower",
        "smallest_copy",
        "possible",
        "certain",
        "sure",
        "still",
        "same",
        "outside",
        "wider",
        "patch",
        "nudge",
    )
    numbers = b"".join(_bytes(part) for layers in steps.values() for _, *parts in layers for part in parts)
    return {
        "rules": {name: getattr(detectors, name.upper()) for name in names},
        "template": TEMPLATE.tolist(),
        "upright": detectors.UPRIGHT.tolist(),
        "numbers": base64.b64encode(numbers).decode(),
    } | {name: [step for step, *_ in layers] for name, layers in steps.items()}


def _steps(modules: nn.Sequential, block: bool = False) -> Iterator[tuple[dict[str, Any], Tensor, Tensor]]:
    """The convolutions and linear layers of a part of the finder, each with its weights and biases."""
    parts = [part for part in modules if not isinstance(part, nn.BatchNorm2d | nn.Flatten)]
    norms = (part for part in modules if isinstance(part, nn.BatchNorm2d))
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(part, finder.Block):
            yield from _steps(part.change, block=True)
        if not isinstance(part, nn.Conv2d | nn.Linear):
            continue
        is_last = block and after is None
        step: dict[str, Any] = {
            "relu": is_last or isinstance(after, nn.ReLU),
            "size": 1,
            "stride": 1,
            "depthwise": False,
        }
        step["block"] = ("add" if is_last else "keep") if block else ""
        layer: nn.Conv2d | nn.Linear = part
        if isinstance(part, nn.Conv2d):
            step |= {"size": part.kernel_size[0], "stride": part.stride[0], "depthwise": part.groups > 1}
            layer = part if part.bias is not None else fuse_conv_bn_eval(part, next(norms))
        assert layer.bias is not None
        yield step | {"weights": layer.weight.numel(), "biases": layer.bias.numel()}, layer.weight, layer.bias


def _bytes(values: Tensor) -> bytes:
    return values.detach().cpu().numpy().astype("<f4").tobytes()


def _portrait(photo: np.ndarray) -> dict[str, Any]:
    if not find_new(photo):  # at the size at which the page looks
        raise ValueError("no face was found in the photo: the page needs one to begin with")
    image = data_url(encoded(photo, "jpeg", quality=90), "jpeg")
    return {"name": "A portrait", "note": "", "image": image, "drawn": False}


def _drawings() -> list[dict[str, Any]]:
    """Drawn faces, each as it is: all of the picture is the face."""
    drawn, rows = synthetic.generate(4, seed=7)
    return [
        {
            "name": f"Drawing {number}",
            "note": f"Drawn with the age {row.age:.0f}, {row.gender}, in mind. "
            "The networks learned from photos, and a drawing is a strange sight to them.",
            "image": data_url(encoded(face, "png"), "png"),
            "drawn": True,
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
    eyes = ((crop.template()[:2] + 0.5) / FACE_SIZE).tolist()
    oval = {"x": x, "y": y, "rx": size * OVAL["rx"], "ry": size * OVAL["ry"]}
    return oval | {"eyes": eyes, "points": crop.template().tolist()}
