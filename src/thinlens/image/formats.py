"""The image file formats: how each is recognised, what it can hold, and the `ImageFile` between them."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ImageError, UnknownNameError

AnyImage = npt.NDArray[Any]


@dataclass(frozen=True)
class ImageFile:
    """An image and what its file said about it.

    Attributes:
        pixels: ``H W`` gray, ``H W 2`` gray + alpha, ``H W 3`` RGB or ``H W 4`` RGBA; uint8 or uint16, full
        range,
            alpha not premultiplied, upright (the EXIF orientation is already applied).
        format: what the file was: ``png``, ``jpeg``, ``tiff``, ``webp``, ``bmp`` or ``ppm``.
        icc: ICC profile that fits ``pixels``, or None.
        exif: EXIF block from its byte-order mark on (no ``Exif`` prefix), orientation reset to 1, or None.
        dpi: pixels an inch, horizontal and vertical, or None.
        table: of a JPEG, the 64 quantisation steps of its first component, row by row; else None.
    """

    pixels: AnyImage
    format: str
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    table: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Format:
    """What one file format can hold.

    Attributes:
        suffixes: file name endings, lower case, the usual one first.
        side: largest height and width, in pixels.
        channels: channel counts it stores.
        deep: whether it stores 16-bit samples.
        bytes: largest size of the uncompressed samples.
    """

    suffixes: tuple[str, ...]
    side: int
    channels: tuple[int, ...]
    deep: bool
    bytes: int


BAND_BYTES = 1 << 20

# On photos level 4 takes half the time of the usual 6 for files 0.5% larger.
DEFLATE_LEVEL = 4

UNLIMITED = (1 << 63) - 1

# JPEG's own limit is 65535, but libjpeg stops at 65500. BMP addresses 4 GiB; 16 MiB stay for the rest.
FORMATS = {
    "png": Format((".png",), (1 << 31) - 1, (1, 2, 3, 4), True, UNLIMITED),
    "jpeg": Format((".jpg", ".jpeg", ".jpe", ".jfif"), 65500, (1, 3), False, UNLIMITED),
    "tiff": Format((".tif", ".tiff"), (1 << 31) - 1, (1, 2, 3, 4), True, UNLIMITED),
    "webp": Format((".webp",), 16383, (1, 2, 3, 4), False, UNLIMITED),
    "bmp": Format((".bmp",), (1 << 31) - 1, (1, 3), False, (1 << 32) - (1 << 24)),
    "ppm": Format((".ppm", ".pgm", ".pnm", ".pbm"), (1 << 31) - 1, (1, 3), True, UNLIMITED),
}

MAGIC = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "tiff": re.compile(rb"II[*+]\0|MM\0[*]"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "bmp": re.compile(rb"BM"),
    "ppm": re.compile(rb"P[1-6][\s#]"),
}

CHANNEL_NAMES = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGB with alpha"}


def format_of_content(head: bytes) -> str | None:
    """Name the format that a file's first bytes (12 are enough) announce, or None."""
    return next((name for name, magic in MAGIC.items() if magic.match(head)), None)


def format_of_suffix(path: Path) -> str | None:
    """Name the format that a file name's ending stands for, or None."""
    suffix = path.suffix.lower()
    return next((name for name, known in FORMATS.items() if suffix in known.suffixes), None)


def check_format(format: str, height: int, width: int, channels: int, dtype: npt.DTypeLike) -> None:
    """Check that a file of this format can hold such an image: to be called before any work is done.

    Args:
        format: a key of ``FORMATS``.
        height: rows.
        width: columns.
        channels: 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA.
        dtype: uint8 or uint16.

    Raises:
        UnknownNameError: if there is no such format.
        ImageError: if the image does not fit; the message says what would.
    """
    if format not in FORMATS:
        raise UnknownNameError.of("image format", format, FORMATS, f"accepted: {', '.join(FORMATS)}")
    limits = FORMATS[format]
    sample = np.dtype(dtype)
    if sample not in (np.uint8, np.uint16):
        raise ImageError(f"{format}: got samples of dtype `{sample}`; accepted `uint8` and `uint16`")
    if sample == np.uint16 and not limits.deep:
        raise ImageError(f"{format} holds 8 bits a sample, the image has 16; write png, tiff or ppm, or convert first")
    if channels not in limits.channels:
        found = CHANNEL_NAMES.get(channels, f"{channels} channels")
        raise ImageError(f"{format} cannot hold {found}; write png, tiff or webp, or drop the alpha channel first")
    if not (1 <= height <= limits.side and 1 <= width <= limits.side):
        raise ImageError(f"{format} holds sides of 1 to {limits.side} pixels, the image is {width}x{height}; write png")
    if height * width * channels * sample.itemsize > limits.bytes:
        raise ImageError(f"{format} holds 4 GiB, the image of {width}x{height} needs more; write png")


def count_channels(pixels: AnyImage) -> int:
    """Count the channels of ``H W`` (1) or ``H W C`` pixels."""
    return 1 if pixels.ndim == 2 else int(pixels.shape[2])


def webp_header(head: bytes) -> tuple[int, int, bool]:
    """Read width, height and whether it is animated from a WebP file's first 30 bytes.

    Read here because the decoder allocates the whole canvas before it tells its size.

    Raises:
        ValueError: if the bytes are no WebP header.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    kind = head[12:16]
    if len(head) >= 30 and kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height, bool(head[20] & 2)
    if len(head) >= 30 and kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF, False
    if len(head) >= 25 and kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, False
    raise ValueError("damaged WebP header")


_GAP = rb"(?:\s|#[^\n]*\n)+"
_PPM_HEADER = re.compile(rb"P([2356])" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,5})\s")


def ppm_header(head: bytes) -> tuple[int, int, int, int, int] | None:
    """Read kind (2, 3, 5 or 6), width, height, largest value and where the samples start; None for other kinds."""
    found = _PPM_HEADER.match(head)
    if found is None:
        return None
    kind, width, height, largest = (int(group) for group in found.groups())
    return kind, width, height, largest, found.end()
