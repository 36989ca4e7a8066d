import math

import numpy as np
import pytest

from thinlens.errors import ShapeError
from thinlens.metrics.psnr import psnr_db


def test_known_values():
    black = np.zeros((4, 6), np.uint8)
    assert psnr_db(np.full((4, 6), 255, np.uint8), black) == pytest.approx(0)
    assert psnr_db(np.ones((4, 6), np.uint8), black) == pytest.approx(48.130803, abs=1e-6)
    assert psnr_db(np.full((4, 6), 0.1), np.zeros((4, 6)), peak=1.0) == pytest.approx(20)


def test_bytes_do_not_wrap():
    a, b = np.array([[250]], np.uint8), np.array([[255]], np.uint8)
    assert psnr_db(a, b) == psnr_db(b, a) == pytest.approx(20 * math.log10(255 / 5))


def test_equal_images():
    assert psnr_db(np.ones((2, 2)), np.ones((2, 2))) == math.inf


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((2, 2), (2, 2, 1)), ((0, 3), (0, 3))])
def test_what_is_refused(shapes):
    with pytest.raises(ShapeError, match="equal and not empty"):
        psnr_db(np.zeros(shapes[0]), np.zeros(shapes[1]))
