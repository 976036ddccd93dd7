"""What weights say about themselves: their card, checked where it is read, and as Markdown.

Reference: M. Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from ssrlib import calibration
from ssrlib.calibration import Calibration
from ssrlib.detectors import DETECTORS
from ssrlib.face_crop import MARGIN, SHIFT, Crop, CropRecord
from ssrlib.targets import TARGETS, Target

# Smaller groups are not called the worst: chance decides how they do.
MIN_FACES = 40
# A card says how far beyond a face its crop reaches, in widths of the face.
CROP_RANGES = {"margin": (-0.4, 4), "shift": (-2, 2)}

USE = """\
## Meant for

Learning and teaching how regression, networks and their errors work; measuring biases; demonstrations for
people who stand in front of the camera on purpose.

## Must not be used for

- decisions about a person: whether they may enter, buy, work, travel, or be believed;
- checks of one person, such as proof of age: single answers can be far off;
- telling who somebody is, or what gender they are: the labels are other people's guesses, and know two words;
- watching people who have not agreed to it;
- groups, cameras or crops it was not measured on, as if the figures below held for them.
"""

FAILURES = """\
## Known failures

- It always answers. A drawing, a coin or a wall that the detector takes for a face gets an answer, too.
- It expects faces cropped as in training; another margin costs accuracy.
"""

OWN_FAILURES = {
    "age": "- Rare ages are pulled toward frequent ones: see the bias by age.\n",
    "gender": "- Children are matched least: see the results by age.\n",
}

# Of weights that have a calibration.
PROMISES = {
    "age": """\
- On validation faces, intervals hold nine in ten labels in each decade, or more where they were widened. They
  promise nothing about one face, and where the photos differ from those that taught it, less still.
""",
    "gender": """\
- A probability is calibrated over all faces as a whole. It promises nothing about one face, and where the
  photos differ from those that taught it, less still.
""",
}

LABELS = """\
Ages, genders and races in UTKFace were estimated by an algorithm and checked by annotators, gender as one of
two words, race as one of five. Nobody asked the people in the photos. Every error reported here is a
distance from such a label, not from the truth.
"""

# Of the other data sets that the built-in networks learned from.
OTHER_LABELS = {
    "age": """\
All-Age-Faces' ages are its makers' labels. APPA-REAL's ages are people's own, or the mean of what many others
guessed: the copy that was used does not say which. Figures on validation are of all these data sets together,
figures on test of UTKFace alone{others}.
""",
    "gender": """\
All-Age-Faces' genders are its makers' labels. Figures on validation are of both data sets together, figures
on test of UTKFace alone{others}.
""",
}

# Where their figures are: in the card's last table, if it has one.
OTHERS = {True: ", but for the last table", False: "; chapter 10 has the others"}

# What the tables by group do not explain.
GROUPS = {
    "age": "By mirror disagreement: in quarter 1, a face and its mirror image are read most alike.",
    "gender": "The bias is the mean probability of male less the share labeled male. Within one gender it\n"
    "cannot be 0, unless each probability is exactly its label.",
}

# What each metric is called and how it is written, of a target with a name and a unit.
WORDS = {
    "mae": ("mean absolute error", "{value:.2f} {unit}"),
    "rmse": ("root mean squared error", "{value:.2f} {unit}"),
    "bias": ("bias", "{value:+.2f}"),
    "ca3": ("errors smaller than 3 {unit}", "{value:.1%}"),
    "ca5": ("errors smaller than 5 {unit}", "{value:.1%}"),
    "coverage": ("labeled {name} inside the interval", "{value:.1%}"),
    "width": ("width of the interval", "{value:.1f} {unit}"),
    "accuracy": ("{name} as labeled", "{value:.1%}"),
    "brier": ("Brier score", "{value:.4f}"),
}
# How each split was read.
READ: dict[Literal["validation", "test"], str] = {
    "validation": "validation, each face read once",
    "test": "test, each face and its mirror image",
}


class Part(TypedDict):
    """One of the stores that were joined into the one that a network learned from."""

    store: str
    faces: int
    crop: CropRecord


class Card(TypedDict, total=False):
    """What weights say about themselves. A card may leave out anything.

    `data`, `command` and `terms` are sentences for people: what it learned from, how to repeat that, what
    the weights may be used for. `crop` is the faces' crop, and `joined` each store's own where several were
    joined; `recipe` has the fields of `recipe.Recipe` (its loss in words, where `fit` was given one), and
    `epoch` is the one whose weights were kept. `start` and `teachers` are checksums of the weights that it
    went on from and of its teachers', if there were any. `validation` and `test` are metrics by name, from
    `metrics.score`.
    """

    data: str
    command: str
    terms: str
    crop: CropRecord
    joined: list[Part]
    recipe: dict[str, Any]
    epoch: int
    start: str
    teachers: str
    validation: dict[str, float]
    calibration: Calibration
    test: dict[str, float]


def crop_of(card: Card) -> Crop:
    """Return how the faces that a network learned from were cropped, as far as its card says.

    >>> crop_of({"crop": {"kind": "cropped already", "margin": 0.4}})
    Crop(margin=0.4, shift=0.1, detector='finder')
    """
    record = card.get("crop", {})
    return Crop(
        record.get("margin", MARGIN), record.get("shift", SHIFT), record.get("detector", Crop().detector)
    )


def check_card(path: str | Path, target: str, card: Any) -> None:
    """Refuse a card, read from a file, that nothing can be computed with.

    >>> check_card("age.onnx", "age", {"crop": {"margin": "wide"}})
    Traceback (most recent call last):
    ValueError: age.onnx: its card cannot be used: the crop's margin must be from -0.4 to 4, not 'wide'

    Raises:
        ValueError: it names the entry, and says what is expected.
    """
    try:
        _check_objects(card)
        for name, (least, most) in CROP_RANGES.items():
            value = getattr(crop_of(card), name)
            if type(value) not in (int, float) or not least <= value <= most:
                raise ValueError(f"the crop's {name} must be from {least} to {most}, not {value!r}")
        if (detector := crop_of(card).detector) not in list(DETECTORS):
            raise ValueError(f"the crop's detector must be one of {', '.join(DETECTORS)}, not {detector!r}")
        if card.get("calibration") is not None:
            calibration.check(card["calibration"], TARGETS[target])
    except ValueError as error:
        raise ValueError(f"{path}: its card cannot be used: {error}") from error


def _check_objects(card: Any) -> None:
    if not isinstance(card, dict):
        raise ValueError(f"it must be an object, not {card!r}")
    for name in ("crop", "recipe", "validation", "test"):
        if not isinstance(card.get(name, {}), dict):
            raise ValueError(f"its {name} must be an object, not {card[name]!r}")
    joined = card.get("joined", [])
    if not isinstance(joined, list) or not all(map(_is_part, joined)):
        raise ValueError(f"its joined must be a list of objects with store, faces and crop, not {joined!r}")


def _is_part(part: Any) -> bool:
    known = isinstance(part, dict) and part.keys() >= {"store", "faces", "crop"}
    return known and type(part["faces"]) is int and isinstance(part["crop"], dict)


def model_card(
    name: str,
    card: Card,
    metrics: dict[str, Any] | None = None,
    sha256: str = "unknown",
    target: str = "unknown",
    data_sets: list[dict[str, Any]] | None = None,
) -> str:
    """Return the card of a weights file as Markdown.

    Args:
        name: what to call the weights.
        card: from `weights.read_card`; what it does not say is named as unknown.
        metrics: from `metrics.evaluate`, for the tables by group.
        sha256: of the weights, from `weights.weights_sha256`.
        target: the name of what the network reads, for a card without a recipe that would tell.
        data_sets: for a last table, see `by_data_set`.

    >>> print(model_card("age.safetensors", {"data": "drawn faces"})[:29])
    # Model card: age.safetensors
    """
    recipe = card.get("recipe", {})
    target = (metrics or recipe).get("target", target)
    parts = [
        f"# Model card: {name}",
        f"An SSR-Net of the `ssrlib` package. It reads **{target}** from an RGB face of 64 x 64 pixels.",
        USE,
        FAILURES
        + OWN_FAILURES.get(target, "")
        + (PROMISES.get(target, "") if card.get("calibration") else ""),
        "## Training\n\n" + _list({"SHA-256 of the weights": f"`{sha256}`"} | _training(card)),
        "## How the labels came about\n\n" + LABELS if "UTKFace" in card.get("data", "") else "",
        OTHER_LABELS.get(target, "").format(others=OTHERS[bool(data_sets)])
        if "All-Age-Faces" in card.get("data", "")
        else "",
        "## Results\n\n" + _results(card, TARGETS.get(target)),
    ]
    if metrics:
        parts.append(_by_group(metrics))
    if data_sets:
        parts.append(by_data_set(data_sets, TARGETS[target]))
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def summary(metrics: dict[str, Any], network: str = "") -> str:
    """Return the metrics of `metrics.evaluate` in about ten lines.

    They tell how good a network is overall, and on the worst group of each kind. Groups of fewer than 40
    faces are left out: chance decides how they do.

    Args:
        metrics: what was measured.
        network: what to call the network in the first line, if anything.
    """
    target = TARGETS[metrics["target"]]
    names = [name for name in WORDS if name in metrics and name not in ("rmse", "ca3", "brier")]
    lines = {_label(name, target): _with_interval(metrics, name, target) for name in names}
    if constant := metrics["constant"]:
        said = _say(target.metric, constant[target.metric], target)
        guess = constant["guess"]
        # A label in 32 bits, such as 43.9, has more digits than anybody wrote.
        lines[f"by always saying {guess if target.classes else f'{guess:g}'}"] = said
    for grouping, groups in metrics["groups"].items():
        enough = [group for group in groups if group["faces"] >= MIN_FACES]
        if enough and grouping not in ("predicted age", "mirror disagreement"):
            text = f"{enough[0]['group']}, {_with_interval(enough[0], target.metric, target)}"
            lines[f"worst by {grouping}"] = f"{text}, {enough[0]['faces']:,} faces"
    widest = max(map(len, lines))
    told = [f"{name:{widest}}  {text}" for name, text in lines.items()]
    first = f"{target.name}, {metrics['split']} split, {metrics['faces']:,} faces"
    return "\n".join([f"{first}, read by {network}" if network else first, *told])


def by_data_set(rows: list[dict[str, Any]], target: Target) -> str:
    """Return a card's last section as Markdown: how a network does on the test split of each data set.

    Args:
        rows: of book/results/away.json, each with `source`, `faces`, metrics and `intervals`.
        target: what it reads.
    """
    names = [name for name in WORDS if name in rows[0]]
    told = [{"data set": row["source"]} | _in_words(row, names, target) for row in rows]
    return f"## Results by data set, test splits\n\n{table(told)}\n"


def _training(card: Card) -> dict[str, Any]:
    return {
        "data": card.get("data", "unknown"),
        "command": f"`{card['command']}`" if "command" in card else "unknown",
        "recipe": _in_pairs(card.get("recipe", {})),
        "crop": _crop_in_words(card),
        "terms": card.get("terms", "unknown"),
    } | ({"went on from the weights": f"`{card['start']}`"} if "start" in card else {})


def _crop_in_words(card: Card) -> str:
    if joined := card.get("joined"):
        parts = [(_in_pairs(part["crop"]), part["store"], f"{part['faces']:,} faces") for part in joined]
        return "; ".join(f"{crop} ({store}, {faces})" for crop, store, faces in parts)
    crop = card.get("crop", {})
    # A published card has the crop of the data sets whose faces were found.
    aligned = crop.get("kind") == "find" and "UTKFace" in card.get("data", "")
    return _in_pairs(crop) + ("; UTKFace as its makers aligned it" if aligned else "")


def _in_pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "unknown"


def _results(card: Card, target: Target | None) -> str:
    lines = {}
    for split, read in READ.items():
        scores = dict(card.get(split, {}))
        if "accuracy" in scores:
            scores.pop("mae", None)  # it has no unit; the accuracy says more
        text = ", ".join(
            f"{_say(name, value, target)} ({_label(name, target)})" for name, value in scores.items()
        )
        lines[read if text else split] = text or "not measured"
    calibration = card.get("calibration")
    if not calibration:
        how = "none: numbers come without an interval, and p_male is a score rather than a probability"
    else:
        how = f"on {calibration['faces']:,} validation faces"
        if "widened" in calibration:
            wider = f"{calibration['widened']:g} times as wide"
            how += f"; the bands of usual errors were then made {wider}, for photos of other collections"
    return _list(lines | {"calibration": how})


def _by_group(metrics: dict[str, Any]) -> str:
    target = TARGETS[metrics["target"]]
    names = [name for name in WORDS if name in metrics and name not in ("rmse", "ca3", "brier")]
    parts = [
        f"## Results by group, {metrics['split']} split\n\n{metrics['faces']:,} faces, the worst group "
        "first. In brackets the 95 % interval of the bootstrap; a group of one face has none.\n"
        f"{GROUPS.get(target.name, '')}"
    ]
    for grouping, groups in metrics["groups"].items():
        rows = [{grouping: group["group"]} | _in_words(group, names, target) for group in groups]
        parts.append(f"### By {grouping}\n\n{table(rows)}")
    return "\n\n".join(parts)


def _in_words(group: dict[str, Any], names: list[str], target: Target) -> dict[str, str]:
    """A group's row of a table: how many faces it has, and its metrics."""
    told = {_label(name, target): _with_interval(group, name, target) for name in names}
    return {"faces": f"{group['faces']:,}"} | told


def _with_interval(group: dict[str, Any], name: str, target: Target) -> str:
    interval = group["intervals"][name] if name != "width" else None
    text = _say(name, group[name], target)
    if not interval:
        return text
    return f"{text} ({' to '.join(_say(name, bound, target).split()[0] for bound in interval)})"


def _label(name: str, target: Target | None) -> str:
    """The metric in words; of a target that nobody named, without its name and unit."""
    words = WORDS.get(name, (name, ""))[0]
    return words.format(name=target.name if target else "value", unit=target.unit if target else "").strip()


def _say(name: str, value: float, target: Target | None) -> str:
    words = WORDS.get(name, (name, "{value:.4g}"))[1]
    return words.format(value=value, unit=target.unit if target else "").strip()


def _list(lines: dict[str, Any]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in lines.items())


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows with the same keys as a table in Markdown.

    >>> print(table([{"age": 30, "faces": 2}]))
    | age | faces |
    | --- | --- |
    | 30 | 2 |
    """
    lines = [list(rows[0]), ["---"] * len(rows[0])] + [[str(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
