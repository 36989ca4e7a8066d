"""Torch bodies of the ops that look at one pixel at a time. Tensors are ``N C H W`` floats."""

import torch
import torch.nn.functional as F

from thinlens.model import ops
from thinlens.train.ops.module import OpModule


class PixelShuffle(OpModule):
    """``N, C s^2, H, W`` -> ``N, C, s H, s W``."""

    record = ops.PixelShuffle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Channel ``g s^2 + i s + j`` holds pixels ``(s y + i, s x + j)`` of channel ``g``."""
        return F.pixel_shuffle(x, self.op.scale)


class ChannelSlice(OpModule):
    """Channels ``[start, stop)``."""

    record = ops.ChannelSlice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N, stop - start, H, W``."""
        return x[:, self.op.start : self.op.stop]


class Tanh(OpModule):
    """Hyperbolic tangent."""

    record = ops.Tanh

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return torch.tanh(x)


class Sigmoid(OpModule):
    """Logistic function."""

    record = ops.Sigmoid

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return torch.sigmoid(x)


class PRelu(OpModule):
    """``max(x, 0) + weight min(x, 0)``."""

    record = ops.PRelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W``, one slope for all channels or one each."""
        return F.prelu(x, self.weight)

    def reset_parameters(self) -> None:
        """Slope 0.25, as torch's own layer begins."""
        torch.nn.init.constant_(self.weight, 0.25)


class Multiply(OpModule):
    """Element by element product."""

    record = ops.Multiply

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Two tensors of one shape -> their product."""
        return a * b


class ChannelMax(OpModule):
    """Largest channel of each pixel."""

    record = ops.ChannelMax

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N 1 H W``."""
        return x.amax(dim=1, keepdim=True)


class SoftmaxSum(OpModule):
    """``sum_c values_c softmax_c(logits)``."""

    record = ops.SoftmaxSum

    def forward(self, values: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Twice ``N C H W`` -> ``N 1 H W``."""
        return (values * logits.softmax(dim=1)).sum(dim=1, keepdim=True)
