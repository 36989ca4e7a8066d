"""Images that are read and written band by band: neither side ever holds more than some rows.

What can be read so: PNG and JPEG that are not stored in several passes, TIFF in strips; upright, in colours that need
no profile to become RGB. What can be written so: PNG, TIFF, JPEG and PPM. The pixels are those that `read_image` gives,
and those that `write_image` stores.
"""

import abc
import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from thinlens.errors import ImageError
from thinlens.image.formats import BAND_BYTES, ImageFile

AnyImage = npt.NDArray[Any]


class WholeImageOnly(ImageError):  # noqa: N818  # no error of the user's: the caller then decodes the image as a whole
    """This file cannot be decoded band by band; the message says why."""


class BandReader(abc.ABC):
    """An open image file whose rows are read in order, from one thread at a time.

    Args:
        image: what the file says beside its pixels; its own ``pixels`` are ``0 W`` or ``0 W C``.
        height: rows in all.
    """

    def __init__(self, image: ImageFile, height: int) -> None:
        self.image, self.height = image, height
        self.row_bytes = math.prod(image.pixels.shape[1:]) * image.pixels.itemsize
        self._at = 0

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.image.pixels.shape[1])

    def read(self, count: int) -> AnyImage:
        """Read the next rows, fewer than ``count`` at the end; raises ImageError if the file is damaged."""
        count = min(count, self.height - self._at)
        if count == 0:
            return self.image.pixels
        rows = self._read(self._at, count)
        self._at += count
        return rows

    @abc.abstractmethod
    def bytes_for(self, count: int) -> int:
        """The most that is held while ``count`` rows are read, they themselves included."""

    @abc.abstractmethod
    def _read(self, start: int, count: int) -> AnyImage:
        """Read ``count`` rows, which follow those that were read before."""


class BandWriter(abc.ABC):
    """Writes an image as its rows come. Strips of rows are packed by several threads and written in order.

    Args:
        file: open for writing, empty, seekable.
        image: what goes with the pixels; of its own ``pixels`` only width, channels and dtype count.
        height: rows that will come.
        threads: at least 1; no influence on the file.
    """

    multiple = 1  # rows of a strip, except of the last

    def __init__(self, file: BinaryIO, image: ImageFile, height: int, threads: int = 1) -> None:
        self._file, self._image, self._height = file, image, height
        self.row_bytes = math.prod(image.pixels.shape[1:]) * image.pixels.itemsize
        self._strip_rows = min(height, self.strip_rows(self.row_bytes))
        self._threads, self._pool = threads, ThreadPoolExecutor(threads)
        self._packing: deque[Future[Any]] = deque()
        self._left: list[AnyImage] = []  # rows that do not fill a strip yet

    @classmethod
    def strip_rows(cls, row_bytes: int) -> int:
        """Rows of a strip, about a megabyte."""
        return max(1, BAND_BYTES // (row_bytes * cls.multiple)) * cls.multiple

    @classmethod
    def bytes_for(cls, row_bytes: int, threads: int) -> int:
        """The most that is held beside what is handed in: strips in work, and those that wait, each several times."""
        return 5 * (2 * threads + 1) * max(BAND_BYTES, cls.multiple * row_bytes)

    def __enter__(self) -> "BandWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._send(len_of(self._left))
                self._emit_packed(0)
                self._finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def write(self, rows: AnyImage) -> None:
        """Take the next rows, any number; they must not change afterwards."""
        if len(rows):
            self._left.append(rows)
        whole = len_of(self._left) // self._strip_rows * self._strip_rows
        self._send(whole)

    def _send(self, count: int) -> None:
        """Have the first ``count`` rows of what is left packed."""
        if not count:
            return
        rows = self._left[0] if len(self._left) == 1 else np.concatenate(self._left)
        self._left = [rows[count:].copy()] if count < len(rows) else []
        for start in range(0, count, self._strip_rows):
            strip = rows[start : min(start + self._strip_rows, count)]
            self._packing.append(self._pool.submit(self._pack, *self._prepare(strip)))
            self._emit_packed(2 * self._threads)

    def _emit_packed(self, waiting: int) -> None:
        """Write the strips that are next, until no more than ``waiting`` are being packed."""
        while len(self._packing) > waiting:
            self._emit(self._packing.popleft().result())

    def _prepare(self, strip: AnyImage) -> tuple[Any, ...]:
        """What `_pack` needs of a strip, in order."""
        return (strip,)

    @abc.abstractmethod
    def _pack(self, *parts: Any) -> Any:
        """Pack a strip; from any thread."""

    @abc.abstractmethod
    def _emit(self, packed: Any) -> None:
        """Write a packed strip; in order."""

    @abc.abstractmethod
    def _finish(self) -> None:
        """Write what follows the last strip."""


def no_rows(width: int, channels: int, dtype: npt.DTypeLike) -> AnyImage:
    """Pixels of no rows, ``0 W`` or ``0 W C``."""
    return np.empty((0, width) if channels == 1 else (0, width, channels), dtype)


def len_of(parts: list[AnyImage]) -> int:
    """Rows of all parts."""
    return sum(len(part) for part in parts)


class PpmWriter(BandWriter):
    """Binary PGM (P5) or PPM (P6), 8 or 16 bits."""

    def __init__(self, file: BinaryIO, image: ImageFile, height: int, threads: int = 1) -> None:
        super().__init__(file, image, height, threads)
        kind = 5 if image.pixels.ndim == 2 else 6
        largest = np.iinfo(image.pixels.dtype).max
        file.write(f"P{kind}\n{image.pixels.shape[1]} {height}\n{largest}\n".encode())

    def _pack(self, strip: AnyImage) -> bytes:
        return strip.astype(strip.dtype.newbyteorder(">"), copy=False).tobytes()

    def _emit(self, packed: bytes) -> None:
        self._file.write(packed)

    def _finish(self) -> None:
        pass


def whole_only(what: str) -> WholeImageOnly:
    """The exception for a file of a kind that is decoded as a whole."""
    return WholeImageOnly(f"{what} is decoded as a whole")
