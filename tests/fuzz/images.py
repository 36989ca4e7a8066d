"""Mutated image files: read, restored, written and read again."""

import io
from functools import cache

import numpy as np
import pyvips
from PIL import Image

from tests.conftest import template_matching_model
from tests.fidelity.inputs import gray_scene, iter_cases, scene
from tests.fuzz.mutate import mutated
from thinlens.errors import ImageError
from thinlens.image.files import read_header, read_image, write_image
from thinlens.image.formats import ImageFile, check_format, count_channels
from thinlens.runtime.session import Session

SCALE = 2
MAX_PIXELS = 500_000_000 // SCALE**2  # what `thinlens restore` accepts unless told otherwise
RESTORED_PIXELS = 40_000  # larger pictures, which no mutation makes on purpose, are only decoded

VIPS_TIFFS = (
    {"tile": True, "tile_width": 16, "tile_height": 16, "compression": "lzw"},
    {"compression": "jpeg"},
    {"compression": "packbits", "bigtiff": True},
    {"compression": "deflate", "predictor": "horizontal"},
)
PILLOW_FILES = (
    ("jpeg", {"progressive": True}, "RGB"),
    ("jpeg", {"quality": 40, "subsampling": 2, "restart_marker_rows": 1}, "RGB"),
    ("webp", {"quality": 60}, "RGB"),
    ("webp", {"quality": 60}, "RGBA"),
    ("bmp", {}, "RGB"),
    ("bmp", {}, "P"),
    ("bmp", {}, "1"),
    ("ppm", {}, "RGB"),
    ("ppm", {}, "L"),
    ("ppm", {}, "1"),
    ("tiff", {"compression": "group4"}, "1"),
    ("tiff", {}, "CMYK"),
    ("tiff", {"compression": "tiff_lzw"}, "RGBA"),
    ("png", {"bits": 4}, "P"),
    ("png", {}, "1"),
)


@cache
def seeds() -> list[bytes]:
    """Sound files of every kind."""
    files = [case.data for case in iter_cases() if case.orientation in (1, 6)]
    picture = Image.fromarray(np.rint(scene() * 255).astype(np.uint8))
    for format, options, mode in PILLOW_FILES:
        file = io.BytesIO()
        (picture.quantize(8) if mode == "P" else picture.convert(mode)).save(file, format, **options)
        files.append(file.getvalue())
    vips = pyvips.Image.new_from_array(np.asarray(picture)).copy(interpretation="srgb")
    files += [vips.tiffsave_buffer(**options) for options in VIPS_TIFFS]
    files.append(vips.pngsave_buffer(interlace=True))
    deep = np.rint(gray_scene() * 1023).astype(">u2")
    files.append(b"P5 40 30 1023\n" + deep.tobytes())
    files.append(b"P2\n# text\n3 2\n255\n" + b"1 2 3 4 5 255\n")
    return files


@cache
def session() -> Session:
    return Session(template_matching_model(SCALE), threads=1)


def make(rng) -> bytes:
    """A broken file."""
    files = seeds()
    data, other = (files[int(rng.integers(len(files)))] for _ in range(2))
    return mutated(data, rng, other)


def put_through(data: bytes, folder, rng) -> None:
    """Restore a file as `thinlens restore` does; raises ThinlensError, or AssertionError if a result is wrong."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(data)
    image = read_image(source, max_pixels=MAX_PIXELS)
    check_sound(image)
    height, width = image.pixels.shape[:2]
    check_header(source, image)
    check_format(image.format, SCALE * height, SCALE * width, count_channels(image.pixels), image.pixels.dtype)
    if height * width > RESTORED_PIXELS:
        return
    restored = session().run(image.pixels)
    assert restored.shape == (SCALE * height, SCALE * width, *image.pixels.shape[2:]), restored.shape
    assert restored.dtype == image.pixels.dtype
    result = ImageFile(restored, image.format, image.icc, image.exif, image.dpi)
    write_image(target, result, format=image.format, overwrite=True)
    try:
        again = read_image(target, max_pixels=MAX_PIXELS)
    except ImageError as error:
        raise AssertionError(f"what was written cannot be read: {error}") from error
    check_written(result, again)


def check_sound(image: ImageFile) -> None:
    pixels = image.pixels
    assert pixels.dtype in (np.uint8, np.uint16), pixels.dtype
    assert pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4)), pixels.shape
    assert pixels.size > 0
    assert pixels.flags.c_contiguous


def check_header(path, image: ImageFile) -> None:
    """What can be decoded announces what it is, too."""
    try:
        header = read_header(path)
    except ImageError as error:
        raise AssertionError(f"it can be read, but not its header: {error}") from error
    found = (header.format, header.height, header.width, header.channels, header.dtype)
    pixels = image.pixels
    assert found == (image.format, *pixels.shape[:2], count_channels(pixels), pixels.dtype), found


def check_written(result: ImageFile, again: ImageFile) -> None:
    """The file that was written holds the picture, and what goes with it."""
    assert again.format == result.format
    assert again.pixels.shape[:2] == result.pixels.shape[:2]
    assert again.pixels.dtype == result.pixels.dtype
    if result.format not in ("jpeg", "webp"):
        assert np.array_equal(again.pixels, result.pixels), "other pixels"
    if result.format != "bmp" and result.format != "ppm":
        assert again.icc == result.icc or result.format == "webp", "another profile"
