"""Headers say what decoding will return."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.image.pictures import chunk, encoded, picture, plain_tiff, png
from thinlens.errors import ImageError
from thinlens.image.decode import decode
from thinlens.image.files import ImageFile, read_header, read_image, write_image
from thinlens.image.formats import FORMATS, count_channels
from thinlens.image.header import ImageHeader, parse_header


def parse(data):
    return parse_header(io.BytesIO(data), "x")


def as_decoded(data):
    image = decode(io.BytesIO(data), "x", 10_000)
    height, width = image.pixels.shape[:2]
    return ImageHeader(image.format, height, width, count_channels(image.pixels), image.pixels.dtype)


def in_mode(mode, format_name, **options):
    return encoded(Image.fromarray(picture(5, 3, 3)).convert("RGB").convert(mode), format_name, **options)


def turned(format_name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(5, 3, 3), format_name, exif=exif)


PALETTE = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
CLEAR = chunk(b"tRNS", b"\0\1")
FILES = {
    **{f"{mode} png": in_mode(mode, "png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    **{f"{mode} tiff": in_mode(mode, "tiff") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")},
    **{f"{mode} jpeg": in_mode(mode, "jpeg") for mode in ("L", "RGB", "CMYK")},
    **{f"{mode} bmp": in_mode(mode, "bmp") for mode in ("1", "L", "P", "RGB", "RGBA")},
    **{f"{mode} ppm": in_mode(mode, "ppm") for mode in ("1", "L", "RGB")},
    **{f"{mode} webp": in_mode(mode, "webp") for mode in ("L", "RGB", "RGBA")},
    **{f"{mode} lossless webp": in_mode(mode, "webp", lossless=True) for mode in ("RGB", "RGBA")},
    **{f"{name} turned {way}": turned(name, way) for name in ("jpeg", "png", "webp") for way in (3, 6)},
    "tiff turned 6": plain_tiff(picture(5, 3, 3), t274=(3, (6,))),
    "gray png with a clear value": png(8, 2, 2, 0, [[1, 2]] * 2, CLEAR),
    "palette png with a clear colour": png(2, 1, 8, 3, [[1, 0]], PALETTE, chunk(b"tRNS", b"\x80")),
    "deep png with a clear value": png(1, 1, 16, 0, [[1, 2]], CLEAR),
    "deep gray ppm": b"P5 1 2 999\n" + bytes(4),
    "deep ppm": b"P6 1 2 65535\n" + bytes(12),
    "white is zero tiff": plain_tiff(picture(5, 3, 1), t262=(3, (0,))),
    **{
        f"{np.dtype(dtype).name} tiff of {channels}": plain_tiff(picture(5, 3, channels, dtype))
        for channels in (1, 2, 3, 4)
        for dtype in (np.uint8, np.uint16)
    },
    **{
        f"16-bit png of {channels}": png(3, 1, 16, colour, picture(1, 6 * channels, 1))
        for channels, colour in ((1, 0), (2, 4), (3, 2), (4, 6))
    },
}


@pytest.mark.parametrize("name", FILES)
def test_header_is_what_decoding_returns(name):
    assert parse(FILES[name]) == as_decoded(FILES[name])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_header_of_what_we_write(tmp_path, name, channels, dtype):
    if channels not in FORMATS[name].channels or (dtype == np.uint16 and not FORMATS[name].deep):
        return
    write_image(tmp_path / "x", ImageFile(picture(5, 3, channels, dtype), "png"), format=name)
    header, pixels = read_header(tmp_path / "x"), read_image(tmp_path / "x", max_pixels=99).pixels
    found = (header.format, header.height, header.width, header.channels, header.dtype)
    assert found == (name, 5, 3, count_channels(pixels), dtype)


def frames(format_name):
    pictures = [Image.fromarray(picture(2, 2, 3, seed=seed)) for seed in range(2)]
    return encoded(pictures[0], format_name, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "an empty file"),
        (b"text", "not an image of a known format"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
        (b"II*\0\xff\xff\xff\xff", "cannot be decoded"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "damaged WebP header"),
        (png(0, 0, 8, 0, []), "cannot be decoded"),
        (frames("png"), "more than one frame or page"),
        (frames("webp"), "more than one frame or page"),
        (frames("tiff"), "more than one frame or page"),
        (b"P3 1 1 999\n1 2 3", "plain-text PPM"),
        (plain_tiff(np.zeros((2, 2), np.float32), sample_format=3), "float samples of 32 bits"),
        (plain_tiff(picture(2, 2, 3), t262=(7, (2,))), "cannot be decoded"),
        (plain_tiff(picture(2, 2, 1), t262=(3, (3,))), "a palette image without its palette"),
        (plain_tiff(picture(2, 2, 4, np.uint16), t262=(3, (5,)), t338=(3, (0,))), "`cmyk`"),
    ],
)
def test_what_decoding_refuses_is_refused(data, match):
    for read in (parse, as_decoded):
        with pytest.raises(ImageError, match=match):
            read(data)


def test_a_huge_image_costs_nothing(tmp_path):
    for data in (png(1 << 30, 1 << 30, 8, 2, [b"\0"]), b"P6 1073741824 1073741824 255\n"):
        (tmp_path / "x").write_bytes(data)
        header = read_header(tmp_path / "x")
        assert (header.height, header.width, header.channels) == (1 << 30, 1 << 30, 3)


def test_a_huge_webp_costs_nothing():
    data = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes([16, 0, 0, 0]) + b"\xff\xff\xff" * 2
    header = parse(data)
    assert (header.height, header.width, header.channels) == (1 << 24, 1 << 24, 4)
