"""The command line: `python -m ssrlib prepare | train | evaluate | predict`."""

import json
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="SSR-Net: prepare faces, train, evaluate, and read age and gender from photos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Commands import what they need when they run: `--help` need not wait for torch.


class Target(StrEnum):
    age = "age"
    gender = "gender"


class Split(StrEnum):
    validation = "validation"
    test = "test"


Store = Annotated[Path, typer.Option(help="a folder made by `prepare`")]


@app.callback()
def commands() -> None:
    pass


prepare = typer.Typer(help="Turn a dataset into a face store.", no_args_is_help=True)
app.add_typer(prepare, name="prepare")


@prepare.command()
def utkface(
    path: Annotated[Path, typer.Argument(help="the extracted folder, a .tar, or a folder of .tar files")],
    out: Annotated[Path, typer.Option(help="the face store to write")],
) -> None:
    """UTKFace, from https://susanqq.github.io/UTKFace/; for non-commercial research only."""
    from ssrlib.datasets import utkface as dataset
    from ssrlib.prepare import prepare as run

    store = run(*dataset.rows(path), out, dataset.CROP)
    print(store)
    for reason, count in store.rejects["reason"].value_counts().items():
        print(f"{count:7,} rejected: {reason}")


@prepare.command()
def synthetic(
    out: Annotated[Path, typer.Option(help="the face store to write")],
    count: Annotated[int, typer.Option(help="how many faces to draw", min=1)] = 4000,
    seed: Annotated[int, typer.Option(help="another seed gives other faces")] = 0,
) -> None:
    """Drawn faces; nothing to download, no licence to ask about."""
    from ssrlib.datasets import synthetic as dataset

    print(dataset.store(count, seed, out))


@app.command()
def train(
    store: Store,
    target: Annotated[Target, typer.Option(help="what to read from a face")] = Target.age,
    out: Annotated[Path, typer.Option(help="where weights and history go")] = Path("runs"),
    epochs: Annotated[int, typer.Option(help="passes over the train split")] = 30,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="compile the network, and multiply in bfloat16; needs a C++ compiler"),
    ] = False,
) -> None:
    """Train a network; the best epoch on validation ends in OUT/TARGET/best.safetensors."""
    from ssrlib.store import FaceStore
    from ssrlib.training import Recipe, fit, new_network

    recipe = Recipe(target=target.value, epochs=epochs, seed=seed)
    if fast:
        recipe = Recipe(target=target.value, epochs=epochs, seed=seed, precision="bf16-mixed", compile=True)
    history = fit(new_network(recipe), FaceStore(store), recipe, out / target.value)
    best = history.loc[history["mae"].idxmin()]
    figures = ", ".join(f"{name} {best[name]:.4g}" for name in history.columns[2:])
    print(f"best epoch {best['epoch']:.0f} on validation: {figures}; weights in {out / target.value}")


@app.command()
def evaluate(
    store: Store,
    target: Annotated[Target, typer.Option(help="what to read from a face")] = Target.age,
    weights: Annotated[Path | None, typer.Option(help="by default the built-in weights")] = None,
    split: Annotated[Split, typer.Option(help="the faces to measure on")] = Split.validation,
    out: Annotated[
        Path | None, typer.Option(help="also write the figures and where they come from as JSON")
    ] = None,
) -> None:
    """Measure a network on a split of a store."""
    from ssrlib import evaluation
    from ssrlib import weights as files
    from ssrlib.store import FaceStore

    weights = weights or files.pretrained(target.value)
    figures = evaluation.measure(files.load(weights), FaceStore(store), target.value, split.value)
    print(json.dumps(figures, indent=2))
    if out:
        evaluation.record(out, figures, data=str(store), weights=weights.name)


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(help="image files", metavar="PHOTO...")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    out: Annotated[Path | None, typer.Option(help="also save each photo with its boxes drawn here")] = None,
) -> None:
    """Find the faces in photos and read their ages and genders."""
    import pandas as pd

    from ssrlib import faces
    from ssrlib.predict import AgeGenderEstimator, draw

    estimator = AgeGenderEstimator()
    found, failed, drawn = [], 0, Counter()
    for path in photos:
        try:
            photo = faces.read(path)
            readings = estimator.faces(photo)
            if out:
                name = f"{path.stem}-{drawn[path.stem] + 1}" if drawn[path.stem] else path.stem
                faces.write(draw(photo, readings), out / f"{name}.png")
                drawn[path.stem] += 1
        except (OSError, ValueError) as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
            continue
        if not readings:
            print(f"{path}: no face found", file=sys.stderr)
        for reading in readings:
            answer = {
                "age": round(reading.age, 1),
                "gender": reading.gender,
                "p_male": round(reading.p_male, 3),
            }
            found.append({"photo": str(path)} | reading.box._asdict() | answer)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        print(pd.DataFrame(found).to_string(index=False))
    if failed:
        raise typer.Exit(1)


def main() -> None:
    try:
        app()
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
