import errno
import json
import os
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from random import Random
from zlib import compress, crc32

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, ExifTags, Image, ImageOps, UnidentifiedImageError
from skimage import data

from ssrlib import AgeGenderEstimator, detectors, face_crop
from ssrlib.datasets import folder, imdb_wiki, megaage, morph, utkface
from ssrlib.detectors import Box
from ssrlib.face_crop import Crop
from ssrlib.landmarks import TEMPLATE, similarity
from testing.damage import damaged, photos

from .conftest import LINUX

PHOTO = data.astronaut()


def encoded(photo: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, photo)[1].tobytes()


def exif_rotated() -> bytes:
    """A JPEG lying on its side, whose EXIF orientation (6) says to turn it upright."""
    sideways = cv2.rotate(cv2.cvtColor(PHOTO, cv2.COLOR_RGB2BGR), cv2.ROTATE_90_COUNTERCLOCKWISE)
    jpeg = encoded(sideways, ".jpg")
    tiff = (
        b"II*\x00\x08\x00\x00\x00"
        + b"\x01\x00"
        + b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
        + b"\x00" * 4
    )
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def cmyk() -> bytes:
    buffer = BytesIO()
    Image.fromarray(PHOTO).convert("CMYK").save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def png_bomb(side: int) -> bytes:
    """A PNG of few bytes whose header promises side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + crc32(kind + content).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", compress(bytes(100)))


BGR = cv2.cvtColor(PHOTO, cv2.COLOR_RGB2BGR)
KINDS = {
    "png": encoded(BGR, ".png"),
    "jpeg": encoded(BGR, ".jpg"),
    "webp": encoded(BGR, ".webp"),
    "gray": encoded(cv2.cvtColor(PHOTO, cv2.COLOR_RGB2GRAY), ".png"),
    "16 bit": encoded(BGR.astype(np.uint16) * 257, ".png"),
    "rgba": encoded(np.dstack([BGR, np.full(BGR.shape[:2], 255, np.uint8)]), ".png"),
    "exif": exif_rotated(),
    "cmyk": cmyk(),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_whatever_else_its_camera_wrote(orientation):
    # Software is a text, and no fraction: Pillow reads it all the same, and cannot write it.
    tags = (0x0112, 3, 1, orientation, 0), (0x0131, 5, 1, 38)
    odd = struct.pack("<2sHIHHHIHHHHIIIII", b"II", 42, 8, 2, *tags[0], *tags[1], 0, 1, 3)
    alone, exif = Image.Exif(), {}
    alone[ExifTags.Base.Orientation] = orientation
    for name, block in (("alone", alone.tobytes()), ("odd", b"Exif\0\0" + odd)):
        exif[name] = BytesIO()
        Image.fromarray(PHOTO).save(exif[name], "jpeg", quality=95, exif=block)
    plain, strange = (face_crop.read_photo(file.getvalue()) for file in exif.values())
    assert np.array_equal(plain, strange)
    tiff = BytesIO()
    Image.fromarray(PHOTO).save(tiff, "tiff", exif=alone)
    for file in (exif["alone"], tiff):
        with Image.open(file) as image:
            upright = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(face_crop.read_photo(file.getvalue()), upright)


def test_sixteen_bits_of_gray_are_turned_upright_too():
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif, file = Image.Exif(), BytesIO()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
    Image.fromarray(gray.astype(np.uint16) * 257).save(file, "PNG", exif=exif)
    assert np.array_equal(face_crop.read_photo(file.getvalue())[..., 0], np.rot90(gray, -1))


def tiff(values: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "most"),
    [(np.uint16, 65535), (np.int32, 65535), (np.int32, 255), *((np.float32, n) for n in (65535, 255, 1))],
)
def test_shades_of_more_bits_count_as_far_up_as_they_do(kind, most):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    read = face_crop.read_photo(tiff((gray * (most / 255)).astype(kind)))
    assert np.array_equal(read, np.repeat(gray[..., None], 3, 2))


def test_a_dark_photo_of_sixteen_bits_stays_dark():
    assert face_crop.read_photo(tiff(np.full((9, 9), 600, np.uint16))).max() == 2


@pytest.mark.parametrize("odd", [-1, 65536, 1e9, np.nan, np.inf])
def test_values_that_are_no_shades_are_refused(odd):
    values = np.full((9, 9), 20, np.int32 if odd in (-1, 65536) else np.float32)
    values[4, 4] = odd
    with pytest.raises(face_crop.PhotoError, match=r"^a\.tif: its 32-bit values go from .*8 or 16 bits$"):
        face_crop.read_photo(tiff(values), "a.tif")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_photo_becomes_upright_rgb(kind):
    photo = face_crop.read_photo(KINDS[kind])
    expected = (
        np.repeat(cv2.cvtColor(PHOTO, cv2.COLOR_RGB2GRAY)[..., None], 3, 2) if kind == "gray" else PHOTO
    )
    assert photo.dtype == np.uint8
    assert photo.shape == PHOTO.shape
    # JPEG, WebP and CMYK lose a little; swapped channels or a wrong turn would differ by dozens.
    assert np.abs(photo.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"dear diary", "not an image, or a damaged one"),
        (KINDS["png"][:100], "not an image, or a damaged one"),
        (KINDS["jpeg"][: len(KINDS["jpeg"]) // 2], "not an image, or a damaged one"),
        (KINDS["png"][: len(KINDS["png"]) // 2], "not an image, or a damaged one"),
    ],
)
def test_what_is_not_a_photo_gets_one_clear_error(tmp_path, content, message):
    path = tmp_path / "my photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"my photo\.jpg: {message}"):
        face_crop.read_photo(path)


@given(st.sampled_from(sorted(photos())), st.integers(0, 2**32), st.sampled_from([None, 120]))
@settings(max_examples=200, derandomize=True)
def test_whatever_is_damaged_is_a_photo_or_an_error_with_its_name(kind, seed, at_least):
    how, content = damaged(photos()[kind], Random(seed))
    try:
        photo = face_crop.read_photo(content, "my photo", at_least)
    except face_crop.PhotoError as error:
        message = str(error)
    else:
        message = "my photo: "
        assert face_crop.resize(photo).shape == (64, 64, 3)
        if how == "cut":  # behind all that counts
            assert np.array_equal(photo, face_crop.read_photo(photos()[kind], at_least=at_least))
    assert message.startswith("my photo: ")


@pytest.mark.parametrize("kind", photos())
def test_every_kind_of_file_shows_the_same_portrait_upright(kind):
    read, portrait = (
        cv2.cvtColor(face_crop.resize(face_crop.read_photo(content)), cv2.COLOR_RGB2GRAY).astype(int)
        for content in (photos()[kind], photos()["PNG"])
    )
    assert np.abs(read - portrait).mean() < 12


def test_reduced_or_not_the_same_photos_are_read():
    """OpenCV gives up a JPEG without a picture; what Pillow says of it counts."""
    whole = photos()["JPEG"]
    broken = whole[: whole.index(b"\xff\xda")] + b"\xff\xd9"
    for at_least in (None, 120):
        with pytest.raises(face_crop.PhotoError, match="my photo: not an image, or a damaged one"):
            face_crop.read_photo(broken, "my photo", at_least)


def test_a_heic_photo_says_what_to_install(monkeypatch):
    monkeypatch.setattr(face_crop, "_reads_heic", lambda: False)
    monkeypatch.setattr(Image, "open", lambda _: raises(UnidentifiedImageError))
    with pytest.raises(face_crop.PhotoError, match=r"a\.heic: perhaps a HEIC photo; .*ssrlib\[heic\]"):
        face_crop.read_photo(photos()["HEIC"], "a.heic")


def raises(error):
    raise error


def test_reading_in_threads_leaves_other_warnings_alone():
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as threads:
        warnings.simplefilter("error")
        photos = list(threads.map(face_crop.read_photo, [KINDS["jpeg"]] * 40))
        assert len(photos) == 40
        with pytest.raises(UserWarning, match="heard"):
            warnings.warn("heard", stacklevel=1)


def test_no_photo_starts_another_program(monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: Image.fromarray(PHOTO).im)
    content = BytesIO()
    Image.fromarray(PHOTO).save(content, "EPS")
    with pytest.raises(face_crop.PhotoError, match=r"a\.eps: not an image"):
        face_crop.read_photo(content.getvalue(), "a.eps")


def test_missing_files_and_folders_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such photo"):
        face_crop.read_photo(tmp_path / "nothing.jpg")
    with pytest.raises(ValueError, match="a folder without photos"):
        face_crop.read_photo(tmp_path)


@pytest.mark.parametrize("side", [12_000, 40_000])
def test_a_small_file_with_a_huge_image_is_refused(side):
    with pytest.raises(ValueError, match="bomb: larger than 100 million pixels"):
        face_crop.read_photo(png_bomb(side), "bomb")


def test_reduced_decoding_keeps_enough_pixels_and_the_same_face():
    jpeg = encoded(cv2.resize(BGR, (800, 600)), ".jpg")
    small, whole = face_crop.read_photo(jpeg, at_least=128), face_crop.read_photo(jpeg)
    assert whole.shape == (600, 800, 3)
    assert small.shape == (150, 200, 3)
    assert np.abs(face_crop.resize(small).astype(int) - face_crop.resize(whole)).mean() < 2


def test_one_pixel_is_a_photo_without_a_face():
    photo = face_crop.read_photo(encoded(np.zeros((1, 1, 3), np.uint8), ".png"))
    assert detectors.find(photo) == []
    assert face_crop.resize(photo).shape == (64, 64, 3)


def test_astronaut_has_one_face_wherever_it_is_and_however_large():
    (box,) = detectors.find(PHOTO)
    assert 150 < box.x < 210
    assert 40 < box.y < 100
    large = cv2.resize(PHOTO, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    (large_box,) = detectors.find(large)
    assert np.allclose(np.array(large_box[:4]) / 4, box[:4], atol=12)


@given(x=st.integers(-40, 90), y=st.integers(-40, 70), width=st.integers(10, 60), margin=st.floats(-0.2, 0.5))
def test_crop_is_always_a_face_and_repeats_the_border(x, y, width, margin):
    photo = np.full((60, 80, 3), 77, np.uint8)
    box = Box(x, y, width, width)
    left, top, side = Crop(margin).square(box)[:3]
    if left >= 80 or top >= 60 or left + side <= 0 or top + side <= 0:
        with pytest.raises(ValueError, match="outside a photo of 80 x 60 pixels"):
            face_crop.crop(photo, box, margin)
    else:
        face = face_crop.crop(photo, box, margin)
        assert face.shape == (64, 64, 3)
        assert (face == 77).all()


def test_a_square_of_a_hundred_million_pixels_does_not_fill_the_memory():
    photo = np.zeros((3000, 5000, 3), np.uint8)
    with pytest.raises(ValueError, match="far larger"):
        face_crop.crop(photo, Box(-15_000, -15_000, 36_000, 36_000))
    eyes_apart = np.array(TEMPLATE) * 500
    assert face_crop.align(photo, eyes_apart).shape == (64, 64, 3)


def test_crop_cuts_the_square_that_it_says():
    photo = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    square = Crop(margin=0.0, shift=0.0).square(Box(50, 60, 64, 64))
    assert square == Box(50, 60, 64, 64)
    assert np.array_equal(face_crop.crop(photo, square, 0.0, 0.0), photo[60:124, 50:114])
    assert Crop(margin=0.25, shift=0.1).square(Box(50, 60, 100, 100)) == Box(25, 45, 150, 150)


# What store.json holds: other bytes would make a store that was begun another job's.
RECORDS = {
    folder: '{"kind": "find", "margin": 0.0, "shift": 0.1, "detector": "finder"}',
    morph: '{"kind": "find", "margin": 0.0, "shift": 0.1, "detector": "finder"}',
    utkface: '{"kind": "cropped already", "margin": 0.0, "shift": 0.1}',
    imdb_wiki: '{"kind": "cropped already", "margin": 0.4, "shift": 0.0}',
    megaage: '{"kind": "cropped already", "margin": 0.0, "shift": 0.1, "cut_rows": 20}',
}


@pytest.mark.parametrize("dataset", RECORDS, ids=lambda dataset: dataset.__name__)
def test_a_crop_is_written_down_as_stores_hold_it(dataset):
    assert json.dumps(dataset.CROP.record()) == RECORDS[dataset]


def test_written_photos_come_back(tmp_path):
    face_crop.write_photo(PHOTO, tmp_path / "new" / "Grüße 你好.png")
    assert np.array_equal(face_crop.read_photo(tmp_path / "new" / "Grüße 你好.png"), PHOTO)


@LINUX
def test_a_name_that_is_no_text_is_written(tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.png")
    face_crop.write_photo(PHOTO, path)
    assert np.array_equal(face_crop.read_photo(path), PHOTO)


def test_a_photo_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    face_crop.write_photo(PHOTO, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        face_crop.write_photo(PHOTO, tmp_path / "a.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_new_photo_takes_the_next_free_name_and_a_full_disk_leaves_none(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.png").write_bytes(b"somebody's")
    places = [face_crop.write_new_photo(PHOTO, tmp_path / "deep" / "a.png") for _ in range(2)]
    assert [path.name for path in places] == ["a-2.png", "a-3.png"]
    assert all(np.array_equal(face_crop.read_photo(path), PHOTO) for path in places)
    before = {path: path.read_bytes() for path in (tmp_path / "deep").iterdir()}
    opened = Path.open

    class Full(BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def on_a_full_disk(path, mode):
        opened(path, mode).close()
        return Full()

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    with pytest.raises(OSError, match=r"a\.png: not saved \(No space left"):
        face_crop.write_new_photo(PHOTO, tmp_path / "deep" / "a.png")
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in (tmp_path / "deep").iterdir()} == before


@pytest.mark.parametrize("write", [face_crop.write_photo, face_crop.write_new_photo])
@pytest.mark.parametrize("name", ["a.xyz", "a", ".png"])
def test_a_picture_needs_a_suffix_that_says_its_format(tmp_path, write, name):
    with pytest.raises(ValueError, match="no picture format that can be written"):
        write(PHOTO, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [face_crop.write_photo, face_crop.write_new_photo])
@pytest.mark.parametrize("name", ["small.jp2", "switched-off.exr"])
def test_a_picture_that_its_format_cannot_hold_is_refused(tmp_path, write, name):
    with pytest.raises(ValueError, match=r"(small\.jp2|off\.exr): .*picture"):
        write(PHOTO[:2, :2], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


LANDMARKS = np.array([[206.0, 101], [248, 101], [226, 122], [207, 141], [244, 141]])


@given(st.floats(-170, 170), st.floats(0.7, 4), st.floats(-30, 30), st.floats(-30, 30))
def test_aligned_faces_do_not_depend_on_turn_scale_and_place(angle, scale, right, down):
    turn = cv2.getRotationMatrix2D((226.0, 120.0), angle, scale)
    moved = LANDMARKS @ turn[:, :2].T + turn[:, 2] + (right, down)
    matrix = similarity(moved, TEMPLATE)
    placed = moved @ matrix[:, :2].T + matrix[:, 2]
    straight = similarity(LANDMARKS, TEMPLATE)
    assert np.allclose(placed, LANDMARKS @ straight[:, :2].T + straight[:, 2], atol=1e-6)


@pytest.mark.parametrize("angle", [-40, 20, 90])
def test_a_turned_photo_gives_the_same_face(angle):
    turn = cv2.getRotationMatrix2D((226.0, 120.0), angle, 1.0)
    turned = cv2.warpAffine(PHOTO, turn, PHOTO.shape[1::-1], flags=cv2.INTER_CUBIC)
    upright = face_crop.align(PHOTO, LANDMARKS)
    again = face_crop.align(turned, LANDMARKS @ turn[:, :2].T + turn[:, 2])
    middle = slice(8, 56)
    assert np.abs(upright[middle, middle].astype(int) - again[middle, middle]).mean() < 4


def test_landmarks_are_used_where_they_are_known():
    rule = Crop(margin=0.0, shift=0.1)
    box = detectors.find(PHOTO, "haar")[0]
    known = box._replace(landmarks=tuple(map(tuple, LANDMARKS)))
    assert np.array_equal(face_crop.crop_face(PHOTO, box, rule), face_crop.crop(PHOTO, box, 0.0, 0.1))
    assert np.array_equal(face_crop.crop_face(PHOTO, known, rule), face_crop.align(PHOTO, LANDMARKS))


def test_another_file_in_yunets_place_is_refused(tmp_path, monkeypatch):
    (tmp_path / "yunet.onnx").write_bytes(b"something else")
    monkeypatch.setattr(detectors, "YUNET", tmp_path / "yunet.onnx")
    with pytest.raises(ValueError, match=r"yunet\.onnx: not the file that this name stands for"):
        detectors.find(PHOTO, "yunet")


def test_a_detector_whose_file_is_missing_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(detectors, "YUNET", tmp_path / "yunet.onnx")
    assert detectors.find(PHOTO), "what lies in the home folder changes nothing unasked"
    with pytest.raises(FileNotFoundError, match=r"yunet\.onnx: missing, and YuNet needs it; get"):
        AgeGenderEstimator(detector="yunet")
    with pytest.raises(ValueError, match="there is no detector 'eyes'; there are: finder, haar, yunet"):
        AgeGenderEstimator(detector="eyes")


def test_a_photo_that_is_read_smaller_is_turned_upright_too_and_stays_large_enough():
    exif, file = Image.Exif(), BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.zeros((240, 1000, 3), np.uint8)).save(file, "JPEG", exif=exif)
    assert face_crop.read_photo(file.getvalue(), at_least=120).shape == (500, 120, 3)
