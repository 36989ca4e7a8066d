"""EXIF blocks: turning the pixels upright, and which tags live on in a file of another format."""

import contextlib
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

ORIENTATION = 0x0112

# Tags that describe the picture; all others of a TIFF's directory describe the file, and would lie in another one.
# Description, make, model, software, date, artist, copyright, and the two nested blocks EXIF and GPS.
PICTURE_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
NESTED_TAGS = (0x8769, 0x8825)

PREFIX = b"Exif\0\0"


def bare(exif: bytes | None) -> bytes | None:
    """Strip the ``Exif`` prefix that some formats carry; None if nothing valid is left."""
    block = (exif or b"").removeprefix(PREFIX)
    return block if block[:4] in (b"II*\0", b"MM\0*") else None


def upright(exif: bytes) -> tuple[int, bytes]:
    """Read the orientation (1 to 8) and return it with a copy of the block that says 1.

    Only those two bytes change: rebuilding the block would break offsets that makers' notes rely on.

    Source: CIPA DC-008 (Exif 2.32), section 4.6.4.
    """
    order = "<" if exif[:2] == b"II" else ">"
    with contextlib.suppress(struct.error):  # a damaged block turns nothing
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, _kind, _count, value = struct.unpack_from(order + "HHIH", exif, at)
            if tag == ORIENTATION:
                patched = exif[: at + 8] + struct.pack(order + "H", 1) + exif[at + 10 :]
                return (value if 1 <= value <= 8 else 1), patched
    return 1, exif


def turn(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn stored pixels upright.

    Args:
        pixels: ``H W`` or ``H W C``.
        orientation: EXIF value; 1 upright, 2 to 8 mirrored or turned.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def from_tags(tags: dict[int, Any]) -> bytes | None:
    """Build an EXIF block from a TIFF's tags, nested blocks as dictionaries; None if none describes the picture."""
    block = Image.Exif()
    for tag in (*PICTURE_TAGS, *NESTED_TAGS):
        if tags.get(tag):
            block[tag] = tags[tag]
    return bare(block.tobytes()) if len(block) else None


def to_tags(exif: bytes) -> dict[int, Any]:
    """Take an EXIF block apart into the tags that a TIFF's directory stores, nested blocks as dictionaries."""
    block = Image.Exif()
    block.load(PREFIX + exif)
    kept: dict[int, Any] = {tag: block[tag] for tag in PICTURE_TAGS if tag in block}
    nested = {tag: block.get_ifd(tag) for tag in NESTED_TAGS}
    return kept | {tag: tags for tag, tags in nested.items() if tags}
