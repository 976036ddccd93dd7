"""Does memory stay flat? Prepare 500,000 rows and print the peak of resident memory, helpers included.

    python -m benchmarks.prepare_large FOLDER_OF_UTKFACE

UTKFace's rows are repeated under new names until there are enough. The sum printed is this
process's peak plus the largest helper's peak for each helper: an upper bound, since shared pages
count each time.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from ssrlib import results
from ssrlib.datasets import utkface
from ssrlib.prepare import prepare

ROWS = 500_000


def main(folder: str) -> None:
    results.check_committed()
    rows, rejects = utkface.rows(folder)
    times = -(-ROWS // len(rows))
    rows = pd.concat([rows.assign(path=f"{i}/" + rows["path"]) for i in range(times)], ignore_index=True)[
        :ROWS
    ]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        store = prepare(rows, rejects, Path(out) / "store", utkface.CROP)
        seconds = time.perf_counter() - start
    own, helper = (
        resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    measured = {
        "faces": len(store),
        "seconds": seconds,
        "GB in all": own + helper * (os.cpu_count() or 1),
        "GB own": own,
    }
    for name, value in measured.items():
        print(f"{value:12,.2f}  {name}")
    results.record(
        "book/results/benchmark-prepare-large.json", measured, weights=(), data="UTKFace, repeated"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.prepare_large FOLDER_OF_UTKFACE")
    main(sys.argv[1])
