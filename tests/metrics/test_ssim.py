import numpy as np
import pytest

from thinlens.errors import ShapeError
from thinlens.metrics.ssim import ssim


def slow_ssim(x, y):
    """Window by window, by the definition."""
    d = np.arange(11) - 5
    window = np.exp(-(d[:, None] ** 2 + d[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            cov = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return np.mean(values)


@pytest.mark.parametrize("shape", [(11, 11), (17, 13), (24, 24)])
def test_equals_the_slow_definition(shape):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, shape)
    y = np.clip(x + rng.normal(0, 40, shape), 0, 255)
    assert ssim(x, y) == pytest.approx(slow_ssim(x, y), abs=1e-10)


def test_equal_and_opposite_images():
    x = np.random.default_rng(1).integers(0, 256, (20, 20)).astype(np.uint8)
    assert ssim(x, x) == pytest.approx(1)
    assert ssim(255 - x, x) < 0


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.zeros((10, 30)), np.zeros((10, 30)), "30x10 pixels; at least 11x11"),
        (np.zeros((20, 20)), np.zeros((20, 21)), "two equal"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), "`H W`"),
    ],
)
def test_what_is_refused(x, y, match):
    with pytest.raises(ShapeError, match=match):
        ssim(x, y)
