"""What 8-bit integers cost: size and mean absolute error on the test split, beside those in float.

    python benchmarks/int8.py data/utkface

Calibrated on train faces and checked on validation faces. On the test split it is only measured.
"""

import sys
import tempfile
from pathlib import Path

from ssrlib import FaceStore, evaluation, export, runtime, weights


def main(path: str) -> None:
    store, figures = FaceStore(path), {}
    faces, rows = store.split("test")
    with tempfile.TemporaryDirectory() as folder:
        for target in ("age", "gender"):
            source = weights.pretrained(target)
            files = {name: Path(folder) / f"{target}-{name}.onnx" for name in ("float", "int8")}
            network, card = weights.load(source), weights.read_card(source)
            export.to_onnx(network, files["float"], card)
            export.to_int8(network, files["int8"], store, card)
            errors = {
                name: evaluation.score(values, evaluation.targets(rows, target), target)["mae"]
                for name, values in (
                    ("mae", runtime.open_onnx(files["int8"]).read(faces)[:, 0]),
                    ("mae in float", evaluation.predict(network, faces)),
                )
            }
            sizes = {f"bytes in {name}": file.stat().st_size for name, file in files.items()}
            figures[target] = errors | sizes
            print(target, figures[target])
    evaluation.record("book/results/int8.json", figures, data=f"{path}, test split, {len(faces)} faces")


if __name__ == "__main__":
    main(sys.argv[1])
