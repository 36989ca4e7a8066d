"""Image files made by hand: what no writer at hand would make."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(height, width, channels, dtype=np.uint8, seed=0):
    """Random pixels, ``H W`` for one channel."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def smooth(height, width):
    """An RGB picture that JPEG hardly changes."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width, y * 200 // height, (x + y) * 100 // (width + height)], axis=-1).astype(np.uint8)


def encoded(pixels, format, **options):
    """Bytes of a file that Pillow writes."""
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour_type, rows, *chunks):
    """Bytes of a PNG; ``rows`` are the packed bytes of each row."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _pack(order, kind, values):
    return values[0] if kind == "s" else struct.pack(f"{order}{len(values)}{kind}", *values)


def tiff(tags, data, *, order="<", extra=b"", after=0):
    """Bytes of a TIFF: ``tags`` maps tag -> (type, values of that type); strip data goes last.

    A value of None for tag 273 stands for where ``data`` begins.
    """
    kinds = {1: "B", 2: "s", 3: "H", 4: "I", 7: "B", 12: "d"}
    entries, outside = [], b""
    base = 8 + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = None if values is None else _pack(order, kinds[kind], values)
        count = 1 if values is None else len(packed) if kind == 2 else len(values)
        if packed is not None and len(packed) > 4:
            where = struct.pack(order + "I", base + len(outside))
            outside += packed
            packed = where
        entries.append((tag, kind, count, packed))
    start = base + len(outside) + len(extra)
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, packed in entries:
        value = struct.pack(order + "I", start) if packed is None else packed.ljust(4, b"\0")
        body += struct.pack(order + "HHI", tag, kind, count) + value
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", 8) + body + struct.pack(order + "I", after) + outside + extra + data


def plain_tiff(pixels, *, order="<", sample_format=1, **more):
    """Bytes of an uncompressed TIFF of one strip; ``more`` adds tags as ``t284=(3, (2,))``."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tags = {
        256: (4, (pixels.shape[1],)),
        257: (4, (pixels.shape[0],)),
        258: (3, (8 * pixels.dtype.itemsize,) * channels),
        259: (3, (1,)),
        262: (3, (1 if channels < 3 else 2,)),
        273: (4, None),
        277: (3, (channels,)),
        278: (4, (pixels.shape[0],)),
        279: (4, (pixels.nbytes,)),
        339: (3, (sample_format,) * channels),
    }
    if channels in (2, 4):
        tags[338] = (3, (2,))
    tags |= {int(name[1:]): value for name, value in more.items()}
    return tiff(tags, pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(), order=order)
