"""What 8-bit integers cost: size and mean absolute error on the test split, beside those in float.

    python -m benchmarks.int8 [--store data/utkface]

Also how far they move the answers of single faces, from the same network in float: the mean move, what one
face in twenty exceeds, and the largest.

Calibrated on train faces and checked on validation faces. On the test split it is only measured.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from ssrlib import FaceStore, export, inference, metrics, results, runtime, weights
from ssrlib.targets import TARGETS


def moves(values: np.ndarray, before: np.ndarray) -> dict[str, float]:
    moved = np.abs(values - before)
    found = {"mean": moved.mean(), "one in twenty": np.quantile(moved, 0.95), "largest": moved.max()}
    return {f"moved, {name}": float(years) for name, years in found.items()}


def main(store: FaceStore) -> None:
    measured = {}
    faces, rows = store.split("test")
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS.values():
            source = weights.pretrained(target.name)
            files = {name: Path(folder) / f"{target.name}-{name}.onnx" for name in ("float", "int8")}
            network, card = weights.load_with_card(source)
            export.to_onnx(network, files["float"], card)
            export.to_int8(network, files["int8"], store, card)
            in_int8 = runtime.open_onnx(files["int8"]).read(faces)[:, 0]
            in_float = inference.predict(network, faces)
            errors = {
                name: metrics.score(values, target.labels(rows), target)["mae"]
                for name, values in (("mae", in_int8), ("mae in float", in_float))
            }
            sizes = {f"bytes in {name}": file.stat().st_size for name, file in files.items()}
            measured[target.name] = errors | sizes | moves(in_int8, in_float)
            print(target.name, measured[target.name])
    data = f"UTKFace, test split, {len(faces)} faces"
    results.record("book/results/int8.json", measured, weights=weights.built_in(), stores=[store], data=data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store))
