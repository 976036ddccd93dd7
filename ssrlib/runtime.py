"""Open a network with what is installed: PyTorch, ONNX Runtime or ncnn.

Importing this module loads none of them. `ssrlib.export` writes the files for the last two.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssrlib.face_crop import MARGIN, SHIFT

PRETRAINED = Path(__file__).parent / "pretrained"

# Eight faces at a time keep the maps of the first blocks in a core's second-level cache.
BATCH = 8

# ncnn halves the precision of a network on processors that can, which moves ages by hundredths of a year.
NCNN_HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")


class Exported(NamedTuple):
    """An exported network, ready to run.

    `read` turns faces (uint8, N x 64 x 64 x 3, RGB) into float32 values, N x the number of networks
    in the file. `targets` ("age" or "gender") and `cards` say what they read, and are their model cards,
    in the order of the columns.
    """

    read: Callable[[np.ndarray], np.ndarray]
    targets: list[str]
    cards: list[dict]


def open_network(
    target: str, path: str | Path | None = None, backend: str = "torch"
) -> tuple[Any, Callable[[np.ndarray], np.ndarray], dict]:
    """Open a network for `"age"` or `"gender"`.

    Args:
        path: weights for the backend "torch", an ONNX file that ssrlib exported for "onnx"; by default
            the built-in one.
        backend: "torch" or "onnx".

    Returns:
        The network as its backend has it, a function from N faces (uint8, N x 64 x 64 x 3, RGB) to N
        values, and the model card.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the backend is not installed.
        ValueError: the file cannot be read, or it reads something else from a face.

    >>> _, read, card = open_network("age", backend="onnx")
    >>> read(np.zeros((2, 64, 64, 3), np.uint8)).shape
    (2,)
    """
    if backend == "torch":
        try:
            from ssrlib import weights
            from ssrlib.inference import predict
        except ImportError as error:
            message = "the backend 'torch' needs PyTorch: pip install 'ssrlib[train]', or use backend='onnx'"
            raise ImportError(message) from error
        path = path or weights.pretrained(target)
        network = weights.load(path)
        return network, partial(predict, network), weights.read_card(path)
    if backend != "onnx":
        raise ValueError(f'the backend must be "torch" or "onnx", not {backend!r}')
    path = path or PRETRAINED / f"{target}.onnx"
    exported = open_onnx(path)
    if target not in exported.targets:
        raise ValueError(f"{path}: reads {' and '.join(exported.targets)} from a face, not {target}")
    column = exported.targets.index(target)
    return exported, lambda faces: exported.read(faces)[:, column], exported.cards[column]


def crop_recipe(card: dict) -> dict:
    """Return how the faces that a network learned from were cropped, as far as its card says.

    >>> crop_recipe({"crop": {"margin": 0.4}})
    {'margin': 0.4, 'shift': 0.1}
    """
    crop = card.get("crop", {})
    return {"margin": crop.get("margin", MARGIN), "shift": crop.get("shift", SHIFT)}


def open_onnx(path: str | Path, threads: int = 1) -> Exported:
    """Open an ONNX file that `export.to_onnx` or `export.to_int8` wrote.

    Args:
        threads: how many to compute with. For networks this small, a second one gains little.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: ONNX Runtime is not installed.
        ValueError: it is not an ONNX file, or not one that ssrlib exported.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("ONNX files are run with onnxruntime: pip install 'ssrlib[predict]'") from error

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class but this
        raise ValueError(
            f"{path}: damaged, or not an ONNX file; `python -m ssrlib export` makes one"
        ) from error
    metadata = session.get_modelmeta().custom_metadata_map
    if not {"targets", "cards"} <= metadata.keys():
        raise ValueError(f"{path}: an ONNX file, but not one that `python -m ssrlib export` made")

    def read(faces: np.ndarray) -> np.ndarray:
        batches = (faces[i : i + BATCH].transpose(0, 3, 1, 2) for i in range(0, len(faces), BATCH))
        values = [session.run(None, {"faces": np.ascontiguousarray(batch)})[0] for batch in batches]
        return np.concatenate(values) if values else np.empty((0, session.get_outputs()[0].shape[1]))

    return Exported(read, json.loads(metadata["targets"]), json.loads(metadata["cards"]))


def open_ncnn(path: str | Path, threads: int = 1, exact: bool = True) -> Exported:
    """Open `NAME.ncnn.param`, which `export.to_ncnn` wrote with its `.bin` and its `.json`.

    Args:
        threads: how many to compute with.
        exact: compute in float32 where ncnn would choose half precision.

    Raises:
        FileNotFoundError: one of the three files is missing.
        ImportError: ncnn is not installed.
    """
    try:
        import ncnn
    except ImportError as error:
        raise ImportError("ncnn files are run with ncnn: pip install 'ssrlib[export]'") from error

    param, weights, description = (Path(path).with_suffix(end) for end in (".param", ".bin", ".json"))
    for file in (param, weights, description):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; ncnn needs the .param, the .bin and the .json")
    network = ncnn.Net()
    network.opt.num_threads = threads
    if exact:
        for option in NCNN_HALVES:
            setattr(network.opt, option, False)
    network.load_param(str(param))
    network.load_model(str(weights))

    def read(faces: np.ndarray) -> np.ndarray:
        return np.stack([read_one(face) for face in faces])

    def read_one(face: np.ndarray) -> np.ndarray:
        extractor = network.create_extractor()
        height, width = face.shape[:2]
        pixels = np.ascontiguousarray(face)
        extractor.input("in0", ncnn.Mat.from_pixels(pixels, ncnn.Mat.PixelType.PIXEL_RGB, width, height))
        return np.array(extractor.extract("out0")[1])

    facts = json.loads(description.read_text())
    return Exported(read, facts["targets"], facts["cards"])
