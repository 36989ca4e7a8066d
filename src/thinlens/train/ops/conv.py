"""Torch bodies of the convolutions."""

import torch
import torch.nn.functional as F

from thinlens.model import ops
from thinlens.train.ops.borders import padded
from thinlens.train.ops.module import OpModule


class Conv2d(OpModule):
    """Cross-correlation of ``N C H W`` float tensors; fields as in `thinlens.model.ops.Conv2d`."""

    record = ops.Conv2d

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C' H' W'``."""
        return convolve(self.op, x, self.weight, getattr(self, "bias", None))


def convolve(op: ops.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """What a record says, with any tensors: ``N C H W`` -> ``N C' H' W'``."""
    padding: tuple[int, int] = op.padding
    if op.pad_mode != "zero":
        x = padded(x, (padding[0], padding[0], padding[1], padding[1]), op.pad_mode)
        padding = (0, 0)
    return F.conv2d(x, weight, bias, op.stride, padding, 1, op.groups)


class ConvTranspose2d(OpModule):
    """Transposed convolution of ``N C H W`` float tensors; fields as in `thinlens.model.ops.ConvTranspose2d`."""

    record = ops.ConvTranspose2d

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C' H' W'``."""
        op: ops.ConvTranspose2d = self.op
        weight, bias = self.weight, getattr(self, "bias", None)
        padding: tuple[int, int] = op.padding
        if op.pad_mode == "edge":
            reach = [-(-(k - 1) // op.stride) for k in op.kernel]  # input pixels outside that still reach inside
            x = padded(x, (reach[0], reach[0], reach[1], reach[1]), "edge")
            padding = padding[0] + reach[0] * op.stride, padding[1] + reach[1] * op.stride
        return F.conv_transpose2d(x, weight, bias, op.stride, padding, op.output_padding)
