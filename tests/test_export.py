import hashlib
import json
import logging
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ssrlib import FaceStore, SSRNet, export, runtime, weights
from ssrlib.datasets import synthetic
from ssrlib.inference import predict
from ssrlib.targets import AGE, TARGETS

from .conftest import taken

FACES, _ = synthetic.generate(9, seed=11)


def random_network(seed: int = 0, **options) -> SSRNet:
    """A network whose every number is random, the statistics of the batch norms and the input too."""
    torch.manual_seed(seed)
    network = SSRNet(**options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.uniform_(module.bias, 0, 0.3)
    network.mean += torch.randn_like(network.mean)
    network.std *= torch.rand_like(network.std) + 0.5
    return network


@pytest.fixture(scope="module")
def networks() -> list[SSRNet]:
    """One with unequal bins and unusual lambdas, and one that reads a gender."""
    return [
        random_network(1, bins=(4, 2, 5), lambda_eta=0.5, lambda_delta=0.3),
        random_network(2, value_range=1.0, target="gender", bins=(3, 3)),
    ]


@pytest.fixture(scope="module")
def expected(networks) -> np.ndarray:
    values = np.stack([predict(network, FACES) for network in networks], axis=1)
    assert (values.std(axis=0) > [1e-2, 1e-4]).all()
    return values


@pytest.fixture(scope="module")
def onnx_file(networks, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "deep" / "both.onnx"
    export.to_onnx(networks, path, [{"name": "Größe"}, {"name": "g"}])
    return path


@pytest.fixture(scope="module")
def ncnn_file(networks, tmp_path_factory):
    path = tmp_path_factory.mktemp("ncnn") / "both.ncnn.param"
    export.to_ncnn(networks, path, [{"name": "a"}, {"name": "g"}])
    return path


@settings(max_examples=15)
@given(
    seed=st.integers(0, 99),
    bins=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    lambdas=st.tuples(st.sampled_from([0, 0.5, 1]), st.sampled_from([0, 0.5, 1])),
    value_range=st.sampled_from([1.0, 50.0, 101.0]),
)
def test_folding_gives_the_same_values(seed, bins, lambdas, value_range):
    options = {"lambda_eta": lambdas[0], "lambda_delta": lambdas[1], "value_range": value_range}
    network = random_network(seed, bins=bins, **options)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = export.fold(network)
    faces = torch.from_numpy(FACES).permute(0, 3, 1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(folded(faces)[:, 0], network(faces), rtol=1e-4, atol=1e-5 * value_range)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_folded_network_holds_nothing_that_only_training_needs(networks):
    folded = export.fold(*networks)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Dropout) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert sum(p.numel() for p in export.fold(SSRNet()).parameters()) == 40531 - 2 * 4 * (32 + 16)


def test_no_answer_depends_on_the_last_two_rows_and_columns(age_network):
    faces = FACES.copy()
    faces[:, 62:] = 255
    faces[:, :, 62:] = 0
    assert np.array_equal(predict(age_network, faces), predict(age_network, FACES))
    faces[:, 61] = 255
    assert not np.array_equal(predict(age_network, faces), predict(age_network, FACES))


@pytest.mark.parametrize("count", [0, 1, 9])
def test_onnx_equals_pytorch(onnx_file, expected, count):
    exported = runtime.open_onnx(onnx_file)
    values = exported.read(FACES[:count])
    assert values.shape == (count, 2)
    np.testing.assert_allclose(values, expected[:count], rtol=0, atol=1e-4)
    assert exported.targets == ["age", "gender"]
    assert [card["name"] for card in exported.cards] == ["Größe", "g"]


def test_onnx_takes_nothing_but_faces(onnx_file):
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    (face,) = model.graph.input
    assert face.name == "faces"
    assert face.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [size.dim_value for size in face.type.tensor_type.shape.dim] == [0, 3, 64, 64]
    assert [value.name for value in model.graph.output] == ["values"]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_ncnn_equals_pytorch(ncnn_file, expected, count):
    exported = runtime.open_ncnn(ncnn_file)
    values = exported.read(FACES[:count])
    assert values.shape == (count, 2)
    np.testing.assert_allclose(values, expected[:count], rtol=0, atol=1e-4)
    assert exported.targets == ["age", "gender"]


def test_mirror_images_are_read_like_other_faces(onnx_file, ncnn_file):
    for exported in (runtime.open_onnx(onnx_file), runtime.open_ncnn(ncnn_file)):
        mirrored = FACES[:, :, ::-1]
        assert np.array_equal(exported.read(mirrored), exported.read(mirrored.copy()))


def test_ncnn_takes_nothing_but_the_image(ncnn_file):
    layers = [line.split() for line in ncnn_file.read_text().splitlines()[2:]]
    assert [layer[1] for layer in layers if layer[0] == "Input"] == ["in0"]


def test_ncnn_says_which_file_is_missing(ncnn_file, tmp_path):
    (tmp_path / "both.ncnn.param").write_bytes(ncnn_file.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"both\.ncnn\.bin: no such file"):
        runtime.open_ncnn(tmp_path / "both.ncnn.param")


def test_the_json_file_tells_all_that_a_user_needs(onnx_file, ncnn_file):
    for path in (onnx_file, ncnn_file):
        facts = json.loads(path.with_suffix(".json").read_text())
        files = {path.name, path.with_suffix(".bin").name} if path == ncnn_file else {path.name}
        assert facts["sha256"].keys() == files
        for name, checksum in facts["sha256"].items():
            assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == checksum
        assert facts["targets"] == ["age", "gender"]
        assert facts["crop"].keys() == {"margin", "shift"}
        assert max(facts["checked"]["largest difference"]) <= 1e-3
        assert {"input", "output", "versions", "cards"} <= facts.keys()
        assert {file.name for file in path.parent.iterdir()} == {*files, path.with_suffix(".json").name}


@pytest.mark.parametrize("target", ["age", "gender"])
def test_the_files_are_small(target, tmp_path):
    source = weights.pretrained(target)
    files = [source.with_suffix(".onnx")]
    param = tmp_path / "small.ncnn.param"
    export.to_ncnn(weights.load(source), param)
    files.append(param)
    assert files[0].stat().st_size <= 176_000
    assert param.stat().st_size + param.with_suffix(".bin").stat().st_size <= 170_000


@pytest.mark.parametrize("target", ["age", "gender"])
def test_built_in_onnx_files_are_those_of_the_built_in_weights(target):
    path = weights.pretrained(target)
    exported = runtime.open_onnx(path.with_suffix(".onnx"))
    message = f"python -m ssrlib export {target} --to onnx --out ssrlib/pretrained"
    assert exported.cards == [weights.read_card(path)], message
    difference = np.abs(exported.read(FACES)[:, 0] - predict(weights.load(path), FACES)).max()
    assert difference <= TARGETS[target].tolerance, message
    facts = json.loads(path.with_suffix(".json").read_text())
    checksum = hashlib.sha256(path.with_suffix(".onnx").read_bytes()).hexdigest()
    assert facts["sha256"] == {f"{target}.onnx": checksum}, message


@pytest.mark.parametrize(("to", "name"), [(export.to_onnx, "x.onnx"), (export.to_ncnn, "x.ncnn.param")])
def test_a_file_that_differs_is_not_written(to, name, networks, tmp_path, monkeypatch):
    fold = export.fold
    monkeypatch.setattr(export, "fold", lambda *networks: fold(random_network(3), *networks[1:]))
    with pytest.raises(ValueError, match="not exported: the new file's values differ from PyTorch's"):
        to(networks, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_silence_that_somebody_asked_for_stays(networks, tmp_path):
    before = logging.root.manager.disable
    try:
        for level in (logging.NOTSET, logging.CRITICAL):
            logging.disable(level)
            export.to_onnx(networks, tmp_path / "x.onnx")
            assert logging.root.manager.disable == level
    finally:
        logging.disable(before)


def test_networks_that_want_different_crops_cannot_share_a_file(networks, tmp_path):
    cards = [{"crop": {"margin": 0.4}}, {"crop": {"margin": 0.1}}]
    with pytest.raises(ValueError, match="share one crop"):
        export.to_onnx(networks, tmp_path / "x.onnx", cards)


def test_int8_is_half_as_large_and_not_much_worse(age_network, drawn_store, tmp_path, monkeypatch):
    # The built-in network knows no drawings: its errors there, and what rounding adds, are larger.
    monkeypatch.setitem(TARGETS, "age", replace(AGE, int8_tolerance=1.0))
    card = weights.read_card(weights.pretrained("age"))
    facts = export.to_int8(age_network, tmp_path / "age-int8.onnx", drawn_store, card)
    assert (tmp_path / "age-int8.onnx").stat().st_size <= 85_000
    values = runtime.open_onnx(tmp_path / "age-int8.onnx").read(FACES)[:, 0]
    differences = np.abs(values - predict(age_network, FACES))
    assert 0 < differences.max() < 5
    assert facts["checked"]["errors"][0].keys() == {"mae", "mae in float"}
    assert facts["checked"]["faces"] == f"{len(drawn_store.split('validation')[0])} validation faces"


def test_int8_that_loses_too_much_is_not_written(age_network, drawn_store, tmp_path, monkeypatch):
    monkeypatch.setitem(TARGETS, "age", replace(AGE, int8_tolerance=-10.0))
    with pytest.raises(ValueError, match="not exported: in int8 the mean absolute error"):
        export.to_int8(age_network, tmp_path / "age-int8.onnx", drawn_store)
    assert list(tmp_path.iterdir()) == []


def test_int8_needs_train_faces_and_validation_faces(age_network, drawn_store, tmp_path):
    store = FaceStore(drawn_store.path)
    store.rows = store.rows.assign(split="validation")
    with pytest.raises(ValueError, match="has no train faces"):
        export.to_int8(age_network, tmp_path / "x.onnx", store)


@pytest.mark.slow
def test_int8_loses_less_than_a_tenth_of_a_year_on_utkface(utkface_store, tmp_path):
    paths = [weights.pretrained(target) for target in ("age", "gender")]
    networks, cards = [weights.load(path) for path in paths], [weights.read_card(path) for path in paths]
    facts = export.to_int8(networks, tmp_path / "x.onnx", utkface_store, cards)
    age, gender = facts["checked"]["errors"]
    assert age["mae"] - age["mae in float"] <= 0.1
    assert gender["mae"] - gender["mae in float"] <= 0.001
    assert (tmp_path / "x.onnx").stat().st_size <= 2 * 88_000


@pytest.mark.parametrize(("to", "name"), [(export.to_onnx, "x.onnx"), (export.to_ncnn, "x.ncnn.param")])
def test_a_path_may_be_relative(to, name, networks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    to(networks[1], f"deep/{name}")
    assert (tmp_path / "deep" / name).is_file()
    assert (tmp_path / "deep" / name).with_suffix(".json").is_file()


def test_a_path_ends_as_its_tools_expect(networks, drawn_store, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.ncnn\.param"):
        export.to_ncnn(networks, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=r"x\.json: the name of this file must end in \.onnx"):
        export.to_onnx(networks, tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        export.to_int8(networks, tmp_path / "x", drawn_store)


def test_each_network_has_a_card_of_its_own(networks, tmp_path):
    for cards in ({"name": "a"}, [{}, {}, {}]):
        with pytest.raises(ValueError, match=r"2 networks need as many cards, not [13]"):
            export.to_onnx(networks, tmp_path / "x.onnx", cards)


def test_a_folder_that_cannot_be_written_is_named(networks, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file: cannot be written"):
        export.to_onnx(networks, tmp_path / "file" / "x.onnx")


def test_the_second_export_to_a_file_says_so(networks, tmp_path):
    with (
        taken(tmp_path / "x.onnx"),
        pytest.raises(OSError, match=r"x\.onnx: another process is writing there"),
    ):
        export.to_onnx(networks, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_former_files(networks, small_disk):
    disk, enlarge = small_disk
    export.to_ncnn(networks[0], disk / "x.ncnn.param")
    former = {path.name: path.read_bytes() for path in disk.iterdir()}
    with pytest.raises(OSError, match=rf"{disk}: cannot be written \(No space left.*the same command again"):
        export.to_ncnn(networks[1], disk / "x.ncnn.param")
    assert {path.name: path.read_bytes() for path in disk.iterdir()} == former
    enlarge()
    export.to_ncnn(networks[1], disk / "x.ncnn.param")
    assert (disk / "x.ncnn.bin").read_bytes() != former["x.ncnn.bin"]


def test_an_exported_network_says_how_its_faces_are_cropped(tmp_path, age_network):
    facts = export.to_onnx(age_network, tmp_path / "x.onnx", {"crop": {"margin": 0.4, "shift": 0.0}})
    assert facts["crop"] == {"margin": 0.4, "shift": 0.0}
