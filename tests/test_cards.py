import pytest

from ssrlib import cards, metrics, weights


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
