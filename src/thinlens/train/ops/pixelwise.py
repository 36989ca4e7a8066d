"""Torch bodies of the ops that look at one pixel at a time. Tensors are ``N C H W`` floats."""

from typing import Any

import torch
import torch.nn.functional as F

from thinlens.model import ops
from thinlens.train.ops.module import OpModule


class ChannelSlice(OpModule):
    """Channels ``[start, stop)``."""

    record = ops.ChannelSlice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N, stop - start, H, W``."""
        return x[:, self.op.start : self.op.stop]


class ChannelGather(OpModule):
    """Channels picked by index: a slice, a repetition, a permutation."""

    record = ops.ChannelGather
    index: torch.Tensor

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.register_buffer("index", torch.tensor(self.op.channels), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> one channel for each index."""
        return x.index_select(1, self.index)


class Concat(OpModule):
    """The channels of several tensors, in order."""

    record = ops.Concat

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """``count`` times ``N . H W`` -> ``N C H W``."""
        return torch.cat(parts, dim=1)


class Affine(OpModule):
    """``weight x + bias``, one of each a channel."""

    record = ops.Affine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W``."""
        if self.op.weight:
            x = x * self.weight[:, None, None]
        return x + self.bias[:, None, None] if self.op.bias else x

    def reset_parameters(self) -> None:
        """Weight 1, bias 0: nothing changes."""
        for role, parameter in self.named_parameters(recurse=False):
            torch.nn.init.constant_(parameter, float(role == "weight"))


class Relu(OpModule):
    """``max(x, 0)``."""

    record = ops.Relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return torch.relu(x)


class LeakyRelu(OpModule):
    """``x`` where it is not negative, else ``slope x``."""

    record = ops.LeakyRelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return F.leaky_relu(x, self.op.slope)


class Clamp(OpModule):
    """``min(max(x, low), high)``."""

    record = ops.Clamp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return x.clamp(self.op.low, self.op.high)


class Quantize(OpModule):
    """Whole numbers that fit a byte; gradients pass as if nothing were rounded."""

    record = ops.Quantize

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        steps = x * (1 / torch.tensor(self.op.scale, dtype=x.dtype, device=x.device))
        steps = steps + (steps.round() - steps).detach()
        return steps.clamp(-self.op.zero, 255 - self.op.zero)


class Bfloat16(OpModule):
    """Rounded to bfloat16."""

    record = ops.Bfloat16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Element by element."""
        return x.bfloat16().to(x.dtype)


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


class Add(OpModule):
    """``a x + b y``."""

    record = ops.Add

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Two tensors; one channel is repeated over channels, 1x1 over space."""
        a, b = self.op.a, self.op.b
        return (x if a == 1 else a * x) + (y if b == 1 else b * y)


class Multiply(OpModule):
    """Element by element product."""

    record = ops.Multiply

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Two tensors; one channel is repeated over channels, 1x1 over space."""
        return x * y


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
