"""PNG, band by band.

Reading inflates the file here and leaves the rest to the decoder of whole images: a band becomes a small PNG of its
own, whose first row is the last one of the band before.

Source: PNG specification (third edition), sections 4, 5, 9 and 11.
"""

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import PngImagePlugin

from thinlens.image.bands import BandReader, BandWriter, whole_only
from thinlens.image.decode import decode, describe, reporting
from thinlens.image.formats import DEFLATE_LEVEL, ImageFile, count_channels

AnyImage = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")  # width, height, depth, colour type, compression, filter, interlace
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PALETTE = 3
FILTER_UP = 2
METRES_PER_INCH = 0.0254
PIECE_BYTES = 1 << 16  # of the file that is inflated at a time
ADLER_BASE = 65521
ZLIB_HEADER, ZLIB_END = b"\x78\x5e", b"\x03\x00"  # of a window of 32 KiB; an empty last block


class PngReader(BandReader):
    """A PNG of any kind that is not interlaced.

    Args:
        file: open, seekable.
        name: what to call it in messages.
        image: what `BandReader` wants.
        height: rows in all.
    """

    def __init__(self, file: BinaryIO, name: str, image: ImageFile, height: int) -> None:
        super().__init__(image, height)
        self._file, self._name = file, name
        file.seek(len(SIGNATURE))
        _, length = _chunk_head(file)
        self._header = file.read(length)
        width, _, depth, colours, *_ = HEADER.unpack(self._header)
        bits = depth * CHANNELS[colours]
        self._stored_bytes = (int(width) * int(bits) + 7) // 8  # of a row, as it is filtered
        self._lanes = max(1, bits // 8)
        file.read(4)
        self._kept: dict[bytes, bytes] = {}  # chunks that say what the samples mean
        self._pieces = self._read_chunks()
        self._inflater, self._waiting = zlib.decompressobj(), b""
        self._above: Bytes = np.zeros((1, self._stored_bytes), np.uint8)

    def bytes_for(self, count: int) -> int:
        """See `BandReader`: filtered, framed, decoded, and taken apart into lanes or brought to other samples."""
        return (count + 1) * (8 * self._stored_bytes + 3 * self.row_bytes) + 4 * PIECE_BYTES

    def _read(self, start: int, count: int) -> AnyImage:
        with reporting(self._name):
            raw = self._unfiltered(count)
        _, _, depth, colours, *_ = HEADER.unpack(self._header)
        shape = (count, *self.image.pixels.shape[1:])
        if colours != PALETTE and b"tRNS" not in self._kept and depth in (8, 16):
            return raw.reshape(shape) if depth == 8 else raw.view(">u2").astype(np.uint16).reshape(shape)
        header = self._header[:4] + struct.pack(">I", count) + self._header[8:]
        data = _small_png(header, np.pad(raw, ((0, 0), (1, 0))), self._kept)
        return decode(io.BytesIO(data), self._name, sys.maxsize).pixels.reshape(shape)

    def _unfiltered(self, count: int) -> Bytes:
        """The next rows' samples, as the file packs them. Filters keep to their lane, of which decoders know four."""
        filtered = np.frombuffer(self._inflate(count * (self._stored_bytes + 1)), np.uint8).reshape(count, -1)
        groups = self._lanes // max(1, self._lanes // 3) if self._lanes > 4 else self._lanes
        parts = []
        for first in range(0, self._lanes, groups):
            lanes = [self._lanes_of(rows, first, groups) for rows in (self._above, filtered[:, 1:])]
            kinds = np.concatenate([np.zeros((1, 1), np.uint8), filtered[:, :1]])
            header = HEADER.pack(self._stored_bytes // self._lanes, count + 1, 8, COLOUR_TYPES[groups], 0, 0, 0)
            data = _small_png(header, np.hstack([kinds, np.concatenate(lanes)]), {})
            with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
                parts.append(np.asarray(image).reshape(count + 1, -1, groups))
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        raw = rows.reshape(count + 1, -1)
        self._above = raw[-1:].copy()
        return raw[1:]

    def _lanes_of(self, rows: Bytes, first: int, count: int) -> Bytes:
        if count == self._lanes:
            return rows
        return rows.reshape(len(rows), -1, self._lanes)[:, :, first : first + count].reshape(len(rows), -1)

    def _inflate(self, size: int) -> bytes:
        parts = []
        while size:
            if not self._waiting:
                self._waiting = next(self._pieces, b"")
                if not self._waiting:
                    raise ValueError("image file is truncated")
            part = self._inflater.decompress(self._waiting, size)
            self._waiting = self._inflater.unconsumed_tail
            if self._inflater.eof and len(part) < size:
                raise ValueError("fewer rows than it announces")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _read_chunks(self) -> Iterator[bytes]:
        """The pixels' bytes, piece by piece; on the way, what `decode` needs to know of the samples."""
        while True:
            kind, left = _chunk_head(self._file)
            if kind == b"IEND":
                return
            if kind != b"IDAT":
                data = self._file.read(left + 4)
                if kind in (b"PLTE", b"tRNS"):
                    self._kept[kind] = data[:left]
                continue
            check = zlib.crc32(kind)
            while left:
                piece = self._file.read(min(left, PIECE_BYTES))
                if not piece:
                    raise ValueError("image file is truncated")
                left, check = left - len(piece), zlib.crc32(piece, check)
                yield piece
            if self._file.read(4) != struct.pack(">I", check):
                raise ValueError("bad checksum")


def open_png(file: BinaryIO, name: str, none: AnyImage, height: int) -> PngReader:
    """Open a PNG for reading in bands.

    Args:
        file: open, seekable.
        name: what to call it in messages.
        none: no rows of the pixels that it holds.
        height: rows in all.

    Raises:
        WholeImageOnly: if it is interlaced, stored turned, or has its EXIF block behind its pixels.
    """
    found = describe(file, "png", none)
    if found.passes:
        raise whole_only("an interlaced PNG")
    if found.orientation != 1:
        raise whole_only("an image that its EXIF block turns")
    if _has_late_exif(file):
        raise whole_only("a PNG whose EXIF block follows its pixels")
    return PngReader(file, name, found.image, height)


def _has_late_exif(file: BinaryIO) -> bool:
    file.seek(len(SIGNATURE))
    pixels = False
    while True:
        kind, length = _chunk_head(file)
        if kind == b"IEND" or not kind:
            return False
        pixels |= kind == b"IDAT"
        if pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            head = file.read(min(length, 64))
            if kind == b"eXIf" or head.startswith(b"Raw profile type exif\0"):
                return True
            length -= len(head)
        file.seek(length + 4, io.SEEK_CUR)


def _chunk_head(file: BinaryIO) -> tuple[bytes, int]:
    """Kind and length of the chunk that is next; an empty kind where the file ends."""
    head = file.read(8)
    if len(head) < 8:
        return b"", 0
    (length,) = struct.unpack(">I", head[:4])
    return head[4:], length


def _small_png(header: bytes, filtered: Bytes, kept: dict[bytes, bytes]) -> bytes:
    """A PNG file of rows that are filtered, and some chunks."""
    chunks = [(b"IHDR", header), *kept.items(), (b"IDAT", zlib.compress(filtered.tobytes(), 0)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)))


class PngWriter(BandWriter):
    """A PNG, each row stored as its difference from the one above.

    Strips are deflated alone, so that several threads can, and joined to one stream.
    """

    def __init__(self, file: BinaryIO, image: ImageFile, height: int, threads: int = 1) -> None:
        super().__init__(file, image, height, threads)
        depth = 8 * image.pixels.itemsize
        colours = COLOUR_TYPES[count_channels(image.pixels)]
        file.write(SIGNATURE)
        self._write_chunk(b"IHDR", HEADER.pack(image.pixels.shape[1], height, depth, colours, 0, 0, 0))
        if image.icc:
            self._write_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(image.icc))
        if image.dpi:
            x, y = (round(dots / METRES_PER_INCH) for dots in image.dpi)
            self._write_chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
        if image.exif:
            self._write_chunk(b"eXIf", image.exif)
        self._above: Bytes = np.zeros((1, self.row_bytes), np.uint8)
        self._adler, self._begun = 1, False

    def _prepare(self, strip: AnyImage) -> tuple[Any, ...]:
        above, self._above = self._above, _stored(strip[-1:])
        return above, strip

    def _pack(self, *parts: Any) -> tuple[bytes, int, int]:
        """Filter and deflate a strip; also the checksum and length of what is deflated."""
        above, strip = parts
        rows = _stored(strip)
        filtered = np.full((len(rows), rows.shape[1] + 1), FILTER_UP, np.uint8)
        np.subtract(rows[:1], above, out=filtered[:1, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        packer = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = packer.compress(filtered.data) + packer.flush(zlib.Z_SYNC_FLUSH)
        return packed, zlib.adler32(filtered.data), filtered.size

    def _emit(self, packed: tuple[bytes, int, int]) -> None:
        data, adler, size = packed
        self._write_chunk(b"IDAT", data if self._begun else ZLIB_HEADER + data)
        self._adler, self._begun = _joined(self._adler, adler, size), True

    def _finish(self) -> None:
        self._write_chunk(b"IDAT", ZLIB_END + struct.pack(">I", self._adler))
        self._write_chunk(b"IEND", b"")

    def _write_chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(_chunk(kind, data))


def _stored(rows: AnyImage) -> Bytes:
    """Rows as their bytes in the file."""
    return np.ascontiguousarray(rows).astype(rows.dtype.newbyteorder(">")).reshape(len(rows), -1).view(np.uint8)


def _joined(first: int, second: int, size: int) -> int:
    """The Adler-32 checksum of two strings, from that of each and the size of the second.

    Of n bytes the low half is 1 + their sum, the high half the sum of the low halves after each byte.
    """
    low, high = first & 0xFFFF, first >> 16
    added = (second & 0xFFFF) - 1
    total = (high + (second >> 16) + (low - 1) * size) % ADLER_BASE
    return total << 16 | (low + added) % ADLER_BASE
