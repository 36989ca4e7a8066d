import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thinlens.errors import ShapeError
from thinlens.image import colour


def test_luma_weights():
    primaries = np.eye(3, dtype=np.float32)[None]
    np.testing.assert_allclose(colour.luma(primaries)[0], [0.299, 0.587, 0.114], rtol=1e-6)
    assert colour.luma(primaries).dtype == np.float32


def test_ycbcr_there_and_back():
    rgb = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    ycbcr = colour.to_ycbcr(rgb)
    assert ycbcr.dtype == np.float32
    np.testing.assert_array_equal(ycbcr[..., 0], colour.luma(rgb))
    assert ycbcr.min() >= 0
    assert ycbcr.max() <= 1
    np.testing.assert_allclose(colour.from_ycbcr(ycbcr), rgb, atol=1e-6)


def test_primaries_reach_the_ends_of_chroma():
    ycbcr = colour.to_ycbcr(np.eye(3)[None])[0]
    assert ycbcr[2, 1] == pytest.approx(1.0)
    assert ycbcr[0, 2] == pytest.approx(1.0)
    gray = colour.to_ycbcr(np.full((1, 1, 3), 0.3))[0, 0]
    np.testing.assert_allclose(gray, [0.3, 0.5, 0.5], atol=1e-12)


def test_gray_is_pillows():
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(steps, steps, np.arange(256, dtype=np.uint8)), axis=-1).reshape(-1, 256, 3)
    np.testing.assert_array_equal(colour.gray_uint8(rgb), np.asarray(Image.fromarray(rgb).convert("L")))


def test_studio_luma_runs_from_16_to_235():
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(colour.studio_luma(corners)[0], [16, 235, 81.481])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_survive_float(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1)
    floats = colour.to_float32(values)
    assert floats.dtype == np.float32
    assert (floats[0, 0], floats[0, -1]) == (0, 1)
    np.testing.assert_array_equal(colour.from_float32(floats, dtype), values)


def test_floats_are_clamped_and_rounded():
    floats = np.array([[-0.5, 0.0019, 0.0020, 0.5, 1.5]], np.float32)
    assert colour.from_float32(floats, np.uint8).tolist() == [[0, 0, 1, 128, 255]]
    np.testing.assert_array_equal(colour.from_float32(floats, np.float32)[0, [0, 4]], [0, 1])
    assert floats[0, 0] == -0.5
    assert colour.to_float32(floats) is floats


def test_other_dtypes_are_refused():
    with pytest.raises(ShapeError, match="`float64`"):
        colour.to_float32(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="`int32`"):
        colour.from_float32(np.zeros((2, 2), np.float32), np.int32)
    with pytest.raises(ShapeError, match="H W 3"):
        colour.luma(np.zeros((2, 2)))


def disc(size, radius):
    y, x = np.mgrid[:size, :size] - size // 2
    return np.where(x * x + y * y <= radius * radius, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bleed_spreads_the_visible_colour(dtype):
    alpha = disc(41, 8)
    image = np.where(alpha[..., None] > 0, np.array([200, 100, 50]), 0).astype(dtype)
    filled = colour.bleed(image, alpha, reach=6)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(
        filled[disc(41, 14) > 0], np.broadcast_to([200, 100, 50], ((disc(41, 14) > 0).sum(), 3))
    )
    assert not filled[0].any()
    assert not image[alpha == 0].any()


def test_bleed_takes_the_nearest_colour():
    image = np.zeros((5, 9), np.uint8)
    image[:, 0], image[:, 8] = 40, 240
    filled = colour.bleed(image, np.where(image > 0, 255, 0))
    assert filled[2].tolist() == [40, 40, 40, 40, 140, 240, 240, 240, 240]


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_bleed_does_not_depend_on_its_bands(height, width, rows, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    alpha = (rng.random((height, width)) > 0.9).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        whole = colour.bleed(image, alpha, reach=3)
        patch.setattr(colour, "BAND_ROWS", rows)
        np.testing.assert_array_equal(colour.bleed(image, alpha, reach=3), whole)
    np.testing.assert_array_equal(whole[alpha > 0], image[alpha > 0])


def test_bleed_without_visible_pixels_changes_nothing():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(colour.bleed(image, np.zeros((3, 4))), image)
    with pytest.raises(ShapeError, match="sizes must be equal"):
        colour.bleed(image, np.zeros((4, 3)))
