"""Torch body of the binary convolution, and the sign that lets gradients through."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from thinlens.model import ops
from thinlens.train.ops.module import OpModule


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return signs(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        slope: torch.Tensor = (2 - 2 * x.abs()).clamp(min=0)
        return grads[0] * slope


def signs(x: torch.Tensor) -> torch.Tensor:
    """-1 where a value is negative, else +1, without a gradient."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def soft_sign(x: torch.Tensor) -> torch.Tensor:
    """`signs`, with the gradient of two parabolas that meet in 0: ``2 - 2 |x|`` within -1..1, else 0.

    Source: Liu et al., Bi-Real Net, ECCV 2018, section 3.3, as BBCU uses it.
    """
    return _Sign.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class _ClipSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return signs(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        window: torch.Tensor = x.abs() <= 1
        return grads[0] * window


def clip_sign(x: torch.Tensor) -> torch.Tensor:
    """`signs`, with gradient 1 within -1..1, ends included, else 0.

    Source: Hubara et al., Binarized Neural Networks, NeurIPS 2016, section 1.3.
    """
    return _ClipSign.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class _TanhSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, steepness: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.steepness = steepness
        return signs(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        t: float = ctx.steepness
        return grads[0] * (max(t, 1.0) * (1 - (t * x).tanh() ** 2)), None


def tanh_sign(x: torch.Tensor, steepness: float) -> torch.Tensor:
    """`signs`, with the gradient of ``max(1 / t, 1) tanh(t x)``, t being the steepness, above 0.

    Source: Qin et al., Forward and Backward Information Retention for Accurate Binary Neural Networks, CVPR 2020,
    section 3.3.
    """
    return _TanhSign.apply(x, steepness)  # type: ignore[no-any-return, no-untyped-call]


class BinaryConv2d(OpModule):
    """Cross-correlation of signs; fields as in `thinlens.model.ops.BinaryConv2d`.

    Its weights are signs and stay as they are; threshold and scale can be trained. Weights are trained in the block
    that has latent ones.
    """

    record = ops.BinaryConv2d
    threshold: torch.nn.Parameter
    scale: torch.nn.Parameter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C' H' W'``."""
        return self.scale[:, None, None] * binary_sums(self.op, x + self.threshold[:, None, None], self.weight)

    def reset_parameters(self) -> None:
        """Random signs; no threshold; a scale that keeps sums near 1."""
        taps = self.weight[0].numel()
        with torch.no_grad():
            self.weight.copy_(signs(torch.rand_like(self.weight) - 0.5)).requires_grad_(False)
            self.threshold.zero_()
            self.scale.fill_(taps**-0.5)


def binary_sums(
    op: ops.BinaryConv2d,
    x: torch.Tensor,
    weight: torch.Tensor,
    sign: Callable[[torch.Tensor], torch.Tensor] = soft_sign,
) -> torch.Tensor:
    """``conv2d(sign(x), weight)``, padded as the record says: ``N C H W`` -> ``N C' H' W'``.

    Args:
        op: the record.
        x: threshold added.
        weight: signs, ``(out, in, kh, kw)``.
        sign: says which gradient goes through.
    """
    y, x_side = op.padding
    padded = F.pad(sign(x), (x_side, x_side, y, y), value=float(op.pad_value))
    return F.conv2d(padded, weight)
