"""Write the book's model cards and its datasheet from the built-in weights and book/results.

    python -m tools.weights.cards

Run it after tools/weights/calibrate.py. A test compares the pages with what this would write. The datasheet
follows T. Gebru et al., "Datasheets for Datasets", 2021.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ssrlib import cards, detectors, finder, results, weights
from ssrlib.targets import TARGETS

SOURCES = {"utkface": "UTKFace", "aaf": "All-Age-Faces", "appa_real": "APPA-REAL"}
# By a network like the built-in one, trained on all collections or on all but that one.
KNOWN = {"built in": "", "without it": ", by a network that never saw it, trained for less time"}
# Chapter 9 has the figures behind it.
UNBALANCED = (
    "False (balanced faces, in the trainings before, had probably taught it to expect too many old people)"
)
FINDER = """\
# Model card: finder.safetensors

Two small networks of the `ssrlib` package, {parameters:,} numbers together. They find the faces in an RGB
photo of any size, and five points of each: the eyes, the tip of the nose and the corners of the mouth.

## Meant for

Cutting out and straightening faces for the networks that read age and gender; learning and teaching how a
detector works.

## Must not be used for

- counting, following or watching people who have not agreed to it;
- telling who somebody is: it knows faces from other things, and no face from another;
- concluding that nobody is there: it misses faces.

## Known failures

- It takes other things for faces, in the test below
  {false}.
- It misses faces smaller than 24 pixels, and was not taught those that are tilted by more than 60 degrees.
  Some that lie on their side or stand on their head it finds all the same, at a wrong turn. `Reading.sure` is
  False for most of those, though not for all: it asks whether another quarter turn looks at least as much
  like a face. To find such faces as they lie, search at any angle.
- It finds many faces that cannot be read well, and does not doubt them, for they are faces: see below
  what is doubted. It doubts those with more than a quarter of their square outside the photo.
- It takes drawn faces for faces, and does not doubt them.
- Of faces turned to the side it has seen few; how many of those it misses was not measured.
- Its points on larger, upright faces are less exact than those of larger detectors (chapter 15).

## Training

- SHA-256 of both ONNX files: `{sha256}`
- data: {data}
- splits: {splits}
- recipe: {recipe}
- terms: {terms}

## Faces found

Test photos of All-Age-Faces and APPA-REAL, which it has not learned from, pasted on pictures of things. The
points' errors are shares of the distance between the eyes.

{found}

The threshold, {threshold}, was chosen on validation photos, as the lowest with at most one false find in 100
parts of pictures that took no part in training. What it finds with a score below {sure} is doubted
(`Reading.sure`). From there on, it took {surely_false:.2g} other things for faces in 100 of those parts;
with 95 % confidence, at most {at_most:.1f}. Of the faces in those validation photos, {surely_found:.1%} have
such a score, and {all_found:.1%} are found at all.

The pictures of the test come from elsewhere, and there it is wrong more often, even when it is sure:

{wrong}

## What is doubted

Test photos once more, each face 110 pixels wide, spoiled in one way a row: how many are found, how many of
those are not `Reading.sure`, and how far off their ages are.

{doubted}

## Whom it misses

Photos of the test splits, as they are, in which it saw no face. In brackets Wilson's 95 % interval; groups of
fewer than {least} people are left out. Whoever was found may have been somebody else in the photo, so these
shares are rather too small. What skin, glasses or scarves change, nobody has measured.

{missed}
"""
DATASHEET = """\
# Datasheet: UTKFace, as used here

## Why it exists

UTKFace {{cite:p}}`zhang2017` was collected from the web by its authors for research on how faces age. This
project uses it because it has ages from 0 to 116, comes as aligned and cropped faces, and may be used for
non-commercial research.

## What is in it

{faces:,} faces are used here. The hash of a photo's file name decides its split, forever: of 100
hash values, 70 are train, 10 validation, 10 test, and 10 were set aside and are not here. Photos whose
names lack a field are left out. Each face has an age, a gender and a race in its file name.

{ages}

{races}

The words for race are the data set's own. They sort people in a way that the people themselves may not
share. They are used here for one thing: to measure for whom the network works.

## How the labels came about

{labels} Ages are whole years, and some are more frequent than they should be:
round ones, which end in 0 or 5, and one more, 26, the label of nearly 2,000 faces.

## How it was made, and who was asked

The photos were found on the web. Their owners keep their rights; the people in them were not asked. The
photos are therefore not part of this book or of its repository, which holds only counts, errors and weights
learned from them.

## What was done to it

Photos are resized from 200 x 200 to 64 x 64 pixels. Splits are by file name: UTKFace does not say whom a
photo shows, so photos of one person can be in both train and test, and errors on test may look smaller than
they are. Some photos are there twice: chapter 10 counts them, and what they change.

## What it may be used for

Non-commercial research, by the terms on the [authors' page](https://susanqq.github.io/UTKFace/). Weights
learned from it are for research and teaching only, and not for decisions about people.
"""
BOOK = Path(__file__).parents[2] / "book"


def pages() -> dict[str, str]:
    """Return the text of each page by its name in the book's folder."""
    texts, away = {}, results.load("away")["metrics"]
    for name in TARGETS:
        path = weights.pretrained(name)
        named = [
            row | {"source": SOURCES[row["source"]] + KNOWN[network]}
            for network in KNOWN
            for row in away
            if (row["target"], row["network"]) == (name, network)
        ]
        texts[f"card-{name}.md"] = cards.model_card(
            path.name,
            _with_reason(weights.read_card(path)),
            results.load(f"{name}-test")["metrics"],
            weights.weights_sha256(path),
            data_sets=named,
        )
    texts["card-finder.md"] = finder_card()
    texts["datasheet.md"] = datasheet(results.load("utkface")["metrics"]["people"])
    return texts


def _with_reason(card: cards.Card) -> cards.Card:
    """The card of a network whose last training had a helper says why its faces were not balanced."""
    if "tools.weights.helped" in card["command"]:
        card["recipe"]["balanced"] = UNBALANCED
    return card


def datasheet(people: dict[str, Any]) -> str:
    """Describe the faces of UTKFace as they are used here, with the counts of book/results/utkface.json."""
    ages = [
        {"ages": f"{row['from']} to {row['from'] + 9}", "female": row["female"], "male": row["male"]}
        for row in people["ages"]
    ]
    races = [
        {"label": name, "faces": count, "share": f"{count / people['faces']:.0%}"}
        for name, count in people["race"].items()
    ]
    return DATASHEET.format(
        faces=people["faces"], ages=cards.table(ages), races=cards.table(races), labels=cards.LABELS.strip()
    )


def finder_card() -> str:
    """Return the text of the finder's card."""
    with safe_open(detectors.FINDER / "finder.safetensors", "pt") as file:
        card = json.loads(file.metadata()["card"])
    photos, threshold = (results.load(name)["metrics"] for name in ("photos", "finder-threshold"))
    curve = {row["threshold"]: row for row in threshold["curve"]}
    chosen, sure = curve[threshold["chosen"]], curve[threshold["sure"]]
    return FINDER.format(
        parameters=sum(values.numel() for network in finder.load() for values in network.parameters()),
        false=" and ".join(
            f"{row['finder: in 100']:.0f} times in 100 parts of {row['parts of']}"
            for row in photos["false finds"]
        ),
        sha256=detectors.finder_sha256(),
        data=_in_words({SOURCES.get(name, name): count for name, count in card["data"]["faces"].items()})
        + f"; {card['data']['pictures without a face']} pictures without a face",
        splits=card["splits"],
        recipe=_in_words(card["recipe"]),
        terms=card["terms"],
        found=cards.table([_found(row) for row in photos["found"]]),
        wrong=cards.table([_wrong(row) for row in photos["false finds"]]),
        threshold=chosen["threshold"],
        sure=sure["threshold"],
        surely_false=sure["false finds in 100"],
        at_most=sure["at most, 95 %"],
        surely_found=sure["found"],
        all_found=chosen["found"],
        least=cards.MIN_FACES,
        doubted=cards.table([_doubted(row) for row in results.load("doubt")["metrics"]]),
        missed=cards.table(
            [_missed(row) for row in results.load("missed")["metrics"] if row["people"] >= cards.MIN_FACES]
        ),
    )


def _in_words(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} ({_in_words(value)})" if isinstance(value, dict) else f"{name} {value}"
        for name, value in values.items()
    )


def _doubted(row: dict[str, Any]) -> dict[str, str]:
    has_faces = "found" in row
    return {
        "faces": row["faces"],
        "found": f"{row['found']:.0%}" if has_faces else "",
        "doubted": f"{row['doubted']:.0%}",
        "age off by": f"{row['MAE']:.1f} years" if has_faces else "",
    }


def _found(row: dict[str, Any]) -> dict[str, str]:
    return {
        "faces": row["faces"],
        "photos": str(row["count"]),
        "found": f"{row['finder: found']:.1%}",
        "turn off": f"{row['finder: roll off, degrees']:.1f} degrees",
        "points off": f"{row['finder: points off, eye distances']:.3f}",
    }


def _wrong(row: dict[str, Any]) -> dict[str, str]:
    return {
        "parts of": row["parts of"],
        "pictures": str(row["pictures"]),
        "parts": str(row["count"]),
        "taken for faces, in 100 parts": f"{row['finder: in 100']:.1f}",
        "when it is sure": f"{row['finder, when it is sure: in 100']:.1f}",
    }


def _missed(row: dict[str, Any]) -> dict[str, str]:
    low, high = row["interval"]
    return {
        "photos of": SOURCES[row["source"]],
        "people": row["group"],
        "count": f"{row['people']:,}",
        "missed": f"{row['missed']:.1%} ({low:.1%} to {high:.1%})",
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (BOOK / name).write_text(text)
