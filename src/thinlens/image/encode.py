"""`ImageFile` -> bytes of an image file.

Pillow writes what has 8 bits a sample. It has no 16-bit colour, so 16-bit PNG, all PPM and all TIFF are written as
those that come in bands.
"""

from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from thinlens.image import exif as exif_block
from thinlens.image.bands import BandWriter, PpmWriter
from thinlens.image.formats import DEFLATE_LEVEL, ImageFile
from thinlens.image.jpeg import JpegWriter
from thinlens.image.png import PngWriter
from thinlens.image.tiff import TiffWriter

# Formats that can be written as rows come.
WRITERS: dict[str, type[BandWriter]] = {"png": PngWriter, "jpeg": JpegWriter, "tiff": TiffWriter, "ppm": PpmWriter}


def encode(file: BinaryIO, image: ImageFile, format_name: str, jpeg_quality: int) -> None:
    """Write an image; ``check_format`` has said that the format can hold it.

    Args:
        file: open for writing.
        image: pixels and what goes with them.
        format_name: a key of ``FORMATS``.
        jpeg_quality: 1 to 100, for JPEG only.
    """
    if format_name in ("tiff", "ppm") or (format_name == "png" and image.pixels.dtype == np.uint16):
        with WRITERS[format_name](file, image, len(image.pixels)) as writer:
            writer.write(image.pixels)
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
