"""TIFF: what a file says before it is decoded, reading in bands by libvips, and the project's own small writer.

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
from thinlens.image import vips
from thinlens.image.bands import BandWriter, whole_only
from thinlens.image.formats import DEFLATE_LEVEL, ImageFile, count_channels

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, X_DOTS, Y_DOTS, PLANAR, DOTS_UNIT = 277, 278, 279, 282, 283, 284, 296
PREDICTOR, COLOUR_MAP, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT, ICC = 317, 320, 324, 325, 338, 339, 34675
BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 1, 2, 3, 6
JPEG, DEFLATE, DIFFERENCES, UNASSOCIATED, UNDEFINED = 7, 8, 2, 2, 7
TILE_WIDTH, TILE_HEIGHT, MAX_TILE = 322, 323, 1 << 26
INCHES = {None: 1.0, 2: 1.0, 3: 2.54}
MAX_STRIP = 1 << 25  # bytes, decoded, of a strip for reading in bands
COLUMN_ROWS = 200  # that libvips holds, as measured
LONG, LONG8 = 4, 16
CLASSIC, BIG = b"II*\0\0\0\0\0", b"II+\0\x08\0\0\0" + bytes(8)
CLASSIC_BYTES = (1 << 32) - (1 << 26)  # of samples, beyond which 32 bits may not address the file


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
        strip_rows: of a strip; None: the samples lie in tiles, or each channel in a plane.
    """

    height: int
    width: int
    pages: int
    orientation: int
    strip_rows: int | None
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
        strip_rows=_strip_rows(tags),
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


def _strip_rows(tags: ImageFileDirectory_v2) -> int | None:
    if TILE_WIDTH in tags or int(tags.get(PLANAR, 1)) == 2:
        return None
    height = int(tags[HEIGHT])
    return min(height, int(tags.get(ROWS_PER_STRIP, height)))


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


def open_tiff(file: BinaryIO, name: str, none: npt.NDArray[Any], height: int) -> vips.VipsReader:
    """Open a TIFF for reading in bands.

    Args:
        file: open, seekable.
        name: what to call it in messages.
        none: no rows of the pixels that it holds.
        height: rows in all.

    Raises:
        WholeImageOnly: if its samples lie in tiles, planes or large strips, are CMYK, or are stored turned.
    """
    header = read_header(file)
    row_bytes = none.shape[1] * (none.shape[2] if none.ndim == 3 else 1) * none.itemsize
    if header.strip_rows is None:
        raise whole_only("a TIFF in tiles or planes")
    if header.strip_rows * row_bytes > MAX_STRIP:
        raise whole_only(f"a TIFF in strips of {header.strip_rows} rows")
    if header.orientation != 1:
        raise whole_only("an image that its EXIF block turns")
    image = vips.load(file, "tiff", sequential=True)
    if image.interpretation == "cmyk":
        raise whole_only("a CMYK TIFF")
    described = ImageFile(none, "tiff", header.icc, header.exif, header.dpi)
    return vips.VipsReader(image, name, described, height, (2 * header.strip_rows + COLUMN_ROWS) * row_bytes)


class TiffWriter(BandWriter):
    """A little-endian TIFF of deflated strips, samples stored as differences along the row; BigTIFF from 4 GiB on."""

    def __init__(self, file: BinaryIO, image: ImageFile, height: int, threads: int = 1) -> None:
        super().__init__(file, image, height, threads)
        self._sizes: list[int] = []
        self._big = height * self.row_bytes > CLASSIC_BYTES
        self._write_directory([0] * -(-height // self._strip_rows))  # the strips follow it; their sizes come later

    def _write_directory(self, sizes: list[int]) -> None:
        image, channels = self._image, count_channels(self._image.pixels)
        tags = ImageFileDirectory_v2(BIG if self._big else CLASSIC)
        for tag, value in exif_block.to_tags(image.exif).items() if image.exif else ():
            tags[tag] = value
        tags[HEIGHT], tags[WIDTH], tags[SAMPLES] = self._height, image.pixels.shape[1], channels
        tags[BITS] = (8 * image.pixels.itemsize,) * channels
        tags[PHOTOMETRIC] = BLACK_IS_ZERO if channels < 3 else RGB
        if channels in (2, 4):
            tags[EXTRA_SAMPLES] = UNASSOCIATED
        tags[COMPRESSION], tags[PREDICTOR], tags[ROWS_PER_STRIP] = DEFLATE, DIFFERENCES, self._strip_rows
        tags.tagtype[STRIP_BYTES], tags.tagtype[STRIP_OFFSETS] = LONG, LONG8 if self._big else LONG
        ends = np.cumsum([0, *sizes], dtype=np.int64)
        tags[STRIP_BYTES], tags[STRIP_OFFSETS] = tuple(sizes), tuple(int(end) for end in ends[:-1])
        if image.dpi:
            tags[X_DOTS], tags[Y_DOTS], tags[DOTS_UNIT] = *image.dpi, 2
        if image.icc:
            tags.tagtype[ICC] = UNDEFINED
            tags[ICC] = image.icc
        self._file.seek(0)
        tags.save(self._file)  # moves the strip offsets to behind the directory

    def _pack(self, *parts: Any) -> bytes:
        strip = parts[0]
        rows = strip.reshape(len(strip), strip.shape[1], -1)
        differences = np.diff(rows, axis=1, prepend=rows.dtype.type(0))
        return zlib.compress(differences.astype(rows.dtype.newbyteorder("<"), copy=False).data, DEFLATE_LEVEL)

    def _emit(self, packed: bytes) -> None:
        self._sizes.append(len(packed))
        self._file.write(packed)

    def _finish(self) -> None:
        self._write_directory(self._sizes)
