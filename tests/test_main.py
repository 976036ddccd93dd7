import json
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from skimage import data
from typer.testing import CliRunner

from ssrlib import (
    AgeGenderEstimator,
    FaceStore,
    SSRNet,
    __main__,
    cards,
    detectors,
    export,
    face_crop,
    inference,
    metrics,
    plots,
    training,
    weights,
)
from ssrlib import prepare as preparation
from ssrlib.datasets import synthetic
from ssrlib.store import NO_REJECTS, write_store
from testing.faces import FOGGY_AND_CLEAR

from .datasets.test_imdb_wiki import write_mat
from .test_video import write_video


@pytest.fixture
def process(monkeypatch, capsys):
    """Give a command as a process would get it, and return its exit status and its complaints."""

    def run_as(*words) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ssrlib", *map(str, words)])
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                __main__.main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        code, said = ended.value.code, capsys.readouterr().err
        return (1, f"{said}{code}\n") if isinstance(code, str) else (code, said)

    return run_as


def run(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(__main__.app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr or str(result.exception)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "grüne Wiese 写真.png"
    face_crop.write_photo(data.astronaut(), path)
    return path


@pytest.fixture(scope="module")
def gender():
    """What the built-in network says of the photo."""
    return AgeGenderEstimator().predict(data.astronaut())[0].gender


def test_predict_prints_a_table_and_draws(photo, gender, tmp_path):
    code, out, _ = run("predict", photo, "--out", tmp_path / "drawn")
    assert code == 0
    assert gender in out.split()
    assert photo.name in out
    drawn = face_crop.read_photo(tmp_path / "drawn" / photo.name)
    assert (drawn != data.astronaut()).any()


def test_predict_goes_on_after_a_bad_photo(photo, gender, tmp_path):
    (tmp_path / "text.jpg").write_text("dear diary")
    (tmp_path / "empty").mkdir()
    bad = [tmp_path / name for name in ("text.jpg", "empty", "none.jpg")]
    code, out, err = run("predict", *bad, photo, "--json")
    assert code == 1
    (answer,) = json.loads(out)
    assert answer["photo"] == str(photo)
    assert answer["gender"] == gender
    assert {"x", "y", "width", "height", "age", "p_male"} <= answer.keys()
    assert answer["age_low"] < answer["age"] < answer["age_high"]
    for line in ("text.jpg: not an image", "empty: a folder without photos", "none.jpg: no such photo"):
        assert line in err
    assert "Traceback" not in err


def test_predict_reads_folders_and_standard_input(photo, gender, tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    shutil.copy(photo, tmp_path / "b.JPG")
    code, out, err = run("predict", tmp_path, "--json", "--out", tmp_path / "drawn")
    assert code == 0, err
    assert [answer["photo"] for answer in json.loads(out)] == [str(tmp_path / "b.JPG"), str(photo)]
    drawn = tmp_path / "drawn" / "b.JPG"
    assert drawn.read_bytes()[:2] == b"\xff\xd8", "a JPEG goes out as a JPEG"
    result = CliRunner().invoke(__main__.app, ["predict", "-", "--json"], input=photo.read_bytes())
    (answer,) = json.loads(result.stdout)
    assert (answer["photo"], answer["gender"]) == ("-", gender)


def test_a_warning_is_one_line_too(process, photo):
    with warnings.catch_warnings(action="always"):
        code, said = process("predict", photo, "--detector", "haar")
    assert code == 0
    assert said.startswith("warning: the network for age learned from faces that finder found; ")
    assert said.count("\n") == 1


def test_predict_reads_patterns_that_the_shell_left(photo, tmp_path):
    for name in ("one/two/b.png", "one/a.png", "one/[c].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / name)
    pattern, named = tmp_path / "one" / "**" / "[ab].png", tmp_path / "one" / "[c].png"
    code, out, err = run("predict", pattern, named, "--json")
    assert code == 0, err
    found = [Path(answer["photo"]).relative_to(tmp_path / "one").as_posix() for answer in json.loads(out)]
    assert found == ["a.png", "two/b.png", "[c].png"]
    assert "x*.png: no such photo" in run("predict", tmp_path / "x*.png")[2]


def test_predict_leaves_other_files_of_a_folder_and_names_the_command_for_videos(photo, tmp_path):
    (tmp_path / "letter.pdf").write_text("no photo")
    (tmp_path / "clip.mp4").write_text("no photo")
    code, out, err = run("predict", tmp_path, "--json")
    assert (code, len(json.loads(out))) == (0, 1), err
    code, _, err = run("predict", tmp_path / "clip.mp4")
    assert code == 1
    assert "clip.mp4: a video; read it with `python -m ssrlib video`" in err


def test_predict_reads_what_it_is_told_to(photo, tmp_path):
    (found,) = json.loads(run("predict", photo, "--json")[1])
    place = {name: found[name] for name in ("x", "y", "width", "height")}
    box = ",".join(map(str, place.values()))
    (boxed,) = json.loads(run("predict", photo, "--json", "--box", box)[1])
    assert {name: boxed[name] for name in place} == place
    left, top, side = face_crop.Crop().square(detectors.Box(**place))[:3]
    face_crop.write_photo(data.astronaut()[top : top + side, left : left + side], tmp_path / "face.png")
    _, answer, said = run("predict", tmp_path / "face.png", "--json", "--whole")
    (face,) = json.loads(answer)
    assert face["sure"]
    assert "not sure" not in said
    read = AgeGenderEstimator().predict_faces(face_crop.crop(data.astronaut(), detectors.Box(**place))[None])
    assert face["age"] == pytest.approx(read.age[0], abs=0.051), "printed with one digit"
    assert face["p_male"] == pytest.approx(read.p_male[0], abs=1e-3)
    assert (face["width"], face["height"]) == (side, side)
    assert abs(face["age"] - found["age"]) < 12, "upright, a crop shows what an aligned face shows"
    assert abs(boxed["age"] - found["age"]) < 3, "in a box, the finder sees the points that it finds"
    # A wider crop's points lie elsewhere: the finder is asked about those.
    wide = {"crop": {"kind": "find", "margin": 0.4, "shift": 0.1, "detector": "finder"}}
    weights.save(weights.load(weights.pretrained("age")), tmp_path / "wide.safetensors", wide)
    around = face_crop.crop_face(data.astronaut(), detectors.find(data.astronaut())[0], face_crop.Crop(0.4))
    face_crop.write_photo(around, tmp_path / "around.png")
    with pytest.warns(UserWarning, match="cropped differently"):
        said = run("predict", tmp_path / "around.png", "--whole", "--age", tmp_path / "wide.safetensors")[2]
    assert "not sure" not in said
    face_crop.write_photo(data.rocket(), tmp_path / "rocket.png")
    assert (
        "not sure that there is a face in this photo" in run("predict", tmp_path / "rocket.png", "--whole")[2]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1,2,3"], "error: --box is four numbers, X,Y,WIDTH,HEIGHT, not '1,2,3'"),
        (["--box", "1,2,0,nan"], "error: --box must be at least one pixel wide and high"),
        (["--box", ""], "error: --box is four numbers, X,Y,WIDTH,HEIGHT, not ''"),
        (["--box", "1,2,3,4", "--whole"], "error: --box, --whole and --any-angle exclude each other"),
        (["--any-angle", "--whole"], "error: --box, --whole and --any-angle exclude each other"),
        (["--any-angle", "--detector", "haar"], "only the detector 'finder' searches at any angle"),
        (["--box", "9000,9000,50,50"], "photo.png: the box 9000, 9000, 50, 50 lies outside a photo of 512 x"),
        (["--box", "5000,61,100,100"], "or is far larger; boxes count from the upper left corner"),
        (["--box", "1e300,0,5,5"], "lies outside a photo of 512 x 512 pixels"),
        (["--box", "0,0,100000,100000"], "or is far larger"),
        (["--box=-1e308,0,1e308,1e308"], "or is far larger"),
    ],
)
def test_predict_refuses_boxes_that_are_none(photo, options, message, tmp_path):
    plain = shutil.copy(photo, tmp_path / "photo.png")
    code, _, err = run("predict", plain, *options)
    assert code == 1
    assert message.removeprefix("error: ") in err


def test_predict_doubts_a_box_without_a_face(photo):
    code, out, err = run("predict", photo, "--box", "380,300,90,90")
    assert code == 0
    assert "age" in out
    assert "not sure that there is a face in this box" in err


def test_predict_doubts_what_the_finder_hardly_takes_for_a_face(tmp_path):
    face_crop.write_photo(FOGGY_AND_CLEAR, tmp_path / "one.png")
    code, out, err = run("predict", tmp_path / "one.png", "--json")
    assert code == 0
    assert [face["sure"] for face in json.loads(out)] == [False, True]
    assert err.strip() == f"{tmp_path / 'one.png'}: not sure that face 1 is a face"
    foggy = FOGGY_AND_CLEAR[:, :288]
    face_crop.write_photo(np.hstack([foggy, foggy]), tmp_path / "two.png")
    assert "two.png: not sure that faces 1 and 2 are faces" in run("predict", tmp_path / "two.png")[2]


def test_predict_finds_a_face_upside_down_if_asked(tmp_path):
    face_crop.write_photo(np.ascontiguousarray(np.rot90(data.astronaut(), 2)), tmp_path / "flipped.png")
    upright = AgeGenderEstimator(backend="onnx").predict(data.astronaut())[0]
    (answer,) = json.loads(run("predict", tmp_path / "flipped.png", "--json", "--any-angle")[1])
    assert answer["age"] == pytest.approx(upright.age, abs=1)
    assert answer["p_male"] == pytest.approx(upright.p_male, abs=0.05)
    assert answer["x"] == pytest.approx(512 - upright.box.x - upright.box.width, abs=3)


def test_predict_says_when_there_is_no_face(tmp_path):
    face_crop.write_photo(data.coffee(), tmp_path / "coffee.png")
    code, out, err = run("predict", tmp_path / "coffee.png", "--json")
    assert (code, json.loads(out)) == (0, [])
    assert "no face found" in err


def test_drawings_of_photos_with_one_name_do_not_overwrite_each_other(photo, tmp_path):
    other = tmp_path / "other" / photo.name
    face_crop.write_photo(np.ascontiguousarray(data.astronaut()[:, ::-1]), other)
    code, _, _ = run("predict", photo, other, "--out", tmp_path / "drawn")
    assert code == 0
    assert len(list((tmp_path / "drawn").iterdir())) == 2


def test_a_drawing_is_not_read_in_the_place_of_a_missing_photo(photo, tmp_path):
    missing = photo.with_stem(f"{photo.stem}-2")
    code, out, err = run("predict", photo, missing, "--out", photo.parent, "--json")
    assert code == 1
    assert [row["photo"] for row in json.loads(out)] == [str(photo)]
    assert "no such photo, only the drawing of another one" in err


def test_weights_that_went_on_from_others_have_their_terms(drawn_store, tmp_path):
    start = weights.pretrained("age")
    options = ["--start", start, "--epochs", "1", "--augmentation", "none", "--out", tmp_path]
    code, _, err = run("train", "--store", drawn_store.path, *options)
    assert code == 0, err
    card = weights.read_card(tmp_path / "age" / "best.safetensors")
    assert card["start"] == weights.weights_sha256(start)
    assert card["terms"] == weights.read_card(start)["terms"]


@pytest.mark.parametrize("words", [["prepare", "synthetic", "--out", "x"], ["train", "--store", "x"]])
@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_generator_takes_is_refused_by_name(words, seed):
    code, _, err = run(*words, f"--seed={seed}")
    assert code == 2
    assert "--seed" in err


def test_a_column_with_any_name_gets_its_picture(tmp_path, age_network):
    faces, rows = synthetic.generate(120, seed=1)
    rows["eye/hair: ?"] = np.where(rows.index % 2, "brown", "blue")
    chunk = faces, rows, NO_REJECTS
    store = write_store(tmp_path / "store", lambda _: [chunk], {"kind": "drawn"})
    weights.save(age_network, tmp_path / "age.safetensors")
    out = ["--weights", tmp_path / "age.safetensors", "--split", "validation", "--out", tmp_path / "e.json"]
    code, _, err = run("evaluate", "--store", store.path, *out)
    assert code == 0, err
    assert (tmp_path / "e-by-eye-hair-.png").is_file()


def test_prepare_train_evaluate(tmp_path):
    code, out, _ = run("prepare", "synthetic", "--out", tmp_path / "store", "--count", "300", "--seed", "3")
    assert code == 0
    assert "300 faces" in out
    store = FaceStore(tmp_path / "store")

    code, out, err = run(
        "train", "--store", store.path, "--target", "gender", "--out", tmp_path, "--epochs", "1"
    )
    assert code == 0, err
    assert "best epoch 1 on validation" in out
    assert face_crop.read_photo(tmp_path / "gender" / "summary.png").shape[2] == 3
    best = tmp_path / "gender" / "best.safetensors"
    assert weights.load(best).settings["value_range"] == 1.0
    again = ["--target", "gender", "--out", tmp_path / "taught", "--epochs", "1", "--teacher", best]
    code, out, err = run("train", "--store", store.path, *again)
    assert code == 0, err
    assert "teachers" in weights.read_card(tmp_path / "taught" / "gender" / "best.safetensors")

    record = tmp_path / "results" / "gender.json"
    arguments = ["--weights", best, "--split", "validation", "--out", record]
    code, out, err = run("evaluate", "--store", store.path, *arguments, "--json")
    assert code == 0, err
    assert "gender-by-age.png" in err
    measured = json.loads(out)
    lines = run("evaluate", "--store", store.path, *arguments[:-2])[1].splitlines()
    assert lines[0] == f"gender, validation split, {measured['faces']} faces, read by {best}"
    assert [line.split()[3] for line in lines if line.startswith("gender as labeled")] == [
        f"{measured['accuracy']:.1%}"
    ]
    assert len(lines) <= 10
    assert json.loads(record.read_text())["metrics"] == measured
    origin = json.loads(record.read_text())["origin"]
    assert {"command", "commit", "machine"} <= origin.keys()
    assert origin["weights"] == {"best.safetensors": weights.weights_sha256(best)}
    assert origin["store"]["store"]["faces.npy"] == store.info["sha256"]["faces.npy"]
    assert measured["faces"] == len(store.split("validation")[0])
    trained = weights.read_card(best)["validation"]
    assert measured["without_flip"]["mae"] == pytest.approx(trained["mae"], abs=1e-5)
    pictures = {path.name for path in record.parent.glob("*.png")}
    assert pictures == {"gender-by-age.png", "gender-by-gender.png", "gender-calibration-curve.png"}

    code, out, err = run("card", best, "--metrics", record)
    assert code == 0, err
    assert "### By gender" in out
    built_in = run("evaluate", "--store", store.path, "--weights", "gender")[1]
    assert built_in.startswith("gender, validation split,")
    assert built_in.splitlines()[0].endswith(" faces, read by the built-in network")
    again = run("evaluate", "--store", store.path, *arguments)
    assert again[0] == 0, "its own file is measured anew"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "command", ["train", "prepare folder", "prepare synthetic", "evaluate", "calibrate", "card", "export"]
)
def test_a_stopped_command_says_whether_the_same_one_goes_on(
    number, command, drawn_store, photo, tmp_path, process, monkeypatch
):
    def struck(*_):
        signal.raise_signal(number)

    def struck_in_a_library(*_):
        try:
            struck()
        except BaseException as error:
            raise RuntimeError("the library's own error") from error

    monkeypatch.setattr(training, "progress_bar", lambda: struck)
    monkeypatch.setattr(preparation, "extract_all", struck)
    monkeypatch.setattr(synthetic, "draw", struck)
    monkeypatch.setattr(metrics, "evaluate", struck)
    monkeypatch.setattr(inference, "calibrate", struck)
    monkeypatch.setattr(cards, "model_card", struck)
    monkeypatch.setattr(export, "to_onnx", struck_in_a_library)
    table = tmp_path / "table.csv"
    table.write_text(f"path,age\n{photo.name},43\n", "utf-8")
    own, out = shutil.copy(weights.pretrained("age"), tmp_path / "own.safetensors"), tmp_path / "out"
    arguments = {
        "train": ["--store", drawn_store.path, "--out", out],
        "prepare folder": [table, "--out", out],
        "prepare synthetic": ["--out", out],
        "evaluate": ["--store", drawn_store.path],
        "calibrate": [own, "--store", drawn_store.path],
        "card": ["age"],
        "export": ["age", "--to", "onnx", "--out", out],
    }[command]
    code, said = process(*command.split(), *arguments)
    assert code == 128 + number
    assert "Traceback" not in said
    if command in ("train", "prepare folder"):
        assert said.endswith("stopped; what is done is kept: give the same command to go on\n")
    else:
        assert said.endswith("stopped; the same command begins anew\n")
    assert (out / "age" / "checkpoint.pt").is_file() == (command == "train")


def test_card_of_built_in_weights():
    code, out, _ = run("card", "age")
    assert code == 0
    assert out.startswith("# Model card: age.safetensors")


def test_card_of_weights_without_a_recipe_says_what_they_read(tmp_path):
    path = weights.save(SSRNet(1.0, target="gender"), tmp_path / "bare.safetensors")
    assert "It reads **gender** from an RGB face" in run("card", path)[1]


@pytest.mark.parametrize("content", ["[]", "{}", '{"metrics": {"mae": 1}}', "no JSON", '{"metrics": 3}'])
def test_card_refuses_other_metrics(content, tmp_path):
    (tmp_path / "other.json").write_text(content)
    assert "other.json: not the metrics" in run("card", "age", "--metrics", tmp_path / "other.json")[2]
    assert "none.json: no such file of metrics" in run("card", "age", "--metrics", tmp_path / "none.json")[2]


def test_card_refuses_metrics_with_holes(tmp_path):
    holes = {"metrics": {"target": "age", "split": "test", "faces": 3, "groups": {"age": [{"group": "0-9"}]}}}
    (tmp_path / "holes.json").write_text(json.dumps(holes))
    assert "holes.json: damaged" in run("card", "age", "--metrics", tmp_path / "holes.json")[2]


def test_prepare_reports_rejects_and_draws_a_picture(photo, tmp_path):
    (tmp_path / "bad.jpg").write_text("no photo")
    table = f"path,age\n{photo.name},43\nbad.jpg,20\nmissing.jpg,30\n"
    (tmp_path / "table.csv").write_text(table, "utf-8")
    code, out, err = run("prepare", "folder", tmp_path / "table.csv", "--out", tmp_path / "store")
    assert code == 0, err
    assert "1 faces, 2 rejects" in out
    assert "1 rejected: not an image, or a damaged one" in out
    assert face_crop.read_photo(tmp_path / "store" / "report.png").shape[2] == 3


def test_train_along_a_chain(drawn_store, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(drawn_store.path, other)
    arguments = ["--chain", f"{drawn_store.path},{other}", "--out", tmp_path / "runs", "--epochs", "1"]
    code, out, err = run("train", *arguments, "--tensorboard")
    assert code == 0, err
    assert out.count("best epoch 1 on validation") == 2
    assert (tmp_path / "runs" / "age" / "2-other" / "summary.png").is_file()
    assert list((tmp_path / "runs" / "age").glob("*/events.out.tfevents*"))


def test_export_writes_files_for_ncnn_and_onnx(tmp_path):
    code, out, err = run("export", "age", "gender", "--to", "ncnn", "--out", tmp_path)
    assert code == 0, err
    names = {"age-gender.ncnn.param", "age-gender.ncnn.bin", "age-gender.ncnn.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert "largest difference" in out
    best = shutil.copyfile(weights.pretrained("age"), tmp_path / "best.safetensors")
    code, out, err = run("export", best, "--to", "onnx", "--out", tmp_path / "onnx")
    assert code == 0, err
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {"age.onnx", "age.json"}


def commands() -> list[tuple[str, ...]]:
    top = typer.main.get_command(__main__.app)
    names = top.list_commands(None)
    inner = top.commands["prepare"].commands
    return [(name,) for name in names if name != "prepare"] + [("prepare", name) for name in inner]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_an_example_that_it_understands(words):
    command = typer.main.get_command(__main__.app)
    for word in words:
        command = command.commands[word]
    (example,) = re.findall(r"Example: ssrlib (.*)", command.help)
    assert tuple(example.split()[: len(words)]) == words or words == ("prepare", "wiki")
    context = command.make_context(words[-1], ["--help"], resilient_parsing=True)
    command.make_parser(context).parse_args(example.split()[len(words) :])


def test_all_commands_are_listed_in_the_order_of_use():
    listed = re.findall(r"(?m)^\W*(\w+)  ", run("--help")[1].partition("Commands")[2])
    assert listed == ["predict", "video", "prepare", "train", "calibrate", "evaluate", "card", "export"]
    assert set(listed) == set(typer.main.get_command(__main__.app).commands)


@pytest.mark.parametrize(
    "dataset", ["imdb", "wiki", "megaage", "morph", "utkface", "aaf", "appa", "folder", "synthetic"]
)
def test_every_dataset_says_where_it_comes_from(dataset):
    code, out, _ = run("prepare", dataset, "--help")
    assert code == 0
    assert any(word in out for word in ("research", "license", "Ask the people"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--store", "nowhere"], "error: nowhere: no such store"),
        (["prepare", "utkface", "nowhere", "--out", "x"], "error: nowhere: no such file or folder"),
        (["train", "--store", ".", "--target", "height"], "height"),
        (["train"], "error: give either --store or --chain"),
        (["train", "--chain", "imdb", "--teacher", "x"], "error: --teacher and --chain exclude each other"),
        (["train", "--store", ".", "--teacher", "x"], "error: .: not a whole face store"),
        (["train", "--chain", "imdb,wiki"], "error: data/imdb: no such store"),
        (["train", "--store", "x", "--learning-rate", "-1"], "learning_rate must be above 0, not -1.0"),
        (["export", "age", "--to", "int8", "--out", "x"], "error: int8 is calibrated on faces"),
        (["export", "none.safetensors", "--to", "onnx", "--out", "x"], "none.safetensors: no such"),
        (
            ["prepare", "folder", ".", "--out", "x"],
            "error: .: a folder; give the table in it, a CSV or parquet file with the columns path and age",
        ),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(arguments, message, tmp_path, process, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = process(*arguments)
    assert code != 0
    assert message in said
    assert not {"Traceback", "Errno"} & set(re.findall(r"\w+", said))


BLOCKED = (
    "torch",
    "pandas",
    "pyarrow",
    "safetensors",
    "scipy",
    "lightning_fabric",
    "tqdm",
    "onnx",
    "matplotlib",
)


def run_with_the_predict_extra_only(*arguments, cwd) -> subprocess.CompletedProcess:
    code = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
    code += "from ssrlib.__main__ import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_the_predict_extra_is_enough_for_videos(tmp_path):
    (tmp_path / "clip.mp4").write_text("no video")
    done = run_with_the_predict_extra_only("video", "clip.mp4", "--out", "clip.csv", cwd=tmp_path)
    assert "error: clip.mp4: not a video" in done.stderr
    write_video(tmp_path / "clip.mp4", "mp4v")
    done = run_with_the_predict_extra_only("video", "clip.mp4", "--out", "clip.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "clip.csv").read_text().splitlines()) > 1


def test_a_store_without_train_faces_is_evaluated(drawn_store, tmp_path):
    rows = drawn_store.rows.assign(split="test")
    parts = [(np.array(drawn_store.faces), rows, NO_REJECTS)]
    store = write_store(tmp_path / "mine", lambda _: parts, {"margin": 0.4, "shift": 0.0})
    code, out, err = run("evaluate", "--store", store.path, "--split", "test")
    assert code == 0, err
    assert f"age, test split, {len(rows)} faces" in out
    assert "always saying" not in out
    assert "have a margin of 0.4 and a shift of 0" in err


@pytest.mark.parametrize(
    ("by", "warns"), [({"detector": "haar"}, True), ({"detector": "finder"}, False), ({}, False)]
)
def test_faces_that_another_detector_found_are_measured_with_a_warning(by, warns, drawn_store, tmp_path):
    parts = [(np.array(drawn_store.faces), drawn_store.rows.assign(split="validation"), NO_REJECTS)]
    path = write_store(tmp_path / "mine", lambda _: parts, {"margin": 0.0, "shift": 0.1} | by).path
    warning = f"{path} were found by haar, and {{}} expects those that finder finds: they may be read worse"
    mine = shutil.copy(weights.pretrained("age"), tmp_path / "age.safetensors")
    code, _, err = run("evaluate", "--store", path, "--weights", mine)
    assert code == 0, err
    assert (warning.format(mine) in err) == warns
    code, _, err = run("calibrate", mine, "--store", path)
    assert code == 0, err
    assert (warning.format(mine) in err) == warns
    assert err.count("warning:") == warns
    # Weights whose faces nobody found expect nobody's.
    alone = weights.save(
        weights.load(mine), tmp_path / "alone.safetensors", {"crop": drawn_store.info["crop"]}
    )
    assert warning.format(alone) not in run("evaluate", "--store", path, "--weights", alone)[2]


def test_a_card_takes_no_metrics_of_another_network(tmp_path):
    path = tmp_path / "gender.json"
    path.write_text(json.dumps({"metrics": {"target": "gender", "split": "test", "groups": {}}}))
    assert "gender.json: tells of gender, and " in run("card", "age", "--metrics", path)[2]


def test_the_predict_extra_is_enough_to_predict(photo, gender, tmp_path):
    done = run_with_the_predict_extra_only("predict", photo, "--out", "drawn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names, values = (line.split() for line in done.stdout.replace(str(photo), "photo").splitlines())
    assert dict(zip(names, values, strict=True))["gender"] == gender
    assert (tmp_path / "drawn" / photo.name).is_file()
    as_json = run_with_the_predict_extra_only("predict", photo, "--json", cwd=tmp_path)
    assert json.loads(as_json.stdout)[0]["age"] == float(values[names.index("age")])


@pytest.mark.parametrize(
    ("arguments", "extras"),
    [
        (["prepare", "synthetic", "--out", "store"], "train"),
        (["train", "--store", "store"], "train"),
        (["evaluate", "--store", "store"], "train"),
        (["card", "age"], "train"),
        (["export", "age", "--to", "onnx", "--out", "out"], "train,predict,export"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_other_commands_say_which_extra_they_need(arguments, extras, tmp_path):
    done = run_with_the_predict_extra_only(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: this command needs ")
    assert line.endswith(f"which is not installed: pip install 'ssrlib[{extras}]'")
    assert run_with_the_predict_extra_only(*arguments[:1], "--help", cwd=tmp_path).returncode == 0


def test_an_error_of_the_operating_system_is_a_sentence(monkeypatch, capsys):
    def full():
        raise OSError(28, "No space left on device", "a\nb.png")

    monkeypatch.setattr(__main__, "app", full)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # they stay the tests' own
    with pytest.raises(SystemExit, match=r"^error: a\\nb\.png: No space left on device$"):
        __main__.main()


def test_command_line_without_typer_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; import ssrlib.__main__"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr == (
        "error: the command line needs typer: pip install 'ssrlib[predict]', or 'ssrlib[train]'\n"
    )


def test_calibrate_teaches_weights_of_ones_own_how_sure_they_are(age_network, drawn_store, photo, tmp_path):
    rows = pd.concat([drawn_store.rows] * 2, ignore_index=True).assign(split="validation")
    faces = np.concatenate([drawn_store.faces] * 2)
    store = write_store(tmp_path / "store", lambda _: [(faces, rows, NO_REJECTS)], {})
    own = weights.save(age_network, tmp_path / "own.safetensors", {"data": "drawn"})
    _, out, _ = run("predict", photo, "--age", own, "--json")
    assert json.loads(out)[0]["age_low"] is None
    code, out, err = run("calibrate", own, "--store", store.path)
    assert code == 0, err
    assert "calibrated on 480 validation faces" in out
    assert weights.read_card(own)["data"] == "drawn"
    _, out, _ = run("predict", photo, "--age", own, "--json")
    reading = json.loads(out)[0]
    assert reading["age_low"] < reading["age"] < reading["age_high"]


def test_weights_of_another_target_or_for_another_backend_are_refused(photo, tmp_path):
    gender = weights.pretrained("gender")
    assert (
        "gender.safetensors: reads gender from a face, not age" in run("predict", photo, "--age", gender)[2]
    )
    onnx = gender.with_suffix(".onnx")
    assert (
        "gender.onnx: damaged, or not a safetensors file"
        in run("predict", photo, "--gender", onnx, "--backend", "torch")[2]
    )


def test_validation_is_what_evaluate_and_a_trainings_picture_read(drawn_store, tmp_path, monkeypatch):
    assert run("evaluate", "--store", drawn_store.path)[1].startswith("age, validation split,")
    seen, draw = [], plots.training_summary
    monkeypatch.setattr(plots, "training_summary", lambda *shown: (seen.extend(shown[1]), draw(*shown))[1])
    run("train", "--store", drawn_store.path, "--epochs", 1, "--out", tmp_path)
    splits = drawn_store.rows["split"].value_counts()
    assert sum(group["faces"] for group in seen) == splits["validation"] != splits["test"]


def test_train_does_as_it_is_told(drawn_store, tmp_path):
    asked = {"loss": "l2", "augmentation": "none", "second_epochs": 1, "seed": 3, "epochs": 1}
    options = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", value)]
    code, _, err = run("train", "--store", drawn_store.path, "--out", tmp_path, "--balanced", *options)
    assert code == 0, err
    recipe = weights.read_card(tmp_path / "age" / "best.safetensors")["recipe"]
    assert {name: recipe[name] for name in (*asked, "balanced")} == asked | {"balanced": True}


def test_training_does_not_write_over_the_weights_that_it_starts_from(drawn_store, tmp_path):
    (tmp_path / "age").mkdir()
    mine = tmp_path / "age" / "best.safetensors"
    shutil.copy(weights.pretrained("age"), mine)
    before = mine.read_bytes()
    for option in ("--start", "--teacher"):
        code, _, err = run("train", "--store", drawn_store.path, "--out", tmp_path, option, mine)
        assert code == 1
        assert f"{mine}: would be overwritten by this training; give another --out" in err
    assert mine.read_bytes() == before
    assert "give either --store or --chain" in run("train", "--chain", "", "--out", tmp_path)[2]


def test_prepare_does_as_it_is_told(tmp_path, monkeypatch):
    face_crop.write_photo(data.astronaut(), tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("path,age\na.png,40\n")
    run("prepare", "folder", tmp_path / "t.csv", "--out", tmp_path / "s", "--detector", "haar")
    assert FaceStore(tmp_path / "s").info["crop"]["detector"] == "haar"
    seen = []
    monkeypatch.setattr(__main__, "_prepare", lambda _, out, tables: seen.append(tables))
    options = ["--min-face-score", "0.5", "--max-second-face-score", "1", "--max-age", "29"]
    run("prepare", "imdb", write_mat(tmp_path / "crop"), "--out", "x", *options)
    ((rows, _),) = seen
    assert list(rows["path"]) == ["00/a.jpg", "01/unsure.jpg", "03/nameless.jpg"]


def test_predict_takes_no_film_and_no_program_of_a_folder_for_a_photo(photo, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(photo, folder / "a.png")
    for name in ("b.mpg", "c.mpeg", "d.eps", "e.wmf", "f.h5", "g.grib"):
        (folder / name).write_bytes(b"no photo")
    code, out, err = run("predict", folder, "--json")
    assert (code, len(json.loads(out))) == (0, 1), err


def test_predict_reads_no_drawing_of_its_own_however_it_is_spelled(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo, tmp_path / "me.png")
    code, _, err = run("predict", tmp_path / "me.png", tmp_path / "me-2.png", "--out", ".")
    assert code == 1
    assert "me-2.png: no such photo, only the drawing of another one" in err


def test_a_file_of_metrics_that_is_nested_without_end_is_refused(tmp_path):
    (tmp_path / "m.json").write_text("[" * 100_000)
    assert "not the metrics that" in run("card", "age", "--metrics", tmp_path / "m.json")[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own.safetensors", "must end in .json, for metrics are written there"),
        ("notes.json", "is there already, and `evaluate` has not written it; give another name"),
    ],
)
def test_evaluate_writes_over_nothing_but_its_own_metrics(name, message, drawn_store, tmp_path, monkeypatch):
    own, notes = tmp_path / "own.safetensors", tmp_path / "notes.json"
    shutil.copy(weights.pretrained("age"), own)
    notes.write_text('{"mine": 1}')
    before = {path: path.read_bytes() for path in (own, notes)}
    monkeypatch.setattr(metrics, "evaluate", lambda *_: pytest.fail("refuse before measuring"))
    out = ["--weights", own, "--out", tmp_path / name]
    code, _, err = run("evaluate", "--store", drawn_store.path, *out)
    assert (code, err) == (1, f"--out {tmp_path / name}: {message}")
    assert {path: path.read_bytes() for path in before} == before


def test_a_video_is_written_over_no_file(tmp_path):
    write_video(tmp_path / "clip.avi")
    (tmp_path / "clip.csv").write_text("mine")
    for number in (2, 3):
        code, _, err = run("video", tmp_path / "clip.avi", "--out", tmp_path / "clip.csv")
        assert code == 0, err
        place = tmp_path / f"clip-{number}.csv"
        assert err.splitlines()[-1] == f"written: {place}, for clip.csv is there already"
        assert place.read_text().startswith("seconds,face,x,y")
    assert (tmp_path / "clip.csv").read_text() == "mine"


def test_video_names_the_command_for_photos(photo, tmp_path, process):
    code, _, err = run("video", photo, "--out", tmp_path / "a.csv")
    assert (code, err) == (1, f"{photo}: a photo; read it with `python -m ssrlib predict`")
    code, said = process("video", tmp_path / "none.jpg", "--out", tmp_path / "a.csv")
    assert code == 1
    assert "none.jpg: no such video" in said
    assert not (tmp_path / "a.csv").exists()


def test_predict_saves_its_drawings_in_a_folder_only(photo):
    before = photo.read_bytes()
    code, out, err = run("predict", photo, "--out", photo)
    assert (code, out, err) == (1, "", f"--out {photo}: is a file; name a folder")
    assert photo.read_bytes() == before


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_the_built_in_names_stand_for_weights_of_either_backend(backend, photo):
    named = ["--age", "age", "--gender", "gender", "--backend", backend]
    code, out, err = run("predict", photo, "--json", *named)
    assert code == 0, err
    assert "note:" not in err
    assert out == run("predict", photo, "--json", "--backend", backend)[1]
    assert "reads gender from a face, not age" in run("predict", photo, "--age", "gender")[2]


def test_training_starts_from_the_built_in_names_and_learns_from_them(drawn_store, tmp_path):
    options = ["--start", "age", "--teacher", "age", "--epochs", "1", "--out", tmp_path]
    code, _, err = run("train", "--store", drawn_store.path, *options)
    assert code == 0, err
    card = weights.read_card(tmp_path / "age" / "best.safetensors")
    assert card["start"] == weights.weights_sha256(weights.pretrained("age"))
    assert "teachers" in card


def test_the_built_in_weights_are_not_calibrated_again(drawn_store):
    before = weights.pretrained("age").read_bytes()
    code, _, err = run("calibrate", "age", "--store", drawn_store.path)
    assert code == 1
    assert err == "the built-in network for age is calibrated already; name a file of your own"
    assert weights.pretrained("age").read_bytes() == before


def test_predict_notes_weights_that_nobody_calibrated(age_network, photo, tmp_path):
    own = weights.save(age_network, tmp_path / "own.safetensors")
    _, out, err = run("predict", photo, photo, "--age", own)
    assert err.splitlines() == [
        "note: these weights are not calibrated, so there is no interval: "
        f"python -m ssrlib calibrate {own} --store FOLDER"
    ]
    names, *values = (line.replace(str(photo), "photo").split() for line in out.splitlines())
    for row in values:
        assert [dict(zip(names, row, strict=True))[name] for name in ("age_low", "age_high")] == ["-", "-"]
    export.to_onnx([age_network], tmp_path / "own.onnx", [{}])
    err = run("predict", photo, "--age", tmp_path / "own.onnx")[2]
    assert f"so there is no interval: calibrate those that {tmp_path / 'own.onnx'} was exported from" in err
    other = weights.save(weights.load(weights.pretrained("gender")), tmp_path / "gender.safetensors")
    assert "so p_male is a score and no probability: " in run("predict", photo, "--gender", other)[2]


def test_int8_is_told_of_faces_that_were_cropped_otherwise(drawn_store, tmp_path, monkeypatch):
    rows = drawn_store.rows.assign(split="validation")
    parts = [(np.array(drawn_store.faces), rows, NO_REJECTS)]
    store = write_store(tmp_path / "mine", lambda _: parts, {"margin": 0.4, "shift": 0.0})
    monkeypatch.setattr(export, "to_int8", lambda *_: {"sha256": {}, "checked": {}})
    code, _, err = run("export", "age", "--to", "int8", "--out", tmp_path, "--store", store.path)
    assert code == 0, err
    assert "have a margin of 0.4 and a shift of 0" in err


def test_a_second_training_in_one_folder_is_refused_in_words(drawn_store, tmp_path):
    other = synthetic.store(240, seed=2, path=tmp_path / "other")
    options = ["--epochs", "1", "--augmentation", "none", "--out", tmp_path / "runs"]
    assert run("train", "--store", drawn_store.path, *options)[0] == 0
    folder = tmp_path / "runs" / "age"
    advice = f"choose another folder with --out, or remove {folder}, and that run's weights with it"
    assert (
        run("train", "--store", other.path, *options)[2] == f"{folder} holds a run on other faces; {advice}"
    )
    for more, what in {
        ("--batch-size", "64"): "with batch size 32, not 64",
        ("--start", "age"): "from other starting weights",
        ("--teacher", "age"): "without teachers",
    }.items():
        err = run("train", "--store", drawn_store.path, *options, *more)[2].splitlines()[-1]
        assert err == f"{folder} holds a run {what}; {advice}"


def test_what_always_saying_one_age_would_give_is_said_in_few_digits(drawn_store, tmp_path):
    rows = drawn_store.rows.assign(age=43.9, split=np.where(drawn_store.rows.index % 2, "train", "test"))
    store = write_store(tmp_path / "s", lambda _: [(np.array(drawn_store.faces), rows, NO_REJECTS)], {})
    out = run("evaluate", "--store", store.path, "--split", "test")[1]
    assert "by always saying 43.9  " in out
