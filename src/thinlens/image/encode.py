"""`ImageFile` -> bytes of an image file.

Pillow writes what has 8 bits a sample. It has no 16-bit colour, so 16-bit PNG and all PPM are written here, TIFF in
``tiff``.
"""

import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from thinlens.image import exif as exif_block
from thinlens.image.formats import DEFLATE_LEVEL, ImageFile, bands, count_channels
from thinlens.image.tiff import write_tiff

PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
PNG_FILTER_UP = 2
METRES_PER_INCH = 0.0254


def encode(file: BinaryIO, image: ImageFile, format_name: str, jpeg_quality: int) -> None:
    """Write an image; ``check_format`` has said that the format can hold it.

    Args:
        file: open for writing.
        image: pixels and what goes with them.
        format_name: a key of ``FORMATS``.
        jpeg_quality: 1 to 100, for JPEG only.
    """
    if format_name == "tiff":
        write_tiff(file, image)
    elif format_name == "ppm":
        _write_ppm(file, image)
    elif format_name == "png" and image.pixels.dtype == np.uint16:
        _write_deep_png(file, image)
    else:
        _write_with_pillow(file, image, format_name, jpeg_quality)


def _write_with_pillow(file: BinaryIO, image: ImageFile, format_name: str, jpeg_quality: int) -> None:
    picture = Image.fromarray(np.ascontiguousarray(image.pixels))
    icc = image.icc
    options: dict[str, Any] = {"dpi": image.dpi} if image.dpi and format_name != "webp" else {}
    if format_name == "png":
        options["compress_level"] = DEFLATE_LEVEL
    if format_name == "jpeg":
        options |= {"quality": jpeg_quality, "subsampling": 0}
    if format_name == "webp":
        options |= {"lossless": True, "exact": True, "method": 0}
        if picture.mode in ("L", "LA"):  # WebP stores colour only; a profile for gray would not fit
            picture = picture.convert("RGB" if picture.mode == "L" else "RGBA")
            icc = None if icc and icc[16:20] == b"GRAY" else icc
    if image.exif and format_name != "bmp":
        options["exif"] = exif_block.PREFIX + image.exif
    picture.save(file, format_name, icc_profile=icc, **options)


def _write_ppm(file: BinaryIO, image: ImageFile) -> None:
    """Write binary PGM (P5) or PPM (P6), 8 or 16 bits."""
    height, width = image.pixels.shape[:2]
    kind = 5 if image.pixels.ndim == 2 else 6
    file.write(f"P{kind}\n{width} {height}\n{np.iinfo(image.pixels.dtype).max}\n".encode())
    for band in bands(image.pixels):
        file.write(band.astype(band.dtype.newbyteorder(">")).tobytes())


def _write_deep_png(file: BinaryIO, image: ImageFile) -> None:
    """Write a 16-bit PNG, each row stored as its difference from the one above.

    Source: PNG specification (third edition), sections 5, 9 and 11.
    """
    height, width = image.pixels.shape[:2]
    colour_type = PNG_COLOUR_TYPES[count_channels(image.pixels)]
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    if image.icc:
        _write_chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(image.icc))
    if image.dpi:
        x, y = (round(dots / METRES_PER_INCH) for dots in image.dpi)
        _write_chunk(file, b"pHYs", struct.pack(">IIB", x, y, 1))
    if image.exif:
        _write_chunk(file, b"eXIf", image.exif)
    packer = zlib.compressobj(DEFLATE_LEVEL)
    above = np.zeros((1, image.pixels[0].nbytes), np.uint8)
    for band in bands(image.pixels):
        rows = band.astype(">u2").reshape(len(band), -1).view(np.uint8)
        filtered = np.full((len(rows), rows.shape[1] + 1), PNG_FILTER_UP, np.uint8)
        np.subtract(rows, np.vstack([above, rows[:-1]]), out=filtered[:, 1:])
        above = rows[-1:]
        _write_chunk(file, b"IDAT", packer.compress(filtered.tobytes()))
    _write_chunk(file, b"IDAT", packer.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    check = zlib.crc32(data, zlib.crc32(kind))
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check))
