"""What the package and the book need to know about UTKFace's photos, in book/results/utkface.json.

    python -m tools.weights.utkface FOLDER_OF_UTKFACE --store data/utkface

- Which square does it show? Its photos are cropped already; ours are cropped around a detector's
  box. On 2,000 train photos: the margin and the shift down, in shares of the box's width, from the
  box to the photo's own square (`face_crop.MARGIN`, `face_crop.SHIFT`), and where its eyes are
  (`landmarks.TEMPLATE`).
- Who is in it: ages by gender, and the labels of race.
- What another margin than in training costs: the mean absolute error on validation.
"""

import argparse

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ssrlib import FACE_SIZE, FaceStore, detectors, face_crop, inference, metrics, results, weights
from ssrlib.datasets import utkface
from ssrlib.detectors import Box
from ssrlib.prepare import photo_bytes
from ssrlib.targets import AGE

BORDER = 60
MARGINS = [-0.2, -0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4]


def photos(rows: pd.DataFrame):
    for row in tqdm(rows.itertuples(), total=len(rows), unit="photo"):
        yield face_crop.read_photo(photo_bytes(row.file, row.offset, row.size))


def square_and_eyes(rows: pd.DataFrame) -> dict:
    folder = cv2.data.haarcascades  # type: ignore[attr-defined]
    eye = cv2.CascadeClassifier(folder + "haarcascade_eye.xml")
    squares, eyes = [], []
    for photo in photos(rows):
        side = photo.shape[1]
        # A detector wants some room around a face; these photos have none.
        padded = cv2.copyMakeBorder(photo, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_REPLICATE)
        boxes = detectors.find(padded, "haar")
        if boxes and boxes[0].width > side / 2:
            _, y, width, height = boxes[0][:4]
            squares.append(((side / width - 1) / 2, (side / 2 + BORDER - (y + height / 2)) / width))
        upper = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[: side * 6 // 10]
        found = eye.detectMultiScale(upper, 1.05, 8, minSize=(side // 8,) * 2, maxSize=(side // 3,) * 2)
        centers = sorted((x + w / 2, y + h / 2) for x, y, w, h in np.reshape(found, (-1, 4)))
        if len(centers) == 2 and centers[0][0] < side / 2 < centers[1][0]:
            eyes.append(np.ravel(centers) * FACE_SIZE / side)
    quartiles = np.percentile(squares, [25, 50, 75], axis=0).round(3).T.tolist()
    return {
        "photos": len(rows),
        "faces found": len(squares),
        "margin, quartiles": quartiles[0],
        "shift, quartiles": quartiles[1],
        "eyes in a 64 x 64 face (x, y, x, y), medians": np.median(eyes, axis=0).round(1).tolist(),
    }


def people(store: FaceStore) -> dict:
    decades = (store.rows["age"] // 10 * 10).astype(int)
    ages = store.rows.groupby([decades, "gender"]).size().unstack(fill_value=0)
    return {
        "faces": len(store),
        "ages": [{"from": int(decade), **ages.loc[decade].to_dict()} for decade in ages.index],
        "race": store.rows["race"].value_counts().to_dict(),
    }


def error_by_margin(rows: pd.DataFrame) -> list[dict]:
    """The photo's own square stands for the detector's box; outside it, its border is repeated."""
    network = weights.load(weights.pretrained("age"))
    whole = list(photos(rows))
    curve = []
    for margin in MARGINS:
        cropped = [
            face_crop.crop(photo, Box(0, 0, *photo.shape[1::-1]), margin, shift=0.0) for photo in whole
        ]
        values = inference.predict(network, np.stack(cropped))
        mae = metrics.score(values, rows["age"].to_numpy(), AGE)["mae"]
        curve.append({"margin": margin, "mae": mae})
    return curve


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", help="the folder of UTKFace's photos or tar files")
    parser.add_argument("--store", default="data/utkface")
    arguments = parser.parse_args()
    results.check_committed()
    store = FaceStore(arguments.store)
    rows, _ = utkface.rows(arguments.photos)
    by_split = dict(iter(rows.groupby("split")))
    measured = {
        "square": square_and_eyes(by_split["train"].sample(2000, random_state=0)),
        "people": people(store),
        "error by margin, validation": error_by_margin(by_split["validation"]),
    }
    print(measured["square"])
    results.record(
        "book/results/utkface.json",
        measured,
        weights=[weights.pretrained("age")],
        stores=[store],
        data="UTKFace",
        seed=0,
    )
