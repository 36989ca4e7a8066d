import numpy as np
import pytest

from tests.image.pictures import picture
from thinlens.bench.pairs import create_pairs
from thinlens.bench.quality import evaluate, list_images, unchanged
from thinlens.degrade.jpeg import jpeg_round_trip
from thinlens.degrade.noise import gaussian_noise
from thinlens.errors import ShapeError
from thinlens.image.colour import gray_uint8, studio_luma
from thinlens.image.files import ImageFile, write_image
from thinlens.metrics.psnr import psnr_db
from thinlens.metrics.ssim import ssim

COLOUR, GRAY = picture(21, 18, 3), picture(19, 23, 1)


@pytest.fixture
def paths(tmp_path):
    for name, pixels in (("a", COLOUR), ("b", GRAY)):
        write_image(tmp_path / f"{name}.png", ImageFile(pixels, "png"), format="png")
    return list_images(tmp_path)


def rounded(lq):
    return lq if lq.dtype == np.uint8 else np.rint(lq.clip(0, 1) * np.float32(255))


def test_gray_denoising_is_measured_on_the_plane_that_got_the_noise(paths):
    quality = evaluate(unchanged, paths, colour=False, sigma=25, seed=4)
    for hq, image in zip((gray_uint8(COLOUR), GRAY), quality.images, strict=True):
        lq = rounded(gaussian_noise(hq, 25, seed=4))
        assert image.psnr_y_db == psnr_db(lq, hq)
        assert image.ssim_y == ssim(lq, hq)
        assert image.psnr_rgb_db is None
    assert quality.psnr_rgb_db is None
    assert quality.protocol.items() >= {"border": 0, "luma": "full", "scale": 1, "sigma": 25, "seed": 4}.items()
    assert quality.protocol["lq"].endswith("neither clipped nor rounded, seed 4 anew for each image")
    assert "gray (Pillow's L) on its own values" in quality.protocol["text"]


def test_colour_denoising(paths):
    quality = evaluate(unchanged, paths, colour=True, sigma=50)
    lq = rounded(gaussian_noise(COLOUR, 50, seed=0))
    assert quality.images[0].psnr_rgb_db == psnr_db(lq, COLOUR)
    assert quality.images[0].psnr_y_db == psnr_db(studio_luma(lq), studio_luma(COLOUR))
    gray_lq = rounded(gaussian_noise(GRAY, 50, seed=0))
    assert quality.images[1].psnr_y_db == pytest.approx(psnr_db(gray_lq, GRAY))
    assert quality.protocol["luma"] == "rgb2ycbcr"


def test_the_network_sees_noise_that_leaves_the_range(paths):
    seen = []
    evaluate(lambda lq: seen.append(lq) or lq, paths, colour=True, sigma=50)
    assert [lq.shape for lq in seen] == [(21, 18, 3), (19, 23, 3)]
    assert min(lq.min() for lq in seen) < -0.1
    assert (seen[1][..., 0] == seen[1][..., 2]).all()


def test_gray_deblocking_encodes_studio_luma_of_colour_files(paths):
    quality = evaluate(unchanged, paths, colour=False, quality=10)
    studio = np.rint(studio_luma(COLOUR)).astype(np.uint8)
    for hq, image in zip((studio, GRAY), quality.images, strict=True):
        lq = jpeg_round_trip(hq, 10)
        assert image.psnr_y_db == psnr_db(lq, hq)
        assert image.ssim_y == ssim(lq, hq)
    assert quality.protocol.items() >= {"border": 0, "luma": "studio", "scale": 1, "quality": 10}.items()
    assert quality.protocol["lq"] == "JPEG of quality 10 by libjpeg, the measured plane as gray"


def test_gray_files_may_be_brought_to_studio_range_as_bbcu_does(paths):
    """A gray file is read as colour there, so its luma lies in 16..235; colour files are no matter."""
    quality = evaluate(unchanged, paths, colour=False, quality=10, studio_gray=True)
    as_is = evaluate(unchanged, paths, colour=False, quality=10)
    studio = np.rint(16 + GRAY * (219 / 255)).astype(np.uint8)
    assert quality.images[1].psnr_y_db == psnr_db(jpeg_round_trip(studio, 10), studio) != as_is.images[1].psnr_y_db
    assert quality.images[0] == as_is.images[0]
    assert "gray files brought to 16..235" in quality.protocol["lq"]
    assert quality.protocol["lq"] != as_is.protocol["lq"]


@pytest.mark.parametrize("given", [{"colour": True, "quality": 10}, {"colour": False, "sigma": 10}])
def test_studio_gray_goes_with_luma_and_quality(given):
    with pytest.raises(ShapeError, match="`studio_gray`: accepted only for luma networks, with `quality`"):
        create_pairs(studio_gray=True, **given)


def test_colour_deblocking(paths):
    quality = evaluate(unchanged, paths, colour=True, quality=40)
    lq = jpeg_round_trip(COLOUR, 40, subsampling="4:2:0")
    assert quality.images[0].psnr_rgb_db == psnr_db(lq, COLOUR)
    assert quality.images[0].psnr_y_db == psnr_db(studio_luma(lq), studio_luma(COLOUR))
    assert quality.images[1].psnr_y_db == pytest.approx(psnr_db(jpeg_round_trip(GRAY, 40), GRAY))
    assert "4:2:0" in quality.protocol["lq"]


@pytest.mark.parametrize(
    "given", [{}, {"scale": 2, "sigma": 5}, {"sigma": 5, "quality": 5}, {"scale": 2, "quality": 0}]
)
def test_exactly_one_degradation(given):
    found = " and ".join(f"`{name}`" for name in given) or "none"
    with pytest.raises(ShapeError, match=f"degradation: got {found}; accepted: one of"):
        create_pairs(colour=True, **given)


@pytest.mark.parametrize(
    ("given", "match"), [({"sigma": 300}, "`sigma`: got 300"), ({"quality": 0}, "`quality`: got 0")]
)
def test_out_of_range(given, match):
    with pytest.raises(ShapeError, match=match):
        create_pairs(colour=False, **given)


def test_small_images_can_be_measured_without_a_border(tmp_path):
    write_image(tmp_path / "x.png", ImageFile(picture(11, 11, 1), "png"), format="png")
    assert evaluate(unchanged, list_images(tmp_path), colour=False, sigma=5).count == 1
    write_image(tmp_path / "y.png", ImageFile(picture(10, 11, 1), "png"), format="png")
    with pytest.raises(ShapeError, match="at least 11 on each side are needed at scale 1"):
        evaluate(unchanged, list_images(tmp_path), colour=False, quality=5)
