import io

import numpy as np
import pytest
from PIL import Image

from tests.image.pictures import smooth
from thinlens.degrade.estimate import (
    LUMA_TABLE,
    PIXELS,
    SIDE,
    JpegQuality,
    estimate_quality,
    estimate_sigma,
    estimate_sigma_of_bands,
    standard_table,
)
from thinlens.degrade.noise import gaussian_noise


@pytest.mark.parametrize("sigma", [1, 5, 15, 25, 50, 75])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_on_a_smooth_picture_is_found(sigma, channels):
    hq = smooth(220, 260)[..., :channels].squeeze()
    assert estimate_sigma(gaussian_noise(hq, sigma, seed=3)) == pytest.approx(sigma, rel=0.03, abs=0.1)


@pytest.mark.parametrize("sigma", [5, 25, 50])
def test_noise_that_was_clipped_to_8_bits_is_nearly_found(sigma):
    lq = gaussian_noise(smooth(220, 260), sigma, seed=3, rounded=True)
    assert estimate_sigma(lq) == pytest.approx(sigma, rel=0.12)
    assert estimate_sigma(lq.astype(np.uint16) * 257) == pytest.approx(estimate_sigma(lq), rel=1e-5)


def test_edges_are_no_noise():
    """A checkerboard of large squares, whose corners alone the difference sees."""
    hq = np.kron(np.indices((12, 12)).sum(0) % 2, np.ones((21, 23)))
    hq = (hq * 120 + 60).astype(np.uint8)
    assert estimate_sigma(hq) == 0
    assert estimate_sigma(gaussian_noise(hq, 10, seed=0)) == pytest.approx(10, rel=0.05)


def test_noise_is_read_beside_black_bars_and_white_paper():
    noisy = gaussian_noise(smooth(200, 200), 20, seed=0, rounded=True)
    framed = np.pad(noisy, ((150, 150), (0, 0), (0, 0)))
    assert estimate_sigma(framed) == pytest.approx(20, rel=0.12)
    framed[-150:] = 255
    assert estimate_sigma(framed) == pytest.approx(20, rel=0.12)
    assert estimate_sigma(np.zeros((100, 100, 3), np.uint8)) == 0


def test_alpha_is_no_colour():
    noisy = gaussian_noise(smooth(120, 120), 10, seed=0, rounded=True)
    for colour in (noisy[..., 0], noisy):
        found = estimate_sigma(colour)
        assert estimate_sigma(np.dstack((colour, np.full((120, 120), 255, np.uint8)))) == found


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (50, 2, 3)])
def test_too_small_to_tell(shape):
    assert estimate_sigma(np.full(shape, 100, np.uint8)) == 0


@pytest.mark.parametrize("shape", [(3, 400), (400, 3), (17, 90), (60, 40)])
def test_small_images(shape):
    """Too few blocks: the whole image is one."""
    lq = gaussian_noise(np.full(shape, 128, np.uint8), 20, seed=0)
    assert estimate_sigma(lq) == pytest.approx(20, rel=0.15)


def test_large_images_are_read_in_strips():
    """Of three strips one is looked at: noise of the others is not seen."""
    image = np.full((3 * PIXELS // 4000, 4000), 128, np.uint8)
    rows = np.arange(len(image)) % (3 * SIDE)
    image[rows < SIDE + 2] = gaussian_noise(image[rows < SIDE + 2], 10, seed=0, rounded=True)
    assert estimate_sigma(image) == pytest.approx(10, rel=0.05)


def table_of(quality):
    file = io.BytesIO()
    Image.fromarray(smooth(16, 16)).save(file, "jpeg", quality=quality)
    with Image.open(file) as image:
        return image.quantization[0]


@pytest.mark.parametrize("quality", range(1, 101))
def test_every_quality_of_libjpeg_is_read_from_its_table(quality):
    table = table_of(quality)
    np.testing.assert_array_equal(table, standard_table(quality))
    found = estimate_quality(table)
    assert found.standard
    np.testing.assert_array_equal(standard_table(found.quality), table)
    if quality > 2:  # the lowest ones are equal
        assert found.quality == quality


def test_other_tables_give_the_nearest_quality():
    table = np.array(LUMA_TABLE).ravel()
    assert estimate_quality(table) == JpegQuality(50, standard=True)
    odd = table.copy()
    odd[0] += 1
    assert estimate_quality(odd) == JpegQuality(50, standard=False)
    flat = estimate_quality([16] * 64)
    assert (flat.standard, 75 < flat.quality < 95) == (False, True)
    assert estimate_quality([0] * 64).quality == 100
    assert estimate_quality([65535] * 64).quality == 1


@pytest.mark.parametrize("step", [1, 5, 17, 18, 64])
@pytest.mark.parametrize("size", [(100, 90), (19, 40), (9, 200), (3, 3), (2, 9)])
def test_bands_tell_what_the_whole_does(monkeypatch, size, step):
    monkeypatch.setattr("thinlens.degrade.estimate.PIXELS", 3000)  # strips with rows between them
    image = gaussian_noise(np.full((*size, 3), 99, np.uint8), 20, seed=0)
    bands = [image[at : at + step] for at in range(0, size[0], step)]
    assert estimate_sigma_of_bands(bands, *size) == estimate_sigma(image)


def test_bands_are_not_read_further_than_needed(monkeypatch):
    monkeypatch.setattr("thinlens.degrade.estimate.PIXELS", 3000)
    image = gaussian_noise(np.full((100, 90), 99, np.uint8), 20, seed=0)
    bands = iter([image[:50], image[50:], None])
    estimate_sigma_of_bands(bands, 100, 90)
    assert list(bands) == [None]
