"""Which square does UTKFace show? Its photos are cropped already; ours are cropped around a detector's box.

Finds the face in 2,000 train photos with the package's detector and prints, in shares of the box's
width, the margin and the shift down that lead from the box to the photo's own square. `faces.MARGIN`
and `faces.SHIFT` are these medians, rounded.

    python tools/measure_crop.py ../shared/data/utkface
"""

import sys

import cv2
import numpy as np
from tqdm.auto import tqdm

from ssrlib import evaluation, faces
from ssrlib.datasets import utkface
from ssrlib.prepare import photo_bytes

BORDER = 60


def measure(folder: str, count: int = 2000) -> dict:
    rows, _ = utkface.rows(folder)
    rows = rows[rows["split"] == "train"].sample(count, random_state=0)
    squares = []
    for row in tqdm(rows.itertuples(), total=count, unit="photo"):
        photo = faces.read(photo_bytes(row.file, row.offset, row.size))
        side = photo.shape[1]
        # A detector wants some room around a face; these photos have none.
        padded = cv2.copyMakeBorder(photo, *[BORDER] * 4, cv2.BORDER_REPLICATE)
        boxes = faces.find(padded)
        if boxes and boxes[0].width > side / 2:
            _, y, width, height = boxes[0]
            down = side / 2 + BORDER - (y + height / 2)
            squares.append(((side / width - 1) / 2, down / width))
    quartiles = np.percentile(squares, [25, 50, 75], axis=0).round(3)
    return {
        "photos": count,
        "faces found": len(squares),
        "margin (quartiles)": quartiles[:, 0].tolist(),
        "shift (quartiles)": quartiles[:, 1].tolist(),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/measure_crop.py FOLDER_OF_UTKFACE")
    figures = measure(sys.argv[1])
    for name, value in figures.items():
        print(f"{name:20} {value}")
    evaluation.record("book/results/crop.json", figures, data="UTKFace, train split")
