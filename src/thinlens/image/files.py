"""Reading and writing image files: the one door between disk and arrays.

Files are untrusted: formats come from a closed list and are told by content, the size is checked before
decoding, and nothing is reduced without a word. Writes leave either the old file or the new one.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from thinlens.atomic import replacing
from thinlens.errors import ImageError
from thinlens.image.bounded import BoundedReader
from thinlens.image.decode import decode
from thinlens.image.encode import encode
from thinlens.image.formats import ImageFile, check_format
from thinlens.image.header import ImageHeader, parse_header

__all__ = ["ImageFile", "ImageHeader", "check_format", "read_header", "read_image", "write_image"]


def read_image(path: str | os.PathLike[str], *, max_pixels: int) -> ImageFile:
    """Read an image file.

    The format is told by the content, whatever the name. Gray stays gray; palettes become RGB, 1-bit images
    gray of 8 bits, a transparent colour an alpha channel. CMYK becomes sRGB through the file's own profile
    (or by the plain formula where there is none), and that profile is dropped. Of a JPEG that holds several
    pictures the first is read. 16-bit PNG, TIFF and PPM stay 16 bits.

    Args:
        path: a regular file: PNG, JPEG, TIFF, WebP, BMP or PPM.
        max_pixels: largest height x width that may be decoded; checked before decoding.

    Returns:
        The image, upright.

    Raises:
        ImageError: missing, a folder, empty, damaged, truncated, of another format, larger than ``max_pixels``,
            animated or of several pages, or of samples that would be reduced (float, 32 bits, ...).
    """
    with _opened(Path(path)) as file:
        return decode(file, str(path), max_pixels)


def read_header(path: str | os.PathLike[str]) -> ImageHeader:
    """Read what an image file announces, without decoding it.

    Args:
        path: as for `read_image`.

    Returns:
        Format, size, channels and depth of what `read_image` would return, if the pixels are sound.

    Raises:
        ImageError: as `read_image`, as far as it can be told without the pixels.
    """
    with _opened(Path(path)) as file:
        return parse_header(file, str(path))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise ImageError(f"`{path}`: is a folder; give an image file")
    if path.exists() and not path.is_file():
        raise ImageError(f"`{path}`: not a regular file; save the image to a file first")
    try:
        with BoundedReader(path) as file:
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"`{path}`: cannot be read ({_reason(error)})") from error


def write_image(
    path: str | os.PathLike[str],
    image: ImageFile,
    *,
    format: str,
    jpeg_quality: int = 95,
    strip: bool = False,
    overwrite: bool = False,
) -> None:
    """Write an image file, atomically.

    JPEG is written 4:4:4, WebP lossless. Profile and EXIF go into PNG, JPEG, TIFF and WebP; BMP and PPM have
    no room.

    Args:
        path: where to; the folder must exist.
        image: pixels, and what goes with them.
        format: a key of ``FORMATS``; decides alone, whatever the name.
        jpeg_quality: 1 to 100.
        strip: leave out profile, EXIF and resolution.
        overwrite: replace an existing file.

    Raises:
        UnknownNameError: if there is no such format.
        ImageError: if the format cannot hold the image.
        OutputError: if the file exists, or the disk refuses.
    """
    shape = image.pixels.shape
    channels = 1 if len(shape) == 2 else shape[2]
    check_format(format, shape[0], shape[1], channels, image.pixels.dtype)
    if not 1 <= jpeg_quality <= 100:
        raise ImageError(f"`jpeg_quality`: got {jpeg_quality}; accepted 1 to 100")
    if strip:
        image = replace(image, icc=None, exif=None, dpi=None)
    with replacing(Path(path), overwrite=overwrite) as temporary, temporary.open("wb") as file:
        try:
            encode(file, image, format, jpeg_quality)
        except (ValueError, TypeError) as error:
            raise ImageError(
                f"`{path}`: {format} cannot hold this profile or EXIF ({_reason(error)}); leave them out with `--strip`"
            ) from error


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [""])[0] or type(error).__name__
