import numpy as np
import pytest

from tests.image.test_resample import pattern, slow_resize
from thinlens.degrade import DEGRADATIONS
from thinlens.degrade.bicubic import SCALES, bicubic_down, crop_to_multiple
from thinlens.errors import ShapeError


def test_the_table_names_it():
    assert DEGRADATIONS["bicubic"] is bicubic_down


@pytest.mark.parametrize("scale", SCALES)
def test_equals_the_slow_definition_rounded(scale):
    hq = (pattern(24, 24) * 255).astype(np.uint8)
    expected = np.floor(slow_resize(hq.astype(np.float64), 24 // scale, 24 // scale) + 0.5).clip(0, 255)
    lq = bicubic_down(hq, scale)
    assert lq.dtype == np.uint8
    np.testing.assert_array_equal(lq, expected)


def test_golden():
    hq = (pattern(24, 24) * 255).astype(np.uint8)
    assert bicubic_down(hq, 8).tolist() == [[131, 136, 128], [123, 115, 133], [120, 118, 120]]


@pytest.mark.parametrize("scale", SCALES)
def test_crops_at_the_bottom_and_the_right(scale):
    hq = np.arange(29 * 31 * 3, dtype=np.uint8).reshape(29, 31, 3)
    cropped = crop_to_multiple(hq, scale)
    assert cropped.shape == (29 - 29 % scale, 31 - 31 % scale, 3)
    np.testing.assert_array_equal(bicubic_down(hq, scale), bicubic_down(np.ascontiguousarray(cropped), scale))
    assert bicubic_down(hq, scale).shape == (29 // scale, 31 // scale, 3)


def test_what_is_refused():
    with pytest.raises(ShapeError, match="got 5; accepted 2, 3, 4, 8"):
        bicubic_down(np.zeros((9, 9), np.uint8), 5)
    with pytest.raises(ShapeError, match="9x7 pixels are too few to shrink by 8"):
        bicubic_down(np.zeros((7, 9), np.uint8), 8)
    with pytest.raises(ShapeError, match="`float32`"):
        bicubic_down(np.zeros((8, 8), np.float32), 2)
