"""TIFF directories: what a file says before it is decoded, and the project's own small writer.

Pillow opens no 16-bit gray with alpha, reads 16-bit colour as 8 bits, and loses nested EXIF blocks when it compresses.

Source: TIFF 6.0, sections 2 to 4, 6, 14, 18 and 19; deflate as in Adobe's technical note 2.
"""

import os
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from thinlens.errors import ImageError
from thinlens.image import exif as exif_block
from thinlens.image.formats import DEFLATE_LEVEL, ImageFile, bands, count_channels

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, X_DOTS, Y_DOTS, PLANAR, DOTS_UNIT = 277, 278, 279, 282, 283, 284, 296
PREDICTOR, COLOUR_MAP, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT, ICC = 317, 320, 324, 325, 338, 339, 34675
BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 1, 2, 3, 6
JPEG, DEFLATE, DIFFERENCES, UNASSOCIATED, UNDEFINED = 7, 8, 2, 2, 7
TILE_WIDTH, TILE_HEIGHT, MAX_TILE = 322, 323, 1 << 26
INCHES = {None: 1.0, 2: 1.0, 3: 2.54}


@dataclass(frozen=True)
class TiffHeader:
    """What the first directory of a TIFF says.

    Attributes:
        height: rows, as stored.
        width: columns, as stored.
        pages: 1, or 2 for any number above.
        orientation: 1 to 8, as in EXIF.
        icc: ICC profile or None.
        exif: EXIF block built from the tags that describe the picture, or None.
        dpi: pixels an inch, or None.
    """

    height: int
    width: int
    pages: int
    orientation: int
    icc: bytes | None
    exif: bytes | None
    dpi: tuple[float, float] | None


def read_header(file: BinaryIO) -> TiffHeader:
    """Read the first directory.

    Raises:
        ImageError: if the samples are of a kind that would have to be reduced, or reach beyond the file.
        ValueError, KeyError, TypeError: if the directory is damaged.
    """
    file.seek(0)
    magic = file.read(8)
    if magic[2] == 43:  # BigTIFF
        magic += file.read(8)
    tags = _load(file, magic, ImageFileDirectory_v2(magic).next, None)
    _check_extents(tags, file)
    _check_samples(tags)
    orientation = int(tags.get(ORIENTATION, 1))
    nested = {tag: dict(_load(file, magic, tags[tag], tag)) for tag in exif_block.NESTED_TAGS if tag in tags}
    return TiffHeader(
        height=int(tags[HEIGHT]),
        width=int(tags[WIDTH]),
        pages=2 if tags.next else 1,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        icc=tags.get(ICC),
        exif=exif_block.from_tags(dict(tags) | nested),
        dpi=_dpi(tags),
    )


def _load(file: BinaryIO, magic: bytes, offset: int, group: int | None) -> ImageFileDirectory_v2:
    tags = ImageFileDirectory_v2(magic, group=group)
    file.seek(offset)
    tags.load(file)
    return tags


def _dpi(tags: ImageFileDirectory_v2) -> tuple[float, float] | None:
    x, y, unit = tags.get(X_DOTS), tags.get(Y_DOTS), tags.get(DOTS_UNIT)
    if unit not in INCHES or not x or not y:
        return None
    return float(x) * INCHES[unit], float(y) * INCHES[unit]


def _check_samples(tags: ImageFileDirectory_v2) -> None:
    """Refuse what no decoder here returns exactly; ValueError where libtiff alone would make something of it."""
    bits, kinds = set(tags.get(BITS, (1,))), set(tags.get(SAMPLE_FORMAT, (1,)))
    if len(bits) != 1 or bits - {1, 2, 4, 8, 16} or kinds != {1}:
        found = "float" if 3 in kinds else "signed or mixed" if kinds != {1} else "unsigned"
        raise ImageError(
            f"{found} samples of {'/'.join(map(str, sorted(bits)))} bits; "
            "accepted unsigned ones of up to 8 or of 16 bits; convert the file first"
        )
    colours, packing, planes, samples = (int(tags.get(tag, 0)) for tag in (PHOTOMETRIC, COMPRESSION, PLANAR, SAMPLES))
    if planes == 2 and samples == 2:  # Pillow and libvips both mix the two planes up
        raise ImageError("gray and alpha in separate planes; accepted interleaved ones; convert the file first")
    if colours == YCBCR and packing != JPEG:  # libvips would take them for RGB
        raise ImageError("YCbCr samples that are not JPEG; accepted gray, RGB, palettes, CMYK; convert the file first")
    if colours == PALETTE and COLOUR_MAP not in tags:  # libvips would take the indices for gray
        raise ValueError("a palette image without its palette")


def _check_extents(tags: ImageFileDirectory_v2, file: BinaryIO) -> None:
    """Refuse huge tiles, and samples that reach beyond the file: libtiff would print, and may return half an image."""
    if tags.get(TILE_WIDTH, 1) * tags.get(TILE_HEIGHT, 1) > MAX_TILE:
        raise ValueError(f"tiles of {tags[TILE_WIDTH]}x{tags[TILE_HEIGHT]} pixels")
    end = file.seek(0, os.SEEK_END)
    for offsets, counts in ((STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES)):
        for at, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
            if at + count > end:
                raise ValueError(f"samples up to byte {at + count}, the file has {end}")


def write_tiff(file: BinaryIO, image: ImageFile) -> None:
    """Write a little-endian TIFF of deflated strips, samples stored as differences along the row."""
    height, width = image.pixels.shape[:2]
    channels = count_channels(image.pixels)
    cut = list(bands(image.pixels))
    strips = [_pack_strip(band) for band in cut]
    tags = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    for tag, value in exif_block.to_tags(image.exif).items() if image.exif else ():
        tags[tag] = value
    tags[HEIGHT], tags[WIDTH], tags[SAMPLES] = height, width, channels
    tags[BITS] = (8 * image.pixels.dtype.itemsize,) * channels
    tags[PHOTOMETRIC] = BLACK_IS_ZERO if channels < 3 else RGB
    if channels in (2, 4):
        tags[EXTRA_SAMPLES] = UNASSOCIATED
    tags[COMPRESSION], tags[PREDICTOR], tags[ROWS_PER_STRIP] = DEFLATE, DIFFERENCES, len(cut[0])
    tags[STRIP_BYTES] = tuple(len(strip) for strip in strips)
    ends = np.cumsum([0, *tags[STRIP_BYTES]])
    tags[STRIP_OFFSETS] = tuple(int(end) for end in ends[:-1])
    if image.dpi:
        tags[X_DOTS], tags[Y_DOTS], tags[DOTS_UNIT] = *image.dpi, 2
    if image.icc:
        tags.tagtype[ICC] = UNDEFINED
        tags[ICC] = image.icc
    tags.save(file)  # moves the strip offsets to behind the directory, where the strips follow
    for strip in strips:
        file.write(strip)


def _pack_strip(band: npt.NDArray[Any]) -> bytes:
    rows = band.reshape(len(band), band.shape[1], -1)
    differences = np.diff(rows, axis=1, prepend=rows.dtype.type(0))
    return zlib.compress(differences.astype(rows.dtype.newbyteorder("<")).tobytes(), DEFLATE_LEVEL)
