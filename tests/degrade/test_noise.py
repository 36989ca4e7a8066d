import numpy as np
import pytest

from tests.image.pictures import picture
from thinlens.degrade import DEGRADATIONS
from thinlens.degrade.noise import gaussian_noise
from thinlens.errors import ShapeError

GRAY = np.full((64, 48, 3), 128, np.uint8)


def test_the_table_names_it():
    assert DEGRADATIONS["noise"] is gaussian_noise


@pytest.mark.parametrize("sigma", [5, 25, 50])
def test_mean_and_deviation(sigma):
    noise = (gaussian_noise(GRAY, sigma, seed=0).astype(np.float64) - 128 / 255) * 255
    assert noise.std() == pytest.approx(sigma, rel=0.03)
    assert abs(noise.mean()) < sigma * 0.04
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.05


def test_the_noise_of_published_figures():
    """Legacy generator, seed 0, order H W C: its first values are known by heart."""
    lq = gaussian_noise(np.zeros((1, 2, 2), np.uint8), 255, seed=0)
    np.testing.assert_allclose(lq.ravel(), [1.76405235, 0.40015721, 0.97873798, 2.2408932], rtol=1e-6)


def test_neither_clipped_nor_rounded_unless_asked():
    hq = np.array([[0, 255] * 50] * 100, np.uint8)
    lq = gaussian_noise(hq, 25, seed=3)
    assert lq.dtype == np.float32
    assert lq.min() < -0.2
    assert lq.max() > 1.2
    rounded = gaussian_noise(hq, 25, seed=3, rounded=True)
    assert rounded.dtype == np.uint8
    np.testing.assert_array_equal(rounded, np.rint(lq.clip(0, 1) * 255))


def test_seeds():
    hq = picture(9, 8, 1)
    np.testing.assert_array_equal(gaussian_noise(hq, 25, seed=7), gaussian_noise(hq, 25, seed=7))
    assert (gaussian_noise(hq, 25, seed=7) != gaussian_noise(hq, 25, seed=8)).all()
    generator = np.random.default_rng(7)
    first, second = (gaussian_noise(hq, 25, seed=generator) for _ in range(2))
    assert (first != second).all()


def test_a_blind_range_gives_one_sigma_an_image():
    generator = np.random.default_rng(0)
    flat = GRAY / np.float32(255)
    found = [float((gaussian_noise(flat, (10.0, 50.0), seed=generator) - flat).std() * 255) for _ in range(60)]
    assert 9.5 < min(found) < 15
    assert 45 < max(found) < 51
    assert np.mean(found) == pytest.approx(30, abs=5)


def test_no_noise():
    hq = picture(5, 4, 3)
    np.testing.assert_array_equal(gaussian_noise(hq, 0, seed=0, rounded=True), hq)


@pytest.mark.parametrize("sigma", [-1, 256, float("nan"), (30.0, 20.0), (-1.0, 5.0)])
def test_sigma_out_of_range(sigma):
    with pytest.raises(ShapeError, match=r"`sigma`: got .*; accepted 0 to 255, in 8-bit units"):
        gaussian_noise(GRAY, sigma, seed=0)


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_seed_out_of_range(seed):
    with pytest.raises(ShapeError, match=f"`seed`: got {seed}; accepted 0 to 4294967295"):
        gaussian_noise(GRAY, 1, seed=seed)


def test_dtype():
    with pytest.raises(ShapeError, match="`float64`"):
        gaussian_noise(np.zeros((2, 2)), 1, seed=0)
