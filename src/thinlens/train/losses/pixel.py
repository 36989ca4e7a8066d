"""Losses on pixels: ``N C H W`` twice -> scalar."""

import torch

EPSILON = 1e-3  # of the Charbonnier loss: errors far below it count by their square
FLOOR = 1e-4  # of the mean squared error whose logarithm is taken: 40 dB


def l1(restored: torch.Tensor, hq: torch.Tensor) -> torch.Tensor:
    """Mean absolute error."""
    return (restored - hq).abs().mean()


def l2(restored: torch.Tensor, hq: torch.Tensor) -> torch.Tensor:
    """Mean squared error."""
    return (restored - hq).square().mean()


def charbonnier(restored: torch.Tensor, hq: torch.Tensor) -> torch.Tensor:
    """Mean of ``sqrt(d^2 + 1e-6)``: the absolute error with its tip rounded.

    Source: Charbonnier et al., Two deterministic half-quadratic regularization algorithms, ICIP 1994.
    """
    return ((restored - hq).square() + EPSILON**2).sqrt().mean()


def log_mse(restored: torch.Tensor, hq: torch.Tensor) -> torch.Tensor:
    """Mean over crops of the logarithm of each one's mean squared error: what the mean PSNR of images asks for.

    The plain mean is that of the few crops with the sharpest edges. Errors far below 1e-4 (40 dB) count no more.
    """
    return (restored - hq).square().mean((1, 2, 3)).add(FLOOR).log().mean()
