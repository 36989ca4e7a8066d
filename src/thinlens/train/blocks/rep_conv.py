"""A 3x3 convolution that is trained as a sum of paths and runs as one: RepRFN's block, for any network.

    3x3        the convolution itself
    3x1, 1x3   three rows of the middle column, three columns of the middle row
    1x1        the centre
    1x1_3x3    1x1 to twice the output's channels, then 3x3; no bias
    identity   the input; only where it has as many channels as the output
    sobel_x, sobel_y, laplacian
               1x1, then a fixed mask on each channel, scaled and shifted by a number of its own

All paths see the input padded by the convolution's own mode, and what they compute is linear in each 3x3 window of it.
So their sum *is* a 3x3 convolution, at the borders too: `RepConv.fold` writes it down. In particular, where the input
is zero, the 1x1 of an edge path gives its bias and not zero, which is what its mask must see there.

In *image space* a step runs every path on the images; in *weight space* it folds the weights, differentiably, and runs
one convolution. Results and gradients are the same.

Source: Deng et al., Reparameterized Residual Feature Network for Lightweight Image Super-Resolution, CVPRW 2023,
section 3.2; the edge paths: Zhang, Zeng, Zhang, Edge-oriented Convolution Block for Real-time Super Resolution, ACM MM
2021, section 3.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import nn

from thinlens.errors import RecipeError
from thinlens.model import ops
from thinlens.train.blocks.two_forms import TwoForms
from thinlens.train.ops import Conv2d
from thinlens.train.ops.borders import padded
from thinlens.train.ops.conv import convolve

Branch = Literal["3x3", "3x1", "1x3", "1x1", "1x1_3x3", "identity", "sobel_x", "sobel_y", "laplacian"]
Space = Literal["image", "weight"]
BRANCHES: tuple[Branch, ...] = get_args(Branch)
EXPANSION = 2  # of the channels between the 1x1 and the 3x3 of a pair
MASKS = {
    "sobel_x": ((1, 0, -1), (2, 0, -2), (1, 0, -1)),
    "sobel_y": ((1, 2, 1), (0, 0, 0), (-1, -2, -1)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
}
EDGE_START = 1e-3  # standard deviation of scales and shifts at the beginning

Folded = tuple[torch.Tensor, torch.Tensor]  # kernel (out, in / groups, 3, 3), bias (out,)


class RepConv(TwoForms):
    """A 3x3 convolution in its train form.

    Args:
        op: record of the convolution; 3x3, any stride, padding and groups.
        branches: the paths, of `BRANCHES`; ``identity`` is left out where the channels differ.
        space: where a step adds the paths up.

    Raises:
        RecipeError: if there is no path, or the convolution is not 3x3.
    """

    offset_kernel: torch.Tensor
    offset_bias: torch.Tensor

    def __init__(self, op: ops.Conv2d, branches: Sequence[Branch] = BRANCHES, space: Space = "image") -> None:
        super().__init__()
        fitting = [b for b in BRANCHES if b in branches and (b != "identity" or op.in_channels == op.out_channels)]
        if op.kernel != (3, 3) or not fitting:
            raise RecipeError(f"branches: {list(branches)} for a convolution of {op.kernel}; accepted: 3x3, a path")
        self.op, self.space = op, space
        self.own = Conv2d.of(op) if "3x3" in fitting else None
        self.paths = nn.ModuleDict({branch: _create_path(branch, op) for branch in fitting if branch != "3x3"})
        shape = op.tensor_shapes()["weight"]
        # What the other paths added up to when a given convolution was taken over: see `of`.
        self.register_buffer("offset_kernel", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("offset_bias", torch.zeros(shape[0], dtype=torch.float64))

    @classmethod
    def of(cls, conv: Conv2d, branches: Sequence[Branch] = BRANCHES, space: Space = "image") -> "RepConv":
        """Re-expand a convolution: new paths beside it, whose sum is taken away again, so that the fold is ``conv``.

        The sum is kept apart instead of being taken from the 3x3 weights, where it would be rounded: the fold has the
        bits of ``conv`` until training moves it.

        Args:
            conv: 3x3; its tensors are copied.
            branches: with ``3x3`` among them.
            space: as for the class.

        Raises:
            RecipeError: as the class, and if ``3x3`` is not among the branches.
        """
        block = cls(conv.op, branches, space)
        if block.own is None:
            raise RecipeError(f"branches: {list(branches)}; accepted: `3x3` among them, which takes the weights over")
        with torch.no_grad():
            block.own.load_state_dict(conv.state_dict())
            kernel, bias = block._others(torch.float64)
            block.offset_kernel.copy_(kernel)
            block.offset_bias.copy_(bias)
        return block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C' H' W'``."""
        if self.space == "weight":
            kernel, bias = self.fold(x.dtype)
            return convolve(self.op, x, kernel, bias if self.op.bias else None)
        up, left = self.op.padding
        x = padded(x, (up, up, left, left), self.op.pad_mode)
        parts: list[torch.Tensor] = [path(x) for path in self.paths.values()]
        if self.own is not None:
            kernel, bias = self._own(x.dtype)
            kernel, bias = kernel - self.offset_kernel.to(x.dtype), bias - self.offset_bias.to(x.dtype)
            parts.append(F.conv2d(x, kernel, bias, self.op.stride, 0, 1, self.op.groups))
        return sum(parts[1:], start=parts[0])

    def fold(self, dtype: torch.dtype = torch.float64) -> Folded:
        """Kernel and bias of the one convolution that computes the sum of all paths, as a function of their weights.

        Args:
            dtype: to compute in.

        Returns:
            ``(out, in / groups, 3, 3)`` and ``(out,)``; the bias is zero if the convolution has none.
        """
        own_kernel, own_bias = self._own(dtype)
        kernel, bias = self._others(dtype)
        return (
            own_kernel + (kernel - self.offset_kernel.to(dtype)),
            own_bias + (bias - self.offset_bias.to(dtype)),
        )

    def fuse(self) -> Conv2d:
        """The convolution that computes the same; weights are added up in float64 and rounded once."""
        fused = Conv2d.of(self.op)
        with torch.no_grad():
            for parameter, value in zip(fused.parameters(), self.fold(), strict=False):  # weight, then bias if any
                parameter.copy_(value)
        return fused

    def _own(self, dtype: torch.dtype) -> Folded:
        """Weights of the 3x3 path; zeros if there is none."""
        if self.own is None:
            return self._nothing(dtype)
        return self.own.weight.to(dtype), _bias_or_zero(self.own, dtype)

    def _others(self, dtype: torch.dtype) -> Folded:
        """Fold of all paths but the 3x3 one."""
        kernel, bias = self._nothing(dtype)
        for path in self.paths.values():
            more, shift = cast("_Path", path).fold(dtype)
            kernel, bias = kernel + more, bias + shift
        return kernel, bias

    def _nothing(self, dtype: torch.dtype) -> Folded:
        return torch.zeros_like(self.offset_kernel, dtype=dtype), torch.zeros_like(self.offset_bias, dtype=dtype)


def _create_path(branch: Branch, op: ops.Conv2d) -> "_Path":
    create: Callable[[ops.Conv2d], _Path] = {
        "3x1": lambda op: _Narrow(op, (3, 1)),
        "1x3": lambda op: _Narrow(op, (1, 3)),
        "1x1": lambda op: _Narrow(op, (1, 1)),
        "1x1_3x3": _Pair,
        "identity": _Identity,
    }.get(branch, lambda op: _Edge(op, branch))
    return create(op)


def _bias_or_zero(conv: Conv2d, dtype: torch.dtype) -> torch.Tensor:
    if conv.op.bias:
        return conv.bias.to(dtype)
    return torch.zeros(conv.op.out_channels, dtype=dtype, device=conv.weight.device)


class _Path(nn.Module, ABC):
    """A path: ``forward`` takes the padded image."""

    @abstractmethod
    def fold(self, dtype: torch.dtype) -> Folded:
        """The 3x3 convolution without padding that computes the same."""


class _Narrow(_Path):
    """A convolution of fewer rows or columns."""

    def __init__(self, op: ops.Conv2d, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv = Conv2d(
            in_channels=op.in_channels,
            out_channels=op.out_channels,
            kernel=kernel,
            stride=op.stride,
            groups=op.groups,
            bias=op.bias,
        )
        self.cut = [(3 - side) // 2 for side in kernel]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The window's middle rows and columns."""
        rows, columns = self.cut
        result: torch.Tensor = self.conv(x[:, :, rows : x.shape[2] - rows, columns : x.shape[3] - columns])
        return result

    def fold(self, dtype: torch.dtype) -> Folded:
        """The weights among zeros."""
        rows, columns = self.cut
        return F.pad(self.conv.weight.to(dtype), (columns, columns, rows, rows)), _bias_or_zero(self.conv, dtype)


class _Pair(_Path):
    """1x1 to more channels, then 3x3. Without biases: the padded image's zeros stay zeros between the two."""

    def __init__(self, op: ops.Conv2d) -> None:
        super().__init__()
        self.groups, between = op.groups, EXPANSION * op.out_channels
        self.first = Conv2d(in_channels=op.in_channels, out_channels=between, kernel=(1, 1), groups=op.groups)
        self.second = Conv2d(
            in_channels=between, out_channels=op.out_channels, kernel=(3, 3), stride=op.stride, groups=op.groups
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One after the other."""
        result: torch.Tensor = self.second(self.first(x))
        return result

    def fold(self, dtype: torch.dtype) -> Folded:
        """``K[o, i] = sum_m second[o, m] first[m, i]``, group by group."""
        first, second = self.first.weight.to(dtype), self.second.weight.to(dtype)
        by_group = (w.reshape(self.groups, -1, *w.shape[1:]) for w in (second, first[:, :, 0, 0]))
        kernel = torch.einsum("gomrc,gmi->goirc", *by_group).flatten(0, 1)
        return kernel, kernel.new_zeros(len(kernel))


class _Identity(_Path):
    """The window's centre."""

    def __init__(self, op: ops.Conv2d) -> None:
        super().__init__()
        self.stride = op.stride
        kernel = torch.zeros(op.tensor_shapes()["weight"])
        out = torch.arange(op.out_channels)
        kernel[out, out % kernel.shape[1], 1, 1] = 1  # channels count from each group's own first
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The image without its padding."""
        return x[:, :, 1 : x.shape[2] - 1 : self.stride, 1 : x.shape[3] - 1 : self.stride]

    def fold(self, dtype: torch.dtype) -> Folded:
        """One in the centre of each channel's own kernel."""
        kernel: torch.Tensor = self.get_buffer("kernel").to(dtype)
        return kernel, kernel.new_zeros(len(kernel))


class _Edge(_Path):
    """1x1, then a fixed mask on each channel, scaled and shifted."""

    def __init__(self, op: ops.Conv2d, mask: str) -> None:
        super().__init__()
        out = op.out_channels
        self.stride = op.stride
        self.first = Conv2d(in_channels=op.in_channels, out_channels=out, kernel=(1, 1), groups=op.groups, bias=op.bias)
        self.scale = nn.Parameter(EDGE_START * torch.randn(out))
        self.shift = nn.Parameter(EDGE_START * torch.randn(out)) if op.bias else None
        self.register_buffer("mask", torch.tensor(MASKS[mask], dtype=torch.float32), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """On the padded image: where that is zero, the mask sees the bias of the 1x1."""
        kernel = self.scale[:, None, None, None] * self.get_buffer("mask")
        return F.conv2d(self.first(x), kernel, self.shift, self.stride, groups=len(kernel))

    def fold(self, dtype: torch.dtype) -> Folded:
        """``K[o, i] = scale_o mask first[o, i]``; the masks' sums are zero, so that the 1x1's bias goes."""
        scale, mask = self.scale.to(dtype), self.get_buffer("mask").to(dtype)
        kernel = (scale[:, None, None, None] * self.first.weight.to(dtype)) * mask
        bias = _bias_or_zero(self.first, dtype) * scale * mask.sum()
        return kernel, bias if self.shift is None else bias + self.shift.to(dtype)
