"""Trained weights: safetensors files with a model card inside, and the import of Keras files.

A weights file carries two JSON texts in its metadata: the settings that build the network, and
the card: what it was trained on, how good it is, and what it may be used for.
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ssrlib.network import SSRNet

PRETRAINED = Path(__file__).parent / "pretrained"


def save(network: SSRNet, path: str | Path, card: dict | None = None) -> Path:
    """Write a network's weights, settings and card to a safetensors file.

    The file is written beside its place and moved in whole, so that `path` is never half a file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "age.safetensors"
    >>> load(save(SSRNet(bins=(4, 2)), path, {"data": "none"})).settings["bins"]
    [4, 2]
    >>> read_card(path)
    {'data': 'none'}
    """
    path = Path(path)
    metadata = {"ssrnet": json.dumps(network.settings), "card": json.dumps(card or {}, ensure_ascii=False)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    return _write(path, tensors, metadata)


def load(path: str | Path) -> SSRNet:
    """Read a network, ready for inference, from a file that `save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or it is not an SSR-Net of this project.
    """
    metadata, tensors = _read(path)
    try:
        network = SSRNet(**json.loads(metadata["ssrnet"]))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: a safetensors file, but not of an SSRNet saved by ssrlib") from error
    return network.eval()


def read_card(path: str | Path) -> dict:
    """Return the model card of a weights file, without building the network."""
    metadata, _ = _read(path, tensors=False)
    return json.loads(metadata.get("card", "{}"))


def write_card(path: str | Path, card: dict) -> None:
    """Replace the card of a weights file; its tensors and settings stay as they are.

    >>> import tempfile
    >>> path = save(SSRNet(), Path(tempfile.mkdtemp()) / "age.safetensors", {"data": "none"})
    >>> write_card(path, read_card(path) | {"terms": "for research"})
    >>> read_card(path)
    {'data': 'none', 'terms': 'for research'}
    """
    metadata, tensors = _read(path)
    _write(path, tensors, metadata | {"card": json.dumps(card, ensure_ascii=False)})


def pretrained(target: str) -> Path:
    """Return the path of the built-in weights for `"age"` or `"gender"`.

    They come from UTKFace, a data set for non-commercial research: use them for research and
    teaching only.

    >>> load(pretrained("gender")).settings["value_range"]
    1.0
    """
    path = PRETRAINED / f"{target}.safetensors"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in PRETRAINED.glob("*.safetensors")))
        raise ValueError(f"there are no built-in weights named {target!r}; there are: {names}")
    return path


def _write(path: str | Path, tensors: dict[str, Tensor], metadata: dict) -> Path:
    partial = Path(f"{path}.partial")
    partial.write_bytes(to_bytes(tensors, metadata))
    return partial.replace(path)


def _read(path: str | Path, tensors: bool = True) -> tuple[dict, dict[str, Tensor]]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if tensors else []
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged, or not a safetensors file ({error})") from error
