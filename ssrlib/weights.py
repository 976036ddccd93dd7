"""Trained weights: safetensors files with a model card inside.

A weights file carries two JSON texts in its metadata: the settings that build the network, and
the card: what it was trained on, how good it is, and what it may be used for. A checksum of the settings
and the tensors, and another one of the card, tell a damaged file from a whole one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, deserialize
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from ssrlib.cards import Card, check_card
from ssrlib.files import atomic_write
from ssrlib.network import FaceNetwork, SSRNet
from ssrlib.targets import TARGETS

PRETRAINED = Path(__file__).parent / "pretrained"

# What a network can compute with.
RANGES = {"value_range": (1e-3, 1e4), "lambda_eta": (0, 1e3), "lambda_delta": (0, 1e3), "dropout": (0, 1)}
MOST_BINS = 1000

# What a file's metadata hold: the settings, the card, and a checksum for each.
METADATA = ("ssrnet", "card", "sha256", "card_sha256")

FOREIGN = ": a safetensors file, but not of an SSRNet saved by ssrlib"


def save(network: FaceNetwork, path: str | Path, card: Card | None = None) -> Path:
    """Write a network's weights, settings and card to a safetensors file.

    The file is written beside its place and moved in whole, so that `path` is never half a file. Its
    checksums let `load` and `read_card` notice later damage. (They know an `SSRNet`. For another network,
    read the tensors with safetensors.) Terms that came with the network's weights go into the card, unless
    it has its own.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "age.safetensors"
    >>> load(save(SSRNet(bins=(4, 2)), path, {"data": "none"})).settings["bins"]
    [4, 2]
    >>> read_card(path)
    {'data': 'none'}
    """
    terms = Card(terms=network.terms) if network.terms else Card()
    return _write(path, _tensors(network), json.dumps(network.settings), terms | (card or {}))


def load(path: str | Path) -> SSRNet:
    """Read a network, ready for inference, from a file that `save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or it is not an SSR-Net of this project.
    """
    return _network(path, *_read(path))


def load_with_card(path: str | Path) -> tuple[SSRNet, Card]:
    """Return what `load` and `read_card` do, of one file, even if another process saves it anew meanwhile.

    >>> network, card = load_with_card(pretrained("age"))
    >>> network.settings["target"], card["calibration"]["coverage"]
    ('age', 0.9)
    """
    settings, metadata, tensors = _read(path)
    return _network(path, settings, metadata, tensors), _checked_card(path, settings, metadata)


def _network(
    path: str | Path, settings: dict[str, Any], metadata: dict[str, str], tensors: dict[str, Tensor]
) -> SSRNet:
    try:
        network = SSRNet(**settings)
        check_tensors(tensors, network.state_dict())
    except ValueError as error:
        raise ValueError(f"{path}{FOREIGN}: {error}") from error
    network.load_state_dict(tensors)
    terms = _card(path, metadata).get("terms")
    network.terms = terms if isinstance(terms, str) else ""
    return network.eval()


def _settings(text: str) -> dict[str, Any]:
    """The settings of an SSRNet, if the network can compute with them."""
    settings: dict[str, Any] = json.loads(text)
    if not isinstance(settings, dict) or settings.keys() - {*RANGES, "bins", "target"}:
        raise ValueError(f"its settings must be {', '.join(RANGES)}, bins and target, not {settings!r}")
    for name in RANGES.keys() & settings.keys():
        least, most = RANGES[name]
        if type(settings[name]) not in (int, float) or not least <= settings[name] <= most:
            raise ValueError(f"its {name} must be from {least} to {most}, not {settings[name]!r}")
    bins = settings.get("bins", [3])
    if not isinstance(bins, list) or not all(type(s) is int and 0 < s <= MOST_BINS for s in bins):
        raise ValueError(f"its bins must be whole numbers from 1 to {MOST_BINS}, not {bins!r}")
    if settings.get("target") not in list(TARGETS):
        raise ValueError(f"its target must be one of {', '.join(TARGETS)}, not {settings.get('target')!r}")
    return settings


def check_tensors(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse tensors that are not those of a network, all of them there and every value possible.

    Raises:
        ValueError: it names the tensor.
    """
    if wrong := sorted(tensors.keys() ^ expected.keys()):
        kind = "is missing" if wrong[0] in expected else "does not belong to it"
        raise ValueError(f"the tensor {wrong[0]} {kind}")
    for name, tensor in tensors.items():
        if _kind(tensor) != _kind(expected[name]):
            raise ValueError(f"the tensor {name} is {_kind(tensor)} instead of {_kind(expected[name])}")
        if not tensor.isfinite().all():
            raise ValueError(f"the tensor {name} has values that are not numbers")
        if name.endswith("running_var") and (tensor < 0).any():
            raise ValueError(f"the tensor {name} has variances below 0")


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"


def read_card(path: str | Path) -> Card:
    """Return the model card of a weights file, without building the network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or its card is none that can be computed with.
    """
    return _checked_card(path, *_read(path)[:2])


def _checked_card(path: str | Path, settings: dict[str, Any], metadata: dict[str, str]) -> Card:
    card = _card(path, metadata)
    check_card(path, settings["target"], card)
    return card


def _card(path: str | Path, metadata: dict[str, str]) -> Card:
    try:
        card: Card = json.loads(metadata["card"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its card cannot be used: it is not JSON") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path}: its card cannot be used: it must be an object, not {card!r}")
    return card


def weights_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a weights file's settings and tensors, which stays when its card changes.

    It is taken over the settings' text, and for each tensor, in the order of the names, over the JSON
    list of its name, type and shape, and over its bytes.

    >>> import tempfile
    >>> path = save(SSRNet(), Path(tempfile.mkdtemp()) / "age.safetensors")
    >>> before = weights_sha256(path)
    >>> write_card(path, {"data": "none"})
    >>> weights_sha256(path) == before
    True
    """
    _, metadata, _ = _read(path)
    return metadata["sha256"]  # `_read` has compared it


def network_sha256(network: FaceNetwork) -> str:
    """Return what `weights_sha256` would say about the file of a network.

    >>> network_sha256(load(pretrained("age"))) == weights_sha256(pretrained("age"))
    True
    """
    return _checksum(json.dumps(network.settings), to_bytes(_tensors(network)))


def write_card(path: str | Path, card: Card) -> None:
    """Replace the card of a weights file; its tensors and settings stay as they are.

    >>> import tempfile
    >>> path = save(SSRNet(), Path(tempfile.mkdtemp()) / "age.safetensors", {"data": "none"})
    >>> write_card(path, read_card(path) | {"terms": "for research"})
    >>> read_card(path)
    {'data': 'none', 'terms': 'for research'}
    """
    _, metadata, tensors = _read(path)
    _write(path, tensors, metadata["ssrnet"], card)


def pretrained(target: str) -> Path:
    """Return the path of the built-in weights for `"age"` or `"gender"`.

    They come from photos for non-commercial research, which `read_card` names: use them for research
    and teaching only.

    Raises:
        ValueError: no built-in weights have this name.

    >>> load(pretrained("gender")).settings["value_range"]
    1.0
    """
    path = PRETRAINED / f"{target}.safetensors"
    if not path.is_file():
        names = ", ".join(file.stem for file in built_in())
        raise ValueError(f"there are no built-in weights named {target!r}; there are: {names}")
    return path


def built_in() -> list[Path]:
    """Return the paths of all built-in weights, in the order of their targets' names."""
    return sorted(PRETRAINED.glob("*.safetensors"))


def _tensors(network: FaceNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _write(path: str | Path, tensors: dict[str, Tensor], settings: str, card: Card) -> Path:
    metadata = {"ssrnet": settings, "card": json.dumps(card, ensure_ascii=False)}
    metadata["sha256"] = _checksum(settings, to_bytes(tensors))
    metadata["card_sha256"] = _sha256(metadata["card"])
    with atomic_write(path) as partial:
        partial.write_bytes(_in_one_order(to_bytes(tensors, metadata)))
    return Path(path)


def _in_one_order(content: bytes) -> bytes:
    """Safetensors writes its metadata in a random order: sorted, the same weights are the same bytes."""
    head, tensors = _parts(content)
    text = json.dumps(head, sort_keys=True, separators=(",", ":"))
    header = text.ljust(-(-len(text) // 8) * 8).encode()
    return len(header).to_bytes(8, "little") + header + tensors


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The head of a safetensors file, behind its length in eight bytes, and the tensors' bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, str], dict[str, Tensor]]:
    """The settings, the metadata and the tensors of a file, if they agree with its checksums."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    content = Path(path).read_bytes()
    try:
        tensors = from_bytes(content)  # which refuses a head that is none
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged, or not a safetensors file ({error})") from error
    metadata = _parts(content)[0].get("__metadata__") or {}
    if missing := [name for name in METADATA if name not in metadata]:
        raise ValueError(f"{path}{FOREIGN}: it has no {missing[0]}")
    weights, card = _checksum(metadata["ssrnet"], content), _sha256(metadata["card"])
    if (metadata["sha256"], metadata["card_sha256"]) != (weights, card):
        raise ValueError(f"{path}: damaged, for it differs from its checksum; get the file again")
    try:
        return _settings(metadata["ssrnet"]), metadata, tensors
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}{FOREIGN}: {error}") from error


def _checksum(settings: str, content: bytes) -> str:
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(deserialize(content), key=lambda item: item[0]):
        digest.update(json.dumps([name, tensor["dtype"], tensor["shape"]]).encode())
        digest.update(tensor["data"])
    return digest.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
