"""A trained network as a file for ONNX Runtime, for ncnn, or in 8-bit integers.

Every export is checked before it is kept: the new file reads faces that no network has trained on,
and its answers are compared with PyTorch's. A file that differs is not written.
"""

import copy
import hashlib
import io
import json
import logging
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ssrlib import FACE_SIZE, files, runtime
from ssrlib.cards import Card, crop_of
from ssrlib.datasets import synthetic
from ssrlib.inference import predict
from ssrlib.metrics import score
from ssrlib.network import SSRNet
from ssrlib.store import FaceStore
from ssrlib.targets import target_of
from ssrlib.weights import network_sha256

try:
    import onnx
    import pnnx
except ImportError as error:
    raise ImportError("export needs more packages: pip install 'ssrlib[train,predict,export]'") from error

# Three poolings halve 64 pixels, and each drops what is left over. What is dropped in the third
# comes from the last two rows and columns: no answer depends on them.
SEEN = FACE_SIZE - 2

CHECK_FACES, CHECK_SEED = 64, 2026
CALIBRATION_FACES = 512

ONNX_CONTRACT = {
    "input": {"name": "faces", "type": "uint8", "shape": ["N", 3, 64, 64], "channels": "RGB"},
    "output": {"name": "values", "type": "float32", "shape": ["N", "one column a target"]},
}
NCNN_CONTRACT = {
    "input": {"name": "in0", "pixels": "PIXEL_RGB, 64 x 64, 0 to 255: no mean, no norm"},
    "output": {"name": "out0", "type": "float32", "shape": ["one a target"]},
    "options": dict.fromkeys(runtime.NCNN_HALVES, False),
}


class Folded(nn.Module):
    """SSR-Net with everything folded away that only training needs; see `fold`."""

    stream1: Any
    stream2: Any
    fusions: Any

    def __init__(self, network: SSRNet):
        super().__init__()
        network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
        settings = network.settings
        self.stream1 = nn.ModuleList(map(_folded_block, network.stream1))
        self.stream2 = nn.ModuleList(map(_folded_block, network.stream2))
        for stream in (self.stream1, self.stream2):
            _fold_normalization(stream[0][0], network.mean, network.std)
        self.fusions = network.fusions
        self.blocks = [block for block, _, _ in network.STAGES]
        self.lambda_eta, self.lambda_delta = settings["lambda_eta"], settings["lambda_delta"]
        width = settings["value_range"]
        for k, (fusion, bins) in enumerate(zip(self.fusions, settings["bins"], strict=True)):
            for name in ("stream1", "stream2", "mix1", "mix2"):
                setattr(fusion, name, _without_idle(getattr(fusion, name)))
            # A ReLU lets a positive factor through, so p's layer can carry the width of the bins.
            width = width / bins
            fusion.p[0].weight.mul_(width)
            fusion.p[0].bias.mul_(width)
            self.register_buffer(f"indices{k}", torch.arange(bins, dtype=torch.float32))

    def forward(self, faces: Tensor) -> Tensor:
        map1 = map2 = faces[:, :, :SEEN, :SEEN].float()
        maps = []
        for block1, block2 in zip(self.stream1, self.stream2, strict=True):
            map1, map2 = block1(map1), block2(map2)
            maps.append((map1, map2))
        value: Any = 0.0
        # Horner's way to sum the stages: the first is divided by one (1 + delta), the last by all.
        for k, fusion in reversed(list(enumerate(self.fusions))):
            map1, map2 = maps[self.blocks[k]]
            a, b = fusion.stream1(map1), fusion.stream2(map2)
            hidden = fusion.hidden(fusion.mix1(a) * fusion.mix2(b))
            bins = getattr(self, f"indices{k}") + self.lambda_eta * fusion.eta(hidden)
            value = value + (bins * fusion.p(hidden)).sum(dim=1, keepdim=True)
            value = value / (1 + self.lambda_delta * fusion.delta(a * b))
        return cast(Tensor, value)


class SideBySide(nn.Module):
    """Several folded networks as one: their values in columns."""

    def __init__(self, networks: Sequence[SSRNet]):
        super().__init__()
        self.networks = nn.ModuleList(map(Folded, networks))

    def forward(self, faces: Tensor) -> Tensor:
        return torch.cat([network(faces) for network in self.networks], dim=1)


def fold(*networks: SSRNet) -> nn.Module:
    """Return one network that gives the values of all `networks`, with nothing that only training needs.

    Dropout is gone. Batch norm is folded into the convolution before it, the normalization of the input
    into the first convolutions, and V and the numbers of bins into the layers of p. All of this is exact,
    up to rounding, because each is a linear step next to another and no convolution pads its input. The
    last two rows and columns, which no answer depends on, are left out.

    Args:
        networks: one, or several that read the same faces, such as those for age and for gender.

    Returns:
        A module in inference mode: N x 3 x 64 x 64 faces in (RGB, 0 to 255, uint8 or float), N x
        `len(networks)` values out.

    >>> network = SSRNet().eval()
    >>> faces = torch.randint(256, (5, 3, 64, 64), dtype=torch.uint8)
    >>> torch.allclose(fold(network)(faces)[:, 0], network(faces), atol=1e-3)
    True
    >>> fold(network, SSRNet(1.0, target="gender"))(faces).shape
    torch.Size([5, 2])
    """
    return (Folded(networks[0]) if len(networks) == 1 else SideBySide(networks)).eval()


def _folded_block(block: Iterable[Any]) -> nn.Sequential:
    convolution, batch_norm, *rest = block
    return nn.Sequential(fuse_conv_bn_eval(convolution, batch_norm), *rest)


def _fold_normalization(convolution: nn.Conv2d, mean: Tensor, std: Tensor) -> None:
    """W (x - mean) / std + b is W' x + b' with W' = W / std and b' = b - W' mean."""
    assert convolution.bias is not None
    convolution.weight.div_(std)
    convolution.bias.sub_((convolution.weight * mean).sum(dim=(1, 2, 3)))


def _without_idle(layers: nn.Sequential) -> nn.Sequential:
    """Leave out dropout, and poolings of one pixel."""

    def idle(layer: nn.Module) -> bool:
        if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d):
            return layer.kernel_size == 1
        return isinstance(layer, nn.Dropout)

    return nn.Sequential(*(layer for layer in layers if not idle(layer)))


def cost(network: nn.Module) -> list[dict[str, Any]]:
    """Return each convolution's and linear layer's parameters, and its multiply-adds for one face.

    >>> layers = cost(SSRNet())
    >>> layers[0]
    {'layer': 'stream1.0.0', 'parameters': 896, 'multiply_adds': 3321216}
    >>> sum(layer["multiply_adds"] for layer in layers)
    17078926
    """
    network, layers = copy.deepcopy(network).cpu().eval(), []

    def note(name: str, module: nn.Conv2d | nn.Linear, output: Tensor) -> None:
        parameters = sum(parameter.numel() for parameter in module.parameters())
        multiply_adds = output.numel() * module.weight[0].numel()
        layers.append({"layer": name, "parameters": parameters, "multiply_adds": multiply_adds})

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, _, output, name=name: note(name, module, output))
    with torch.inference_mode():
        network(torch.zeros(1, 3, FACE_SIZE, FACE_SIZE))
    return layers


def to_onnx(
    networks: SSRNet | Sequence[SSRNet],
    path: str | Path,
    cards: Card | Sequence[Card] | None = None,
) -> dict[str, Any]:
    """Write an ONNX file, and beside it a JSON file that says how to use it.

    The network's only input is `faces`, uint8, N x 3 x 64 x 64, RGB; its only output is `values`,
    float32, N x the number of networks. The cards go into the file, so that
    `AgeGenderEstimator(backend="onnx")` needs nothing but the file.

    Args:
        networks: one, or several to pack into one file; see `fold`.
        path: where the file goes, such as `age.onnx`.
        cards: the networks' model cards.

    Returns:
        What the JSON file says.

    Raises:
        ValueError: on 64 drawn faces the file's values differ from PyTorch's by more than 0.001 years,
            or 0.0001 of p_male; the path does not end in `.onnx`; or there are not as many cards as networks.
        OSError: the folder cannot be written.
    """
    networks, cards = _lists(networks, cards)
    _check_ending(path, ".onnx")
    with _workshop(path) as folder:
        made = folder / Path(path).name
        made.write_bytes(_onnx_bytes(networks, cards))
        checked = _check_values(runtime.open_onnx(made).read, networks)
        return _deliver([made], path, networks, cards, ONNX_CONTRACT | {"checked": checked})


def to_ncnn(
    networks: SSRNet | Sequence[SSRNet],
    path: str | Path,
    cards: Card | Sequence[Card] | None = None,
) -> dict[str, Any]:
    """Write `NAME.ncnn.param` and `NAME.ncnn.bin`, and beside them `NAME.ncnn.json`.

    The network's only input is the image, `in0`, as `ncnn::Mat::from_pixels` makes it of 64 x 64 RGB
    pixels; its only output is `out0`, one float a network. pnnx makes the two files, in float32.

    Args, Returns, Raises: as `to_onnx` has them. The path ends in `.ncnn.param`.
    """
    networks, cards = _lists(networks, cards)
    _check_ending(path, ".ncnn.param")
    with _workshop(path) as folder:
        param = folder / Path(path).name
        made = [param, param.with_suffix(".bin")]
        _run_pnnx(networks, *made)
        stub = {"sha256": _checksums(made), "targets": [], "cards": []}
        stub["cards_sha256"] = runtime.cards_sha256(stub)
        param.with_suffix(".json").write_text(json.dumps(stub))
        checked = _check_values(runtime.open_ncnn(param).read, networks)
        return _deliver(made, path, networks, cards, NCNN_CONTRACT | {"checked": checked})


def to_int8(
    networks: SSRNet | Sequence[SSRNet],
    path: str | Path,
    store: FaceStore,
    cards: Card | Sequence[Card] | None = None,
) -> dict[str, Any]:
    """Write an ONNX file whose convolutions multiply 8-bit integers, and beside it a JSON file.

    Input and output are those of `to_onnx`. 512 faces of the store's train split tell how large the
    activations get; the error is measured on its validation split, for it decides.

    Args:
        networks, path, cards: as `to_onnx` has them.
        store: faces with labels, cropped like those that the networks learned from.

    Returns:
        What the JSON file says.

    Raises:
        ValueError: the store has no train or no validation faces; or the mean absolute error on the
            validation faces is more than 0.1 years, or 0.001 of p_male, above PyTorch's; or `to_onnx`
            would refuse the path or the cards.
        OSError: the folder cannot be written.
    """
    networks, cards = _lists(networks, cards)
    _check_ending(path, ".onnx")
    train, (validation_faces, rows) = (
        np.flatnonzero(store.rows["split"] == "train"),
        store.split("validation"),
    )
    for split, faces in (("train", train), ("validation", validation_faces)):
        if not len(faces):
            raise ValueError(f"{store.path}: has no {split} faces; int8 needs train and validation faces")
    with _workshop(path) as folder:
        made = folder / Path(path).name
        made.write_bytes(_onnx_bytes(networks, cards))
        chosen = np.random.default_rng(0).permutation(len(train))[:CALIBRATION_FACES]
        quantize(made, store.faces[np.sort(train[chosen])])
        checked = _check_errors(runtime.open_onnx(made).read, networks, validation_faces, rows)
        return _deliver([made], path, networks, cards, ONNX_CONTRACT | {"checked": checked})


def _run_pnnx(networks: Sequence[SSRNet], param: Path, weights: Path) -> None:
    traced = io.BytesIO()
    with _quietly():
        torch.jit.save(torch.jit.trace(fold(*networks), torch.zeros(1, 3, FACE_SIZE, FACE_SIZE)), traced)
    (param.parent / "traced.pt").write_bytes(traced.getbuffer())
    names = [f"ncnnparam={param.name}", f"ncnnbin={weights.name}"]
    command = [pnnx.EXEC_PATH, "traced.pt", *names, "inputshape=[1,3,64,64]", "fp16=0"]
    done = subprocess.run(command, cwd=param.parent, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"pnnx cannot convert the network in {param.parent}: {done.stderr.strip()[-200:]}")


def _lists(
    networks: SSRNet | Sequence[SSRNet], cards: Card | Sequence[Card] | None
) -> tuple[list[SSRNet], list[Card]]:
    networks = [networks] if isinstance(networks, SSRNet) else list(networks)
    cards = [cards] if isinstance(cards, dict) else list(cards or [{}] * len(networks))
    if len(cards) != len(networks):
        raise ValueError(f"{len(networks)} networks need as many cards, not {len(cards)}: one each, in order")
    crops = [crop_of(card) for card in cards]
    if crops != crops[:1] * len(networks):
        raise ValueError(f"networks in one file must share one crop of the face, not {crops}")
    return networks, cards


def _check_ending(path: str | Path, ending: str) -> None:
    """Refuse a name that the file that describes the network, or another program, could not go by."""
    if not Path(path).name.endswith(ending):
        raise ValueError(f"{path}: the name of this file must end in {ending}")


@contextmanager
def _workshop(path: str | Path) -> Iterator[Path]:
    """A temporary folder, for files that are not checked yet; meanwhile nobody else exports to `path`."""
    with (
        files.alone(path),
        tempfile.TemporaryDirectory(prefix="ssrlib-") as name,
        files.naming(Path(name)),
    ):
        yield Path(name)


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporters warn of old ways in each other's code, and of packages that nobody needs here."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _onnx_bytes(networks: Sequence[SSRNet], cards: Sequence[Card]) -> bytes:
    example = torch.zeros(2, 3, FACE_SIZE, FACE_SIZE, dtype=torch.uint8)
    model = onnx_model(fold(*networks), {"faces": example}, "values", {0: torch.export.Dim("n")})
    for key, value in (("targets", [target_of(network).name for network in networks]), ("cards", cards)):
        model.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    return _sealed(model)


def onnx_model(
    network: nn.Module, example: dict[str, Tensor], output: str, any_size: dict[int, Any]
) -> onnx.ModelProto:
    """Return a network of one input and one output as ONNX.

    Args:
        network: in inference mode.
        example: the input's name, and a tensor such as it gets.
        output: the output's name.
        any_size: the input's dimensions that may have another size than the example's, each with its
            `torch.export.Dim`.
    """
    with _quietly():
        program = torch.onnx.export(
            network,
            tuple(example.values()),
            input_names=list(example),
            output_names=[output],
            dynamic_shapes=(any_size,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return _without_notes(program.model_proto)


def quantize(path: str | Path, faces: np.ndarray) -> None:
    """Turn the convolutions of an ONNX file from `to_onnx` into 8-bit integers, in place and unchecked.

    Each output channel's weights get a scale of their own; the inputs get the range that they have on
    `faces` (uint8, N x 64 x 64 x 3; some hundreds will do). `to_int8` also checks the result.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    batches = iter(np.array_split(faces.transpose(0, 3, 1, 2), -(-len(faces) // 64)))

    class Faces(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            batch = next(batches, None)
            return None if batch is None else {"faces": batch}

    with _quietly():
        quantize_static(
            path,
            path,
            Faces(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            # Signed weights are cut off in sums of 16 bits on processors older than VNNI: ages go wrong.
            weight_type=QuantType.QUInt8,
        )
    Path(path).write_bytes(_sealed(_without_notes(onnx.load(path))))


def _without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes on where each node came from. Names stay, for whoever looks at the graph."""
    graph = model.graph
    for part in [*graph.node, *graph.initializer, *graph.input, *graph.output, graph]:
        part.ClearField("metadata_props")
    graph.ClearField("value_info")
    return model


def _sealed(model: onnx.ModelProto) -> bytes:
    """The bytes of an ONNX file with its checksum, see `runtime.onnx_checksums`."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, metadata | {"sha256": "0" * 64})
    content: bytes = model.SerializeToString()
    carried, due = (checksum.encode() for checksum in runtime.onnx_checksums(content))
    return content.replace(b"sha256\x12@" + carried, b"sha256\x12@" + due)


def _check_values(read: Callable[[np.ndarray], np.ndarray], networks: Sequence[SSRNet]) -> dict[str, Any]:
    """Hold an exported network's values against PyTorch's, on faces drawn for this only."""
    faces, _ = synthetic.generate(CHECK_FACES, CHECK_SEED)
    differences = np.abs(read(faces) - _values(networks, faces)).max(axis=0).tolist()
    for network, difference in zip(networks, differences, strict=True):
        if not difference <= target_of(network).tolerance:
            raise ValueError(
                f"not exported: the new file's values differ from PyTorch's by up to {difference:.2g}"
            )
    return {"faces": f"{CHECK_FACES} drawn, seed {CHECK_SEED}", "largest difference": differences}


def _check_errors(
    read: Callable[[np.ndarray], np.ndarray],
    networks: Sequence[SSRNet],
    faces: np.ndarray,
    rows: pd.DataFrame,
) -> dict[str, Any]:
    """Hold an exported network's mean absolute errors against PyTorch's, on faces with labels."""
    errors = []
    for network, *pair in zip(networks, read(faces).T, _values(networks, faces).T, strict=True):
        target = target_of(network)
        truth = target.labels(rows)
        error, reference = (score(values, truth, target)["mae"] for values in pair)
        if not error - reference <= target.int8_tolerance:
            raise ValueError(
                f"not exported: in int8 the mean absolute error is {error:.4g} instead of {reference:.4g}"
            )
        errors.append({"mae": error, "mae in float": reference})
    return {"faces": f"{len(faces)} validation faces", "errors": errors}


def _values(networks: Sequence[SSRNet], faces: np.ndarray) -> np.ndarray:
    return np.stack([predict(network, faces) for network in networks], axis=1)


def _checksums(made: Sequence[Path]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in made}


def _deliver(
    made: Sequence[Path],
    path: str | Path,
    networks: Sequence[SSRNet],
    cards: Sequence[Card],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Describe the new files in a JSON file, and move all of them to where they belong."""
    crop = crop_of(cards[0])
    packages = ("ssrlib", "torch", "onnx", "onnxruntime", "pnnx", "ncnn")
    description = {
        "sha256": _checksums(made),
        **facts,
        "targets": [target_of(network).name for network in networks],
        "weights": [network_sha256(network) for network in networks],
        "crop": {"margin": crop.margin, "shift": crop.shift},
        "versions": {package: version(package) for package in packages},
        "cards": cards,
    }
    description["cards_sha256"] = runtime.cards_sha256(description)
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    contents = {Path(path).with_suffix(".json").name: text.encode()}
    contents |= {file.name: file.read_bytes() for file in made}
    with ExitStack() as moves:  # all of them, or none if the disk is full; the description last
        for name, content in contents.items():
            moves.enter_context(files.atomic_write(Path(path).parent / name)).write_bytes(content)
    return description
