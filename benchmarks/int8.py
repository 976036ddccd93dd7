"""What 8-bit integers cost: size and mean absolute error on the test split, beside those in float.

    python benchmarks/int8.py data/utkface

Calibrated on train faces. Nothing is chosen on the test split: it is only measured.
"""

import sys
import tempfile
from pathlib import Path

from ssrlib import FaceStore, evaluation, export, weights


def main(path: str) -> None:
    store, figures = FaceStore(path), {}
    with tempfile.TemporaryDirectory() as folder:
        for target in ("age", "gender"):
            source = weights.pretrained(target)
            files = {name: Path(folder) / f"{target}-{name}.onnx" for name in ("float", "int8")}
            network, card = weights.load(source), weights.read_card(source)
            export.to_onnx(network, files["float"], card)
            facts = export.to_int8(network, files["int8"], store, card)
            sizes = {f"bytes in {name}": file.stat().st_size for name, file in files.items()}
            figures[target] = facts["checked"]["errors"][0] | sizes
            print(target, figures[target])
    faces = len(store.split("test")[0])
    evaluation.record("book/results/int8.json", figures, data=f"{path}, test split, {faces} faces")


if __name__ == "__main__":
    main(sys.argv[1])
