"""The closed set of operations: one record each.

A record holds everything about an operation that is known before any pixel moves: its fields, the shapes of its
tensors, how channels, sizes and rows of its output follow from its inputs, which channels must be cut together, and
what it costs. Its three bodies compute it: `thinlens.train.ops` (torch), `thinlens.runtime.reference` (NumPy) and the
native engine. Adding an operation: CONTRIBUTING.md.

Rows: to make output rows ``[start, stop)`` an op reads input rows ``in_rows(start, stop)``, which may lie outside the
image; such rows are *padding*, made for the op's own input by its ``pad_mode``. The rows then computed begin at
``first_row(first)``; what was not asked for is cut off.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from thinlens.errors import PlanError

Size = tuple[int, int]  # height, width
Channels = Annotated[int, msgspec.Meta(ge=1, le=65536)]
KernelSize = Annotated[int, msgspec.Meta(ge=1, le=255)]
Padding = Annotated[int, msgspec.Meta(ge=0, le=254)]
Step = Annotated[int, msgspec.Meta(ge=1, le=64)]
PadMode = Literal["zero", "edge"]
Union = Callable[[int, int], int]  # joins two channel ties, returns the joined one
Fresh = Callable[[], int]  # a new channel tie


class Op(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all records: one input, same channels, size and rows out as in, no tensors, no cost."""

    arity: ClassVar[int] = 1
    whole_image: ClassVar[bool] = False  # True: needs every row of its input before it gives one

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by its role, such as ``{"weight": (8, 1, 3, 3)}``."""
        return {}

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """Channels out for channels in (one entry an input); `PlanError` if they do not fit."""
        return same_channels(self, channels)

    def out_size(self, size: Size) -> Size:
        """Height and width out for height and width in."""
        return size

    def in_rows(self, start: int, stop: int) -> tuple[int, int]:
        """Input rows ``[first, last)`` behind output rows ``[start, stop)``; may lie outside the image."""
        return start, stop

    def first_row(self, first: int) -> int:
        """Output row that comes first when input rows from ``first`` on are computed."""
        return first

    def row_padding(self) -> PadMode:
        """How rows outside the image are made."""
        return "zero"

    def macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """Multiply-accumulates for an output of ``out_size``."""
        return 0

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Channel ties of the output for the ties of the inputs: channels with one tie are cut together."""
        joined = ties[0]
        for other in ties[1:]:
            joined = [union(a, b) for a, b in zip(joined, other, strict=True)]
        return joined


def same_channels(op: Op, channels: tuple[int, ...]) -> int:
    """The one channel count that all inputs share.

    Raises:
        PlanError: if they differ.
    """
    if len(set(channels)) != 1:
        raise PlanError(f"`{kind_of(op)}`: inputs have {channels} channels; accepted: equal numbers")
    return channels[0]


class Conv2d(Op, frozen=True, kw_only=True, tag="conv2d"):
    """Cross-correlation. Tensors: ``weight`` (out, in / groups, kh, kw) and, if ``bias``, ``bias`` (out,).

    Padding is made on all four sides: ``zero``, or ``edge`` (the border pixel repeated).
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
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise PlanError(f"`conv2d`: {self.groups} groups do not divide {self.in_channels} -> {self.out_channels}")
        if any(p >= k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise PlanError(f"`conv2d`: padding {self.padding} must be smaller than the kernel {self.kernel}")

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

    def out_size(self, size: Size) -> Size:
        """``(n + 2 padding - kernel) // stride + 1`` on each axis."""
        out = [(n + 2 * p - k) // self.stride + 1 for n, p, k in zip(size, self.padding, self.kernel, strict=True)]
        if min(out) < 1:
            raise PlanError(f"`conv2d`: an input of {size} is smaller than the kernel {self.kernel}")
        return out[0], out[1]

    def in_rows(self, start: int, stop: int) -> tuple[int, int]:
        """The rows under the kernel."""
        top = start * self.stride - self.padding[0]
        return top, (stop - 1) * self.stride - self.padding[0] + self.kernel[0]

    def first_row(self, first: int) -> int:
        """Inverse of `in_rows`."""
        return (first + self.padding[0]) // self.stride

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
    pad_mode: PadMode = "zero"
    bias: bool = False

    def __post_init__(self) -> None:
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

    def out_size(self, size: Size) -> Size:
        """``(n - 1) stride - 2 padding + kernel + output_padding`` on each axis."""
        out = [
            (n - 1) * self.stride - 2 * p + k + self.output_padding
            for n, p, k in zip(size, self.padding, self.kernel, strict=True)
        ]
        if min(out) < 1:
            raise PlanError(f"`conv_transpose2d`: an input of {size} gives nothing with padding {self.padding}")
        return out[0], out[1]

    def in_rows(self, start: int, stop: int) -> tuple[int, int]:
        """The rows whose kernels reach the asked ones."""
        top = -(-(start + self.padding[0] - self.kernel[0] + 1) // self.stride)
        return top, (stop - 1 + self.padding[0]) // self.stride + 1

    def first_row(self, first: int) -> int:
        """Where the kernel of the first input row begins."""
        return first * self.stride - self.padding[0]

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


class Tanh(Op, frozen=True, kw_only=True, tag="tanh"):
    """Hyperbolic tangent, element by element."""


class Sigmoid(Op, frozen=True, kw_only=True, tag="sigmoid"):
    """``1 / (1 + exp(-x))``, element by element."""


class PRelu(Op, frozen=True, kw_only=True, tag="prelu"):
    """``max(x, 0) + weight min(x, 0)``. Tensor: ``weight`` (1,), shared, or (channels,)."""

    slopes: Channels = 1

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of ``weight``."""
        return {"weight": (self.slopes,)}

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """As many as come in, which must have one slope each unless it is shared."""
        if self.slopes not in (1, channels[0]):
            raise PlanError(f"`prelu`: {self.slopes} slopes for {channels[0]} channels; accepted: 1 or one a channel")
        return channels[0]


class PixelShuffle(Op, frozen=True, kw_only=True, tag="pixel_shuffle"):
    """Channel ``g s^2 + i s + j`` goes to channel ``g``, pixel ``(s y + i, s x + j)``."""

    scale: Annotated[int, msgspec.Meta(ge=1, le=16)]

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """Channels over the square of the scale."""
        if channels[0] % self.scale**2:
            raise PlanError(f"`pixel_shuffle`: {channels[0]} channels; accepted: a multiple of {self.scale**2}")
        return channels[0] // self.scale**2

    def out_size(self, size: Size) -> Size:
        """Scale times the size."""
        return size[0] * self.scale, size[1] * self.scale

    def in_rows(self, start: int, stop: int) -> tuple[int, int]:
        """The rows that hold the asked ones."""
        return start // self.scale, -(-stop // self.scale)

    def first_row(self, first: int) -> int:
        """Scale times the row."""
        return first * self.scale

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """All phases of one output channel are tied."""
        phases, out = self.scale**2, []
        for group in range(0, len(ties[0]), phases):
            joined = ties[0][group]
            for tie in ties[0][group + 1 : group + phases]:
                joined = union(joined, tie)
            out.append(joined)
        return out


class ChannelSlice(Op, frozen=True, kw_only=True, tag="channel_slice"):
    """Channels ``[start, stop)`` of the input."""

    start: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    stop: Channels

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """The length of the slice, which must lie inside the input."""
        if not self.start < self.stop <= channels[0]:
            raise PlanError(
                f"`channel_slice`: [{self.start}, {self.stop}) of {channels[0]} channels is empty or outside"
            )
        return self.stop - self.start

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """The slice of the ties."""
        return ties[0][self.start : self.stop]


class Multiply(Op, frozen=True, kw_only=True, tag="multiply"):
    """Element by element product of two inputs of one shape."""

    arity: ClassVar[int] = 2


class ChannelMax(Op, frozen=True, kw_only=True, tag="channel_max"):
    """The largest channel of each pixel: one channel out."""

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """One."""
        return 1

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Candidates may be cut one by one; the output is new."""
        return [fresh()]


class SoftmaxSum(Op, frozen=True, kw_only=True, tag="softmax_sum"):
    """``sum_c values_c softmax_c(logits)`` for each pixel: one channel out. Inputs: values, logits.

    Source: edge-SR (WACV 2022), section 3, template matching and transformer.
    """

    arity: ClassVar[int] = 2

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """One, if there are as many values as logits."""
        same_channels(self, channels)
        return 1

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """A value is cut with its logit; the output is new."""
        Op.tie(self, ties, union, fresh)
        return [fresh()]


AnyOp = (
    Conv2d | ConvTranspose2d | Tanh | Sigmoid | PRelu | PixelShuffle | ChannelSlice | Multiply | ChannelMax | SoftmaxSum
)
OPS: tuple[type[Op], ...] = get_args(AnyOp)


def kind_of(op: Op) -> str:
    """The name of an op's kind in plans and messages, such as ``conv2d``."""
    return str(type(op).__struct_config__.tag)
