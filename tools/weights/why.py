"""What moves the built-in age network, averaged over UTKFace's validation faces: book/results/why.json.

    python -m tools.weights.why

- `occlusion`: for three age groups of 150 faces each, by how many years covering a square moves the
  answer, mean over the faces.
- `gradient`: how strongly the answer reacts to each 2 x 2 pixels, mean over the same faces.
- `stages`: what each stage adds to the answer, mean by decade of age, over the whole split.
- `coverage`: the share of each decade's faces inside their interval, with one width for all and as
  calibrated. Each half of the split is measured with what the other half has taught.
- `race by age`: the mean absolute error in each decade and race, over the whole split.
- `same ages`: each race's mean absolute error for people from 20 to 59, as they are and with the same mix of
  decades for all, with 95 % intervals from a bootstrap of each decade's faces.
- `mirror`: by decade of the age read, the mean absolute error and the mean age read of the half whose two
  readings agree better and of the other half. `gain` is how much better that half is where it is chosen among
  about ten neighboring readings at a time, with a 95 % interval from a bootstrap of these neighborhoods.
- `honest`: the negative log-likelihood of what the built-in gender network says, over the whole split, before
  its calibration and after. No label costs more than the logarithm of 1000.
- `single ages`: how many faces have each label from 20 to 89, in this order, over the whole store.

Only averages are kept: no face can be seen in them.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ssrlib import FaceStore, calibration, explain, inference, metrics, results, weights
from ssrlib.network import FaceNetwork
from ssrlib.targets import AGE

GROUPS = {"under 15": (0, 15), "20 to 39": (20, 40), "60 and over": (60, 200)}
FACES = 150
NEIGHBORS = 10
ADULTS = ["20-29", "30-39", "40-49", "50-59"]


def groups(faces: np.ndarray, ages: np.ndarray) -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(0), {}
    for name, (low, high) in GROUPS.items():
        there = np.flatnonzero((ages >= low) & (ages < high))
        found[name] = faces[rng.choice(there, min(FACES, len(there)), replace=False)]
    return found


def maps(network, faces: np.ndarray, ages: np.ndarray) -> dict:
    occlusion, gradients = {}, []
    for name, chosen in groups(faces, ages).items():
        occlusion[name] = explain.occlusion(network, chosen).astype(float).mean(axis=0).round(3).tolist()
        gradients.append(explain.gradient(network, chosen).astype(float))
    gradient = np.concatenate(gradients).mean(axis=0).reshape(32, 2, 32, 2).mean(axis=(1, 3))
    return {"occlusion": occlusion, "gradient": gradient.round(5).tolist()}


def stages(network, faces: np.ndarray, ages: pd.Series) -> list[dict]:
    terms = pd.DataFrame(explain.stage_terms(network, faces).astype(float))
    found = terms.groupby(ages // 10)
    return [
        {"ages": f"{decade * 10:.0f}-{decade * 10 + 9:.0f}", "faces": len(part)}
        | {"terms": part.mean().round(3).tolist()}
        for decade, part in found
    ]


def coverage(table: pd.DataFrame) -> list[dict]:
    answers = [table[name].to_numpy() for name in ("value", "difference", "truth")]
    values, differences, truth = answers
    inside = pd.DataFrame({"one width": False, "calibrated": False}, index=table.index)
    half = np.arange(len(table)) % 2 == 0
    for known in (half, ~half):
        margin = np.quantile(np.abs(values - truth)[known], calibration.COVERAGE)
        fitted = calibration.fit(AGE, *(part[known] for part in answers))
        low, high = calibration.age_interval(fitted, values, differences)
        inside.loc[~known, "one width"] = (np.abs(values - truth) <= margin)[~known]
        inside.loc[~known, "calibrated"] = ((low <= truth) & (truth <= high))[~known]
    return [
        {"ages": ages, "faces": len(part)} | part.mean().round(3).to_dict()
        for ages, part in inside.groupby(metrics.decades(table["age"]))
    ]


def race_by_age(table: pd.DataFrame) -> list[dict]:
    table["error"] = (table["value"] - table["truth"]).abs()
    cells = table.groupby([metrics.decades(table["age"]), "race"])["error"]
    return [
        {"ages": ages, "race": race, "faces": len(part), "mae": round(float(part.mean()), 3)}
        for (ages, race), part in cells
    ]


def same_ages(table: pd.DataFrame, samples: int = 2000) -> list[dict]:
    adults = table.assign(decade=metrics.decades(table["age"]))
    adults = adults[adults["decade"].isin(ADULTS)]
    weight = adults["decade"].value_counts(normalize=True).to_dict()
    rng, found = np.random.default_rng(0), []
    for race, people in adults.groupby("race"):
        errors = {decade: part.to_numpy() for decade, part in people.groupby("decade")["error"]}
        drawn = [rng.choice(part, (samples, len(part))).mean(axis=1) for part in errors.values()]
        shares = np.array([weight[decade] for decade in errors])
        means = np.array([part.mean() for part in errors.values()])
        interval = np.quantile(shares @ np.array(drawn), [0.025, 0.975])
        row = {"race": race, "faces": len(people), "as they are": float(people["error"].mean())}
        found.append(row | {"same ages": float(shares @ means), "interval": interval.round(3).tolist()})
    return found


def mirror(table: pd.DataFrame) -> list[dict]:
    found = []
    for ages, people in table.groupby(metrics.decades(table["value"].clip(0))):
        agrees = people["difference"].abs() <= people["difference"].abs().median()
        row = {"ages": ages, "faces": len(people)}
        for name, half in (("agree", people[agrees]), ("differ", people[~agrees])):
            row |= {name: round(float(half["error"].mean()), 3)}
            row |= {f"{name}, read": round(float(half["value"].mean()), 3)}
        found.append(row | gain_among_neighbors(people))
    return found


def gain_among_neighbors(people: pd.DataFrame) -> dict:
    """A decade is wide, and halves of it may differ in age, too; those of ten neighboring readings do not."""
    people, gains = people.sort_values("value", kind="stable"), []
    for places in np.array_split(np.arange(len(people)), max(len(people) // NEIGHBORS, 1)):
        some = people.iloc[places]
        agrees = some["difference"].abs() <= some["difference"].abs().median()
        gains.append(some["error"][~agrees].mean() - some["error"][agrees].mean())
    found = metrics.summary(pd.DataFrame({"gain": gains}))
    interval = found["intervals"]["gain"]
    return {"gain": round(found["gain"], 3), "interval": interval and np.round(interval, 3).tolist()}


def honest(network: FaceNetwork, calibrated: calibration.Calibration, store: FaceStore) -> dict:
    found = {}
    for name, known in (("as said", None), ("calibrated", calibrated)):
        table = inference.predict_split(network, store, "validation", known)
        given = np.where(table["truth"] == 1, table["value"], 1 - table["value"])
        found[name] = round(float(-np.log(given.clip(0.001)).mean()), 4)
    return found


def main(store: FaceStore) -> None:
    path = weights.pretrained("age")
    network = weights.load(path)
    faces, rows = store.split("validation")
    measured = maps(network, faces, rows["age"].to_numpy())
    measured["stages"] = stages(network, faces, rows["age"])
    table = inference.predict_split(network, store, "validation")
    measured["coverage"] = coverage(table)
    measured["race by age"] = race_by_age(table)
    measured["same ages"] = same_ages(table)
    measured["mirror"] = mirror(table)
    path_of_gender = weights.pretrained("gender")
    gender, card = weights.load_with_card(path_of_gender)
    measured["honest"] = honest(gender, card["calibration"], store)
    grown = store.rows["age"][store.rows["age"].between(20, 89)].astype(int)
    measured["single ages"] = grown.value_counts().reindex(range(20, 90), fill_value=0).tolist()
    results.record(
        "book/results/why.json",
        measured,
        weights=[path, path_of_gender],
        stores=[store],
        data="UTKFace, validation; single ages: all splits",
        seed=0,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store))
