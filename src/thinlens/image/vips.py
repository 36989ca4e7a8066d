"""libvips, imported only when a file needs it: what is loaded with it, whole or band by band."""

import logging
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from thinlens.errors import ImageError
from thinlens.image.bands import BandReader
from thinlens.image.formats import ImageFile

AnyImage = npt.NDArray[Any]

# Kind and type of libvips' samples -> channels that may be had of them.
BANDS = {
    ("b-w", "uchar"): (1, 2),
    ("grey16", "ushort"): (1, 2),
    ("srgb", "uchar"): (3, 4),
    ("rgb16", "ushort"): (3, 4),
    ("cmyk", "uchar"): (4,),
}
DTYPES = {"uchar": np.uint8, "ushort": np.uint16}
LEAST_ROWS = 16  # libvips makes so many at a time

# libvips warns about odd tags through this logger; without a handler Python would print that to stderr.
logging.getLogger("pyvips").addHandler(logging.NullHandler())


def load(file: BinaryIO, format_name: str, *, sequential: bool = False) -> Any:
    """Open a PNG, TIFF or JPEG that holds gray or RGB of 8 or 16 bits, with or without alpha; nothing is decoded yet.

    Palettes become RGB and fewer bits become 8; CMYK of 8 bits stays. A file on disk is not read into memory.

    Args:
        file: open, seekable.
        format_name: ``png``, ``tiff`` or ``jpeg``.
        sequential: rows will be asked for in order, once.

    Returns:
        A `pyvips.Image` with a key of ``DTYPES`` as its ``format``.

    Raises:
        ImageError, pyvips.Error: if it holds anything else, or is damaged.
    """
    import pyvips  # a large library, and such files are rare

    pyvips.cache_set_max(0)  # its cache would keep the bytes of the last hundred files alive
    path = _path_of(file)
    where, source = ("", path) if path is not None else ("_buffer", _all_of(file))
    loader = getattr(pyvips.Image, f"{format_name}load{where}")
    options: dict[str, Any] = {"access": "sequential"} if sequential else {}
    if (
        format_name == "tiff"
    ):  # libvips would stop at strips of 50 MB; `read_header` and the pixel cap have bounded them
        options["unlimited"] = True
    image = loader(source, fail_on="error", **options)
    if image.bands not in BANDS.get((image.interpretation, image.format), ()):
        raise ImageError(
            f"samples of kind `{image.interpretation}` ({image.format}) with {image.bands} channels; "
            "accepted gray and RGB, with or without alpha; convert the file first"
        )
    return image


def _path_of(file: BinaryIO) -> str | None:
    """Where an open file lies; None: nowhere, or by a name that libvips cannot be told."""
    path = str(getattr(file, "name", ""))
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    return path or None


def _all_of(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def load_pixels(image: Any) -> AnyImage:
    """Decode with libvips; where a TIFF's colours are stored multiplied by alpha, it divides them again."""
    shape = (image.height, image.width) if image.bands == 1 else (image.height, image.width, image.bands)
    return np.frombuffer(image.write_to_memory(), DTYPES[image.format]).reshape(shape)


class VipsReader(BandReader):
    """Rows of a file that libvips decodes.

    Args:
        loaded: from `load`, sequential.
        name: what to call the file in messages.
        image: what `BandReader` wants.
        height: rows in all.
        held: bytes that libvips and the format's library hold, whatever is asked for.
    """

    def __init__(self, loaded: Any, name: str, image: ImageFile, height: int, held: int) -> None:
        import pyvips

        super().__init__(image, height)
        self._name, self._held = name, held
        self._region = pyvips.Region.new(loaded)

    def bytes_for(self, count: int) -> int:
        """See `BandReader`."""
        return self._held + 3 * max(count, LEAST_ROWS) * self.row_bytes

    def _read(self, start: int, count: int) -> AnyImage:
        from thinlens.image.decode import reporting

        with reporting(self._name):
            rows = self._region.fetch(0, start, self.width, count)
        pixels = self.image.pixels
        return np.frombuffer(rows, pixels.dtype).reshape(count, *pixels.shape[1:])
