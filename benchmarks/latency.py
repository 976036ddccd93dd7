"""How long one answer takes: every runtime side by side, and the way from a camera's frame to boxes.

    python -m benchmarks.latency

One face and 64 faces, with one thread and with two. Each row is measured in 25 short turns that
alternate with those of all other rows, so that whatever disturbs the machine disturbs all of them,
and the median turn counts. It takes minutes on a machine that has nothing else to do, and much longer
on one that has. Where TensorFlow is installed (`pip install tensorflow-cpu`; the book does not need it), the
authors' network runs in Keras too, in the fastest of three ways. "Peak" is what a large matrix product
in ONNX Runtime reaches on one core.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pandas as pd
import torch
from skimage import data

from ssrlib import AgeGenderEstimator, detectors, export, results, runtime, weights
from ssrlib.datasets import synthetic
from ssrlib.estimator import draw
from ssrlib.tracking import find_again

COUNTS, THREADS = (1, 64), (1, 2)
TURNS, TURN_SECONDS = 25, 0.03
KERAS = "authors' network, Keras"


def keras_network(threads: int):
    """The authors' network as their Keras code builds it; random weights take as long as trained ones."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    from tensorflow.keras import Input, Model, layers

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    image = Input((64, 64, 3))

    def stream(channels: int, activation: str, pool) -> list:
        maps, x = [], image
        for block in range(4):
            x = layers.BatchNormalization()(layers.Conv2D(channels, 3)(x))
            x = layers.Activation(activation)(x)
            x = pool(2)(x) if block < 3 else x
            maps.append(x)
        return maps

    def dense(units: int, activation: str, x):
        return layers.Dense(units, activation=activation)(x)

    maps1 = stream(32, "relu", layers.AveragePooling2D)
    maps2 = stream(16, "tanh", layers.MaxPooling2D)
    value, width = 0.0, 101.0
    for block, pool in ((3, 1), (1, 4), (0, 8)):
        a, b = (layers.Conv2D(10, 1, activation="relu")(maps[block]) for maps in (maps1, maps2))
        if pool > 1:
            a, b = layers.AveragePooling2D(pool)(a), layers.MaxPooling2D(pool)(b)
        a, b = layers.Flatten()(a), layers.Flatten()(b)
        delta = dense(1, "tanh", layers.Multiply()([a, b]))
        mixed = layers.Multiply()([dense(3, "relu", layers.Dropout(0.2)(x)) for x in (a, b)])
        hidden = dense(6, "relu", mixed)
        p, eta = dense(3, "relu", hidden), dense(3, "tanh", hidden)
        width = width / (3 * (1 + delta))
        inner = (eta + np.arange(3, dtype=np.float32)) * p
        value = value + width * (inner[:, :1] + inner[:, 1:2] + inner[:, 2:])
    network = Model(image, value)
    if network.count_params() != 40_915:
        raise ValueError("this is not the authors' network")
    return network


def keras_runs(threads: int, faces: np.ndarray) -> dict[str, Callable]:
    import tensorflow as tf

    network = keras_network(threads)
    graph, compiled = (
        tf.function(lambda x: network(x, training=False), jit_compile=jit) for jit in (False, True)
    )
    return {
        f"{KERAS}: graph": lambda: graph(tf.constant(faces, tf.float32)).numpy(),
        f"{KERAS}: compiled": lambda: compiled(tf.constant(faces, tf.float32)).numpy(),
        f"{KERAS}: predict": lambda: network.predict(tf.constant(faces, tf.float32), verbose=0),
    }


def torch_run(network: Callable[[torch.Tensor], torch.Tensor], faces: np.ndarray) -> Callable:
    def run() -> np.ndarray:
        images = torch.from_numpy(faces).permute(0, 3, 1, 2).contiguous()
        with torch.inference_mode():
            return network(images).numpy()

    return run


def runs(threads: int, faces: np.ndarray, folder: Path) -> dict[str, Callable]:
    """What to measure: each a function that reads all faces once, from N x 64 x 64 x 3 bytes on."""
    network = weights.load(weights.pretrained("age"))
    compiled = torch.compile(weights.load(weights.pretrained("age")))
    files = {"ONNX Runtime": "age.onnx", "ONNX Runtime, int8": "age-int8.onnx"}
    read = {name: runtime.open_onnx(folder / file, threads).read for name, file in files.items()}
    for name, exact in (("ncnn", True), ("ncnn, half precision where it can", False)):
        read[name] = runtime.open_ncnn(folder / "age.ncnn.param", threads, exact).read
    found = {
        "PyTorch": torch_run(network, faces),
        "PyTorch, compiled": torch_run(compiled, faces),
        "PyTorch, folded": torch_run(export.fold(network), faces),
    }
    found |= {name: lambda function=function: function(faces) for name, function in read.items()}
    if importlib.util.find_spec("tensorflow"):
        found |= keras_runs(threads, faces)
    return found


def frame_runs() -> dict[str, Callable]:
    """From a frame of 640 x 480 with one face to the frame with a labeled box."""
    portrait = cv2.resize(data.astronaut(), (480, 480), interpolation=cv2.INTER_AREA)
    frame = cv2.copyMakeBorder(portrait, 0, 0, 80, 80, cv2.BORDER_REPLICATE)
    found: dict[str, Callable] = {}
    for backend in ("torch", "onnx"):
        estimator = AgeGenderEstimator(backend=backend)
        found[f"search all of the frame, {backend}"] = lambda e=estimator: draw(frame, e.predict(frame))
        boxes = [estimator.predict(frame)[0].box]
        found[f"follow the face, {backend}"] = lambda e=estimator, boxes=boxes: draw(
            frame, e.predict_again(frame, find_again(frame, boxes))
        )
    return found


def medians(functions: dict[str, Callable]) -> dict[str, float]:
    """The median milliseconds of each function, all measured in turns."""
    repeats: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in functions}
    for name, function in functions.items():
        for _ in range(3):
            start = time.perf_counter()
            function()
        repeats[name] = max(1, round(TURN_SECONDS / (time.perf_counter() - start)))
    for _ in range(TURNS):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                function()
            times[name].append((time.perf_counter() - start) / repeats[name] * 1000)
    return {name: float(np.median(values)) for name, values in times.items()}


def peak() -> float:
    """Billions of multiply-adds a second in a product of large matrices, on one thread of ONNX Runtime.

    PyTorch's product would not do: on some processors it leaves the widest instructions alone.
    """
    n = 1024
    x = torch.randn(n, n)
    model = export.onnx_model(torch.nn.Linear(n, n, bias=False).eval(), {"x": x}, "product", {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    product = {"product": lambda: session.run(None, {"x": x.numpy()})}
    return n**3 / medians(product)["product"] / 1e6


def measure(threads: int) -> dict:
    """All rows with so many threads, on as many cores. Runs in a process of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    faces, _ = synthetic.generate(max(COUNTS), seed=8)
    network = weights.load(weights.pretrained("age"))
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export.to_onnx(network, folder / "age.onnx")
        export.to_ncnn(network, folder / "age.ncnn.param")
        # The speed of int8 does not depend on what it is calibrated on, so the drawn faces will do.
        shutil.copy(folder / "age.onnx", folder / "age-int8.onnx")
        export.quantize(folder / "age-int8.onnx", faces)
        for count in COUNTS:
            times = medians(runs(threads, faces[:count], folder))
            measured[str(count)] = {name: value / count for name, value in times.items()}
    measured["frame"] = medians(frame_runs())
    if threads == 1:
        measured["peak"] = peak()
    return measured


def main() -> None:
    results.check_committed()
    found = {}
    for threads in THREADS:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, str(threads)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found[threads] = json.loads(done.stdout.splitlines()[-1])
    rows = [
        {"runtime": name, "faces": count, "threads": threads, "ms a face": ms}
        for threads, times in found.items()
        for count in COUNTS
        for name, ms in times[str(count)].items()
    ]
    frames = [
        {"way": name, "threads": threads, "ms": ms, "frames a second": 1000 / ms}
        for threads, times in found.items()
        for name, ms in times["frame"].items()
    ]
    alone = found[1]["1"]
    network = weights.load(weights.pretrained("age"))
    folded = sum(layer["multiply_adds"] for layer in export.cost(export.fold(network)))
    measured = {
        "rows": rows,
        "frames": frames,
        "multiply-adds": sum(layer["multiply_adds"] for layer in export.cost(network)),
        "multiply-adds, folded": folded,
        "peak, billion multiply-adds a second": found[1]["peak"],
        "share of the peak, ONNX Runtime": folded / alone["ONNX Runtime"] / 1e6 / found[1]["peak"],
        "PyTorch / ONNX Runtime": alone["PyTorch"] / alone["ONNX Runtime"],
    }
    keras = [ms for name, ms in alone.items() if name.startswith(KERAS)]
    if keras:
        measured["Keras at its fastest / ONNX Runtime"] = min(keras) / alone["ONNX Runtime"]
    table = pd.DataFrame(rows).pivot(index="runtime", columns=["threads", "faces"], values="ms a face")
    print(table.round(3).to_string(), pd.DataFrame(frames).round(1).to_string(index=False), sep="\n\n")
    for name, value in measured.items():
        if not isinstance(value, list):
            print(f"{value:14,.2f}  {name}")
    packages = ("torch", "onnxruntime", "ncnn", *(["tensorflow-cpu"] if keras else []))
    versions = {package: version(package) for package in packages}
    results.record(
        "book/results/latency.json",
        measured,
        weights=weights.built_in(),
        finder=detectors.finder_sha256(),
        data="64 drawn faces, seed 8",
        seed=8,
        versions=versions,
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
