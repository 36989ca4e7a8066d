"""Torch bodies of the ops that move or mix pixels without weights. Tensors are ``N C H W`` floats."""

from typing import Any

import torch
import torch.nn.functional as F

from thinlens.model import ops
from thinlens.model.ops import Border
from thinlens.train.ops.borders import padded, taken
from thinlens.train.ops.module import OpModule


class PixelShuffle(OpModule):
    """``N, C s^2, H, W`` -> ``N, C, s H, s W``."""

    record = ops.PixelShuffle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Channel ``g s^2 + i s + j`` holds pixels ``(s y + i, s x + j)`` of channel ``g``."""
        return F.pixel_shuffle(x, self.op.scale)


class PixelUnshuffle(OpModule):
    """``N, C, s H, s W`` -> ``N, C s^2, H, W``."""

    record = ops.PixelUnshuffle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The inverse of the shuffle; the scale must divide height and width."""
        return F.pixel_unshuffle(x, self.op.scale)


class MaxPool(OpModule):
    """Largest pixel under each window; what lies outside the image does not count."""

    record = ops.MaxPool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H' W'``."""
        return F.max_pool2d(x, self.op.kernel, self.op.stride, self.op.padding)


class Resize(OpModule):
    """Another size, by a factor or that of a second tensor; fields as in `thinlens.model.ops.Resize`."""

    record = ops.Resize

    def forward(self, x: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
        """``N C H W``, and ``N . H' W'`` if there is no factor -> ``N C H' W'``; the height first, then the width."""
        height, width = self.op.out_size(tuple((t.shape[2], t.shape[3]) for t in (x, like) if t is not None))
        return _resized(_resized(x, 2, height, self.op), 3, width, self.op)


def _resized(x: torch.Tensor, axis: int, size: int, op: Any) -> torch.Tensor:
    """One axis at another size: weighted sums of shifted images, in the order of the taps."""
    index, weights = op.taps((0, size), x.shape[axis], size)
    border: Border = op.border
    if op.mode == "nearest":
        return taken(x, axis, index[:, 0], border)
    factors = torch.from_numpy(weights).to(x)
    shape = (-1, 1) if axis == 2 else (-1,)
    result = taken(x, axis, index[:, 0], border) * factors[:, 0].reshape(shape)
    for tap in range(1, index.shape[1]):
        result = result + taken(x, axis, index[:, tap], border) * factors[:, tap].reshape(shape)
    return result


class Pad(OpModule):
    """Pixels added on each side: zeros, the edge repeated, or mirrored."""

    record = ops.Pad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N, C, top + H + bottom, left + W + right``."""
        op: ops.Pad = self.op
        return padded(x, (op.top, op.bottom, op.left, op.right), op.mode)


class Crop(OpModule):
    """Pixels cut off on each side."""

    record = ops.Crop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> what is left of it."""
        op: ops.Crop = self.op
        return x[:, :, op.top : x.shape[2] - op.bottom, op.left : x.shape[3] - op.right]


class GlobalMean(OpModule):
    """Mean of each channel."""

    record = ops.GlobalMean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C 1 1``."""
        return x.mean(dim=(2, 3), keepdim=True)


class GlobalStd(OpModule):
    """Population standard deviation of each channel."""

    record = ops.GlobalStd

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C 1 1``; at least 1e-6, so that a flat channel has a gradient."""
        return x.var(dim=(2, 3), correction=0, keepdim=True).clamp_min(1e-12).sqrt()
