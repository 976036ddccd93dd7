"""The rules that both languages have: JavaScript in a browser gives the package's answers, on many inputs."""

import base64
import functools

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage import data

from ssrlib import (
    FACE_SIZE,
    AgeGenderEstimator,
    SSRNet,
    calibration,
    detectors,
    face_crop,
    soft_stagewise_regression,
    weights,
)
from ssrlib.datasets import synthetic
from ssrlib.detectors import Box
from ssrlib.estimator import Reading
from ssrlib.inference import predict
from ssrlib.widgets.base import module
from ssrlib.widgets.try_it import pack
from testing.lab import as_rgba, open_page

PORTRAIT = data.astronaut()
# A call of the browser takes many inputs at once.
numbers = functools.partial(st.floats, allow_subnormal=False)
many = settings(max_examples=15, derandomize=True)


@pytest.fixture(scope="module")
def call(browser, tmp_path_factory):
    """Call a function of the widgets' modules in the browser, with an argument as JSON."""
    names = (
        "{ forward, unpack, softStagewiseRegression, ageInterval, probability, likelierGender, "
        "cropFace, mirrorImage, AGES, LEAST, FACE }"
    )
    script = module("network.js", "calibration.js", "crop.js") + f"\nObject.assign(globalThis, {names});"
    path = tmp_path_factory.mktemp("page") / "modules.html"
    path.write_text(f'<!doctype html><meta charset=utf-8><script type="module">{script}</script>')
    with open_page(browser) as page:
        page.goto(path.as_uri())
        page.wait_for_function("() => globalThis.FACE")
        yield page.evaluate


def test_the_constants_are_the_same(call):
    assert call("() => [AGES, LEAST, FACE]") == [calibration.AGES.tolist(), calibration.LEAST, FACE_SIZE]


FORWARD = """([packed, faces]) => {
    const network = unpack(packed);
    return faces.map((face) => {
        const pixels = Uint8ClampedArray.from(atob(face), (letter) => letter.charCodeAt(0));
        const { value, p, eta, delta } = forward(network, pixels);
        return [value, p.map((weights, k) => [...weights, ...eta[k], delta[k]])];
    });
}"""


def some_faces() -> np.ndarray:
    """Drawn faces, noise, plain colors and the astronaut."""
    drawn, _ = synthetic.generate(20, seed=3)
    noise = np.random.default_rng(0).integers(256, size=(20, 64, 64, 3), dtype=np.uint8)
    plain = np.zeros((3, 64, 64, 3), np.uint8) + np.array([0, 128, 255], np.uint8)[:, None, None, None]
    portrait = face_crop.crop(PORTRAIT, detectors.find(PORTRAIT)[0])[None]
    return np.concatenate([drawn, noise, plain, portrait])


@pytest.mark.parametrize(("target", "close"), [("age", 1e-3), ("gender", 1e-5)])
def test_the_forward_pass_answers_as_pytorch_does(call, target, close):
    network, seen = weights.load(weights.pretrained(target)), some_faces()
    found = call(FORWARD, [pack(network), [as_rgba(face) for face in seen]])
    values = np.array([value for value, _ in found])
    expected = predict(network, seen)
    assert len(set(expected.round(4))) > 30
    assert np.abs(values - expected).max() < close
    with torch.inference_mode():
        _, stages = network(torch.from_numpy(seen).permute(0, 3, 1, 2), return_stages=True)
    eta, delta = (network.settings[f"lambda_{name}"] for name in ("eta", "delta"))
    for k, stage in enumerate(stages):
        terms = torch.cat([stage.p, eta * stage.eta, delta * stage.delta[:, None]], dim=1).numpy()
        np.testing.assert_allclose([terms_found[k] for _, terms_found in found], terms, rtol=1e-3, atol=1e-4)


def test_the_forward_pass_reads_other_networks(call):
    torch.manual_seed(0)
    network = SSRNet(value_range=90.0, bins=(4, 2), lambda_eta=0.5, lambda_delta=0.25).eval()
    network.mean.copy_(torch.tensor([100.0, 120.0, 140.0])[:, None, None])
    network.std.copy_(torch.tensor([50.0, 60.0, 70.0])[:, None, None])
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    seen = some_faces()[:4]
    found = call(FORWARD, [pack(network), [as_rgba(face) for face in seen]])
    expected = predict(network, seen)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose([value for value, _ in found], expected, atol=1e-3)


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


INTERVALS = "([learned, read]) => read.map((one) => ageInterval(learned, ...one))"
PROBABILITIES = "([learned, values]) => values.map((value) => probability(learned, value))"


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
    found = call(INTERVALS, [learned, read])
    assert np.array_equal(np.transpose(found), calibration.age_interval(learned, *np.transpose(read)))


@many
@given(beta=st.lists(numbers(-3, 3), min_size=3, max_size=3), values=st.lists(numbers(-1, 2), min_size=1))
def test_the_probability_of_a_gender(call, beta, values):
    for learned in ({"beta": beta}, None):
        found = call(PROBABILITIES, [learned, values])
        np.testing.assert_allclose(found, calibration.probability(learned, values), rtol=1e-12)


def test_the_built_in_calibrations(call):
    estimator = AgeGenderEstimator()
    rng = np.random.default_rng(0)
    ages, apart = rng.uniform(-5, 115, 300), rng.uniform(0, 25, 300)
    learned, read = estimator.age_calibration, np.stack([ages, apart], axis=1).tolist()
    found = call(INTERVALS, [learned, read])
    np.testing.assert_allclose(np.transpose(found), calibration.age_interval(learned, ages, apart))
    assert call(INTERVALS, [None, read]) == [None] * 300
    learned, values = estimator.gender_calibration, np.linspace(-0.2, 1.2, 57)
    found = call(PROBABILITIES, [learned, values.tolist()])
    np.testing.assert_allclose(found, calibration.probability(learned, values))


def test_the_likelier_gender(call):
    shares = [0.0, 0.2, np.nextafter(0.5, 0), 0.5, np.nextafter(0.5, 1), 0.8, 1.0]
    expected = [Reading(Box(0, 0, 1, 1), 30.0, 20.0, 40.0, share).gender for share in shares]
    assert call("shares => shares.map(likelierGender)", shares) == expected


CROP = """async ([image, squares]) => {
    const picture = Object.assign(new Image(), { src: image });
    await picture.decode();
    return squares.map(([left, top, side]) => {
        const face = cropFace(picture, picture.width, picture.height, { left, top, side });
        return [face, mirrorImage(face)].map(({ data }) => btoa(String.fromCharCode(...data)));
    });
}"""


def cropped(call, photo: np.ndarray, boxes: list[Box]) -> np.ndarray:
    """Crop in the browser: N x 2 x 64 x 64 x 3, each face as it is and as its mirror image."""
    png = cv2.imencode(".png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1].tobytes()
    image = "data:image/png;base64," + base64.b64encode(png).decode()
    found = call(CROP, [image, [list(face_crop.Crop().square(box)[:3]) for box in boxes]])
    pixels = np.frombuffer(b"".join(base64.b64decode(face) for both in found for face in both), np.uint8)
    return pixels.reshape(len(boxes), 2, FACE_SIZE, FACE_SIZE, 4)[..., :3]


def test_crops_that_are_special(call):
    boxes = [
        detectors.find(PORTRAIT)[0],
        Box(100, 100, 64, 64),  # as it is
        Box(100, 100, 128, 128),  # halved
        Box(180, 80, 40, 40),  # grows
        Box(-60, -50, 200, 200),  # over a corner
        Box(-100, -100, 712, 712),  # all around
    ]
    estimator = AgeGenderEstimator()
    for box, (face, mirrored) in zip(boxes, cropped(call, PORTRAIT, boxes), strict=True):
        assert np.abs(face.astype(int) - face_crop.crop(PORTRAIT, box)).max() <= 1
        assert (mirrored == face[:, ::-1]).all()
        (reading,) = estimator.predict(PORTRAIT, [box])
        assert estimator.predict_faces(face[None]).age == pytest.approx([reading.age], abs=0.2)


@many
@given(
    corners=st.lists(st.tuples(st.integers(-399, 511), st.integers(-399, 511)), min_size=1, max_size=8),
    side=st.integers(1, 400),
)
def test_crops(call, corners, side):
    boxes = [Box(x, y, side, side) for x, y in corners]
    boxes = [box for box in boxes if touches(face_crop.Crop().square(box))]
    assume(boxes)
    for box, (face, _) in zip(boxes, cropped(call, PORTRAIT, boxes), strict=True):
        assert np.abs(face.astype(int) - face_crop.crop(PORTRAIT, box)).max() <= 1


def touches(square: Box) -> bool:
    height, width = PORTRAIT.shape[:2]
    x, y, side, _ = square[:4]
    return -side < x < width and -side < y < height
