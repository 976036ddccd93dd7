"""What an attack found, in small; `tools/experiments/attack_inputs.py` is the long form.

Everything here goes through the command line, as a user would.
"""

import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from ssrlib import FaceStore, __main__, weights
from testing.damage import photos

from .conftest import LINUX, POSIX

PHOTO = data.astronaut()


def run(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(__main__.app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr or str(result.exception)


def shell(arguments, folder, **environment) -> subprocess.CompletedProcess:
    """A process of its own, for what only `main` and the interpreter's start decide."""
    command = [sys.executable, "-m", "ssrlib", *arguments]
    return subprocess.run(command, capture_output=True, cwd=folder, env=os.environ | environment)


@pytest.fixture
def put(tmp_path):
    def put(name: str, content: bytes | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.fromarray(PHOTO).save(path, "png", compress_level=1)
        else:
            path.write_bytes(content)
        return path

    return put


def test_a_drawing_never_replaces_a_photo(put, tmp_path):
    photo = put("me.png")
    before = photo.read_bytes()
    code, _, err = run("predict", photo, "--out", tmp_path)
    assert code == 0, err
    assert photo.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"me.png", "me-2.png"}
    assert "me-2.png" in err


def test_drawings_are_not_read_as_photos_in_the_same_call(put, tmp_path):
    put("me.png")
    (tmp_path / "drawn").mkdir()
    code, out, _ = run(
        "predict", tmp_path / "me.png", tmp_path / "drawn", "--out", tmp_path / "drawn", "--json"
    )
    assert code == 1
    assert len(json.loads(out)) == 1


def test_a_photo_that_is_too_wide_to_be_turned_costs_only_itself(put, tmp_path):
    wide = tmp_path / "wide.png"
    Image.new("RGB", (32_767, 2)).save(wide)
    code, out, err = run("predict", wide, put("me.png"), "--json")
    assert code == 1
    assert [face["photo"] for face in json.loads(out)] == [str(tmp_path / "me.png")]
    assert "wide.png: larger than 100 million pixels, or than 32,766 on a side" in err


@POSIX
def test_a_name_that_is_too_long_costs_only_itself(put, tmp_path):
    long = tmp_path / ("x" * 300 + ".png")
    code, out, err = run("predict", long, put("me.png"), "--json")
    assert code == 1
    assert len(json.loads(out)) == 1
    assert f"{long.name}: cannot be read (File name too long)" in err
    code, out, err = run("predict", tmp_path / "me.png", "--json", "--out", tmp_path / long.name)
    assert code == 1
    assert len(json.loads(out)) == 1
    assert "Errno" not in err
    assert "File name too long" in err


def test_weights_that_make_no_numbers_are_refused(put, tmp_path):
    network = weights.load(weights.pretrained("age"))
    for tensor in network.parameters():
        tensor.data.fill_(1e30)
    huge = weights.save(network, tmp_path / "huge.safetensors")
    code, out, err = run("predict", put("me.png"), "--age", huge, "--json")
    assert code == 1
    assert json.loads(out) == []
    assert "me.png: the networks make no numbers of these faces: their weights are damaged" in err


def test_a_drawing_never_replaces_what_was_there(put, tmp_path):
    photo, other = put("me.webp", photos()["WebP"]), put("drawn/me.png", b"my diary")
    (tmp_path / "drawn" / "me-2.png").symlink_to(tmp_path / "nowhere")
    assert run("predict", photo, "--out", tmp_path / "drawn")[0] == 0
    assert other.read_bytes() == b"my diary"
    assert not (tmp_path / "nowhere").exists()
    assert (tmp_path / "drawn" / "me-3.png").is_file()


def test_no_two_drawings_share_a_name(put, tmp_path):
    arguments = [put("a.png"), put("x/a.png"), put("a-2.png")]
    assert run("predict", *arguments, "--out", tmp_path / "drawn")[0] == 0
    assert len(list((tmp_path / "drawn").iterdir())) == 3


def damaged_jpeg() -> bytes:
    """Whole to look at, for it ends as a JPEG does, but without what its picture is made of."""
    whole = photos()["JPEG"]
    return whole[: whole.index(b"\xff\xda")] + b"\xff\xd9"


def damaged_avif() -> bytes:
    """An AVIF whose picture is gone, which Pillow reports as a RuntimeError."""
    whole = photos()["AVIF"]
    start = whole.index(b"mdat") + 4
    return whole[:start] + bytes(len(whole) - start)


# Decoders have an error of their own each, and most of them do not say which file they mean.
BROKEN = {
    "bad.jpg": damaged_jpeg(),
    "bad.avif": damaged_avif(),
    "bad.qoi": photos()["QOI"][:3000],
    "bad.dds": photos()["DDS"][:3000],
    "bad.ppm": b"P6\n12x 128\n255\n" + bytes(3000),
    "bad.sgi": photos()["SGI"][:10] + b"\xff\xff" + photos()["SGI"][12:],
}


def test_a_photo_that_no_decoder_can_read_is_a_reject(put, tmp_path):
    for number, content in enumerate([photos()["PNG"], *BROKEN.values(), photos()["JPEG"]]):
        put(f"photos/30_1_2_{number}.jpg", content)
    code, _, err = run("prepare", "utkface", tmp_path / "photos", "--out", tmp_path / "store")
    assert code == 0, err
    store = FaceStore(tmp_path / "store")
    assert list(store.rows["path"]) == ["30_1_2_0.jpg", f"30_1_2_{len(BROKEN) + 1}.jpg"]
    assert list(store.rejects["reason"]) == ["not an image, or a damaged one"] * len(BROKEN)


def test_one_bad_photo_among_many(put, tmp_path):
    """Each error names its file, the good photos before and after are answered, and the end lists the bad."""
    good = [put("first.png"), put("last.png")]
    bad = [put(name, content) for name, content in BROKEN.items()]
    code, out, err = run("predict", good[0], *bad, good[1], "--json")
    assert code == 1
    assert [answer["photo"] for answer in json.loads(out)] == [str(path) for path in good]
    assert err.splitlines() == [f"error: {path}: not an image, or a damaged one" for path in bad]


@POSIX
def test_odd_names_are_printed_escaped(put, tmp_path):
    name = "a\nb\x1b[31m\u202e.png"
    photo, bad = put(name), put(f"bad{name}", b"dear diary")
    code, out, err = run("predict", photo, bad, "--out", tmp_path / "drawn")
    assert code == 1
    assert r"a\nb\x1b[31m\u202e.png" in out
    assert not {"\x1b", "\u202e"} & set(out + err)
    assert [line.rsplit(": ", 1)[1] for line in err.splitlines()] == ["not an image, or a damaged one"]
    assert (tmp_path / "drawn" / name).is_file()
    assert json.loads(run("predict", photo, "--json")[1])[0]["photo"] == str(photo)


@LINUX
@pytest.mark.parametrize(
    ("environment", "options"),
    [({"LC_ALL": "C"}, []), ({"PYTHONIOENCODING": "ascii"}, []), ({"PYTHONIOENCODING": "ascii"}, ["--json"])],
)
def test_names_that_are_no_text(put, tmp_path, environment, options):
    raw = os.fsencode(put("grüß.png"))
    photo = raw.replace("ü".encode(), b"\xfc")
    os.rename(raw, photo)
    missing = os.fsencode(tmp_path) + b"/\xff.png"
    done = shell(["predict", missing, photo, *options], tmp_path, **environment)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert rb"/\xff.png: no such photo" in done.stderr
    if options:
        (answer,) = json.loads(done.stdout)
        assert os.fsencode(answer["photo"]) == photo
    else:
        assert rb"gr\xfc" in done.stdout


@LINUX
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("taken/drawn", "Not a directory"),
        ("/proc/nope", "No such file or directory"),
    ],
)
def test_drawings_that_cannot_be_saved(put, tmp_path, place, message):
    """The readings are printed all the same, and the error says which file it is about."""
    put("taken", b"a file")
    code, out, err = run("predict", put("me.png"), "--out", tmp_path / place, "--json")
    assert code == 1
    assert len(json.loads(out)) == 1
    assert str(tmp_path / place) in err
    assert "me" in err
    assert message in err
    assert "Errno" not in err
    assert len(err.splitlines()) == 1


def test_a_full_disk_is_named_and_leaves_no_half_drawing(put, tmp_path):
    """A limit on the size of files stands for the full disk."""
    resource = pytest.importorskip("resource")
    command = [sys.executable, "-m", "ssrlib", "predict", put("me.jpg", photos()["JPEG"]), "--json", "--out"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # noqa: E731
    done = subprocess.run([*command, tmp_path / "drawn"], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1
    assert json.loads(done.stdout)
    assert done.stderr == f"error: {tmp_path / 'drawn' / 'me.jpg'}: not saved (File too large)\n"
    assert not list((tmp_path / "drawn").iterdir())


def jpeg_of(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_photos_of_odd_sizes_are_read(put, size, tmp_path):
    photo = put("odd.jpg", jpeg_of(Image.fromarray(np.full((*size, 3), 100, np.uint8))))
    code, out, err = run("predict", photo, "--out", tmp_path / "drawn")
    assert (code, out) == (0, "")
    assert "no face found" in err
