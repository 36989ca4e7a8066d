"""Records of the ops that move or mix pixels without weights: shuffles, pooling, resizing, padding, statistics."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.errors import PlanError
from thinlens.model.ops.border import NO_ROWS, Border, PadMode, Rows
from thinlens.model.ops.record import Fresh, KernelSize, Op, Padding, Scale, Size, Step, Union

Margin = Annotated[int, msgspec.Meta(ge=0, le=4096)]


class PixelShuffle(Op, frozen=True, kw_only=True, tag="pixel_shuffle"):
    """Channel ``g s^2 + i s + j`` goes to channel ``g``, pixel ``(s y + i, s x + j)``."""

    scale: Scale

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """Channels over the square of the scale."""
        if channels[0] % self.scale**2:
            raise PlanError(f"`pixel_shuffle`: {channels[0]} channels; accepted: a multiple of {self.scale**2}")
        return channels[0] // self.scale**2

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """Scale times the size."""
        return sizes[0][0] * self.scale, sizes[0][1] * self.scale

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The rows that hold the asked ones."""
        return ((rows[0] // self.scale, -(-rows[1] // self.scale)),)

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """All phases of one output channel are tied."""
        phases, out = self.scale**2, []
        for group in range(0, len(ties[0]), phases):
            joined = ties[0][group]
            for tie in ties[0][group + 1 : group + phases]:
                joined = union(joined, tie)
            out.append(joined)
        return out


class PixelUnshuffle(Op, frozen=True, kw_only=True, tag="pixel_unshuffle"):
    """Inverse of the shuffle: channel ``c s^2 + i s + j`` holds pixels ``(s y + i, s x + j)`` of channel ``c``."""

    scale: Scale

    @property
    def row_step(self) -> int:
        """The scale."""
        return self.scale

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """Channels times the square of the scale."""
        return channels[0] * self.scale**2

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """The size over the scale, which must divide it."""
        height, width = sizes[0]
        if height % self.scale or width % self.scale:
            raise PlanError(f"`pixel_unshuffle`: an input of {sizes[0]}; accepted: multiples of {self.scale}")
        return height // self.scale, width // self.scale

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """All rows that the asked ones hold."""
        return ((rows[0] * self.scale, rows[1] * self.scale),)

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """The phases of a channel go with it."""
        return [tie for tie in ties[0] for _ in range(self.scale**2)]


class MaxPool(Op, frozen=True, kw_only=True, tag="max_pool"):
    """Largest pixel under each window, channel by channel; what lies outside the image counts as minus infinity."""

    kernel: tuple[KernelSize, KernelSize]
    stride: Step = 1
    padding: tuple[Padding, Padding] = (0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise PlanError(f"`max_pool`: padding {self.padding} must be at most half the kernel {self.kernel}")

    @property
    def row_step(self) -> int:
        """The stride."""
        return self.stride

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """``(n + 2 padding - kernel) // stride + 1`` on each axis."""
        out = [(n + 2 * p - k) // self.stride + 1 for n, p, k in zip(sizes[0], self.padding, self.kernel, strict=True)]
        if min(out) < 1:
            raise PlanError(f"`max_pool`: an input of {sizes[0]} is smaller than the kernel {self.kernel}")
        return out[0], out[1]

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The rows under the windows."""
        top = rows[0] * self.stride - self.padding[0]
        return ((top, (rows[1] - 1) * self.stride - self.padding[0] + self.kernel[0]),)


class Resize(Op, frozen=True, kw_only=True, tag="resize"):
    """Another size without antialiasing, pixels taken as areas (half-pixel centres): the height first, then the width.

    With ``factor`` the size is multiplied by it; without, a second input gives the size of the result and nothing
    else. ``nearest`` takes pixel ``floor(x in / out)``. The others look at position ``u = (x + 0.5) in / out - 0.5``
    and weigh pixels ``floor(u) + {0, 1}`` (``bilinear``) or ``floor(u) + {-1, 0, 1, 2}`` (``bicubic``, the Keys cubic
    with a = ``coefficient``: -0.5 is MATLAB's, -0.75 that of most frameworks). ``border`` tells which pixels stand for
    those outside.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing" (1981).
    """

    mode: Literal["nearest", "bilinear", "bicubic"]
    factor: Scale | None = None
    coefficient: Annotated[float, msgspec.Meta(ge=-1, le=0)] = -0.75
    border: Literal["edge", "symmetric"] = "edge"

    @property
    def arity(self) -> int:
        """One with a factor; else two, the second for its size alone."""
        return 1 if self.factor is not None else 2

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """Those of the first input."""
        return channels[0]

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """Factor times the size, or the size of the second input."""
        if self.factor is None:
            return sizes[1]
        return sizes[0][0] * self.factor, sizes[0][1] * self.factor

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """From the first tap of the first row to the last tap of the last; of the second input none."""
        height = self.out_size(sizes)[0]
        before, after = {"nearest": (0, 1), "bilinear": (0, 2), "bicubic": (1, 3)}[self.mode]
        first = self._position(rows[0], sizes[0][0], height)[0] - before
        last = self._position(rows[1] - 1, sizes[0][0], height)[0] + after
        return ((first, last), NO_ROWS)[: self.arity]

    def row_padding(self) -> Border:
        """The record's own border."""
        return self.border

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Those of the first input."""
        return ties[0]

    def taps(self, rows: Rows, size: int, out_size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """What output positions ``[start, stop)`` of one axis add up.

        Args:
            rows: the positions.
            size: pixels in, >= 1.
            out_size: pixels out, >= 1.

        Returns:
            Positions (stop - start, taps), int64, which may lie outside, and their weights, float32.
        """
        base, rest = self._position(np.arange(*rows), size, out_size)
        first, t = base[:, None], rest[:, None] / (2 * out_size)
        if self.mode == "nearest":
            return first, np.ones(first.shape, np.float32)
        if self.mode == "bilinear":
            return first + np.arange(2), np.hstack((1 - t, t)).astype(np.float32)
        distances = np.hstack((1 + t, t, 1 - t, 2 - t))
        return first + np.arange(-1, 3), _cubic(distances, self.coefficient).astype(np.float32)

    def _position(self, x: Any, size: int, out_size: int) -> tuple[Any, Any]:
        """Floor of ``u`` (of ``x in / out``, if nearest), and the rest in units of ``1 / (2 out)``: no rounding."""
        if self.mode == "nearest":
            return x * size // out_size, x * 0
        doubled = (2 * x + 1) * size - out_size
        return doubled // (2 * out_size), doubled % (2 * out_size)


def _cubic(distance: npt.NDArray[np.float64], a: float) -> npt.NDArray[np.float64]:
    """The Keys cubic at distances 0 to 2, in pixels."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)


class Pad(Op, frozen=True, kw_only=True, tag="pad"):
    """Pixels added on each side: ``zero``, ``edge`` (the border repeated) or ``mirror`` (reflected about it)."""

    top: Margin = 0
    bottom: Margin = 0
    left: Margin = 0
    right: Margin = 0
    mode: PadMode = "zero"

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """The size and what is added."""
        height, width = sizes[0]
        return height + self.top + self.bottom, width + self.left + self.right

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The same rows, counted from the image's own first."""
        return ((rows[0] - self.top, rows[1] - self.top),)

    def row_padding(self) -> PadMode:
        """The record's own mode."""
        return self.mode


class Crop(Op, frozen=True, kw_only=True, tag="crop"):
    """Pixels cut off on each side."""

    top: Margin = 0
    bottom: Margin = 0
    left: Margin = 0
    right: Margin = 0

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """What is left."""
        height, width = sizes[0]
        out = height - self.top - self.bottom, width - self.left - self.right
        if min(out) < 1:
            raise PlanError(f"`crop`: nothing is left of an input of {sizes[0]}")
        return out

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The same rows, counted from the uncut first."""
        return ((rows[0] + self.top, rows[1] + self.top),)


class _Global(Op, frozen=True, kw_only=True):
    """Base of the ops that make one number of a whole channel."""

    whole_image: ClassVar[bool] = True

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """One pixel."""
        return 1, 1

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """All."""
        return ((0, sizes[0][0]),)


class GlobalMean(_Global, frozen=True, kw_only=True, tag="global_mean"):
    """Mean of each channel: ``C H W`` -> ``C 1 1``."""


class GlobalStd(_Global, frozen=True, kw_only=True, tag="global_std"):
    """Population standard deviation of each channel, ``sqrt(mean((x - mean)^2))``: ``C H W`` -> ``C 1 1``."""
