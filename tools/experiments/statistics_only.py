"""What new statistics for batch norm do alone, without a label: from UTKFace to All-Age-Faces.

    python -m tools.experiments.statistics_only

The network that knows UTKFace gets the statistics of the very faces that `tools.experiments.finetuning`
learns from, and nothing is trained. So what fine-tuning gains and forgets beyond that is in the weights.
Errors are on validation faces of both data sets. Writes book/results/statistics-only.json.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.optim.swa_utils import update_bn

from ssrlib import FaceStore, results, weights
from ssrlib.network import SSRNet
from tools.experiments.finetuning import SIZES, START, few_faces, mean_error

SEEDS = (0, 1, 2)


def adapted(away: FaceStore, size: int, seed: int) -> SSRNet:
    """The network that knows UTKFace, with batch norm statistics of some faces of another store."""
    network = weights.load(START)
    few = away.faces[few_faces(away, size, np.random.default_rng(seed))]
    update_bn([torch.from_numpy(few).permute(0, 3, 1, 2)], network)
    return network.eval()


def main(home: Path, away: Path) -> None:
    old, new = FaceStore(home), FaceStore(away)
    rows = []
    # With all faces, as fine-tuning's last size has them, a seed would choose nothing.
    for size in SIZES[:-1]:
        for seed in SEEDS:
            network = adapted(new, size, seed)
            errors = {"away": mean_error(network, new), "home": mean_error(network, old)}
            rows.append({"faces": size, "seed": seed} | errors)
            print(rows[-1], flush=True)
    print(pd.DataFrame(rows).groupby("faces")[["away", "home"]].mean().round(2))
    origin = {"data": "UTKFace and All-Age-Faces, validation", "seeds": list(SEEDS)}
    results.record("book/results/statistics-only.json", rows, weights=[START], stores=[old, new], **origin)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("data/utkface"))
    parser.add_argument("--away", type=Path, default=Path("data/aaf"))
    arguments = vars(parser.parse_args())
    results.check_committed()
    main(**arguments)
