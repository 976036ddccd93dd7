"""Open a network with what is installed: PyTorch, ONNX Runtime or ncnn.

Importing this module loads none of them. `ssrlib.export` writes the files for the last two.
"""

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssrlib.cards import Card, check_card
from ssrlib.targets import TARGETS

PRETRAINED = Path(__file__).parent / "pretrained"

# Eight faces at a time keep the maps of the first blocks in a core's second-level cache.
BATCH = 8

# ncnn halves the precision of a network where the processor can: of little more than linear layers, which
# moves ages by hundredths of a year, or of all weights and the arithmetic, which moves them further.
NCNN_HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")

# The entry "sha256" of an ONNX file's metadata, as protobuf writes it: lengths before key and value.
CHECKSUM = re.compile(rb"\n\x06sha256\x12@(.{64})", re.DOTALL)


class Exported(NamedTuple):
    """An exported network, ready to run.

    `read` turns faces (uint8, N x 64 x 64 x 3, RGB) into float32 values, N x the number of networks
    in the file. `targets` ("age" or "gender") and `cards` say what they read, and are their model cards,
    in the order of the columns.
    """

    read: Callable[[np.ndarray], np.ndarray]
    targets: list[str]
    cards: list[Card]


def open_network(
    target: str, path: str | Path | None = None, backend: str = "torch"
) -> tuple[Any, Callable[[np.ndarray], np.ndarray], Card]:
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
            from ssrlib.targets import target_of
        except ImportError as error:
            message = "the backend 'torch' needs PyTorch: pip install 'ssrlib[train]', or use backend='onnx'"
            raise ImportError(message) from error
        path = path or weights.pretrained(target)
        network, card = weights.load_with_card(path)
        _refuse_others(path, target, [target_of(network).name])
        return network, partial(predict, network), card
    if backend != "onnx":
        raise ValueError(f'the backend must be "torch" or "onnx", not {backend!r}')
    path = path or PRETRAINED / f"{target}.onnx"
    exported = open_onnx(path)
    _refuse_others(path, target, exported.targets)
    column = exported.targets.index(target)
    return exported, lambda faces: exported.read(faces)[:, column], exported.cards[column]


def _refuse_others(path: str | Path, target: str, targets: list[str]) -> None:
    if target not in targets:
        raise ValueError(f"{path}: reads {' and '.join(targets)} from a face, not {target}")


def open_onnx(path: str | Path, threads: int = 1) -> Exported:
    """Open an ONNX file that `export.to_onnx` or `export.to_int8` wrote.

    Args:
        threads: how many to compute with. For networks this small, a second one gains little.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: ONNX Runtime is not installed.
        ValueError: it is not an ONNX file, or not one that ssrlib exported, or it was damaged since.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("ONNX files are run with onnxruntime: pip install 'ssrlib[predict]'") from error

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such ONNX file")
    content = Path(path).read_bytes()
    _refuse_damage(path, *onnx_checksums(content))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        # What it would fall back to is the same provider, with a message on standard output.
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # its errors have no common class but this
        raise ValueError(
            f"{path}: damaged, or not an ONNX file; `python -m ssrlib export` makes one"
        ) from error
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        facts = {name: json.loads(metadata[name]) for name in ("targets", "cards")}
        metadata["sha256"]  # without it, nothing tells whether the rest is whole
    except (KeyError, ValueError, RecursionError) as error:
        message = f"{path}: an ONNX file, but not one that `python -m ssrlib export` made"
        raise ValueError(message) from error
    _check_facts(path, facts)

    def read(faces: np.ndarray) -> np.ndarray:
        batches = (faces[i : i + BATCH].transpose(0, 3, 1, 2) for i in range(0, len(faces), BATCH))
        values = [session.run(None, {"faces": np.ascontiguousarray(batch)})[0] for batch in batches]
        return np.concatenate(values) if values else np.empty((0, len(facts["targets"])), np.float32)

    return Exported(read, facts["targets"], facts["cards"])


def _check_facts(path: str | Path, facts: dict[str, Any]) -> None:
    """Refuse what a file says of its targets and cards, if it is not a list of each that can be used."""
    targets, cards = facts.get("targets"), facts.get("cards")
    if not isinstance(targets, list) or not isinstance(cards, list) or len(targets) != len(cards):
        raise ValueError(f"{path}: does not say what its network reads; export it again")
    if unknown := [target for target in targets if target not in list(TARGETS)]:
        raise ValueError(f"{path}: reads {unknown[0]!r}, which is none of {', '.join(TARGETS)}")
    for target, card in zip(targets, cards, strict=True):
        check_card(path, target, card)


def onnx_checksums(content: bytes) -> tuple[str, str]:
    """Return the checksum that an ONNX file carries, and the one that it should carry.

    That is the SHA-256 of the file with zeros in the checksum's place. If it carries none, both are empty.

    >>> onnx_checksums(b"a foreign file")
    ('', '')
    """
    found = CHECKSUM.search(content)
    if not found:
        return "", ""
    start, end = found.span(1)
    blank = content[:start] + b"0" * (end - start) + content[end:]
    return found[1].decode(errors="replace"), hashlib.sha256(blank).hexdigest()


def _refuse_damage(path: str | Path, carried: object, due: object) -> None:
    if carried != due:
        raise ValueError(f"{path}: damaged, for it differs from its checksum; export it again")


def open_ncnn(path: str | Path, threads: int = 1, exact: bool = True) -> Exported:
    """Open `NAME.ncnn.param`, which `export.to_ncnn` wrote with its `.bin` and its `.json`.

    Args:
        threads: how many to compute with.
        exact: compute in float32 where ncnn would choose half precision.

    Raises:
        FileNotFoundError: one of the three files is missing.
        ImportError: ncnn is not installed.
        ValueError: one of them is damaged.
    """
    try:
        import ncnn
    except ImportError as error:
        raise ImportError("ncnn files are run with ncnn: pip install 'ssrlib[export]'") from error

    param, weights, description = (Path(path).with_suffix(end) for end in (".param", ".bin", ".json"))
    for file in (param, weights, description):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; ncnn needs the .param, the .bin and the .json")
    try:
        facts = dict(json.loads(description.read_text("utf-8")))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{description}: damaged, or not a JSON file; export the network again") from error
    _refuse_damage(description, facts.get("cards_sha256"), cards_sha256(facts))
    _check_facts(description, facts)
    checksums = facts.get("sha256")
    if not isinstance(checksums, dict) or len(checksums) != 2:
        raise ValueError(
            f"{description}: damaged, for it must have checksums for the names of two files; "
            "export the network again"
        )
    # By their order, not by their names, which the user may have changed.
    for file, carried in zip((param, weights), checksums.values(), strict=True):
        _refuse_damage(file, carried, hashlib.sha256(file.read_bytes()).hexdigest())
    network = ncnn.Net()
    network.opt.num_threads = threads
    if exact:
        for option in NCNN_HALVES:
            setattr(network.opt, option, False)
    network.load_param(str(param))
    network.load_model(str(weights))

    def read(faces: np.ndarray) -> np.ndarray:
        values = [read_one(face) for face in faces]
        return np.stack(values) if values else np.empty((0, len(facts["targets"])), np.float32)

    def read_one(face: np.ndarray) -> np.ndarray:
        extractor = network.create_extractor()
        height, width = face.shape[:2]
        pixels = np.ascontiguousarray(face)
        extractor.input("in0", ncnn.Mat.from_pixels(pixels, ncnn.Mat.PixelType.PIXEL_RGB, width, height))
        return np.array(extractor.extract("out0")[1])

    return Exported(read, facts["targets"], facts["cards"])


def cards_sha256(facts: dict[str, Any]) -> str:
    """Return the SHA-256 of the targets and the cards in the JSON file beside an exported network."""
    text = json.dumps([facts.get("targets"), facts.get("cards")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
