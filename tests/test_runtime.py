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
