import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinlens.errors import ShapeError
from thinlens.image.resample import Resampler, create_taps, resize, resize_uint8


def keys_cubic(d):
    d = abs(d)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def mirrored(i, size):
    while not 0 <= i < size:
        i = -1 - i if i < 0 else 2 * size - 1 - i
    return i


def slow_line(line, out_size):
    """One axis by the definition: every input position within reach, in float64."""
    size = len(line)
    ratio = out_size / size
    shrink = min(1.0, ratio)
    result = []
    for x in range(out_size):
        u = (x + 0.5) / ratio - 0.5
        reach = int(2 / shrink) + 2
        positions = range(int(np.floor(u)) - reach, int(np.floor(u)) + reach + 1)
        weights = [keys_cubic(shrink * (u - i)) for i in positions]
        total = sum(w * line[mirrored(i, size)] for w, i in zip(weights, positions, strict=True))
        result.append(total / sum(weights))
    return np.array(result)


def slow_resize(image, height, width):
    tall = np.stack([slow_line(column, height) for column in image.T], axis=1)
    return np.stack([slow_line(row, width) for row in tall])


def pattern(height, width):
    y, x = np.mgrid[:height, :width]
    return (x * 37 + y * 91 + x * y * 13) % 256 / 255.0


@pytest.mark.parametrize(
    ("height", "width"), [(48, 48), (72, 36), (12, 12), (8, 8), (6, 6), (3, 3), (31, 17), (1, 1), (24, 5), (100, 23)]
)
def test_equals_the_slow_definition(height, width):
    image = pattern(24, 24)
    np.testing.assert_allclose(resize(image, height, width), slow_resize(image, height, width), atol=1e-12)


@given(st.tuples(*[st.integers(1, 13)] * 4))
@settings(max_examples=40, deadline=None)
def test_any_size_equals_the_slow_definition(sizes):
    image = pattern(*sizes[:2])
    np.testing.assert_allclose(resize(image, *sizes[2:]), slow_resize(image, *sizes[2:]), atol=1e-11)


def test_doubling_uses_the_published_taps():
    taps = create_taps(16, 32)
    inside = {tuple(w[w != 0]) for w in taps.weight[4:-4]}
    assert inside == {
        (-0.0234375, 0.2265625, 0.8671875, -0.0703125),
        (-0.0703125, 0.8671875, 0.2265625, -0.0234375),
    }


def test_tripling_keeps_the_middle_pixels():
    image = pattern(7, 5)
    np.testing.assert_allclose(resize(image, 21, 15)[1::3, 1::3], image, atol=1e-12)


@given(st.tuples(*[st.integers(1, 40)] * 4), st.sampled_from([None, 1, 2, 3]), st.sampled_from(["f4", "f8"]), st.data())
@settings(max_examples=60, deadline=None)
def test_a_band_equals_the_whole_bit_for_bit(sizes, channels, dtype, data):
    in_height, in_width, out_height, out_width = sizes
    shape = (in_height, in_width) if channels is None else (in_height, in_width, channels)
    image = np.random.default_rng(1).random(shape).astype(dtype)
    whole = resize(image, out_height, out_width)
    assert whole.dtype == image.dtype
    resampler = Resampler(in_height, in_width, out_height, out_width)
    start = data.draw(st.integers(0, out_height - 1))
    stop = data.draw(st.integers(start + 1, out_height))
    first, last = resampler.input_rows(start, stop)
    np.testing.assert_array_equal(resampler.rows(image[first:last], first, start, stop), whole[start:stop])


def test_wide_rows_are_cut_into_blocks_that_change_nothing():
    image = np.random.default_rng(2).random((9, 20_000)).astype(np.float32)
    whole = resize(image, 18, 40_000)
    np.testing.assert_array_equal(whole[:, :1000], resize(image, 18, 40_000)[:, :1000])
    resampler = Resampler(9, 20_000, 18, 40_000)
    rows = [resampler.rows(image, 0, y, y + 1) for y in range(18)]
    np.testing.assert_array_equal(np.concatenate(rows), whole)


def test_same_size_changes_nothing():
    image = pattern(9, 7).astype(np.float32)
    np.testing.assert_array_equal(resize(image, 9, 7), image)


@pytest.mark.parametrize("size", [1, 3, 50, 200])
def test_flat_stays_flat(size):
    np.testing.assert_allclose(resize(np.full((20, 20), 0.7), size, size), 0.7, atol=1e-12)


def test_bytes_are_rounded_half_up_and_clamped():
    assert resize_uint8(np.array([[0, 1]], np.uint8), 1, 1).tolist() == [[1]]
    step = np.repeat(np.array([[0, 0, 0, 255, 255, 255]], np.uint8), 4, axis=0)
    up = resize_uint8(step, 8, 12)
    assert up.min() == 0
    assert up.max() == 255
    exact = np.floor(resize(step.astype(np.float64), 8, 12) + 0.5)
    assert exact.min() < 0
    np.testing.assert_array_equal(up, exact.clip(0, 255))


def test_missing_rows_are_named():
    resampler = Resampler(8, 8, 16, 16)
    first, last = resampler.input_rows(6, 9)
    band = np.zeros((last - first - 1, 8))
    with pytest.raises(ShapeError, match=rf"needed \[{first}, {last}\)"):
        resampler.rows(band, first, 6, 9)
    with pytest.raises(ShapeError, match="got output rows"):
        resampler.input_rows(9, 17)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (np.zeros((4, 4), np.uint8), "`uint8`"),
        (np.zeros((0, 4)), "at least 1"),
        (np.zeros(4), "H W"),
        (np.zeros((2, 2, 2, 2)), "H W"),
    ],
)
def test_other_arrays_are_refused(image, match):
    with pytest.raises(ShapeError, match=match):
        resize(image, 8, 8)


def test_a_band_of_another_width_is_refused():
    with pytest.raises(ShapeError, match="`H 8`"):
        Resampler(8, 8, 16, 16).rows(np.zeros((8, 9)), 0, 0, 16)
    with pytest.raises(ShapeError, match="`uint8`"):
        resize_uint8(np.zeros((8, 9)), 4, 4)
