"""Small copies of the datasets, in the exact form that they have on disk, with drawn faces in them."""

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from ssrlib.datasets import synthetic


def jpeg(number: int = 0, size: tuple[int, int] = (200, 200)) -> bytes:
    face = synthetic.draw(10.0 * number, "female", np.random.default_rng(number))
    large = cv2.resize(face[..., ::-1], size, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", large)[1].tobytes()


def tar(path: Path, files: dict[str, bytes]) -> Path:
    """Write files into a tar."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def portrait() -> bytes:
    """A photo in which a face is found, as a JPEG file."""
    return cv2.imencode(".jpg", data.astronaut()[:300, 100:400, ::-1])[1].tobytes()


@pytest.fixture
def put(tmp_path):
    """Write a photo, or any bytes, below the test's folder."""

    def put(name: str, content: bytes | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg() if content is None else content)
        return path

    return put
