import math

import msgspec
import numpy as np
import pytest

from tests.image.pictures import picture, smooth
from thinlens.bench.quality import Quality, bicubic, evaluate, list_images, protocol_of
from thinlens.degrade.bicubic import bicubic_down
from thinlens.errors import ImageError, ShapeError
from thinlens.image.colour import gray_uint8, studio_luma
from thinlens.image.files import ImageFile, write_image
from thinlens.image.resample import resize_uint8
from thinlens.metrics.psnr import psnr_db
from thinlens.metrics.ssim import ssim


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    colour = np.clip(smooth(41, 38) + rng.normal(0, 12, (41, 38, 3)), 0, 255).astype(np.uint8)
    write_image(tmp_path / "a.png", ImageFile(colour, "png"), format="png")
    write_image(tmp_path / "b.png", ImageFile(colour[..., 1].copy(), "png"), format="png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def images_of(folder):
    from PIL import Image

    return [np.asarray(Image.open(path).copy()) for path in list_images(folder)]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_colour_networks_by_hand(folder, scale):
    quality = evaluate(bicubic(scale), list_images(folder), scale=scale, colour=True)
    assert [image.name for image in quality.images] == ["a.png", "b.png"]
    colour, gray = images_of(folder)
    for hq, image in zip((colour, gray), quality.images, strict=True):
        hq = hq[: hq.shape[0] // scale * scale, : hq.shape[1] // scale * scale]
        restored = resize_uint8(bicubic_down(hq, scale), *hq.shape[:2])
        y = [x.astype(float) if x.ndim == 2 else studio_luma(x) for x in (restored, hq)]
        y = [x[scale:-scale, scale:-scale] for x in y]
        assert image.psnr_y_db == pytest.approx(psnr_db(*y), abs=0.005)
        assert image.ssim_y == pytest.approx(ssim(*y), abs=1e-4)
        rgb = psnr_db(restored[scale:-scale, scale:-scale], hq[scale:-scale, scale:-scale])
        assert image.psnr_rgb_db == pytest.approx(rgb, abs=0.005)
    assert quality.psnr_y_db == pytest.approx(np.mean([image.psnr_y_db for image in quality.images]))
    assert quality.ssim_y == pytest.approx(np.mean([image.ssim_y for image in quality.images]))
    assert quality.psnr_rgb_db == pytest.approx(np.mean([image.psnr_rgb_db for image in quality.images]))


def test_luma_networks_by_hand(folder):
    seen = []

    def run(lq):
        seen.append(lq)
        return bicubic(2)(lq)

    quality = evaluate(run, list_images(folder), scale=2, colour=False)
    colour, gray = (image[:40, :38] for image in images_of(folder))
    np.testing.assert_array_equal(seen[0], gray_uint8(bicubic_down(colour, 2)) / np.float32(255))
    np.testing.assert_array_equal(seen[1], bicubic_down(gray, 2) / np.float32(255))
    restored = np.rint(np.clip(bicubic(2)(seen[0]), 0, 1) * 255)[2:-2, 2:-2]
    full_range_db = psnr_db(restored, gray_uint8(colour)[2:-2, 2:-2])
    assert quality.images[0].psnr_y_db == pytest.approx(full_range_db + 20 * math.log10(255 / 219))
    restored = np.rint(np.clip(bicubic(2)(seen[1]), 0, 1) * 255)[2:-2, 2:-2]
    assert quality.images[1].psnr_y_db == pytest.approx(psnr_db(restored, gray[2:-2, 2:-2]))
    assert (quality.psnr_rgb_db, quality.images[0].psnr_rgb_db) == (None, None)


def test_results_are_clamped(folder):
    high = evaluate(lambda lq: bicubic(2)(lq) * 100 + 50, list_images(folder), scale=2, colour=False)
    white = evaluate(lambda lq: np.ones_like(bicubic(2)(lq)), list_images(folder), scale=2, colour=False)
    assert high.psnr_y_db == white.psnr_y_db


def test_json_and_progress(folder):
    steps = []
    quality = evaluate(
        bicubic(2), list_images(folder), scale=2, colour=True, progress=lambda done, all_: steps.append((done, all_))
    )
    assert steps == [(1, 2), (2, 2)]
    decoded = msgspec.json.decode(msgspec.json.encode(quality))
    assert list(decoded) == ["count", "psnr_y_db", "ssim_y", "psnr_rgb_db", "protocol", "images"]
    assert decoded["count"] == 2
    assert decoded["protocol"]["border"] == decoded["protocol"]["scale"] == 2
    assert decoded["protocol"]["luma"] == "rgb2ycbcr"
    assert msgspec.convert(decoded, Quality) == quality
    assert protocol_of(3, colour=False).luma == "gray"


def test_opaque_alpha_hides_nothing(folder, tmp_path):
    colour = images_of(folder)[0]
    (tmp_path / "alpha").mkdir()
    alpha = np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])
    write_image(tmp_path / "alpha" / "a.png", ImageFile(alpha, "png"), format="png")
    with_alpha = evaluate(bicubic(2), list_images(tmp_path / "alpha"), scale=2, colour=True)
    assert with_alpha.images[0] == evaluate(bicubic(2), list_images(folder), scale=2, colour=True).images[0]


@pytest.mark.parametrize(
    ("pixels", "error", "match"),
    [
        (picture(14, 40, 3), ShapeError, "x.png`: 40x14 pixels; at least 16 on each side are needed at scale 2"),
        (picture(40, 40, 3, np.uint16), ImageError, "16 bits a sample"),
        (picture(40, 40, 4), ImageError, "transparent pixels"),
        (picture(40, 40, 2), ImageError, "transparent pixels"),
    ],
)
def test_images_that_cannot_be_measured(tmp_path, pixels, error, match):
    write_image(tmp_path / "x.png", ImageFile(pixels, "png"), format="png")
    with pytest.raises(error, match=match):
        evaluate(bicubic(2), list_images(tmp_path), scale=2, colour=True)


def test_the_smallest_image_that_can_be_measured(tmp_path):
    write_image(tmp_path / "x.png", ImageFile(picture(16, 16, 1), "png"), format="png")
    assert evaluate(bicubic(2), list_images(tmp_path), scale=2, colour=False).count == 1


def test_other_trouble(folder, tmp_path):
    with pytest.raises(ImageError, match="no images to evaluate on"):
        evaluate(bicubic(2), [], scale=2, colour=True)
    with pytest.raises(ShapeError, match="accepted 2, 3, 4, 8"):
        evaluate(bicubic(2), list_images(folder), scale=5, colour=True)
    with pytest.raises(ShapeError, match="the network made"):
        evaluate(bicubic(3), list_images(folder), scale=2, colour=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no images"):
        list_images(tmp_path / "empty")
    with pytest.raises(ImageError, match="not a folder"):
        list_images(folder / "a.png")
