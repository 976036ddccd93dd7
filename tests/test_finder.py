import numpy as np
import pytest
import torch
from skimage import data

from ssrlib import detectors, finder
from ssrlib.landmarks import TEMPLATE
from ssrlib.scenes import Portrait, Scene, draw_scene

POINTS = np.array([[206.0, 101], [248, 101], [226, 122], [207, 141], [244, 141]])
PORTRAITS = [
    Portrait(data.astronaut(), POINTS),
    Portrait(data.astronaut()[64:184, 164:284], TEMPLATE * 1.9, False),
]
THINGS = [data.coffee(), data.cat(), np.zeros((30, 40, 3), np.uint8)]


def draw(seed: int) -> Scene:
    return draw_scene(np.random.default_rng(seed), PORTRAITS, THINGS)


def scene_with(side: float, hidden: bool = False) -> Scene:
    points = (TEMPLATE - 31.5) * side / 64 + [70, 50]
    return Scene(np.zeros((128, 128, 3), np.uint8), points[None], np.array([True]), np.array([hidden]))


def test_targets_name_the_fields_near_a_face_and_where_its_points_are():
    scene = scene_with(40)
    wanted = finder.targets(scene)
    assert wanted.shape == (13, 16, 16)
    rows, columns = np.nonzero(wanted[0] == 1)
    assert len(rows) >= 1
    for row, column in zip(rows, columns, strict=True):
        at = np.array([column, row]) * detectors.STRIDE + 3.5
        assert np.linalg.norm(at - [70, 50]) < 12
        found = wanted[1:11, row, column].reshape(5, 2) * detectors.REACH + at
        np.testing.assert_allclose(found, scene.points[0], atol=1e-4)
    assert (wanted[0] == -1).any()
    assert (wanted[0] == 0).sum() > 200


@pytest.mark.parametrize(
    ("side", "hidden", "asked"), [(40, True, -1), (70, False, -1), (13, False, -1), (100, False, 0)]
)
def test_nobody_asks_for_hidden_faces_and_those_of_doubtful_size_and_larger_ones_are_none(
    side, hidden, asked
):
    wanted = finder.targets(scene_with(side, hidden))
    assert not (wanted[0] == 1).any()
    assert (wanted[0].min() < 0) == (asked < 0)


def as_answer(wanted: np.ndarray) -> torch.Tensor:
    """What a perfect network says."""
    answer = torch.from_numpy(wanted[None, :11].copy())
    answer[:, 0] = torch.where(answer[:, 0] == 1, 12.0, -12.0)
    return answer


def test_the_loss_of_the_right_answer_is_none_and_each_error_counts():
    wanted = finder.targets(scene_with(40))
    truth, right = torch.from_numpy(wanted[None]), as_answer(wanted)
    assert all(part < 1e-3 for part in finder.loss(right, truth))
    blind, moved = right.clone(), right.clone()
    blind[:, 0] = -12
    moved[:, 1:] += 1 / detectors.REACH  # one pixel: 1.6 of the template's
    assert finder.loss(blind, truth)[0] > 5
    assert finder.loss(moved, truth)[1].item() == pytest.approx(1.6 - 0.5, abs=1e-3)
    # Without a face there is nothing to place.
    nobody = torch.from_numpy(
        finder.targets(
            Scene(np.zeros((128, 128, 3), np.uint8), np.zeros((0, 5, 2)), np.zeros(0), np.zeros(0))
        )[None]
    )
    assert finder.loss(right, nobody)[1] == 0


def test_patches_are_faces_that_are_nearly_upright_and_what_the_finder_took_for_one():
    scene = scene_with(40)
    elsewhere = scene.points + np.array([-50, 50])
    patches, wanted = finder.draw_patches(
        np.random.default_rng(0), scene, np.concatenate([scene.points, elsewhere])
    )
    assert patches.shape[1:] == (64, 64, 3)
    assert wanted[:, 0].tolist() == [1, 0, 1]
    np.testing.assert_allclose(wanted[0, 1:11], 0, atol=1e-5)
    assert 0 < np.abs(wanted[2, 1:11]).max() < 3
    nothing, _ = finder.draw_patches(np.random.default_rng(0), scene_with(40, hidden=True), elsewhere[:0])
    assert len(nothing) == 0


def test_the_refiner_s_loss():
    wanted = torch.zeros(2, 12)
    wanted[0, 0] = wanted[0, 11] = 1
    right = torch.tensor([[12.0] + 10 * [0.0], [-12.0] + 10 * [5.0]])
    assert all(part < 1e-3 for part in finder.refiner_loss(right, wanted))
    assert finder.refiner_loss(-right, wanted)[0] > 5


def test_both_networks_are_small_and_learn():
    torch.manual_seed(0)
    network = finder.Finder().train()
    scenes = [draw(seed) for seed in range(4)]
    pictures = torch.from_numpy(np.stack([scene.picture.transpose(2, 0, 1) for scene in scenes]))
    wanted = torch.from_numpy(np.stack([finder.targets(scene) for scene in scenes]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    losses = []
    for _ in range(30):
        parts = finder.loss(network(pictures), wanted)
        optimizer.zero_grad()
        sum(parts).backward()
        optimizer.step()
        losses.append([part.item() for part in parts])
    assert losses[-1][0] < losses[0][0]
    assert losses[-1][1] < losses[0][1] / 2


def test_the_built_in_files_are_the_same_networks():
    networks = finder.load()
    assert sum(values.numel() for network in networks for values in network.parameters()) <= 100_000
    assert sum((detectors.FINDER / f"{name}.onnx").stat().st_size for name in detectors.NETWORKS) <= 400_000
    rng = np.random.default_rng(0)
    for name, network, size in zip(detectors.NETWORKS, networks, [(90, 50), (64, 64)], strict=True):
        pictures = rng.integers(0, 256, (3, 3, *size)).astype(np.uint8)
        (answers,) = detectors.network(name).run(None, {"pictures": pictures})
        with torch.inference_mode():
            np.testing.assert_allclose(answers, network(torch.from_numpy(pictures)), rtol=1e-3, atol=1e-3)


def test_what_is_saved_is_loaded_and_what_is_damaged_is_refused(tmp_path):
    torch.manual_seed(1)
    first, second = finder.Finder().eval(), finder.Refiner().eval()
    path = tmp_path / "finder.safetensors"
    finder.save(first, second, {"data": "none"}, path)
    again, _ = finder.load(path)
    pictures = torch.zeros(1, 3, 64, 64)
    assert torch.equal(again(pictures), first(pictures))
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        finder.load(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged, or not the weights of a finder"):
        finder.load(path)
