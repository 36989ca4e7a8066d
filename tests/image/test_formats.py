from pathlib import Path

import numpy as np
import pytest

from tests.image.pictures import encoded, picture
from thinlens.errors import ImageError, UnknownNameError
from thinlens.image.formats import FORMATS, check_format, format_of_content, format_of_suffix, ppm_header, webp_header


@pytest.mark.parametrize("name", FORMATS)
def test_content_tells_the_format(name):
    assert format_of_content(encoded(picture(3, 5, 3), name)[:12]) == name


@pytest.mark.parametrize("head", [b"", b"GIF89a      ", b"\x89PN", b"%PDF-1.7", b"P7\nWIDTH", b"RIFF0000WAVE"])
def test_other_content_is_no_image(head):
    assert format_of_content(head) is None


def test_suffixes():
    assert [format_of_suffix(Path(name)) for name in ("a.JPG", "a.jpeg", "a.tif", "a.pgm", "a.txt", "png")] == [
        "jpeg",
        "jpeg",
        "tiff",
        "ppm",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (("webp", 16384, 10, 3, np.uint8), "1 to 16383"),
        (("jpeg", 10, 65501, 3, np.uint8), "1 to 65500"),
        (("jpeg", 10, 10, 4, np.uint8), "RGB with alpha"),
        (("jpeg", 10, 10, 2, np.uint8), "gray with alpha"),
        (("bmp", 10, 10, 4, np.uint8), "bmp cannot hold RGB with alpha"),
        (("ppm", 10, 10, 2, np.uint8), "gray with alpha"),
        (("jpeg", 10, 10, 3, np.uint16), "8 bits a sample"),
        (("webp", 10, 10, 3, np.uint16), "write png, tiff or ppm"),
        (("bmp", 10, 10, 1, np.uint16), "8 bits a sample"),
        (("bmp", 40000, 40000, 3, np.uint8), "4 GiB"),
        (("png", 10, 10, 3, np.float32), "`float32`"),
        (("png", 10, 10, 5, np.uint8), "5 channels"),
        (("png", 0, 10, 3, np.uint8), "10x0"),
    ],
)
def test_what_a_format_cannot_hold(image, match):
    with pytest.raises(ImageError, match=match):
        check_format(*image)


def test_unknown_formats_list_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean `jpeg`"):
        check_format("jpg", 10, 10, 3, np.uint8)


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"quality": 50}, {"lossless": True, "exif": b"II*\0\x08\0\0\0\0\0"}]
)
def test_webp_header(options):
    assert webp_header(encoded(picture(7, 300, 3), "webp", **options)[:30]) == (300, 7, False)


def test_webp_header_with_alpha_and_animation():
    first, second = picture(9, 4, 4), picture(9, 4, 4, seed=1)
    assert webp_header(encoded(first, "webp", quality=50)[:30]) == (4, 9, False)
    from PIL import Image

    animated = encoded(first, "webp", save_all=True, append_images=[Image.fromarray(second)])
    assert webp_header(animated[:30]) == (4, 9, True)
    with pytest.raises(ValueError, match="damaged WebP"):
        webp_header(b"RIFF\0\0\0\0WEBPVP8 ")


def test_ppm_header():
    assert ppm_header(b"P6\n# made by hand\n3 4 # more\n65535\n") == (6, 3, 4, 65535, 35)
    assert ppm_header(b"P4\n3 4\n") is None
    assert ppm_header(b"P5 3") is None
