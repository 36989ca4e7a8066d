"""Losses: values worked out by hand, gradients where they could break."""

import math

import numpy as np
import pytest
import torch

from thinlens.train.losses import PIXEL_LOSSES, create_loss
from thinlens.train.losses.fourier import fourier

HQ = torch.zeros(2, 3, 4, 6)
ERROR = torch.full_like(HQ, 0.5)
ERROR[1] = -2.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 1.25),
        ("l2", (0.25 + 4) / 2),
        ("charbonnier", (math.sqrt(0.25 + 1e-6) + math.sqrt(4 + 1e-6)) / 2),
        ("log_mse", (math.log(0.25 + 1e-4) + math.log(4 + 1e-4)) / 2),
    ],
)
def test_pixel_losses(name, expected):
    assert float(PIXEL_LOSSES[name](HQ + ERROR, HQ)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_fourier_loss_is_the_mean_modulus_of_the_spectra():
    """By the definition of the transform, with matrices; not normalised, the modulus of complex numbers."""
    restored, hq = torch.rand(2, 3, 5, 8), torch.rand(2, 3, 5, 8)
    waves = [np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) for n in (5, 8)]
    difference = (restored - hq).numpy().astype(np.float64)
    expected = np.abs(waves[0] @ difference @ waves[1]).mean()
    assert float(fourier(restored, hq)) == pytest.approx(expected, rel=1e-5)


def test_it_outweighs_the_pixels_as_its_docstring_says():
    error = 0.01 * torch.randn(4, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    assert float(fourier(error, torch.zeros_like(error))) == pytest.approx(0.886 * 192 * 0.01, rel=0.01)


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_the_mixture(weight):
    restored, hq = torch.rand(2, 3, 6, 6), torch.rand(2, 3, 6, 6)
    expected = (1 - weight) * PIXEL_LOSSES["charbonnier"](restored, hq) + weight * fourier(restored, hq)
    assert float(create_loss("charbonnier", weight)(restored, hq)) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_gradients_are_finite_where_nothing_is_wrong(name):
    restored = torch.rand(1, 3, 6, 6, requires_grad=True)
    create_loss(name, 0.5)(restored, restored.detach().clone()).backward()
    assert bool(restored.grad.isfinite().all())
