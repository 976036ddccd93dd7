"""The rules that both languages have: JavaScript in a browser gives the package's answers, on many inputs."""

import base64
import functools

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
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
from ssrlib.landmarks import TEMPLATE, placed, share_outside
from ssrlib.widgets.try_it import pack, pack_finder
from testing.faces import FOGGY_AND_CLEAR, LYING, scene
from testing.lab import as_rgba, open_modules, open_page

PORTRAIT = data.astronaut()
# A call of the browser takes many inputs at once.
numbers = functools.partial(st.floats, allow_subnormal=False)
many = settings(max_examples=15, derandomize=True)
# Of a face: its center, its side in pixels, and its turn in degrees.
PLACES = st.tuples(st.tuples(numbers(-50, 560), numbers(-50, 560)), numbers(4, 400), numbers(-180, 180))


@pytest.fixture(scope="module")
def call(browser, tmp_path_factory):
    """Call a function of the widgets' modules in the browser, with an argument as JSON."""
    with open_page(browser) as page:
        open_modules(page, tmp_path_factory.mktemp("page"))
        yield page.evaluate


def test_the_constants_are_the_same(call):
    assert call("() => [AGES, FACE]") == [calibration.AGES.tolist(), FACE_SIZE]


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
    portrait = face_crop.crop_face(PORTRAIT, detectors.find(PORTRAIT)[0])[None]
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
@given(platt=st.lists(numbers(-3, 3), min_size=2, max_size=2), values=st.lists(numbers(-1, 2), min_size=1))
def test_the_probability_of_a_gender(call, platt, values):
    for learned in ({"platt": platt}, None):
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


WARP = """([rgba, width, height, all]) => {
    const data = Uint8ClampedArray.from(atob(rgba), (letter) => letter.charCodeAt(0));
    return all.map(([points, template]) => {
        const face = warp({ data, width, height }, similarity(points, template), FACE);
        return [face, mirrorImage(face)].map(({ data }) => btoa(String.fromCharCode(...data)));
    });
}"""


def aligned(call, photo: np.ndarray, faces: list[np.ndarray], template: np.ndarray) -> np.ndarray:
    """Align in the browser: N x 2 x 64 x 64 x 3, each face as it is and as its mirror image."""
    pairs = [[points.tolist(), template.tolist()] for points in faces]
    found = call(WARP, [as_rgba(photo), photo.shape[1], photo.shape[0], pairs])
    pixels = np.frombuffer(b"".join(base64.b64decode(face) for both in found for face in both), np.uint8)
    return pixels.reshape(len(faces), 2, FACE_SIZE, FACE_SIZE, 4)[..., :3]


@many
@given(
    st.lists(PLACES, min_size=1, max_size=6),
    st.sampled_from([face_crop.Crop(), face_crop.Crop(margin=0.4, shift=0.0)]),
)
def test_straightened_faces(call, places, rule):
    faces = [placed(np.array(center), side, roll) for center, side, roll in places]
    for points, (face, mirrored) in zip(faces, aligned(call, PORTRAIT, faces, rule.template()), strict=True):
        # OpenCV rounds places to a 32nd of a pixel, and colors in between.
        apart = np.abs(face.astype(int) - face_crop.align(PORTRAIT, points, rule))
        assert apart.mean() < 1
        assert apart.max() < 40
        assert (mirrored == face[:, ::-1]).all()


OUTSIDE = """([template, width, height, all]) => all.map((points) =>
    shareOutside(viewBy(similarity(template, points)), { width, height }))"""


@many
@given(
    st.lists(PLACES, min_size=1, max_size=30),
    st.integers(1, 600),
)
def test_how_much_of_a_face_is_outside(call, places, width):
    points = [placed(np.array(center), side, roll) for center, side, roll in places]
    found = call(OUTSIDE, [TEMPLATE.tolist(), width, 300, [five.tolist() for five in points]])
    expected = [share_outside(five, 300, width) for five in points]
    np.testing.assert_allclose(found, expected, atol=2 / 64)  # a row of places may lie just on the border


FIND = """([packed, pictures]) => {
    const finder = unpackFinder(packed);
    return pictures.map(([rgba, width, height]) => {
        const data = Uint8ClampedArray.from(atob(rgba), (letter) => letter.charCodeAt(0));
        const picture = { data, width, height };
        const asked = (face) => ({ ...face, sure: isSure(finder, picture, face) });
        const found = findFaces(finder, picture).map(asked);
        const again = lookAgain(finder, picture, found);
        const boxed = (face) => ({ ...face, box: boxOf(finder, face.points) });
        return [found, again].map((faces) => faces.map(boxed));
    });
}"""


def test_the_finder_sees_the_same_faces(call):
    turn = cv2.getRotationMatrix2D((225, 130), 40, 0.9)
    pictures = [
        PORTRAIT,
        cv2.warpAffine(PORTRAIT, turn, (321, 243), borderMode=cv2.BORDER_REPLICATE),
        np.hstack([PORTRAIT[:300, 100:400], PORTRAIT[:300, 100:400][:, ::-1]]),
        FOGGY_AND_CLEAR,
        data.coffee()[::2, ::2],
        np.random.default_rng(0).integers(0, 256, (37, 53, 3)).astype(np.uint8),
        *(scene(side, LYING[-1])[0] for side in (60, 100)),
        PORTRAIT[100:],
        np.ascontiguousarray(PORTRAIT[:, :220]),
    ]
    sent = [[as_rgba(picture), picture.shape[1], picture.shape[0]] for picture in pictures]
    finder, counts, doubts, estimator = pack_finder(), [], [], AgeGenderEstimator(backend="onnx")
    for picture, (found, again) in zip(pictures, call(FIND, [finder, sent]), strict=True):
        expected = [box for box in detectors.look(picture) if box.score >= detectors.CERTAIN]
        expected.sort(key=lambda box: box.width, reverse=True)
        assert len(found) == len(again) == len(expected)
        for face, box in zip(found, expected, strict=True):
            np.testing.assert_allclose(face["points"], box.landmarks, atol=0.25)
            place = face["box"]
            assert [place["x"], place["y"], place["side"]] == pytest.approx(box[:3], abs=0.5)
            assert face["score"] == pytest.approx(box.score, abs=0.02)
        assert sorted(face["score"] for face in again) == sorted(face["score"] for face in found)
        sure = [reading.sure for reading in estimator.predict(picture, expected)]
        assert [face["sure"] for face in found] == sure
        assert sorted(face["sure"] for face in again) == sorted(sure)
        counts.append(len(found))
        doubts.append(sure.count(False))
    assert counts[:6] == [1, 1, 2, 2, 0, 0]
    assert doubts == [0, 0, 0, 1, 0, 0, *counts[6:]]


PLACE = """([packed, [rgba, width, height], all]) => {
    const finder = unpackFinder(packed);
    const data = Uint8ClampedArray.from(atob(rgba), (letter) => letter.charCodeAt(0));
    return all.map((points) => straightened(finder, { data, width, height }, points));
}"""


def test_what_somebody_placed_is_seen_and_doubted_alike(call):
    photo = np.hstack(
        [PORTRAIT, np.rot90(PORTRAIT), PORTRAIT[:, :220]]
    )  # upright, on her side, and half of her
    boxes = [box._replace(landmarks=None, score=None) for box in detectors.find(photo)]
    boxes += [Box(181, 50, 94, 104), Box(380, 300, 90, 90)]  # beside her, and on the rocket
    points = [detectors.points_of(box).tolist() for box in boxes]
    found = call(PLACE, [pack_finder(), [as_rgba(photo), photo.shape[1], photo.shape[0]], points])
    seen = []
    for one, reading in zip(found, AgeGenderEstimator(backend="onnx").predict(photo, boxes), strict=True):
        assert (one is not None) == (reading.box.landmarks is not None)
        assert (one is not None and one["sure"]) == reading.sure
        if one:
            np.testing.assert_allclose(one["points"], reading.box.landmarks, atol=0.5)
        seen.append(None if one is None else one["sure"])
    assert {True, False, None} <= set(seen)
