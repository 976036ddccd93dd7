import json
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssrlib import SSRNet, keras, weights


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("imdb", 1e-3), ("wiki", 1e-3), ("megaface_asian", 1e-3), ("wiki_gender_models", 1e-5)],
)
def test_keras_weights_agree_with_the_authors_outputs(keras_folder, name, tolerance):
    reference = np.load(keras_folder / "reference.npz")
    rgb = torch.from_numpy(reference["bgr"][..., ::-1].transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        values = keras.from_keras(keras_folder / f"{name}.h5")(rgb).numpy()
    assert np.abs(values - reference[name]).max() <= tolerance


def test_foreign_keras_files_get_one_clear_error(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dense_1/kernel:0"] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"other\.h5: its layers are not those"):
        keras.from_keras(tmp_path / "other.h5")
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(ValueError, match="damaged, or not a Keras"):
        keras.from_keras(tmp_path / "text.h5")
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        keras.from_keras(tmp_path / "nothing.h5")


def test_the_same_weights_are_the_same_bytes(age_network, tmp_path):
    card = {"data": "Grüße", "terms": "none"}
    saved = [weights.save(age_network, tmp_path / f"{i}.safetensors", card).read_bytes() for i in range(8)]
    assert len(set(saved)) == 1
    assert weights.read_card(tmp_path / "0.safetensors") == card


@pytest.mark.parametrize("change", ["missing", "no number"])
def test_keras_files_that_lie_are_refused(change, keras_folder, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "lie.h5"
    shutil.copy(keras_folder / "wiki.h5", path)
    with h5py.File(path, "r+") as file:
        names = []
        file["conv2d_3"].visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        name = next(name for name in names if "bias" in name)
        if change == "missing":
            del file["conv2d_3"][name]
        else:
            file["conv2d_3"][name][0] = np.nan
    with pytest.raises(ValueError, match=r"lie\.h5: its layers are not those .*stream1\.2\.0\.bias"):
        keras.from_keras(path)


def test_save_and_load_keep_everything(tmp_path):
    torch.manual_seed(0)
    network = SSRNet(value_range=1.0, bins=(4, 2), lambda_eta=0.5, lambda_delta=0.25).eval()
    network.mean.fill_(100.0)
    card = {"data": "drawn faces", "author": "Zoë"}
    path = weights.save(network, tmp_path / "new" / "network.safetensors", card)
    loaded = weights.load(path)
    faces = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(loaded(faces), network(faces))
    assert loaded.settings == network.settings
    assert not loaded.training
    assert weights.read_card(path) == card
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_truncated_at_any_point_gets_one_clear_error(tmp_path):
    path = weights.save(SSRNet(), tmp_path / "network.safetensors")
    whole = path.read_bytes()
    for length in (0, 4, 100, 5000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged, or not a safetensors file"):
            weights.load(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"ssrnet": "{"},
        {"ssrnet": "[]"},
        {"ssrnet": json.dumps({"bins": 7})},
        {"ssrnet": json.dumps({"a": 1})},
    ],
)
def test_foreign_safetensors_get_one_clear_error(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(ValueError, match="not of an SSRNet saved by ssrlib"):
        weights.load(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors: no such weights file"):
        weights.load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="no built-in weights named 'height'; there are: age, gender"):
        weights.pretrained("height")


def test_no_flipped_bit_is_answered_with_something_else(tmp_path, age_network):
    path = weights.save(age_network, tmp_path / "age.safetensors", {"data": "drawn faces", "epoch": 3})
    whole, state, messages = path.read_bytes(), age_network.state_dict(), []
    chance = random.Random(0)
    for number in range(120):
        broken = bytearray(whole)
        # The head is small beside the tensors: every second bit is one of its own.
        broken[chance.randrange(len(whole) if number % 2 else 12_000)] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        try:
            loaded, card = weights.load(path).state_dict(), weights.read_card(path)
        except ValueError as error:
            messages.append(str(error))
        else:  # the bit belonged to the name of a checksum
            assert all(torch.equal(loaded[name], state[name]) for name in state)
            assert card == {"data": "drawn faces", "epoch": 3}
    assert len(messages) > 115
    assert all(message.startswith(f"{path}: ") for message in messages)


def without_checksum(path, settings=None, card=None, **changed):
    """A file as it was before there were checksums, with something changed in it."""
    network = SSRNet()
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()} | changed
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    metadata = {"ssrnet": json.dumps(network.settings | (settings or {})), "card": json.dumps(card or {})}
    save_file(tensors, path, metadata)
    return path


def test_files_from_before_there_were_checksums_are_read(tmp_path):
    path = without_checksum(tmp_path / "old.safetensors", card={"data": "none"})
    assert weights.load(path).settings == SSRNet().settings
    assert weights.read_card(path) == {"data": "none"}
    # Nor did the first ones name their target.
    settings = {name: value for name, value in SSRNet(1.0).settings.items() if name != "target"}
    save_file(SSRNet(1.0).state_dict(), path, {"ssrnet": json.dumps(settings)})
    assert weights.load(path).settings["target"] == "gender"


@pytest.mark.parametrize(
    "settings",
    [
        *(
            {"value_range": value}
            for value in (float("nan"), float("inf"), -101, 0, True, "101", None, [101])
        ),
        {"lambda_eta": float("nan")},
        {"dropout": 2},
        {"bins": [3, 3.5, 3]},
        {"bins": [3, 10**12]},
        {"bins": "333"},
        {"target": "height"},
        {"depth": 7},
    ],
)
def test_settings_that_lie_are_refused(settings, tmp_path):
    path = without_checksum(tmp_path / "lie.safetensors", settings)
    with pytest.raises(ValueError, match=rf"lie\.safetensors: .*{next(iter(settings))}"):
        weights.load(path)


BIAS = "fusions.0.p.0.bias"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({BIAS: torch.full((3,), float("nan"))}, "are not numbers"),
        ({BIAS: torch.zeros(3, dtype=torch.int8)}, r"is torch\.int8 \(3,\) instead of torch\.float32 \(3,\)"),
        ({BIAS: torch.zeros(4)}, r"is torch\.float32 \(4,\) instead of torch\.float32 \(3,\)"),
        ({"stream1.0.1.running_var": -torch.ones(32)}, "has variances below 0"),
        ({BIAS: None}, "is missing"),
        ({"stream1.0.1.num_batches_tracked": None}, "is missing"),
        ({"other": torch.zeros(1)}, "the tensor other does not belong to it"),
    ],
)
def test_tensors_that_lie_are_refused(changed, message, tmp_path):
    with pytest.raises(ValueError, match=rf"lie\.safetensors: .*{message}"):
        weights.load(without_checksum(tmp_path / "lie.safetensors", **changed))


AGE = {"faces": 200, "scale": [1, 0, 0], "middles": [20, 60], "bands": [[-5, 4], [-6, 5]]}


@pytest.mark.parametrize(
    "card",
    [
        *({"crop": {"margin": value}} for value in (float("nan"), -5, 1e9, "x", None, True, [0])),
        {"crop": {"shift": float("inf")}},
        *({"crop": {"detector": value}} for value in ("mine", ["finder"], {}, None, 1)),
        *({"calibration": value} for value in ([], 0, "")),
        {"crop": "wide"},
        {"calibration": [1]},
        {"calibration": AGE | {"bands": None}},
        {"calibration": AGE | {"bands": [[-5, 4]]}},
        {"calibration": AGE | {"widened": "by half"}},
        {"calibration": AGE | {"widened": 0}},
        {"calibration": AGE | {"bands": [[-5, 4], [6, 5]]}},
        {"calibration": AGE | {"middles": [60, 20]}},
        {"calibration": AGE | {"scale": [1, 0]}},
        {"calibration": AGE | {"scale": [1, float("nan"), 0]}},
        {"calibration": {"faces": 200, "platt": [1, 0]}},
        {"calibration": AGE | {"faces": "many"}},
        {"calibration": {"faces": 200}},
        {"recipe": "ours"},
        *({"joined": value} for value in (None, {}, "two", [["whole"]], [{"faces": 9, "crop": {}}])),
        {"joined": [{"store": "whole", "faces": "nine", "crop": {}}]},
        {"joined": [{"store": "whole", "faces": 9, "crop": "wide"}]},
        ["no card"],
    ],
)
def test_cards_that_lie_are_refused_where_they_are_read(card, tmp_path):
    path = without_checksum(tmp_path / "lie.safetensors", card=card)
    with pytest.raises(ValueError, match=r"lie\.safetensors: its card cannot be used: "):
        weights.read_card(path)


def test_texts_that_are_too_deep_are_refused(tmp_path):
    path, deep = tmp_path / "lie.safetensors", "[" * 100_000
    save_file(SSRNet().state_dict(), path, {"ssrnet": deep})
    with pytest.raises(ValueError, match=r"lie\.safetensors: "):
        weights.load(path)
    save_file(SSRNet().state_dict(), path, {"ssrnet": json.dumps(SSRNet().settings), "card": deep})
    with pytest.raises(ValueError, match=r"lie\.safetensors: its card cannot be used: it is not JSON"):
        weights.read_card(path)


def test_a_sound_card_is_read(tmp_path):
    card = {"crop": {"kind": "find", "margin": 0.4, "shift": 0}, "calibration": AGE}
    assert weights.read_card(without_checksum(tmp_path / "age.safetensors", card=card)) == card


@pytest.mark.parametrize("target", ["age", "gender"])
def test_built_in_weights_are_small_and_say_what_they_are(target):
    path = weights.pretrained(target)
    card = weights.read_card(path)
    assert path.stat().st_size < 200_000
    assert "non-commercial" in card["terms"]
    assert {"data", "crop", "validation", "test", "command"} <= card.keys()


def test_a_new_card_leaves_the_tensors_alone(tmp_path, age_network):
    path = weights.save(age_network, tmp_path / "age.safetensors", {"data": "none"})
    known = weights.weights_sha256(path)
    weights.write_card(path, {"data": "said more clearly"})
    assert weights.read_card(path) == {"data": "said more clearly"}
    assert weights.weights_sha256(path) == known
    before, after = age_network.state_dict(), weights.load(path).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
