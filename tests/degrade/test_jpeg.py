import io

import numpy as np
import pytest
from PIL import Image

from tests.image.pictures import picture, smooth
from thinlens.degrade import DEGRADATIONS
from thinlens.degrade.jpeg import SUBSAMPLINGS, jpeg_round_trip
from thinlens.errors import ShapeError
from thinlens.image.colour import to_ycbcr
from thinlens.metrics.psnr import psnr_db


def test_the_table_names_it():
    assert DEGRADATIONS["jpeg"] is jpeg_round_trip


@pytest.mark.parametrize(("value", "quality", "step"), [(100, 10, 10), (77, 10, 10), (201, 20, 5), (90, 50, 2)])
def test_flat_blocks_are_quantised_as_the_standard_says(value, quality, step):
    """The first entry of libjpeg's luma table is 16 at quality 50, and 8 times the mean is divided by it."""
    expected = 128 + step * round((value - 128) / step)
    assert (jpeg_round_trip(np.full((16, 16), value, np.uint8), quality) == expected).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (17, 33), (17, 33, 3), (1, 1, 3)])
def test_shape_and_dtype_are_kept(shape):
    lq = jpeg_round_trip(np.full(shape, 77, np.uint8), 50)
    assert lq.shape == shape
    assert lq.dtype == np.uint8
    assert np.abs(lq.astype(int) - 77).max() <= 3
    lq[0, 0] = 1  # the caller's own


def test_higher_quality_is_closer():
    hq = np.clip(smooth(64, 48) + np.random.default_rng(0).normal(0, 20, (64, 48, 3)), 0, 255).astype(np.uint8)
    found = [psnr_db(jpeg_round_trip(hq, quality), hq) for quality in (1, 10, 50, 90, 100)]
    assert found == sorted(found)
    assert found[-1] - found[0] > 4


def test_gray_is_one_plane_and_colour_is_subsampled():
    """A checkerboard of two colours keeps its luma pattern and loses its chroma pattern under 4:2:0."""
    red, blue = [220, 40, 40], [40, 40, 220]
    hq = np.array([[red, blue] * 16, [blue, red] * 16] * 16, np.uint8)
    spans = {s: np.ptp(to_ycbcr(jpeg_round_trip(hq, 95, subsampling=s) / 255.0)[..., 1]) for s in SUBSAMPLINGS}
    assert spans["4:4:4"] > 0.4
    assert spans["4:2:0"] < 0.1
    np.testing.assert_array_equal(jpeg_round_trip(hq, 95), jpeg_round_trip(hq, 95, subsampling="4:2:0"))
    gray = hq[..., 0].copy()
    np.testing.assert_array_equal(jpeg_round_trip(gray, 95), jpeg_round_trip(gray, 95, subsampling="4:4:4"))


def test_equals_a_file_of_pillow():
    hq = picture(20, 30, 3)
    file = io.BytesIO()
    Image.fromarray(hq).save(file, "jpeg", quality=30)
    with Image.open(file) as image:
        np.testing.assert_array_equal(jpeg_round_trip(hq, 30), np.asarray(image))


def test_what_is_refused():
    hq = picture(8, 8, 3)
    for quality in (0, 101):
        with pytest.raises(ShapeError, match=f"`quality`: got {quality}; accepted 1 to 100"):
            jpeg_round_trip(hq, quality)
    with pytest.raises(ShapeError, match="`subsampling`: got `4:1:1`; accepted 4:4:4, 4:2:2, 4:2:0"):
        jpeg_round_trip(hq, 50, subsampling="4:1:1")
    for bad in (picture(8, 8, 4), picture(8, 8, 1, np.uint16), np.zeros((0, 3), np.uint8), np.zeros(3, np.uint8)):
        with pytest.raises(ShapeError, match="JPEG: got shape"):
            jpeg_round_trip(bad, 50)
