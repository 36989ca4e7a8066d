"""JPEG, band by band: read by libvips, written as strips that each begin anew at a restart marker.

Source: ITU-T T.81, sections B.2.1 to B.2.4 and E.1.
"""

import io
import struct
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from thinlens.image import exif as exif_block
from thinlens.image.bands import BandWriter, whole_only
from thinlens.image.decode import describe
from thinlens.image.formats import ImageFile
from thinlens.image.vips import VipsReader, load

AnyImage = npt.NDArray[Any]

SOF0, SOS, RST0, EOI = 0xC0, 0xDA, 0xD0, b"\xff\xd9"
BLOCK = 8  # rows and columns of a unit, as nothing is subsampled
HEIGHT_AT = 5  # in a SOF0 segment, from its marker on
COLUMN_BYTES = 4000  # that libjpeg and libvips hold for a column, as measured


def open_jpeg(file: BinaryIO, name: str, none: AnyImage, height: int) -> VipsReader:
    """Open a JPEG for reading in bands.

    Args:
        file: open, seekable.
        name: what to call it in messages.
        none: no rows of the pixels that it holds.
        height: rows in all.

    Raises:
        WholeImageOnly: if it is progressive, CMYK, or stored turned.
    """
    found = describe(file, "jpeg", none)
    if found.passes:
        raise whole_only("a progressive JPEG")
    if found.cmyk:
        raise whole_only("a CMYK JPEG")
    if found.orientation != 1:
        raise whole_only("an image that its EXIF block turns")
    return VipsReader(load(file, "jpeg", sequential=True), name, found.image, height, COLUMN_BYTES * none.shape[1])


class JpegWriter(BandWriter):
    """A baseline JPEG, 4:4:4: the pixels are those of a file that is encoded as a whole.

    Args:
        file: as for `BandWriter`.
        image: as for `BandWriter`.
        height: as for `BandWriter`.
        threads: as for `BandWriter`.
        quality: 1 to 100.
    """

    multiple = BLOCK

    def __init__(self, file: BinaryIO, image: ImageFile, height: int, threads: int = 1, quality: int = 95) -> None:
        super().__init__(file, image, height, threads)
        self._quality, self._strips = quality, 0
        extras: dict[str, Any] = (
            {"icc_profile": image.icc, "dpi": image.dpi} if image.dpi else {"icc_profile": image.icc}
        )
        if image.exif:
            extras["exif"] = exif_block.PREFIX + image.exif
        head, _ = _parted(self._encode(np.zeros((1, *image.pixels.shape[1:]), np.uint8), extras))
        units = -(-image.pixels.shape[1] // BLOCK) * -(-self._strip_rows // BLOCK)
        at = _find(head, SOF0) + HEIGHT_AT
        head = head[:at] + struct.pack(">H", height) + head[at + 2 :]
        scan = _find(head, SOS)
        file.write(head[:scan] + struct.pack(">HHH", 0xFFDD, 4, units) + head[scan:])

    def _encode(self, pixels: AnyImage, extras: dict[str, Any]) -> bytes:
        buffer = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        picture.save(buffer, "jpeg", quality=self._quality, subsampling=0, **extras)
        return buffer.getvalue()

    def _pack(self, *parts: Any) -> bytes:
        return _parted(self._encode(parts[0], {}))[1]

    def _emit(self, packed: bytes) -> None:
        if self._strips:
            self._file.write(bytes((0xFF, RST0 + (self._strips - 1) % 8)))
        self._file.write(packed)
        self._strips += 1

    def _finish(self) -> None:
        self._file.write(EOI)


def _parted(data: bytes) -> tuple[bytes, bytes]:
    """What comes before the entropy-coded pixels, and they themselves."""
    at = _find(data, SOS)
    at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at], data[at : -len(EOI)]


def _find(data: bytes, marker: int) -> int:
    """Where a segment begins."""
    at = 2
    while data[at + 1] != marker:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at
