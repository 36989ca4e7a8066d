"""What all records share: the questions that a plan asks an op before any pixel moves, with their usual answers."""

import math
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, ClassVar, Self, get_type_hints

import msgspec

from thinlens.errors import PlanError
from thinlens.model.ops.border import Border, Rows

Size = tuple[int, int]  # height, width
MAX_CHANNELS = 65536
Channels = Annotated[int, msgspec.Meta(ge=1, le=MAX_CHANNELS)]
KernelSize = Annotated[int, msgspec.Meta(ge=1, le=255)]
Padding = Annotated[int, msgspec.Meta(ge=0, le=254)]
Step = Annotated[int, msgspec.Meta(ge=1, le=64)]
Scale = Annotated[int, msgspec.Meta(ge=1, le=16)]
Number = Annotated[float, msgspec.Meta(ge=-3e38, le=3e38)]  # finite as a float32
Union = Callable[[int, int], int]  # joins two channel ties, returns the joined one
Fresh = Callable[[], int]  # a new channel tie
Kept = list[int]  # channels that are left of a value, ascending
Cut = tuple[
    "Op", dict[str, tuple[Kept | None, ...]]
]  # a record, and what is left of its tensors' first axes; None: all


class Op(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all records: one input, same channels, size and rows out as in, no tensors, no cost.

    Fields are checked against their annotated ranges, however a record is made.

    Raises:
        PlanError: if a field is out of range, or fields contradict each other.
    """

    whole_image: ClassVar[bool] = False  # True: needs every row of its input before it gives one
    reframes: ClassVar[bool] = False  # True: turns an image into bands, or bands into an image
    recurrent: ClassVar[bool] = False  # True: a band depends on all bands above it; the last input is an image

    def __post_init__(self) -> None:
        for name, kind in _field_types(type(self)).items():
            value = getattr(self, name)
            try:
                msgspec.convert(value, kind)
            except msgspec.ValidationError as error:
                raise PlanError(f"`{kind_of(self)}`: `{name}` is {str(value)[:60]}: {error}") from error
            if isinstance(value, float) and not math.isfinite(value):
                raise PlanError(f"`{kind_of(self)}`: `{name}` is {value}; accepted: finite numbers")

    @property
    def arity(self) -> int:
        """How many inputs it reads."""
        return 1

    @property
    def per_channel(self) -> bool:
        """True if its tensors hold one number for each channel that passes through, which is cut with it."""
        return False

    @property
    def row_step(self) -> int:
        """Input rows after which its rows repeat: a stride, a band's height."""
        return 1

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by its role, such as ``{"weight": (8, 1, 3, 3)}``."""
        return {}

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """Channels out for channels in (one entry an input); `PlanError` if they do not fit."""
        return same_channels(self, channels)

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """Height and width out for those in (one entry an input); `PlanError` if they do not fit."""
        return same_size(self, sizes)

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """For each input, the rows ``[first, last)`` behind output rows ``[start, stop)``.

        They may lie outside the image (padding, made by `row_padding`), or be empty.
        """
        return (rows,) * len(sizes)

    def row_padding(self) -> Border:
        """How rows outside the image are made."""
        return "zero"

    def macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """Multiply-accumulates for an output of ``out_size``."""
        return 0

    def binary_macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """Multiply-accumulates of two signs, which are not among `macs`."""
        return 0

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Channel ties of the output for the ties of the inputs: channels with one tie are cut together."""
        joined = ties[0]
        for other in ties[1:]:
            joined = [union(a, b) for a, b in zip(joined, other, strict=True)]
        return joined

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """What is left of it when channels are cut, as its `tie` allows.

        Args:
            kept: for each input, the channels that are left, at least one.
            made: those of the output.

        Returns:
            The record, and for each tensor that shrinks, what is left along its first axes.

        Raises:
            PlanError: if it has tensors of which nothing is known.
        """
        if self.per_channel:
            return self.with_fields(), dict.fromkeys(self.tensor_shapes(), (made,))
        if any(len(shape) > 1 for shape in self.tensor_shapes().values()):
            raise _refused(self)
        return self, {}

    def with_fields(self, **fields: Any) -> Self:
        """The same record with other fields."""
        return type(self)(**{name: getattr(self, name) for name in self.__struct_fields__} | fields)


def _refused(op: Op) -> PlanError:
    return PlanError(f"`{kind_of(op)}`: none of its channels can be cut")


def same_channels(op: Op, channels: tuple[int, ...]) -> int:
    """The one channel count that all inputs share.

    Raises:
        PlanError: if they differ.
    """
    if len(set(channels)) != 1:
        raise PlanError(f"`{kind_of(op)}`: inputs have {channels} channels; accepted: equal numbers")
    return channels[0]


def same_size(op: Op, sizes: tuple[Size, ...]) -> Size:
    """The one height and width that all inputs share.

    Raises:
        PlanError: if they differ.
    """
    if len(set(sizes)) != 1:
        raise PlanError(f"`{kind_of(op)}`: inputs differ in size: {sorted(set(sizes))}")
    return sizes[0]


def kind_of(op: Op) -> str:
    """The name of an op's kind in plans and messages, such as ``conv2d``."""
    return str(type(op).__struct_config__.tag)


@cache
def _field_types(record: type[Op]) -> dict[str, Any]:
    hints = get_type_hints(record, include_extras=True)
    return {name: hints[name] for name in record.__struct_fields__}
