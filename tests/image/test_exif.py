import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.image.pictures import picture
from thinlens.image import exif


def block(orientation=1, **tags):
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010F] = tags.get("make", "Maker")
    made[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    return exif.bare(made.tobytes())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_equals_pillow(orientation):
    pixels = picture(4, 6, 3)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(exif.turn(pixels, orientation), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_the_orientation_changes(order):
    made = Image.Exif()
    made.endian = order
    made[0x010F], made[0x0112] = "Maker of things", 8
    before = exif.bare(made.tobytes())
    orientation, after = exif.upright(before)
    assert orientation == 8
    assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [(8, 1)]
    assert exif.upright(after) == (1, after)


def test_damaged_blocks_turn_nothing():
    whole = block(6)
    for cut in range(4, len(whole)):
        orientation, kept = exif.upright(whole[:cut])
        assert orientation in (1, 6)
        assert len(kept) == cut
    assert exif.upright(block(77))[0] == 1
    assert exif.upright(b"II*\0\xff\xff\xff\xff")[0] == 1


def test_what_is_no_block():
    assert exif.bare(None) is None
    assert exif.bare(b"Exif\0\0garbage") is None
    assert exif.bare(b"Exif\0\0II*\0") == b"II*\0"


def test_tags_there_and_back():
    tags = exif.to_tags(block(6, make="Someone"))
    assert tags[0x010F] == "Someone"
    assert tags[0x8769][0x9003] == "2020:01:02 03:04:05"
    assert 0x0112 not in tags
    assert exif.to_tags(exif.from_tags(tags | {256: 99})) == tags
    assert exif.from_tags({256: 99}) is None
