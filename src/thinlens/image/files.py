"""Reading and writing image files: the one door between disk and arrays.

Files are untrusted: formats come from a closed list and are told by content, the size is checked before
decoding, and nothing is reduced without a word. Writes leave either the old file or the new one.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from thinlens.errors import ImageError
from thinlens.image.decode import decode
from thinlens.image.encode import encode
from thinlens.image.formats import ImageFile, check_format

__all__ = ["ImageFile", "check_format", "open_replacement", "read_image", "write_image"]


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
        ImageError: missing, a folder, empty, damaged, truncated, of another format, larger than
        ``max_pixels``, animated
            or of several pages, or of samples that would be reduced (float, 32 bits, ...).
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"`{path}`: is a folder; give an image file")
    if path.exists() and not path.is_file():
        raise ImageError(f"`{path}`: not a regular file; save the image to a file first")
    try:
        with path.open("rb") as file:
            return decode(file, str(path), max_pixels)
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
    """Write an image file.

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
        ImageError: if the format cannot hold the image, the file exists, or the disk refuses.
    """
    shape = image.pixels.shape
    channels = 1 if len(shape) == 2 else shape[2]
    check_format(format, shape[0], shape[1], channels, image.pixels.dtype)
    if not 1 <= jpeg_quality <= 100:
        raise ImageError(f"`jpeg_quality`: got {jpeg_quality}; accepted 1 to 100")
    if strip:
        image = replace(image, icc=None, exif=None, dpi=None)
    with open_replacement(path, overwrite=overwrite) as file:
        try:
            encode(file, image, format, jpeg_quality)
        except (ValueError, TypeError) as error:
            raise ImageError(
                f"`{path}`: {format} cannot hold this profile or EXIF ({_reason(error)}); leave them out with `--strip`"
            ) from error


@contextlib.contextmanager
def open_replacement(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its place when the block ends without an error.

    Whatever stops the block, Ctrl-C included, the temporary file is removed and an older file stays as it
    was.

    Raises:
        ImageError: if ``path`` exists and may not be overwritten, is a folder, or the disk refuses.
    """
    path = Path(path)
    _check_target(path, overwrite)
    temporary = path.parent / f".thinlens-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _check_target(path, overwrite)
        temporary.replace(path)
    except OSError as error:
        raise ImageError(f"`{path}`: cannot be written ({_reason(error)})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise ImageError(f"`{path}`: is a folder; give a file name")
    if not path.parent.is_dir():
        raise ImageError(f"`{path}`: the folder `{path.parent}` does not exist; make it first")
    if not overwrite and os.path.lexists(path):
        raise ImageError(f"`{path}`: exists already; pass `--overwrite` to replace it")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [""])[0] or type(error).__name__
