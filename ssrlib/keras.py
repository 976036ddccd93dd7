"""The authors' Keras files, read as networks of this project."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssrlib.network import SSRNet
from ssrlib.targets import AGE, GENDER
from ssrlib.weights import check_tensors

# Keras numbers its layers in the order in which the authors' script made them. These two tables
# give the Keras layer of each of our modules; "{pred}" is pred_age in the age files, pred in the
# gender file.
_STREAM_LAYERS = {
    f"stream{stream}.{block}.{layer}": f"{name}_{4 * (stream - 1) + block + 1}"
    for stream in (1, 2)
    for block in range(4)
    for layer, name in ((0, "conv2d"), (1, "batch_normalization"))
}
_FUSION_LAYERS = {
    f"fusions.{k}.{module}": layer
    for k in range(3)
    for module, layer in {
        "stream2.0": f"conv2d_{9 + 2 * k}",
        "stream1.0": f"conv2d_{10 + 2 * k}",
        "mix2.1": f"dense_{3 * k + 1}",
        "mix1.1": f"dense_{3 * k + 2}",
        "hidden.0": f"dense_{3 * k + 3}",
        "p.0": f"{{pred}}_stage{k + 1}",
        "eta.0": f"local_delta_stage{k + 1}",
        "delta.0": f"delta_s{k + 1}",
    }.items()
}
_KERAS_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def from_keras(path: str | Path) -> SSRNet:
    """Read one of the authors' Keras `.h5` files as an `SSRNet`; needs `pip install ssrlib[keras]`.

    The original takes BGR faces without normalization. The network returned here keeps this
    project's contract, RGB from 0 to 255: the first convolutions' input channels are swapped, and
    its `mean` and `std` are 0 and 1. V is 101 for the age files and 1 for the gender
    file, told apart by their layers' names.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: h5py is not installed.
        ValueError: the file is damaged, or its layers are not SSR-Net's.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Keras files are read with h5py: pip install 'ssrlib[keras]'") from error

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        with h5py.File(path) as file:
            pred = "pred_age" if "pred_age_stage1" in file else "pred"
            target = AGE if pred == "pred_age" else GENDER
            network = SSRNet(target.value_range, target=target.name)
            state, found = network.state_dict(), {}
            for module, layer in (_STREAM_LAYERS | _FUSION_LAYERS).items():
                for keras_name, array in _datasets(file[layer.format(pred=pred)]).items():
                    name = f"{module}.{_KERAS_NAMES[keras_name]}"
                    found[name] = _from_keras_layout(array, state[name].shape, first=module[7:] == ".0.0")
            for name, tensor in state.items():
                if name.endswith("num_batches_tracked"):  # which Keras does not count
                    found[name] = tensor
            found["mean"], found["std"] = torch.zeros_like(state["mean"]), torch.ones_like(state["std"])
            check_tensors(found, state)
    except OSError as error:
        raise ValueError(f"{path}: damaged, or not a Keras .h5 file ({error})") from error
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its layers are not those of the authors' SSR-Net ({error})") from error
    network.load_state_dict(found)
    return network.eval()


def _datasets(group: Any) -> dict[str, np.ndarray]:
    """All arrays below a layer's group, by the last part of their names: `a/b/kernel:0` is `kernel`."""
    found = {}
    group.visititems(
        lambda name, item: (
            found.update({name.split("/")[-1].removesuffix(":0"): item[()]})
            if hasattr(item, "shape")
            else None
        )
    )
    return found


def _from_keras_layout(array: np.ndarray, shape: torch.Size, first: bool) -> Tensor:
    """Keras orders kernels (height, width, in, out) and flattens maps (height, width, channel)."""
    tensor = torch.from_numpy(array)
    if tensor.ndim == 4:
        tensor = tensor.permute(3, 2, 0, 1)
        if first:
            tensor = tensor.flip(1)
    elif tensor.ndim == 2 and shape[1] in (90, 160):
        side = math.isqrt(shape[1] // 10)
        tensor = tensor.reshape(side, side, 10, shape[0]).permute(3, 2, 0, 1).reshape(shape)
    elif tensor.ndim == 2:
        tensor = tensor.T
    if tensor.shape != shape:
        raise ValueError(f"shape {tuple(tensor.shape)} instead of {tuple(shape)}")
    return tensor.contiguous()
