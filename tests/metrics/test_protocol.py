import json
import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from thinlens.errors import ShapeError
from thinlens.image.colour import studio_luma
from thinlens.metrics.protocol import Protocol
from thinlens.metrics.psnr import psnr_db
from thinlens.metrics.ssim import ssim

RNG = np.random.default_rng(0)
HQ = RNG.integers(0, 256, (24, 30, 3)).astype(np.uint8)
RESTORED = np.clip(HQ + RNG.normal(0, 20, HQ.shape), 0, 255).astype(np.uint8)


def test_y_of_colour():
    got = Protocol("y", border=3).psnr_db(RESTORED, HQ)
    assert got == pytest.approx(psnr_db(studio_luma(RESTORED)[3:-3, 3:-3], studio_luma(HQ)[3:-3, 3:-3]))
    got = Protocol("y", border=3).ssim(RESTORED, HQ)
    assert got == pytest.approx(ssim(studio_luma(RESTORED)[3:-3, 3:-3], studio_luma(HQ)[3:-3, 3:-3]))


def test_gray_of_a_colour_file_is_mapped_to_studio_range():
    protocol = Protocol("y", border=2, luma="gray")
    gray, truth = RESTORED[..., 0], HQ[..., 0]
    own = protocol.psnr_db(gray, truth, gray_file=True)
    assert own == pytest.approx(psnr_db(gray[2:-2, 2:-2], truth[2:-2, 2:-2]))
    assert protocol.psnr_db(gray, truth) - own == pytest.approx(20 * math.log10(255 / 219))
    assert protocol.ssim(gray, truth) != protocol.ssim(gray, truth, gray_file=True)


def test_rgb_and_no_border():
    assert Protocol("rgb", border=0, luma=None).psnr_db(RESTORED, HQ) == psnr_db(RESTORED, HQ)


def test_it_says_what_it_is():
    protocol = Protocol("y", border=4, luma="gray")
    said = json.loads(json.dumps(protocol.to_dict()))
    assert said["border"] == 4
    assert said["luma"] == "gray"
    assert said["text"] == protocol.describe()
    assert "16 + 219/255" in said["text"]
    assert "all RGB values" in Protocol("rgb", border=0, rounded=False, luma=None).describe()
    assert Protocol("y", border=4) != protocol
    with pytest.raises(FrozenInstanceError):
        protocol.border = 5


def test_too_small():
    with pytest.raises(ShapeError, match="30x24 pixels leave nothing inside a border of 12"):
        Protocol("y", border=12).psnr_db(RESTORED, HQ)
    with pytest.raises(ShapeError, match="at least 11x11"):
        Protocol("y", border=8).ssim(RESTORED, HQ)
