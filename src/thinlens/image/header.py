"""What an image file says before it is decoded: format, size, channels, depth. No pixel is read."""

import struct
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from thinlens.errors import ImageError
from thinlens.image import exif as exif_block
from thinlens.image import vips
from thinlens.image.decode import OPENERS, check_size, identify, kept_mode, reporting
from thinlens.image.formats import ppm_header, webp_header
from thinlens.image.tiff import read_header as read_tiff_header

CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
DEEP_BYTES = 2

# Of a WebP file: more than an EXIF block with its orientation needs.
MAX_EXIF_BYTES = 1 << 20


@dataclass(frozen=True)
class ImageHeader:
    """What a file announces; as `read_image` will return it.

    Attributes:
        format: ``png``, ``jpeg``, ``tiff``, ``webp``, ``bmp`` or ``ppm``.
        height: rows, upright. A PNG whose EXIF block follows its pixels is taken as it is stored.
        width: columns, upright.
        channels: 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA.
        dtype: uint8 or uint16.
    """

    format: str
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]


def parse_header(file: BinaryIO, name: str) -> ImageHeader:
    """Read what a file announces.

    Args:
        file: the open file, at its start, seekable.
        name: what to call it in messages.

    Raises:
        ImageError: not an image of the accepted formats, or of a kind that `decode` refuses.
    """
    with reporting(name):
        format_name, head = identify(file)
        height, width, frames, orientation, kind = READERS.get(format_name, _read_plain)(file, format_name, head)
        check_size(height, width, frames, sys.maxsize)
        if orientation >= 5:
            height, width = width, height
        return ImageHeader(format_name, height, width, kind[0], np.dtype(np.uint16 if kind[1] else np.uint8))


Kind = tuple[int, bool]  # channels, whether of 16 bits
Found = tuple[int, int, int, int, Kind]  # height, width, frames, orientation, kind


def _read_plain(file: BinaryIO, format_name: str, head: bytes) -> Found:
    with OPENERS[format_name](file) as image:
        block = exif_block.bare(image.info.get("exif"))
        orientation = exif_block.upright(block)[0] if block else 1
        frames = getattr(image, "n_frames", 1)
        deep = format_name == "png" and head[24] == 16
        kind = _kind_by_vips(file, "png") if deep else (CHANNELS[kept_mode(image)], False)
        return image.height, image.width, frames, orientation, kind


def _read_tiff(file: BinaryIO, format_name: str, head: bytes) -> Found:
    header = read_tiff_header(file)
    return header.height, header.width, header.pages, header.orientation, _kind_by_vips(file, format_name)


def _read_ppm(file: BinaryIO, format_name: str, head: bytes) -> Found:
    header = ppm_header(head)
    if header is None or header[3] <= 255:
        return _read_plain(file, format_name, head)
    kind, width, height, *_ = header
    if kind not in (5, 6):
        raise ImageError("plain-text PPM of more than 8 bits; accepted binary PPM; convert the file first")
    return height, width, 1, 1, (1 if kind == 5 else 3, True)


def _read_webp(file: BinaryIO, format_name: str, head: bytes) -> Found:
    """Read here, because the decoder allocates the whole canvas before it tells anything."""
    width, height, animated = webp_header(head)
    kind, flags = head[12:16], head[20]
    alpha = flags & 16 if kind == b"VP8X" else head[24] & 16 if kind == b"VP8L" else 0
    block = exif_block.bare(_find_webp_exif(file)) if kind == b"VP8X" and flags & 8 else None
    return height, width, 1 + animated, exif_block.upright(block)[0] if block else 1, (4 if alpha else 3, False)


def _find_webp_exif(file: BinaryIO) -> bytes | None:
    """Find the EXIF chunk; Source: RFC 9649, sections 2.3 and 2.7.1.5."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        if kind == b"EXIF":
            return file.read(min(size, MAX_EXIF_BYTES))
        file.seek(size + size % 2, 1)
    return None


def _kind_by_vips(file: BinaryIO, format_name: str) -> Kind:
    image = vips.load(file, format_name)
    channels = 3 if image.interpretation == "cmyk" else image.bands
    return channels, np.dtype(vips.DTYPES[image.format]).itemsize == DEEP_BYTES


READERS = {"tiff": _read_tiff, "ppm": _read_ppm, "webp": _read_webp}
