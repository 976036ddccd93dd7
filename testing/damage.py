"""Photos in every format that we read, and damage done to a file: for the tests and for the long attack."""

from functools import cache
from io import BytesIO
from random import Random

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener
from skimage import data

register_heif_opener()
# Of the first bytes of a file, most say how to read the rest.
HEADER = 200


@cache
def photos() -> dict[str, bytes]:
    """One portrait as many files: a name for each kind, and its bytes.

    JPEGs have 256 pixels a side, so that they are also decoded at reduced size; the others 128, since
    some decoders are slow.
    """
    large = Image.fromarray(np.ascontiguousarray(data.astronaut()[20:276, 100:356]))
    small = large.resize((128, 128))
    deep = Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 257)
    plain = "P3 128 128 255 " + " ".join(map(str, np.asarray(small).ravel()))
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "JPEG": _encoded(large, "JPEG"),
        "JPEG, progressive": _encoded(large, "JPEG", progressive=True),
        "JPEG, with EXIF": _encoded(large.rotate(90), "JPEG", exif=turned),
        "JPEG, gray": _encoded(large.convert("L"), "JPEG"),
        "JPEG, CMYK": _encoded(large.convert("CMYK"), "JPEG"),
        "MPO": _encoded(large, "MPO", save_all=True, append_images=[large]),
        "JPEG 2000": _encoded(small, "JPEG2000"),
        "PNG": _encoded(small, "PNG"),
        "PNG, palette": _encoded(small.quantize(), "PNG"),
        "PNG, 16 bits": _encoded(deep, "PNG"),
        "WebP": _encoded(small, "WEBP"),
        "WebP, lossless": _encoded(small, "WEBP", lossless=True),
        "AVIF": _encoded(small, "AVIF"),
        "HEIC": _encoded(small, "HEIF"),
        "GIF": _encoded(small, "GIF"),
        "BMP": _encoded(small, "BMP"),
        "TIFF": _encoded(small, "TIFF"),
        "TIFF, LZW": _encoded(small, "TIFF", compression="tiff_lzw"),
        "TIFF, JPEG": _encoded(small, "TIFF", compression="jpeg"),
        "TIFF, 16 bits": _encoded(deep, "TIFF"),
        "QOI": _encoded(small, "QOI"),
        "DDS": _encoded(small, "DDS"),
        "PPM": _encoded(small, "PPM"),
        "PPM, plain text": plain.encode(),
        "SGI": _encoded(small, "SGI"),
        "ICO": _encoded(small, "ICO", sizes=[(128, 128)]),
        "TGA": _encoded(small, "TGA"),
        "PCX": _encoded(small, "PCX"),
    }


def _encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def damaged(content: bytes, random: Random) -> tuple[str, bytes]:
    """Do one kind of damage to a file's bytes; return the kind's name and the new bytes.

    >>> damaged(b"whole", Random(1))
    ('a flipped bit', b'wholg')
    """
    kind = random.choice(["cut", "a flipped bit", "a flipped bit in the head", "other bytes", "zeros"])
    where = random.randrange(len(content))
    if kind == "cut":
        return kind, content[:where]
    broken = bytearray(content)
    if kind == "zeros":
        end = min(len(content), where + random.randrange(1, 64))
        broken[where:end] = bytes(end - where)
    elif kind == "other bytes":
        for _ in range(20):
            broken[random.randrange(len(content))] = random.randrange(256)
    else:
        where = where % HEADER if kind.endswith("head") else where
        broken[where] ^= 1 << random.randrange(8)
    return kind, bytes(broken)
