"""The rules that both languages have: Python and JavaScript agree on whatever hypothesis makes up."""

import base64
import functools

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage import data

from ssrlib import FACE_SIZE, calibration, face_crop, soft_stagewise_regression
from ssrlib.detectors import Box
from ssrlib.estimator import Reading
from ssrlib.widgets.base import module
from testing.lab import open_page

PHOTO = data.astronaut()[:200, 100:400]
# A call of the browser takes many inputs at once.
numbers = functools.partial(st.floats, allow_subnormal=False)
many = settings(max_examples=15, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def call(browser, tmp_path_factory):
    """Call a function of the widgets' modules in the browser, with an argument as JSON."""
    names = (
        "{ softStagewiseRegression, ageInterval, probability, likelierGender, cropFace, AGES, LEAST, FACE }"
    )
    script = module("stages.js", "calibration.js", "crop.js") + f"\nObject.assign(globalThis, {names});"
    path = tmp_path_factory.mktemp("page") / "modules.html"
    path.write_text(f'<!doctype html><meta charset=utf-8><script type="module">{script}</script>')
    with open_page(browser) as page:
        page.goto(path.as_uri())
        page.wait_for_function("() => globalThis.FACE")
        yield page.evaluate


def test_the_constants_are_the_same(call):
    assert call("() => [AGES, LEAST, FACE]") == [calibration.AGES.tolist(), calibration.LEAST, FACE_SIZE]


@st.composite
def terms(draw):
    bins = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    rows = {
        name: [draw(st.lists(one, min_size=count, max_size=count)) for count in bins]
        for name, one in (("p", numbers(0, 2)), ("eta", numbers(-1, 1)))
    }
    delta = draw(st.lists(numbers(-0.5, 1), min_size=len(bins), max_size=len(bins)))
    return {**rows, "delta": delta, "range": draw(numbers(1, 200))}


@many
@given(shown=st.lists(terms(), min_size=1, max_size=30))
def test_the_formula(call, shown):
    found = call("all => all.map((terms) => softStagewiseRegression(terms).at(-1).value)", shown)
    for value, one in zip(found, shown, strict=True):
        p, eta = ([torch.tensor([row]) for row in one[name]] for name in ("p", "eta"))
        delta = [torch.tensor([number]) for number in one["delta"]]
        expected = soft_stagewise_regression(p, eta, delta, one["range"]).item()
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-5 * one["range"])


@st.composite
def age_calibrations(draw):
    middles = sorted(draw(st.lists(st.integers(0, 100), min_size=1, max_size=10, unique=True)))
    bands = [[-draw(numbers(0, 5)), draw(numbers(0, 5))] for _ in middles]
    return {"scale": [draw(numbers(-2, 5)), draw(numbers(-0.1, 0.3)), draw(numbers(0, 1))]} | {
        "middles": middles,
        "bands": bands,
    }


@many
@given(learned=age_calibrations(), read=st.lists(st.tuples(numbers(-5, 130), numbers(0, 40)), min_size=1))
def test_the_interval_of_an_age(call, learned, read):
    found = call("([learned, read]) => read.map((one) => ageInterval(learned, ...one))", [learned, read])
    assert np.array_equal(np.transpose(found), calibration.age_interval(learned, *np.transpose(read)))


@many
@given(beta=st.lists(numbers(-3, 3), min_size=3, max_size=3), values=st.lists(numbers(-1, 2), min_size=1))
def test_the_probability_of_a_gender(call, beta, values):
    for learned in ({"beta": beta}, None):
        found = call(
            "([learned, values]) => values.map((value) => probability(learned, value))", [learned, values]
        )
        np.testing.assert_allclose(found, calibration.probability(learned, values), rtol=1e-12)


def test_the_likelier_gender(call):
    shares = [0.0, 0.2, np.nextafter(0.5, 0), 0.5, np.nextafter(0.5, 1), 0.8, 1.0]
    expected = [Reading(Box(0, 0, 1, 1), 30.0, 20.0, 40.0, share).gender for share in shares]
    assert call("shares => shares.map(likelierGender)", shares) == expected


CROP = """async ([image, squares]) => {
    const picture = Object.assign(new Image(), { src: image });
    await picture.decode();
    return squares.map(([left, top, side]) => {
        const { data } = cropFace(picture, picture.width, picture.height, { left, top, side });
        return btoa(String.fromCharCode(...data));
    });
}"""


@many
@given(
    corners=st.lists(st.tuples(st.integers(-399, 299), st.integers(-399, 199)), min_size=1, max_size=8),
    side=st.integers(1, 400),
)
def test_the_crop(call, corners, side):
    height, width = PHOTO.shape[:2]
    squares = [(x, y, side) for x, y in corners if -side < x < width and -side < y < height]
    assume(squares)
    png = cv2.imencode(".png", cv2.cvtColor(PHOTO, cv2.COLOR_RGB2BGR))[1].tobytes()
    found = call(CROP, ["data:image/png;base64," + base64.b64encode(png).decode(), squares])
    for (x, y, _), face in zip(squares, found, strict=True):
        pixels = np.frombuffer(base64.b64decode(face), np.uint8).reshape(FACE_SIZE, FACE_SIZE, 4)
        expected = face_crop.crop(PHOTO, Box(x, y, side, side), margin=0, shift=0)
        assert np.abs(pixels[..., :3].astype(int) - expected).max() <= 1
