import numpy as np
import pytest

from ssrlib import Recipe, cards, fit, metrics, weights
from ssrlib.face_crop import Crop, CroppedAlready
from ssrlib.store import NO_REJECTS, join, write_store
from ssrlib.training import new_network


def test_a_card_says_what_it_knows_and_what_it_does_not():
    text = cards.model_card("bare.safetensors", {})
    assert "- data: unknown" in text
    assert "- test: not measured" in text
    assert "a score rather than a probability" in text
    assert "Must not be used for" in text
    assert "UTKFace were estimated" not in text


@pytest.mark.parametrize("target", ["age", "gender"])
def test_built_in_cards_name_their_data_terms_and_calibration(target):
    path = weights.pretrained(target)
    text = cards.model_card(path.name, weights.read_card(path))
    assert "UTKFace were estimated" in text
    assert "research" in text
    assert "validation faces" in text
    assert "validation, each face read once" in text
    assert ("mean absolute error" in text) == (target == "age")
    assert ("times as wide, for photos of other collections" in text) == (target == "age")
    assert "UTKFace: 16,558 train, " in text


def test_cards_tell_how_the_faces_of_each_data_set_were_cropped():
    aligned = "detector finder; UTKFace as its makers aligned it\n"
    for path, joined in [
        (weights.pretrained("age"), True),
        (weights.PRETRAINED / "utkface/age.safetensors", False),
    ]:
        card = weights.read_card(path)
        assert (aligned in cards.model_card(path.name, card)) == joined
    assert "- crop: kind cropped already, margin 0.0, shift 0.1\n" in cards.model_card(path.name, card)
    assert "- crop: kind find\n" in cards.model_card("mine", {"crop": {"kind": "find"}})


def test_the_card_of_a_joined_training_tells_how_the_faces_of_each_store_were_cropped(drawn_store, tmp_path):
    crops = {"whole": CroppedAlready(), "found": Crop()}
    chunk = np.array(drawn_store.faces), drawn_store.rows, NO_REJECTS
    stores = [write_store(tmp_path / name, lambda _: [chunk], crop.record()) for name, crop in crops.items()]
    recipe = Recipe(epochs=1)
    fit(new_network(recipe), join(stores, tmp_path / "both"), recipe, tmp_path / "run", lambda _: None)
    card = weights.read_card(tmp_path / "run" / "best.safetensors")
    assert cards.crop_of(card) == Crop()
    whole = "kind cropped already, margin 0.0, shift 0.1 (whole, 240 faces)"
    found = "kind find, margin 0.0, shift 0.1, detector finder (found, 240 faces)"
    assert f"- crop: {whole}; {found}\n" in cards.model_card("mine", card)


@pytest.mark.parametrize("target", ["age", "gender"])
def test_a_card_points_to_its_last_table_if_it_has_one(target):
    path = weights.pretrained(target)
    alone = cards.model_card(path.name, weights.read_card(path))
    assert "UTKFace alone; chapter 10 has the others." in alone
    assert "Results by data set" not in alone
    metric = "mae" if target == "age" else "accuracy"
    row = {"source": "APPA-REAL", "faces": 1509, metric: 0.5, "intervals": {metric: None}}
    with_table = cards.model_card(path.name, weights.read_card(path), data_sets=[row])
    assert "UTKFace alone, but for the last table." in with_table
    assert "chapter 10" not in with_table
    assert with_table.splitlines()[-1].startswith("| APPA-REAL | 1,509 |")


def test_groups_become_tables_worst_first(age_network, drawn_store):
    measured = metrics.evaluate(age_network, drawn_store, "test")
    text = cards.model_card("any", {}, measured)
    table = text.split("### By gender")[1].splitlines()
    worst = measured["groups"]["gender"][0]
    assert table[4].startswith(f"| {worst['group']} | {worst['faces']} | {worst['mae']:.2f} years (")


def test_a_tiny_group_is_not_called_the_worst():
    def group(name, faces, mae):
        return {"group": name, "faces": faces, "mae": mae, "intervals": {"mae": None}}

    whole = {"target": "age", "split": "test", "faces": 50, "mae": 5.0, "intervals": {"mae": None}}
    groups = {"race": [group("few", 3, 30.0), group("many", 47, 5.0)]}
    text = cards.summary(whole | {"constant": {}, "groups": groups})
    assert "worst by race        many, 5.00 years" in text
    assert "few" not in text
