"""The command line: `python -m ssrlib predict | video | prepare | train | calibrate | ...`."""

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from glob import glob
from importlib.util import find_spec
from io import TextIOWrapper
from math import inf
from mimetypes import guess_type
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from ssrlib.targets import TARGETS

try:
    import typer
except ImportError:
    sys.exit("error: the command line needs typer: pip install 'ssrlib[predict]', or 'ssrlib[train]'")

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from ssrlib.cards import Card
    from ssrlib.detectors import Box
    from ssrlib.estimator import AgeGenderEstimator, Reading
    from ssrlib.store import FaceStore


class InOrderOfUse(typer.core.TyperGroup):
    """The commands as one needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["predict", "video", "prepare", "train", "calibrate", "evaluate", "card", "export"]


app = typer.Typer(
    cls=InOrderOfUse,
    help="SSR-Net: read age and gender from photos and videos, prepare faces, train, evaluate, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Commands import what they need when they run: `--help` need not wait for torch, and `predict` does without.
EXTRAS = {"predict": "predict", "video": "predict", "export": "train,predict,export"}


Target = StrEnum("Target", {name: name for name in TARGETS})  # type: ignore[misc]


STANDARD_INPUT = Path("-")
MAX_SEED = 2**63 - 1
JPEGS = (".jpg", ".jpeg")  # a photo of a phone is several times as large as a PNG


class RecipeName(StrEnum):
    best = "best"
    paper = "paper"


class Split(StrEnum):
    validation = "validation"
    test = "test"


class Backend(StrEnum):
    torch = "torch"
    onnx = "onnx"


class Format(StrEnum):
    onnx = "onnx"
    ncnn = "ncnn"
    int8 = "int8"


# Wherever weights are named, the words `age` and `gender` stand for the built-in ones: see `_built_in`.
OwnAge = Annotated[Path | None, typer.Option("--age", help="weights of your own for age")]
OwnGender = Annotated[Path | None, typer.Option("--gender", help="weights of your own for gender")]
ByWhat = Annotated[
    Backend | None,
    typer.Option(
        "--backend", help="by default torch for your own .safetensors, else onnx where it is installed"
    ),
]
FoundBy = Annotated[
    str | None,
    typer.Option(
        "--detector",
        help="what finds the faces, finder, haar or yunet: by default what the weights name",
    ),
]
Store = Annotated[Path, typer.Option(help="a folder made by `prepare`")]


prepare_app = typer.Typer(
    help="Turn a dataset into a face store. Interrupted? The same command goes on.", no_args_is_help=True
)
app.add_typer(prepare_app, name="prepare")
Out = Annotated[Path, typer.Option(help="the face store to write")]
Folder = Annotated[Path, typer.Argument(help="the dataset's folder")]
FolderOrTar = Annotated[Path, typer.Argument(help="the extracted folder, or a .tar with a labels.csv")]
Detector = Annotated[str, typer.Option(help="what finds the faces: finder, haar or yunet")]


def _prepare(dataset: ModuleType, out: Path, tables: tuple[Any, Any], detector: str = "finder") -> None:
    from ssrlib import plots
    from ssrlib.detectors import detector_named
    from ssrlib.prepare import prepare

    detector_named(detector)
    store = prepare(*tables, out, replace(dataset.CROP, detector=detector))
    print(store, store.describe().round(2), sep="\n\n")
    for reason, count in store.rejects["reason"].value_counts().items():
        print(f"{count:9,} rejected: {reason}")
    _save_picture(plots.store_report(store), out / "report.png")
    print()
    print(_shown(f"the same as a picture: {out / 'report.png'}"))


def _imdb_wiki(
    path: Annotated[Path, typer.Argument(help="the extracted imdb_crop or wiki_crop")],
    out: Out,
    min_face_score: Annotated[float, typer.Option(help="below it, there may be no face")] = 1.0,
    max_second_face_score: Annotated[float, typer.Option(help="above it, there may be two")] = 0.0,
    min_age: Annotated[int, typer.Option(help="below it, the label is wrong")] = 0,
    max_age: Annotated[int, typer.Option(help="above it, the label is wrong")] = 100,
) -> None:
    """IMDB-WIKI ("faces only"), from https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/; for research.

    Example: ssrlib prepare imdb imdb_crop --out data/imdb
    """
    from ssrlib.datasets import imdb_wiki as dataset

    _prepare(dataset, out, dataset.rows(path, min_face_score, max_second_face_score, min_age, max_age))


prepare_app.command("imdb")(_imdb_wiki)
prepare_app.command("wiki")(_imdb_wiki)


@prepare_app.command()
def megaage(path: Folder, out: Out) -> None:
    """MegaAge-Asian, from http://mmlab.ie.cuhk.edu.hk/projects/MegaAge/; for non-commercial research only.

    Example: ssrlib prepare megaage megaage_asian --out data/megaage
    """
    from ssrlib.datasets import megaage as dataset

    _prepare(dataset, out, dataset.rows(path))


@prepare_app.command()
def morph(path: Folder, out: Out, detector: Detector = "finder") -> None:
    """MORPH2, licensed by the University of North Carolina Wilmington; mind the license's terms.

    Example: ssrlib prepare morph MORPH2 --out data/morph
    """
    from ssrlib.datasets import morph as dataset

    _prepare(dataset, out, dataset.rows(path), detector)


@prepare_app.command()
def utkface(
    path: Annotated[Path, typer.Argument(help="the extracted folder, a .tar, or a folder of .tar files")],
    out: Out,
) -> None:
    """UTKFace, from https://susanqq.github.io/UTKFace/; for non-commercial research only.

    Example: ssrlib prepare utkface UTKFace.tar --out data/utkface
    """
    from ssrlib.datasets import utkface as dataset

    _prepare(dataset, out, dataset.rows(path))


@prepare_app.command()
def aaf(path: FolderOrTar, out: Out, detector: Detector = "finder") -> None:
    """All-Age-Faces, from https://github.com/JingchunCheng/All-Age-Faces-Dataset; for research only.

    Example: ssrlib prepare aaf All-Age-Faces --out data/aaf
    """
    from ssrlib.datasets import aaf as dataset

    _prepare(dataset, out, dataset.rows(path), detector)


@prepare_app.command()
def appa(path: FolderOrTar, out: Out, detector: Detector = "finder") -> None:
    """APPA-REAL, from https://chalearnlap.cvc.uab.cat/dataset/26/description/; for research only.

    Example: ssrlib prepare appa appa-real-release --out data/appa
    """
    from ssrlib.datasets import appa_real as dataset

    _prepare(dataset, out, dataset.rows(path), detector)


@prepare_app.command()
def folder(
    path: Annotated[
        Path,
        typer.Argument(help="a CSV or parquet file: path, age, and if known gender, subject, split"),
    ],
    out: Out,
    detector: Detector = "finder",
) -> None:
    """Your own photos. Ask the people in them first.

    Example: ssrlib prepare folder faces.csv --out data/mine
    """
    from ssrlib.datasets import folder as dataset

    _prepare(dataset, out, dataset.rows(path), detector)


@prepare_app.command()
def synthetic(
    out: Out,
    count: Annotated[int, typer.Option(help="how many faces to draw", min=1)] = 4000,
    seed: Annotated[int, typer.Option(help="another seed gives other faces", min=0, max=MAX_SEED)] = 0,
) -> None:
    """Drawn faces; nothing to download, no license to ask about.

    Example: ssrlib prepare synthetic --out data/synthetic
    """
    from ssrlib.datasets import synthetic as dataset

    print(dataset.store(count, seed, out))


@prepare_app.command()
def join(
    stores: Annotated[list[Path], typer.Argument(help="folders made by `prepare`, cropped alike")],
    out: Out,
) -> None:
    """Several prepared stores as one, to train on them together; each face keeps its split and its source.

    Example: ssrlib prepare join data/aaf data/appa data/utkface --out data/faces
    """
    from ssrlib.store import FaceStore
    from ssrlib.store import join as joined

    store = joined([FaceStore(path) for path in stores], out)
    print(store, store.describe().round(2), sep="\n\n")


@app.command()
def train(
    store: Annotated[Path | None, typer.Option(help="a folder made by `prepare`")] = None,
    chain: Annotated[
        str | None, typer.Option(help="instead: stores to train along, as imdb,wiki,megaage")
    ] = None,
    target: Annotated[Target, typer.Option(help="what to read from a face")] = Target["age"],
    out: Annotated[Path, typer.Option(help="where weights and history go")] = Path("runs"),
    recipe: Annotated[RecipeName, typer.Option(help="ours or the published one")] = RecipeName.best,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="passes over the train split; without --second-epochs, the second phase is left out"
        ),
    ] = None,
    second_epochs: Annotated[
        int | None, typer.Option(help="passes of a second phase, from the best weights, at half the rate")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="the schedule's peak")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="faces in one step, of all processes; our recipe's learning rate grows with its square root"
        ),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="l1, smooth l1, l2, or logistic")] = None,
    augmentation: Annotated[
        str | None, typer.Option(help="how faces are changed: mild, varied, strong, paper or none")
    ] = None,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="show faces of rare sources and ages more often")
    ] = False,
    seed: Annotated[int, typer.Option(help="of everything random", min=0, max=MAX_SEED)] = 0,
    start: Annotated[
        Path | None,
        typer.Option(help="weights to go on from, instead of random ones: a file, or built-in age or gender"),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="weights to learn from, beside the labels: as for --start; may be given again"),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="multiply in 16 bits and compile, as suits this device; compiling needs C++"
        ),
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="also log for TensorBoard")] = False,
) -> None:
    """Train a network; the best epoch on validation ends in OUT/TARGET/best.safetensors.

    Interrupted? The same command goes on. With torchrun, several processes or machines share each batch:
    torchrun --nproc-per-node 2 -m ssrlib train ...

    Example: ssrlib train --store data/utkface --target age --fast
    """
    from ssrlib import training, weights
    from ssrlib.recipe import Recipe
    from ssrlib.store import FaceStore

    if (store is None) == (not chain):
        raise ValueError("give either --store or --chain")
    if chain and start:
        raise ValueError("--start and --chain exclude each other: a chain's first network is untrained")
    if chain and teacher:
        raise ValueError("--teacher and --chain exclude each other: teachers speak about one store's faces")
    chosen = {
        "epochs": epochs,
        "second_epochs": second_epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "loss": loss,
        "augmentation": augmentation,
    }
    changes = {name: value for name, value in chosen.items() if value is not None} | {"seed": seed}
    changes |= training.fast() if fast else {}
    changes |= {"balanced": True} if balanced else {}
    plan = getattr(Recipe, recipe.value)(target=target.value, **changes)
    watchers = [training.progress_bar()]
    if tensorboard:
        watchers.append(training.tensorboard(out / target.value))

    def watch(progress: training.Progress) -> None:
        for watcher in watchers:
            watcher(progress)

    place = out / target.value
    start, taught_by = start and _built_in(start), [_built_in(path) for path in teacher or []]
    for path in [start, *taught_by]:
        if path and path.exists() and (best := place / "best.safetensors").exists() and best.samefile(path):
            raise ValueError(f"{path}: would be overwritten by this training; give another --out")
    if chain:
        stores = [FaceStore(_store_named(name)) for name in chain.split(",")]
        training.chain(stores, plan, place, watch=watch)
        places = [place / f"{number}-{store.path.name}" for number, store in enumerate(stores, start=1)]
    else:
        assert store is not None
        stores, places = [FaceStore(store)], [place]
        network = training.start_from(start, plan) if start else training.new_network(plan)
        teachers = [weights.load(path) for path in taught_by]
        training.fit(network, stores[0], plan, place, watch, teachers)
        if start:
            training.note_start(place / "best.safetensors", start)
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes, the first one reports
        for folder, trained_on in zip(places, stores, strict=True):
            _report_training(folder, trained_on, target.value)


def _report_training(folder: Path, store: "FaceStore", name: str) -> None:
    import pandas as pd

    from ssrlib import inference, metrics, plots, weights
    from ssrlib.targets import AGE

    target, history = TARGETS[name], pd.read_csv(folder / "history.csv")
    best = history.loc[metrics.best_epoch(history, target) - 1]
    faces, rows = store.split("validation")
    values = inference.predict(weights.load(folder / "best.safetensors"), faces)
    by_age = metrics.errors_by_age(values, rows["age"].to_numpy()) if target is AGE else []
    _save_picture(plots.training_summary(history, by_age, target), folder / "summary.png")
    measured = ", ".join(f"{name} {best[name]:.4g}" for name in history.columns[2:])
    print(f"best epoch {best['epoch']:.0f} on validation: {measured}; weights and summary.png in {folder}")


def _save_picture(figure: "Figure", path: Path) -> None:
    from ssrlib.files import atomic_write

    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _store_named(name: str) -> Path:
    """A store's folder, or its name in data/."""
    return Path(name) if Path(name).is_dir() else Path("data") / name


@app.command()
def evaluate(
    store: Store,
    weights: Annotated[Path, typer.Option(help="a weights file, or built-in age or gender")] = Path("age"),
    split: Annotated[Split, typer.Option(help="the faces to measure on")] = Split.validation,
    out: Annotated[
        Path | None,
        typer.Option(
            help="also write the metrics, and where they come from, to this JSON file; pictures beside it"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print all metrics as JSON")] = False,
) -> None:
    """Measure a network on a split of a store, overall and by group, each metric with its interval.

    Intervals, in brackets, are those of the bootstrap: 95 %.

    Example: ssrlib evaluate --store data/utkface --weights runs/age/best.safetensors --out age.json
    """
    from ssrlib import cards, metrics, results
    from ssrlib.store import FaceStore
    from ssrlib.weights import load_with_card

    if out:
        _refuse_to_lose(out)
    called = "the built-in network" if str(weights) in TARGETS else _shown(str(weights))
    weights = _built_in(weights)
    (network, known), faces = load_with_card(weights), FaceStore(store)
    _compare_crops(weights, known, faces)
    measured = metrics.evaluate(network, faces, split.value, known.get("calibration"))
    print(json.dumps(measured, indent=2) if as_json else cards.summary(measured, called))
    if out:
        results.record(out, measured, weights=[weights], stores=[faces])
        written = [out]
        for name, picture in _pictures(measured).items():
            written.append(out.with_name(f"{out.stem}-{name}.png"))
            _save_picture(picture, written[-1])
        _say(f"written: {', '.join(map(str, written))}")


def _refuse_to_lose(out: Path) -> None:
    """Let metrics be written to no file but an earlier one of metrics."""
    from ssrlib import results

    if out.suffix.lower() != ".json":
        raise ValueError(f"--out {out}: must end in .json, for metrics are written there")
    if os.path.lexists(out):
        try:
            results.load_evaluation(out)
        except (OSError, ValueError) as error:
            message = f"--out {out}: is there already, and `evaluate` has not written it; give another name"
            raise ValueError(message) from error


def _compare_crops(weights: Path, card: "Card", store: "FaceStore") -> None:
    """Say so where faces were cut out otherwise than those that a network learned from."""
    from ssrlib.cards import crop_of

    known, here = crop_of(card), crop_of({"crop": store.info["crop"]})
    if (known.margin, known.shift) != (here.margin, here.shift):
        _say(
            f"warning: the faces in {store.path} have a margin of {here.margin:g} and a shift of "
            f"{here.shift:g}, and {weights} knows {known.margin:g} and {known.shift:g}: "
            "they are read worse than they need be"
        )
    # Faces that others had cropped already were found by nobody, here or there.
    found_by, expected = (crop.get("detector") for crop in (store.info["crop"], card.get("crop", {})))
    if found_by and expected and found_by != expected:
        _say(
            f"warning: the faces in {store.path} were found by {found_by}, and {weights} expects those that "
            f"{expected} finds: they may be read worse than they need be"
        )


def _pictures(measured: dict[str, Any]) -> dict[str, Any]:
    """The metrics of `evaluate` as pictures: each way to group, and the curve of the target."""
    from ssrlib import plots

    target = TARGETS[measured["target"]]
    found = {
        "by-" + re.sub(r"[^\w-]+", "-", name): plots.groups(groups, target.metric, target.metric_label)
        for name, groups in measured["groups"].items()
    }
    if target.classes:
        return found | {"calibration-curve": plots.calibration_curve(measured["calibration_curve"])}
    return found | {"cs": plots.cumulative_score(measured["cs"], target.unit)}


@app.command()
def calibrate(
    weights: Annotated[Path, typer.Argument(help="a weights file that `train` wrote")],
    store: Store,
) -> None:
    """Learn from a store's validation split how sure a network is, and keep it in the weights' card.

    With it, `predict` gives an interval for each age, and gender's p_male is a probability, for faces like
    the store's. (The built-in intervals are wider, for photos of other collections.)

    Example: ssrlib calibrate runs/age/best.safetensors --store data/utkface
    """
    from ssrlib import inference
    from ssrlib.store import FaceStore
    from ssrlib.weights import load_with_card, write_card

    if str(weights) in TARGETS:
        raise ValueError(f"the built-in network for {weights} is calibrated already; name a file of your own")
    (network, known), faces = load_with_card(weights), FaceStore(store)
    _compare_crops(weights, known, faces)
    learned = inference.calibrate(network, faces)
    write_card(weights, known | {"calibration": learned})
    print(f"calibrated on {learned['faces']:,} validation faces; kept in the card of {weights}")


@app.command()
def card(
    weights: Annotated[Path, typer.Argument(help="a weights file, or the built-in age or gender")],
    metrics: Annotated[
        Path | None, typer.Option(help="a JSON file from `evaluate --out`, for the tables by group")
    ] = None,
) -> None:
    """Print the card of a weights file: what it reads, what it is for and not for, and how good it is.

    Example: ssrlib card runs/age/best.safetensors --metrics runs/age/validation.json
    """
    from ssrlib import cards, results
    from ssrlib.targets import target_of
    from ssrlib.weights import load, read_card, weights_sha256

    path = _built_in(weights)
    measured = results.load_evaluation(metrics) if metrics else None
    target = target_of(load(path)).name
    if measured and measured["target"] != target:
        raise ValueError(f"{metrics}: tells of {measured['target']}, and {path} reads {target}")
    trained, known = read_card(path), weights_sha256(path)
    try:
        print(cards.model_card(path.name, trained, measured, known, target))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        message = f"{metrics or path}: damaged, for something in it is missing or no number"
        raise ValueError(message) from error


def _built_in(weights: Path, backend: str = "torch") -> Path:
    """The weights file itself, or the backend's built-in one that the word `age` or `gender` stands for."""
    from ssrlib.runtime import PRETRAINED

    ending = "onnx" if backend == "onnx" else "safetensors"
    return PRETRAINED / f"{weights}.{ending}" if str(weights) in TARGETS else weights


@app.command()
def export(
    weights: Annotated[
        list[Path],
        typer.Argument(
            help="a weights file, or the built-in age or gender; several become one network",
            metavar="WEIGHTS...",
        ),
    ],
    to: Annotated[Format, typer.Option(help="what is going to run it")],
    out: Annotated[Path, typer.Option(help="the folder to write to")],
    store: Annotated[
        Path | None,
        typer.Option(help="for int8: a folder made by `prepare`, to calibrate and to check"),
    ] = None,
) -> None:
    """Write a network for ONNX Runtime or ncnn, or in 8-bit integers, with a JSON file on its use.

    The new file is run before it is kept, and its answers are compared with PyTorch's.

    Example: ssrlib export runs/age/best.safetensors --to onnx --out exported
    """
    if to == Format.int8 and not store:
        raise ValueError("int8 is calibrated on faces: name a store with --store")
    from ssrlib.export import to_int8, to_ncnn, to_onnx
    from ssrlib.store import FaceStore
    from ssrlib.targets import target_of
    from ssrlib.weights import load_with_card

    paths = [_built_in(path) for path in weights]
    networks, cards = zip(*map(load_with_card, paths), strict=True)
    # What training wrote is called best.safetensors, whatever it reads.
    pairs = zip(paths, networks, strict=True)
    name = "-".join(path.stem if path.stem != "best" else target_of(network).name for path, network in pairs)
    if to == Format.onnx:
        facts = to_onnx(networks, out / f"{name}.onnx", cards)
    elif to == Format.ncnn:
        facts = to_ncnn(networks, out / f"{name}.ncnn.param", cards)
    else:
        assert store is not None
        faces = FaceStore(store)
        for path, known in zip(paths, cards, strict=True):
            _compare_crops(path, known, faces)
        facts = to_int8(networks, out / f"{name}-int8.onnx", faces, cards)
    for file in facts["sha256"]:
        print(f"{(out / file).stat().st_size:9,} bytes  {out / file}")
    print(json.dumps(facts["checked"], indent=2))


@app.command()
def predict(
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="image files, folders, patterns such as 'all/**/*.jpg', or - for standard input",
            metavar="PHOTO...",
            readable=False,  # a photo that cannot be read is that photo's error
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    out: Annotated[
        Path | None, typer.Option(help="also save each photo, with its boxes drawn, in this folder")
    ] = None,
    age: OwnAge = None,
    gender: OwnGender = None,
    backend: ByWhat = None,
    detector: FoundBy = None,
    box: Annotated[
        str | None,
        typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="where the face is, in pixels: look nowhere else"),
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="each photo is a cropped face")] = False,
    any_angle: Annotated[
        bool, typer.Option("--any-angle", help="find faces on their side and upside down, too; takes longer")
    ] = False,
) -> None:
    """Find the faces in photos and read their ages and genders.

    Example: ssrlib predict photo.jpg holiday/ --out drawn
    """
    from ssrlib.face_crop import PhotoError, read_photo

    if out and os.path.isfile(out):  # no error for a name that is too long: that is told when it is saved
        raise ValueError(f"--out {out}: is a file; name a folder")
    if (box is not None) + whole + any_angle > 1:
        raise ValueError("--box, --whole and --any-angle exclude each other")
    boxes = None if box is None else [_box(box)]
    estimator = _estimator(age, gender, backend, detector)
    found: list[dict[str, Any]] = []
    failed: list[Exception] = []
    drawn: set[Path] = set()
    for path in list(_each(photos)):  # before drawings join them
        if _is_video(path):
            failed.append(ValueError(f"{path}: a video; read it with `python -m ssrlib video`"))
            continue
        if path.resolve() in drawn:
            failed.append(FileNotFoundError(f"{path}: no such photo, only the drawing of another one"))
            continue
        try:
            photo = read_photo(path if path != STANDARD_INPUT else sys.stdin.buffer.read(), "standard input")
        except (OSError, PhotoError) as error:
            failed.append(error)
            continue
        try:
            readings = (
                [estimator.predict_whole(photo)] if whole else estimator.predict(photo, boxes, any_angle)
            )
        except ValueError as error:
            failed.append(ValueError(f"{path}: {error}"))
            continue
        found += [{"photo": str(path)} | _answer(reading) | {"sure": reading.sure} for reading in readings]
        if not readings:
            _say(f"{path}: no face found")
        if doubted := [number for number, reading in enumerate(readings, start=1) if not reading.sure]:
            given = "photo" if whole else "box" if boxes else ""
            claim = f"there is a face in this {given}" if given else _are_faces(doubted)
            _say(f"{path}: not sure that {claim}")
        if out:
            try:
                drawn.add(_save_drawing(photo, readings, path, out).resolve())
            except OSError as error:
                failed.append(error)
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        print(_table([_in_table(row) for row in found]))
    for problem in failed:
        _say(f"error: {_told(problem)}")
    if failed:
        raise typer.Exit(1)


def _are_faces(numbers: list[int]) -> str:
    """What is said of a photo's faces with these numbers, which count its rows in the table.

    >>> _are_faces([2]), _are_faces([1, 3, 4])
    ('face 2 is a face', 'faces 1, 3 and 4 are faces')
    """
    *others, last = map(str, numbers)
    return f"faces {', '.join(others)} and {last} are faces" if others else f"face {last} is a face"


def _box(text: str) -> "Box":
    from ssrlib.detectors import Box

    try:
        x, y, width, height = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"--box is four numbers, X,Y,WIDTH,HEIGHT, not {text!r}") from None
    if not (abs(x) < inf and abs(y) < inf and 1 <= width < inf and 1 <= height < inf):
        raise ValueError(f"--box must be at least one pixel wide and high, not {text!r}")
    return Box(x, y, width, height)


def _save_drawing(photo: "np.ndarray", readings: list["Reading"], path: Path, out: Path) -> Path:
    from ssrlib.estimator import draw
    from ssrlib.face_crop import write_new_photo

    name = path.name if path.suffix.lower() in JPEGS else f"{path.stem}.png"
    drawing = write_new_photo(draw(photo, readings), out / name)
    if drawing.name != name:
        _say(f"{path}: drawn in {drawing}, for {name} is there already")
    return drawing


def _each(paths: list[Path]) -> Iterator[Path]:
    """The photos that are meant: of a folder, those in it, by their names; a folder without any stays."""
    from PIL import Image

    from ssrlib.face_crop import NO_PHOTOS

    readable = Image.registered_extensions().items()
    kinds = {suffix for suffix, name in readable if name in Image.OPEN and name not in NO_PHOTOS}
    kinds |= {".heic", ".heif"}
    for path in [match for named in paths for match in _matching(named)]:
        try:
            inside = sorted(path.iterdir()) if os.path.isdir(path) else []
        except OSError:  # reading it as a photo will say why
            inside = []
        yield from [file for file in inside if file.suffix.lower() in kinds] or [path]


def _matching(path: Path) -> list[Path]:
    """What a pattern stands for that the shell left as it is; a name that stands for nothing stays."""
    found = [] if os.path.exists(path) else sorted(glob(str(path), recursive=True))
    return [Path(name) for name in found] or [path]


def _is_video(path: Path) -> bool:
    return (guess_type(path.name)[0] or "").startswith("video/")


def _is_photo(path: Path) -> bool:
    kind = guess_type(path.name)[0] or ""
    return path.is_file() and kind.startswith("image/") and kind != "image/gif"  # that may move


@app.command("video")
def read_video(
    path: Annotated[Path, typer.Argument(help="a video file", metavar="VIDEO")],
    out: Annotated[
        Path, typer.Option(help="a .csv file for what is read, or an .mp4 file with it drawn, without sound")
    ],
    age: OwnAge = None,
    gender: OwnGender = None,
    backend: ByWhat = None,
    detector: FoundBy = None,
) -> None:
    """Follow the faces in a video, and read their ages and genders.

    Each face keeps one ID for as long as it is in sight, and is read as the average of the last second.

    Example: ssrlib video party.mp4 --out party.csv
    """
    from ssrlib import video
    from ssrlib.files import numbered

    if _is_photo(path):
        raise ValueError(f"{path}: a photo; read it with `python -m ssrlib predict`")
    place = next(name for name in numbered(out) if not (name.is_file() or name.is_symlink()))
    estimator = _estimator(age, gender, backend, detector)
    with typer.progressbar(length=1, label=_shown(path.name), file=sys.stderr) as bar:

        def watch(done: int, of: int) -> None:
            bar.length = max(of, done)
            bar.update(1)

        video.read_video(path, place, estimator, watch)
    _say(f"written: {place}" + (f", for {out.name} is there already" if place != out else ""))


def _in_table(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is shown: a bound that nobody knows is a dash, and who is doubted was said already."""
    told = {name: "-" if value is None else value for name, value in row.items() if name != "sure"}
    return told | {"photo": _shown(row["photo"])}


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows under their keys, each column as wide as its widest cell."""
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(" ".join(map(str.rjust, line, widths)) for line in lines)


def _estimator(
    age: Path | None, gender: Path | None, backend: str | None, detector: str | None
) -> "AgeGenderEstimator":
    """What reads faces with these weights; of those that are not calibrated, it says so."""
    from ssrlib.estimator import AgeGenderEstimator

    backend = backend or _backend(age, gender)
    age, gender = (file and _built_in(file, backend) for file in (age, gender))
    estimator = AgeGenderEstimator(age, gender, backend, detector)
    if age and not estimator.age_calibration:
        _note_no_calibration(age, "there is no interval")
    if gender and not estimator.gender_calibration:
        _note_no_calibration(gender, "p_male is a score and no probability")
    return estimator


def _note_no_calibration(weights: Path, lack: str) -> None:
    how = f"python -m ssrlib calibrate {weights} --store FOLDER"
    if weights.suffix == ".onnx":
        how = f"calibrate those that {weights} was exported from, and export them again"
    _say(f"note: these weights are not calibrated, so {lack}: {how}")


def _backend(*files: Path | None) -> str:
    """What runs these weights files; for none, the faster one if it is there."""
    kept = any(file and file.suffix == ".safetensors" for file in files)
    return "onnx" if find_spec("onnxruntime") and not kept else "torch"


def _answer(reading: "Reading") -> dict[str, Any]:
    """A reading as a row of the table; JSON has no NaN, which the bounds can be."""
    return dict(zip(("x", "y", "width", "height"), reading.box, strict=False)) | {
        "age": round(reading.age, 1),
        "age_low": _year(reading.age_low),
        "age_high": _year(reading.age_high),
        "gender": reading.gender,
        "p_male": round(reading.p_male, 3),
    }


def _year(bound: float) -> float | None:
    return None if bound != bound else round(bound, 1)


def _shown(text: str) -> str:
    r"""One line of text for a terminal, whatever a file's name holds.

    >>> print(_shown("two\nlines, \x1b[31m and a byte that is no text: \udcff"))
    two\nlines, \x1b[31m and a byte that is no text: \xff
    """
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _told(error: BaseException) -> str:
    """The sentence that a command ends with."""
    if isinstance(error, ModuleNotFoundError):
        extras = EXTRAS.get(sys.argv[1], "train")
        return f"this command needs {error.name}, which is not installed: pip install 'ssrlib[{extras}]'"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object}: the name is not UTF-8; rename the file or its folder"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"  # without the operating system's number
    return str(error)


def _say(message: str) -> None:
    print(_shown(message), file=sys.stderr)


def main() -> None:
    stopped: list[int] = []

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # One line, as for errors, without the place in the code.
    warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
    try:
        app()
    except BaseException as error:
        if stopped:  # whatever a library made of it
            # The others keep nothing halfway. `prepare synthetic` draws all faces before it writes any.
            goes_on = sys.argv[1:2] in (["train"], ["prepare"]) and sys.argv[2:3] != ["synthetic"]
            kept = "what is done is kept: give the same command to go on"
            _say(f"stopped; {kept if goes_on else 'the same command begins anew'}")
            sys.exit(128 + stopped[0])
        if isinstance(error, ImportError | OSError | ValueError):
            sys.exit(_shown(f"error: {_told(error)}"))
        raise


if __name__ == "__main__":
    main()
