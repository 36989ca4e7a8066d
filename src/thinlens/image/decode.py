"""Bytes of an image file -> `ImageFile`: closed list of formats, told by content, size checked before decoding.

Pillow decodes 8 bits a sample. It would read deeper colour as 8 bits without a word, so 16-bit PNG goes through libvips
(imported only then), 16-bit PPM through NumPy, and every other depth is refused. TIFF goes through libvips too: in
Pillow's hands libtiff prints its complaints straight to stderr.
"""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import (
    ImageFile as PillowFile,
)

from thinlens.errors import ImageError
from thinlens.image import exif as exif_block
from thinlens.image import vips
from thinlens.image.formats import ImageFile, format_of_content, ppm_header, webp_header
from thinlens.image.tiff import read_header

AnyImage = npt.NDArray[Any]

# Named one by one: `Image.open` would try plugins in turn, and its own pixel cap is a global of the process.
OPENERS: dict[str, type[PillowFile.ImageFile]] = {
    "png": PngImagePlugin.PngImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "ppm": PpmImagePlugin.PpmImageFile,
}

# Pillow's mode -> the mode whose samples are kept. Palettes and CMYK are looked at first.
MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "PA": "RGBA",
}

HEAD_BYTES = 4096

# Huffman coding spends at least one bit on a block of 8x8 samples; libjpeg makes up missing ones without a word.
JPEG_PIXELS_A_BYTE = 8 * 64

# Python's warning filters belong to the whole process, so two threads must not silence Pillow at once.
_SILENCE = threading.Lock()


@contextlib.contextmanager
def reporting(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one `ImageError`, and keep its warnings quiet."""
    try:
        with _SILENCE, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError as error:
        raise type(error)(f"`{name}`: {error}") from error
    except Exception as error:
        text = getattr(error, "detail", "") or str(error)  # libvips keeps its reasons in `detail`
        reason = (text.strip().splitlines() or [type(error).__name__])[0]
        raise ImageError(
            f"`{name}`: cannot be decoded ({reason}): damaged, truncated or of a rare kind; get an intact copy"
        ) from error


def decode(file: BinaryIO, name: str, max_pixels: int) -> ImageFile:
    """Decode an image.

    Args:
        file: the open file, at its start, seekable.
        name: what to call it in messages.
        max_pixels: largest height x width that may be decoded.

    Returns:
        The image, upright.

    Raises:
        ImageError: not an image of the accepted formats, damaged, too large, or of a kind that would lose
        something.
    """
    with reporting(name):
        format_name, head = identify(file)
        if format_name == "tiff":
            return _decode_tiff(file, max_pixels)
        if format_name == "ppm" and (header := ppm_header(head)) and header[3] > 255:
            check_size(header[2], header[1], 1, max_pixels)
            return ImageFile(_decode_deep_ppm(file, header), "ppm")
        if format_name == "webp":
            width, height, animated = webp_header(head)
            check_size(height, width, 1 + animated, max_pixels)
        with OPENERS[format_name](file) as image:
            check_size(image.height, image.width, getattr(image, "n_frames", 1), max_pixels)
            if format_name == "jpeg" and image.height * image.width > JPEG_PIXELS_A_BYTE * _size_of(file):
                raise ValueError(f"the file is too short for {image.width}x{image.height}")
            return _decode_plain(file, image, format_name, head)


def _size_of(file: BinaryIO) -> int:
    """Bytes of an open file, whose position is kept."""
    at = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(at)
    return size


def identify(file: BinaryIO) -> tuple[str, bytes]:
    """Name the format of a file and return its first bytes; the file is at its start again.

    Raises:
        ImageError: if it is of no accepted format.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    format_name = format_of_content(head)
    if format_name is None:
        found = "not an image of a known format" if head else "an empty file"
        raise ImageError(f"{found}; accepted PNG, JPEG, TIFF, WebP, BMP and PPM")
    return format_name, head


def check_size(height: int, width: int, frames: int, max_pixels: int) -> None:
    """Refuse images of more than ``max_pixels``, of none, and of several frames; raises ImageError."""
    if width * height > max_pixels:
        raise ImageError(
            f"{width}x{height} is {width * height} pixels, the cap is {max_pixels}; "
            "raise it with `--max-pixels` if the file is to be trusted"
        )
    if width * height == 0:
        raise ImageError(f"the image has no pixels ({width}x{height}); get an intact copy")
    if frames != 1:
        raise ImageError("more than one frame or page; accepted one; split the file first")


def _decode_tiff(file: BinaryIO, max_pixels: int) -> ImageFile:
    header = read_header(file)
    check_size(header.height, header.width, header.pages, max_pixels)
    image = vips.load(file, "tiff")
    pixels, icc = vips.load_pixels(image), header.icc
    if image.interpretation == "cmyk":
        pixels, icc = np.asarray(_from_cmyk(Image.fromarray(pixels, "CMYK"), icc)), None
    return ImageFile(exif_block.turn(pixels, header.orientation), "tiff", icc, header.exif, header.dpi)


def _decode_plain(file: BinaryIO, image: PillowFile.ImageFile, format_name: str, head: bytes) -> ImageFile:
    """Decode any other opened image, whose size is fine, and collect what its file says about it."""
    bits = head[24] if format_name == "png" else 8
    if bits == 16:
        pixels = vips.load_pixels(vips.load(file, format_name))
        icc = image.info.get("icc_profile")
    else:
        image.load()
        pixels, icc = _decode_shallow(image, bits)
    orientation, described = _describe(image, format_name, pixels)
    return replace(described, pixels=exif_block.turn(pixels, orientation), icc=icc or None)


def _describe(image: PillowFile.ImageFile, format_name: str, pixels: AnyImage) -> tuple[int, ImageFile]:
    """The EXIF orientation of an opened image, and what else its file says, with ``pixels``."""
    orientation, block = 1, _read_exif(image)
    if block:
        orientation, block = exif_block.upright(block)
    dpi = image.info.get("dpi")
    return orientation, ImageFile(
        pixels=pixels,
        format=format_name,
        icc=image.info.get("icc_profile") or None,
        exif=block,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        table=_read_table(image),
    )


@dataclass(frozen=True)
class Described:
    """A PNG or JPEG whose pixels have not been read.

    Attributes:
        image: what it says, with no rows of pixels.
        orientation: EXIF value, 1 upright.
        passes: whether it is interlaced or progressive.
        cmyk: whether its samples are CMYK.
    """

    image: ImageFile
    orientation: int
    passes: bool
    cmyk: bool


def describe(file: BinaryIO, format_name: str, none: AnyImage) -> Described:
    """Read what a PNG or JPEG says beside its pixels; ``none`` is no rows of them."""
    file.seek(0)
    with OPENERS[format_name](file) as image:
        orientation, described = _describe(image, format_name, none)
        passes = any(image.info.get(key) for key in ("interlace", "progressive"))
        return Described(described, orientation, passes, image.mode == "CMYK")


def _decode_deep_ppm(file: BinaryIO, header: tuple[int, int, int, int, int]) -> AnyImage:
    """Decode binary PPM or PGM with two bytes a sample, scaled to the full 16-bit range."""
    kind, width, height, largest, start = header
    if kind not in (5, 6):
        raise ImageError("plain-text PPM of more than 8 bits; accepted binary PPM; convert the file first")
    if largest > 65535:
        raise ValueError(f"largest value {largest}")
    channels = 1 if kind == 5 else 3
    file.seek(start)
    data = file.read(2 * width * height * channels)
    if len(data) < 2 * width * height * channels:
        raise ValueError("image file is truncated")
    samples: AnyImage = np.frombuffer(data, ">u2").reshape((height, width) if kind == 5 else (height, width, 3))
    if largest < 65535:
        samples = np.rint(np.minimum(samples, largest) * (65535 / largest))
    return samples.astype(np.uint16)


def kept_mode(image: Image.Image) -> str:
    """Name the mode, ``L``, ``LA``, ``RGB`` or ``RGBA``, that an opened 8-bit image is brought to.

    Raises:
        ImageError: if its samples are of another kind.
    """
    transparent = "transparency" in image.info
    if image.mode in ("CMYK", "P"):
        return "RGBA" if transparent and image.mode == "P" else "RGB"
    if image.mode not in MODES:
        raise ImageError(f"samples of kind `{image.mode}`; accepted gray, RGB, palettes, CMYK; convert first")
    target = MODES[image.mode]
    return {"L": "LA", "RGB": "RGBA"}.get(target, target) if transparent else target


def _decode_shallow(image: Image.Image, bits: int) -> tuple[AnyImage, bytes | None]:
    """Bring a loaded 8-bit image to gray, gray + alpha, RGB or RGBA; return it with the profile that still fits."""
    icc, target = image.info.get("icc_profile"), kept_mode(image)
    if image.mode == "CMYK":
        return np.asarray(_from_cmyk(image, icc)), None
    if target in ("LA", "RGBA") and MODES.get(image.mode) in ("L", "RGB") and bits in (2, 4):
        # Pillow scales such samples to 8 bits, but not the value that is transparent
        image.info["transparency"] *= 255 // ((1 << bits) - 1)
    return np.asarray(image if image.mode == target else image.convert(target)), icc


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK to RGB: to sRGB through its own profile, or by the plain formula where it has none that works."""
    if icc:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _read_table(image: PillowFile.ImageFile) -> tuple[int, ...] | None:
    """The quantisation steps of a JPEG's first component, if the file holds them."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or not image.layer:
        return None
    table = image.quantization.get(image.layer[0][3])
    return None if table is None or len(table) != 64 else tuple(int(step) for step in table)


def _read_exif(image: PillowFile.ImageFile) -> bytes | None:
    if "Raw profile type exif" in image.info:  # PNG files written before the eXIf chunk existed
        return exif_block.bare(image.getexif().tobytes())
    return exif_block.bare(image.info.get("exif"))
