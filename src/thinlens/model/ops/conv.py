"""Records of the convolutions."""

from typing import Annotated, Literal

import msgspec

from thinlens.errors import PlanError
from thinlens.model.ops.border import PadMode, Rows
from thinlens.model.ops.record import Channels, Cut, Fresh, Kept, KernelSize, Op, Padding, Size, Step, Union

BinarySide = Annotated[int, msgspec.Meta(ge=1, le=15)]


class Conv2d(Op, frozen=True, kw_only=True, tag="conv2d"):
    """Cross-correlation. Tensors: ``weight`` (out, in / groups, kh, kw) and, if ``bias``, ``bias`` (out,).

    Padding is made on all four sides: ``zero``, ``edge`` (the border repeated) or ``mirror`` (reflected about it).
    """

    in_channels: Channels
    out_channels: Channels
    kernel: tuple[KernelSize, KernelSize]
    stride: Step = 1
    padding: tuple[Padding, Padding] = (0, 0)
    pad_mode: PadMode = "zero"
    groups: Channels = 1
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise PlanError(f"`conv2d`: {self.groups} groups do not divide {self.in_channels} -> {self.out_channels}")
        if any(p >= k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise PlanError(f"`conv2d`: padding {self.padding} must be smaller than the kernel {self.kernel}")

    @property
    def row_step(self) -> int:
        """The stride."""
        return self.stride

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``weight`` and, if present, ``bias``."""
        shapes: dict[str, tuple[int, ...]] = {
            "weight": (self.out_channels, self.in_channels // self.groups, *self.kernel)
        }
        if self.bias:
            shapes["bias"] = (self.out_channels,)
        return shapes

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """The record's own number, if the input has the channels it expects."""
        if channels[0] != self.in_channels:
            raise PlanError(f"`conv2d`: input has {channels[0]} channels; accepted: {self.in_channels}")
        return self.out_channels

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """``(n + 2 padding - kernel) // stride + 1`` on each axis."""
        out = [(n + 2 * p - k) // self.stride + 1 for n, p, k in zip(sizes[0], self.padding, self.kernel, strict=True)]
        if min(out) < 1:
            raise PlanError(f"`conv2d`: an input of {sizes[0]} is smaller than the kernel {self.kernel}")
        return out[0], out[1]

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The rows under the kernel."""
        top = rows[0] * self.stride - self.padding[0]
        return ((top, (rows[1] - 1) * self.stride - self.padding[0] + self.kernel[0]),)

    def row_padding(self) -> PadMode:
        """The record's own mode."""
        return self.pad_mode

    def macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """One per weight and output pixel; padding counts as pixels."""
        taps = self.kernel[0] * self.kernel[1] * self.in_channels // self.groups
        return taps * self.out_channels * out_size[0] * out_size[1]

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """A plain convolution's output channels are free; a grouped one ties them to its inputs."""
        if self.groups == 1:
            return [fresh() for _ in range(self.out_channels)]
        if self.groups == self.in_channels == self.out_channels:
            return ties[0]
        joined = ties[0][0]
        for tie in ties[0][1:]:  # groups of several channels must keep their sizes: nothing can be cut alone
            joined = union(joined, tie)
        return [joined] * self.out_channels

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """Filters by the output's channels, and in each the input's; a channel for itself has one filter."""
        fields = {"in_channels": len(kept[0]), "out_channels": len(made)}
        inputs: Kept | None = kept[0]
        if self.groups > 1:
            inputs = None
            if self.groups == self.in_channels == self.out_channels:
                fields["groups"] = len(made)
            elif (len(kept[0]), len(made)) != (self.in_channels, self.out_channels):
                raise PlanError(f"`conv2d`: channels of {self.groups} groups cannot be cut")
        return self.with_fields(**fields), {"weight": (made, inputs)} | ({"bias": (made,)} if self.bias else {})


class BinaryConv2d(Op, frozen=True, kw_only=True, tag="binary_conv2d"):
    """Cross-correlation of signs: ``scale * conv2d(sign(x + threshold), weight)``, where the sign of 0 is +1.

    Tensors: ``weight`` (out, in, kh, kw), -1 or +1, one bit in a model file; ``threshold`` (in,); ``scale`` (out,).
    Pixels outside the image count as ``pad_value``, as it is: no threshold is added to it.

    Source: Xia et al., Basic Binary Convolution Unit for Binarized Image Restoration Network, ICLR 2023, section 3.
    """

    in_channels: Channels
    out_channels: Channels
    kernel: tuple[BinarySide, BinarySide]
    padding: tuple[Padding, Padding] = (0, 0)
    pad_value: Literal[-1, 0, 1] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(p >= k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise PlanError(f"`binary_conv2d`: padding {self.padding} must be smaller than the kernel {self.kernel}")

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``weight``, ``threshold`` and ``scale``."""
        weight = (self.out_channels, self.in_channels, *self.kernel)
        return {"weight": weight, "threshold": (self.in_channels,), "scale": (self.out_channels,)}

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """The record's own number, if the input has the channels it expects."""
        if channels[0] != self.in_channels:
            raise PlanError(f"`binary_conv2d`: input has {channels[0]} channels; accepted: {self.in_channels}")
        return self.out_channels

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """``n + 2 padding - kernel + 1`` on each axis."""
        out = [n + 2 * p - k + 1 for n, p, k in zip(sizes[0], self.padding, self.kernel, strict=True)]
        if min(out) < 1:
            raise PlanError(f"`binary_conv2d`: an input of {sizes[0]} is smaller than the kernel {self.kernel}")
        return out[0], out[1]

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The rows under the kernel."""
        return ((rows[0] - self.padding[0], rows[1] - 1 - self.padding[0] + self.kernel[0]),)

    def binary_macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """One per weight and output pixel; padding counts as pixels."""
        taps = self.kernel[0] * self.kernel[1] * self.in_channels
        return taps * self.out_channels * out_size[0] * out_size[1]

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Output channels are free."""
        return [fresh() for _ in range(self.out_channels)]

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """As a convolution; a threshold goes with the channel that it is added to, a scale with the one it makes."""
        record = self.with_fields(in_channels=len(kept[0]), out_channels=len(made))
        return record, {"weight": (made, kept[0]), "threshold": (kept[0],), "scale": (made,)}


class ConvTranspose2d(Op, frozen=True, kw_only=True, tag="conv_transpose2d"):
    """Transposed convolution: each input pixel adds its weighted kernel to the output, ``stride`` pixels apart.

    Tensors: ``weight`` (in, out, kh, kw) and, if ``bias``, ``bias`` (out,). ``padding`` output pixels are cut on each
    side, ``output_padding`` added below and on the right. Input pixels outside the image are zero or the ``edge``.
    """

    in_channels: Channels
    out_channels: Channels
    kernel: tuple[KernelSize, KernelSize]
    stride: Step = 1
    padding: tuple[Padding, Padding] = (0, 0)
    output_padding: Annotated[int, msgspec.Meta(ge=0, le=63)] = 0
    pad_mode: Literal["zero", "edge"] = "zero"
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_padding >= self.stride and self.output_padding:
            raise PlanError(
                f"`conv_transpose2d`: output padding {self.output_padding} must be below stride {self.stride}"
            )

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``weight`` and, if present, ``bias``."""
        weight = {"weight": (self.in_channels, self.out_channels, *self.kernel)}
        return weight | ({"bias": (self.out_channels,)} if self.bias else {})

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """The record's own number, if the input has the channels it expects."""
        if channels[0] != self.in_channels:
            raise PlanError(f"`conv_transpose2d`: input has {channels[0]} channels; accepted: {self.in_channels}")
        return self.out_channels

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """``(n - 1) stride - 2 padding + kernel + output_padding`` on each axis."""
        out = [
            (n - 1) * self.stride - 2 * p + k + self.output_padding
            for n, p, k in zip(sizes[0], self.padding, self.kernel, strict=True)
        ]
        if min(out) < 1:
            raise PlanError(f"`conv_transpose2d`: an input of {sizes[0]} gives nothing with padding {self.padding}")
        return out[0], out[1]

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The rows whose kernels reach the asked ones; none, where kernels leave gaps."""
        top = -(-(rows[0] + self.padding[0] - self.kernel[0] + 1) // self.stride)
        return ((top, (rows[1] - 1 + self.padding[0]) // self.stride + 1),)

    def row_padding(self) -> PadMode:
        """The record's own mode."""
        return self.pad_mode

    def macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """One per weight and input pixel: the output's pixels over the square of the stride."""
        taps = self.kernel[0] * self.kernel[1] * self.in_channels * self.out_channels
        return taps * out_size[0] * out_size[1] // self.stride**2

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Output channels are free."""
        return [fresh() for _ in range(self.out_channels)]

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """As a convolution, the weight's first two axes the other way round."""
        record = self.with_fields(in_channels=len(kept[0]), out_channels=len(made))
        return record, {"weight": (kept[0], made)} | ({"bias": (made,)} if self.bias else {})
