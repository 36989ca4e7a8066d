"""Records of the ops that look at one pixel at a time: activations, arithmetic, and moves between channels."""

from typing import Annotated

import msgspec

from thinlens.errors import PlanError
from thinlens.model.ops.border import Rows
from thinlens.model.ops.record import (
    MAX_CHANNELS,
    Channels,
    Cut,
    Fresh,
    Kept,
    Number,
    Op,
    Size,
    Union,
    kind_of,
    same_channels,
    same_size,
)

Channel = Annotated[int, msgspec.Meta(ge=0, le=MAX_CHANNELS - 1)]


class Affine(Op, frozen=True, kw_only=True, tag="affine"):
    """``weight x + bias``, one number a channel. Tensors: ``weight`` and ``bias`` (channels,), those that are there."""

    channels: Channels
    weight: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.weight or self.bias):
            raise PlanError("`affine`: neither weight nor bias; accepted: at least one of them")

    @property
    def per_channel(self) -> bool:
        """Always."""
        return True

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``weight`` and ``bias``, those that are there."""
        return {role: (self.channels,) for role in ("weight", "bias") if getattr(self, role)}

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """Numbers by channel."""
        return self.with_fields(channels=len(made)), super().cut(kept, made)[1]

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """The record's own number, if the input has as many."""
        if channels[0] != self.channels:
            raise PlanError(f"`affine`: input has {channels[0]} channels; accepted: {self.channels}")
        return self.channels

    def macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """One per element, if there is a weight."""
        return self.channels * out_size[0] * out_size[1] if self.weight else 0


class Relu(Op, frozen=True, kw_only=True, tag="relu"):
    """``max(x, 0)``."""


class LeakyRelu(Op, frozen=True, kw_only=True, tag="leaky_relu"):
    """``x`` where it is not negative, else ``slope x``."""

    slope: Annotated[float, msgspec.Meta(ge=-16, le=16)]


class PRelu(Op, frozen=True, kw_only=True, tag="prelu"):
    """``max(x, 0) + weight min(x, 0)``. Tensor: ``weight`` (1,), shared, or (channels,)."""

    slopes: Channels = 1

    @property
    def per_channel(self) -> bool:
        """Unless one slope is shared."""
        return self.slopes > 1

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of ``weight``."""
        return {"weight": (self.slopes,)}

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """Slopes by channel, unless one is shared."""
        return self.with_fields(slopes=len(made) if self.per_channel else 1), super().cut(kept, made)[1]

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """As many as come in, which must have one slope each unless it is shared."""
        if self.slopes not in (1, channels[0]):
            raise PlanError(f"`prelu`: {self.slopes} slopes for {channels[0]} channels; accepted: 1 or one a channel")
        return channels[0]


class Tanh(Op, frozen=True, kw_only=True, tag="tanh"):
    """Hyperbolic tangent, element by element."""


class Sigmoid(Op, frozen=True, kw_only=True, tag="sigmoid"):
    """``1 / (1 + exp(-x))``, element by element."""


class Clamp(Op, frozen=True, kw_only=True, tag="clamp"):
    """``min(max(x, low), high)``."""

    low: Number
    high: Number

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise PlanError(f"`clamp`: low {self.low} is above high {self.high}")


class Quantize(Op, frozen=True, kw_only=True, tag="quantize"):
    """Whole numbers that fit a byte: ``min(max(round(x / scale), -zero), 255 - zero)``, ties to even.

    ``scale`` is what one step is worth, ``zero`` the byte that stands for 0: 0 for what is never negative, about
    128 for others. A convolution of whole numbers of -127 to 127 behind it, without a bias, is exact in integers; an
    `affine` behind that turns its sums into values again.
    """

    scale: Annotated[float, msgspec.Meta(ge=1e-30, le=1e30)]
    zero: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0


class Bfloat16(Op, frozen=True, kw_only=True, tag="bfloat16"):
    """Rounded to bfloat16, the upper half of a float32: to nearest, ties to even."""


class Broadcast(Op, frozen=True, kw_only=True):
    """Base of the ops on two inputs that need not have one shape.

    An input of one channel is repeated over channels, one of size 1x1 over space, both on both if need be.
    """

    @property
    def arity(self) -> int:
        """Two."""
        return 2

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """The larger number; the other must be the same or 1."""
        many = max(channels)
        if any(c not in (1, many) for c in channels):
            raise PlanError(f"`{kind_of(self)}`: inputs have {channels} channels; accepted: equal numbers, or a 1")
        return many

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """The size that is not 1x1."""
        return same_size(self, tuple(s for s in sizes if s != (1, 1)) or sizes)

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The same rows; the only one of an input that is repeated over space."""
        return tuple((0, 1) if size == (1, 1) else rows for size in sizes)

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Channels go together one by one; one that is repeated over all stays its own."""
        if len(ties[0]) == len(ties[1]):
            return super().tie(ties, union, fresh)
        return max(ties, key=len)


class Add(Broadcast, frozen=True, kw_only=True, tag="add"):
    """``a x + b y`` of two inputs, which may be repeated over channels or space."""

    a: Number = 1.0
    b: Number = 1.0


class Multiply(Broadcast, frozen=True, kw_only=True, tag="multiply"):
    """Product of two inputs, which may be repeated over channels or space."""


class Concat(Op, frozen=True, kw_only=True, tag="concat"):
    """The channels of ``count`` inputs of one size, in order."""

    count: Annotated[int, msgspec.Meta(ge=2, le=64)]

    @property
    def arity(self) -> int:
        """The record's own count."""
        return self.count

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """All of them."""
        return sum(channels)

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """The ties in order."""
        return [tie for part in ties for tie in part]


class ChannelSlice(Op, frozen=True, kw_only=True, tag="channel_slice"):
    """Channels ``[start, stop)`` of the input."""

    start: Channel
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

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """The slice begins after what is left before it."""
        start = sum(channel < self.start for channel in kept[0])
        return self.with_fields(start=start, stop=start + len(made)), {}


class ChannelGather(Op, frozen=True, kw_only=True, tag="channel_gather"):
    """Channel ``i`` out is channel ``channels[i]`` in: a slice, a repetition, a permutation."""

    channels: Annotated[tuple[Channel, ...], msgspec.Meta(min_length=1, max_length=MAX_CHANNELS)]

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """One for each index, all of which must lie inside the input."""
        if max(self.channels) >= channels[0]:
            raise PlanError(f"`channel_gather`: channel {max(self.channels)} of {channels[0]} is outside")
        return len(self.channels)

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """The ties, moved alike."""
        return [ties[0][channel] for channel in self.channels]

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """The same channels at their new places."""
        places = {channel: place for place, channel in enumerate(kept[0])}
        return self.with_fields(channels=tuple(places[self.channels[at]] for at in made)), {}


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

    @property
    def arity(self) -> int:
        """Two."""
        return 2

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """One, if there are as many values as logits."""
        same_channels(self, channels)
        return 1

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """A value is cut with its logit; the output is new."""
        super().tie(ties, union, fresh)
        return [fresh()]
