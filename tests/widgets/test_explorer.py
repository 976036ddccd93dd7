import numpy as np
import pytest
import torch
import traitlets

from ssrlib import Recipe, SSRNet, new_network, plots, weights
from ssrlib.datasets import synthetic
from ssrlib.widgets import Playground, StagewiseExplorer
from ssrlib.widgets.explorer import terms_of

FACES = synthetic.generate(2, seed=5)[0]


def test_its_value_is_the_networks(age_network):
    explorer = StagewiseExplorer()
    for face in FACES:
        explorer.load(face)
        with torch.inference_mode():
            value = age_network(torch.from_numpy(face).permute(2, 0, 1)[None]).item()
        assert explorer.age == pytest.approx(value, rel=1e-5)


def test_a_network_with_other_bins_and_lambdas_can_be_shown():
    network = SSRNet(value_range=1.0, bins=(4, 2), lambda_eta=0.5, lambda_delta=0.25).eval()
    explorer = StagewiseExplorer(FACES[0])
    explorer.load(FACES[1], network)
    with torch.inference_mode():
        value = network(torch.from_numpy(FACES[1]).permute(2, 0, 1)[None]).item()
    assert [len(row) for row in explorer.p] == [4, 2]
    assert explorer.age == pytest.approx(value, rel=1e-5, abs=1e-7)


def test_its_unit_is_the_networks():
    explorer = StagewiseExplorer(FACES[0])
    assert explorer.unit == "years"
    explorer.load(FACES[0], weights.load(weights.pretrained("gender")))
    assert (explorer.unit, explorer.value_range) == ("p_male", 1.0)
    assert [preset["unit"] for preset in explorer.presets] == ["years", "years", "p_male"]
    explorer.load(FACES[0])
    assert explorer.unit == "years"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("p", [[0, 1, 0]], "use show"),
        ("p", [[0, 1], [0, 1]], "use show"),
        ("eta", [[0, 1, 0], []], "use show"),
        ("delta", [0.0], "use show"),
        ("delta", [0.0, -1.0], "every delta must be above -1"),
        ("p", [[0, -1, 0], [0, 0, 0]], "every p must be 0 or more"),
        ("age", 30.0, "read-only"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_changes_nothing(name, value, message):
    explorer = StagewiseExplorer()
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(explorer, name, value)
    assert explorer.age == 50.0
    assert explorer.p == [[0, 1, 0], [0, 0, 1]]


def test_pages_hold_everything_they_need():
    html = StagewiseExplorer(FACES[0]).page()
    assert "http:" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in html
    assert html.count("</script") == 1


def test_playground_shows_figures():
    shown = Playground(lambda end: plots.curves([0, end], {"y": [0, 1]}, "x", "y"), end=[1, 2])
    assert all(answer["figure"].startswith("data:image/png;base64,iVBOR") for answer in shown.answers)
    assert shown.answers[0]["figure"] != shown.answers[1]["figure"]


def test_playground_knows_every_answer_of_texts_images_and_both():
    def answer(size, word):
        image = np.full((size, size, 3), 200, np.uint8)
        return (image, word) if word == "both" else (image if word == "image" else word)

    shown = Playground(answer, size=[4, 8], word=["both", "image", "text"])
    assert [entry["text"] for entry in shown.answers] == ["both", "", "text"] * 2
    assert ["image" in entry for entry in shown.answers] == [True, True, False] * 2
    assert shown.choices[0] == {"name": "size", "values": ["4", "8"]}


def test_reading_terms_leaves_the_network_as_it_was():
    network = new_network(Recipe(dropout=0.5))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    face = synthetic.generate(1, seed=3)[0][0]
    assert terms_of(face, network) == terms_of(face, network)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
