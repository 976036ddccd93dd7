import json
import random
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skimage import data

from ssrlib import AgeGenderEstimator, face_crop, runtime, weights
from ssrlib.datasets import synthetic

BUILT_IN = {target: weights.pretrained(target).with_suffix(".onnx") for target in ("age", "gender")}


@pytest.mark.parametrize("target", ["age", "gender"])
def test_both_backends_read_the_same(target):
    drawn, _ = synthetic.generate(20, seed=5)
    (network, with_torch, card), (_, with_onnx, same_card) = (
        runtime.open_network(target, backend=backend) for backend in ("torch", "onnx")
    )
    np.testing.assert_allclose(with_onnx(drawn), with_torch(drawn), rtol=0, atol=1e-3)
    assert card == same_card
    assert network.settings["value_range"] == {"age": 101, "gender": 1}[target]


def test_the_estimator_answers_the_same_with_both_backends():
    photo = data.astronaut()
    (one,), (other,) = (AgeGenderEstimator(backend=backend).predict(photo) for backend in ("torch", "onnx"))
    assert one.box == other.box
    np.testing.assert_allclose(one[1:], other[1:], rtol=0, atol=1e-3)


BLOCKED = ("torch", "pandas", "pyarrow", "safetensors", "scipy", "lightning_fabric", "tqdm", "typer", "onnx")
WITHOUT_TORCH = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
from ssrlib import AgeGenderEstimator
(reading,) = AgeGenderEstimator(backend="onnx").predict(sys.argv[1])
print(reading.age)
try:
    AgeGenderEstimator()
except ImportError as error:
    print(error)
"""


def test_onnx_needs_neither_torch_nor_tables(tmp_path):
    path = tmp_path / "photo.png"
    face_crop.write_photo(data.astronaut(), path)
    command = [sys.executable, "-c", WITHOUT_TORCH, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    age, message = done.stdout.splitlines()
    assert float(age) == pytest.approx(AgeGenderEstimator().predict(path)[0].age, abs=1e-3)
    assert "needs PyTorch: pip install 'ssrlib[train]', or use backend='onnx'" in message


def foreign(path):
    """A good ONNX file that has nothing to do with faces."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


def test_files_that_cannot_be_used_get_one_clear_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such ONNX file"):
        AgeGenderEstimator(age=tmp_path / "none.onnx", backend="onnx")
    (tmp_path / "text.onnx").write_text("dear diary")
    with pytest.raises(ValueError, match=r"text\.onnx: damaged, or not an ONNX file"):
        AgeGenderEstimator(age=tmp_path / "text.onnx", backend="onnx")
    foreign(tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match=r"foreign\.onnx: an ONNX file, but not one that .* made"):
        AgeGenderEstimator(age=tmp_path / "foreign.onnx", backend="onnx")
    with pytest.raises(ValueError, match=r"gender\.onnx: reads gender from a face, not age"):
        AgeGenderEstimator(age=BUILT_IN["gender"], backend="onnx")
    with pytest.raises(ValueError, match=r'must be "torch" or "onnx", not'):
        AgeGenderEstimator(backend="tflite")
    with pytest.raises(ValueError, match=r"age\.onnx: damaged, or not a safetensors file"):
        AgeGenderEstimator(age=BUILT_IN["age"])


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_weights_for_something_else_are_refused(backend, tmp_path):
    gender = BUILT_IN["gender"].with_suffix({"torch": ".safetensors", "onnx": ".onnx"}[backend])
    with pytest.raises(ValueError, match=r"gender\.\w+: reads gender from a face, not age"):
        AgeGenderEstimator(age=gender, backend=backend)


def test_no_flipped_bit_in_an_onnx_file_is_answered(tmp_path):
    whole, path, chance = BUILT_IN["age"].read_bytes(), tmp_path / "age.onnx", random.Random(0)
    mark = whole.index(b"sha256")
    for number in range(60):
        broken = bytearray(whole)
        place = chance.randrange(mark) if number % 2 else chance.randrange(mark + 8, mark + 72)
        broken[place] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"age\.onnx: damaged"):
            runtime.open_onnx(path)


def test_an_onnx_file_without_its_checksum_is_refused(tmp_path):
    model = onnx.load(BUILT_IN["age"])
    kept = [entry for entry in model.metadata_props if entry.key != "sha256"]
    assert len(kept) < len(model.metadata_props)
    helper.set_model_props(model, {entry.key: entry.value for entry in kept})
    onnx.save(model, tmp_path / "stripped.onnx")
    with pytest.raises(ValueError, match=r"stripped\.onnx: an ONNX file, but not one that .* made"):
        runtime.open_onnx(tmp_path / "stripped.onnx")


@pytest.mark.parametrize("target", ["age", "gender"])
def test_of_no_faces_there_are_no_values_of_the_same_type(target):
    nobody, somebody = (np.zeros((count, 64, 64, 3), np.uint8) for count in (0, 1))
    for backend in ("torch", "onnx"):
        _, read, _ = runtime.open_network(target, backend=backend)
        assert read(nobody).shape == (0,)
        assert read(nobody).dtype == read(somebody).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cards", '[{"crop": {"margin": 1e9}}]'),
        ("cards", "[]"),
        ("targets", '["height"]'),
        ("targets", "{"),
        ("cards", "[" * 100_000),
    ],
)
def test_an_onnx_file_that_lies_is_refused(name, value, tmp_path):
    export = pytest.importorskip("ssrlib.export")
    model = onnx.load(BUILT_IN["age"])
    kept = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, kept | {name: value})
    (tmp_path / "lie.onnx").write_bytes(export._sealed(model))
    with pytest.raises(ValueError, match=r"lie\.onnx: (?!damaged)"):
        runtime.open_onnx(tmp_path / "lie.onnx")


def test_damaged_files_for_ncnn_are_refused(tmp_path, age_network):
    export = pytest.importorskip("ssrlib.export")
    param = tmp_path / "age.ncnn.param"
    export.to_ncnn(age_network, param, weights.read_card(weights.pretrained("age")))
    assert runtime.open_ncnn(param).targets == ["age"]
    for end in (".param", ".bin", ".json"):
        path = param.with_suffix(end)
        whole = path.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for broken in (whole[:-9], flipped, b""):
            path.write_bytes(broken)
            with pytest.raises(ValueError, match=r"age\.ncnn\.\w+: damaged"):
                runtime.open_ncnn(param)
        path.write_bytes(whole)
    facts = json.loads(param.with_suffix(".json").read_text("utf-8"))
    (first, *_), sums = facts["sha256"].items(), list(facts["sha256"].values())
    for lie in ({"sha256": sums}, {"sha256": dict([first])}, {"sha256": {}}, {"cards_sha256": None}):
        param.with_suffix(".json").write_text(json.dumps(facts | lie))
        with pytest.raises(ValueError, match=r"age\.ncnn\.json: damaged"):
            runtime.open_ncnn(param)
    for name in ("sha256", "cards_sha256"):
        fewer = {key: value for key, value in facts.items() if key != name}
        param.with_suffix(".json").write_text(json.dumps(fewer))
        with pytest.raises(ValueError, match=r"age\.ncnn\.json: damaged"):
            runtime.open_ncnn(param)
