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
from thinlens.errors import ImageError, ThinlensError
from thinlens.image.bands import BandReader, BandWriter, no_rows, whole_only
from thinlens.image.bounded import BoundedReader
from thinlens.image.decode import decode, reporting
from thinlens.image.encode import WRITERS, encode
from thinlens.image.formats import ImageFile, check_format
from thinlens.image.header import ImageHeader, parse_header
from thinlens.image.jpeg import JpegWriter, open_jpeg
from thinlens.image.png import open_png
from thinlens.image.tiff import open_tiff

__all__ = [
    "ImageFile",
    "ImageHeader",
    "check_format",
    "open_bands",
    "read_header",
    "read_image",
    "write_bands",
    "write_image",
]


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
def open_bands(path: str | os.PathLike[str]) -> Iterator[BandReader]:
    """Open an image file to read it band by band.

    Args:
        path: as for `read_image`; what may be decoded has been checked with `read_header`.

    Raises:
        WholeImageOnly: if it can only be decoded as a whole.
        ImageError: as `read_image`; `BandReader.read` raises it where the pixels are damaged.
    """
    with _opened(Path(path)) as file:
        header = parse_header(file, str(path))
        with reporting(str(path)):
            if header.format not in BAND_OPENERS:
                raise whole_only(f"a {header.format} file")
            none = no_rows(header.width, header.channels, header.dtype)
            reader = BAND_OPENERS[header.format](file, str(path), none, header.height)
        yield reader


BAND_OPENERS = {"png": open_png, "jpeg": open_jpeg, "tiff": open_tiff}


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
        if isinstance(error, ThinlensError):  # of another file, such as the one that is being written meanwhile
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
        image = stripped(image)
    place = Path(path)
    with replacing(place, overwrite=overwrite) as temporary, temporary.open("wb") as file, _fitting(place, format):
        encode(file, image, format, jpeg_quality)


@contextlib.contextmanager
def write_bands(
    path: str | os.PathLike[str],
    image: ImageFile,
    height: int,
    *,
    format: str,
    jpeg_quality: int = 95,
    overwrite: bool = False,
    threads: int = 1,
) -> Iterator[BandWriter]:
    """Write an image file atomically, band by band: the file appears when the block ends well.

    Args:
        path: as for `write_image`.
        image: what goes with the pixels; of its own only width, channels and dtype count; `check_format` accepts it.
        height: rows that will come.
        format: a key of `WRITERS`.
        jpeg_quality: as for `write_image`.
        overwrite: as for `write_image`.
        threads: that pack rows; no influence on the file.

    Raises:
        ImageError, OutputError: as `write_image`.
    """
    with replacing(Path(path), overwrite=overwrite) as temporary, temporary.open("wb") as file:
        with _fitting(Path(path), format):
            if format == "jpeg":
                writer: BandWriter = JpegWriter(file, image, height, threads, jpeg_quality)
            else:
                writer = WRITERS[format](file, image, height, threads)
        with writer:
            yield writer


def stripped(image: ImageFile) -> ImageFile:
    """An image without profile, EXIF and resolution."""
    return replace(image, icc=None, exif=None, dpi=None)


@contextlib.contextmanager
def _fitting(path: Path, format_name: str) -> Iterator[None]:
    """Turn what writers raise about a profile or EXIF block into an `ImageError` that names the file."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ImageError(
            f"`{path}`: {format_name} cannot hold this profile or EXIF ({_reason(error)}); "
            "leave them out with `--strip`"
        ) from error


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [""])[0] or type(error).__name__
