"""A plan: ops in order, each with named inputs, from the value ``input`` to named outputs."""

from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple, ParamSpec, TypeVar

import msgspec

from thinlens.errors import PlanError
from thinlens.model.ops import MAX_CHANNELS, AnyOp, Bands, Channels, Op, Size, Unbands, kind_of

INPUT = "input"
MAX_SIDE = 1 << 31  # of any value: nothing larger is ever run, and plans that ask for it are not computed with
P = ParamSpec("P")
R = TypeVar("R")
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Shapes = Mapping[str, tuple[int, ...]]


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One op at work: it makes the value that bears its name."""

    name: Name
    op: AnyOp
    inputs: tuple[Name, ...]
    tensors: dict[Name, Name] = {}  # role -> name in the model file


class Extent(NamedTuple):
    """How large a value is, and what the ops that read it see as an image: all of it, or each of its bands.

    Args:
        height: rows in all, those of all bands together.
        width: columns.
        band: rows of one band; None: the value is one image.
    """

    height: int
    width: int
    band: int | None = None

    @property
    def size(self) -> Size:
        """All rows, and columns."""
        return self.height, self.width

    @property
    def frame(self) -> Size:
        """Rows and columns of what an op sees as an image."""
        return self.band or self.height, self.width

    @property
    def bands(self) -> int | None:
        """How many there are; None: one image."""
        return None if self.band is None else self.height // self.band


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ops in the order in which they run.

    Args:
        input_channels: channels of the value ``input``: 1 (luma) or 3 (RGB) for a whole network.
        nodes: ops; each reads ``input`` or values made before it.
        outputs: name -> value; ``image`` comes first.
    """

    input_channels: Channels
    nodes: Annotated[tuple[Node, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    outputs: dict[Name, Name]

    def channels(self) -> dict[str, int]:
        """Channels of every value.

        Raises:
            PlanError: if names repeat or are missing, or if an op does not fit its inputs.
        """
        channels = {INPUT: self.input_channels}
        for node in self.nodes:
            self._check_node(node, channels)
            made = _located(node, node.op.channels_out, tuple(channels[name] for name in node.inputs))
            if made > MAX_CHANNELS:
                raise PlanError(f"node `{node.name}`: {made} channels; accepted: up to {MAX_CHANNELS}")
            channels[node.name] = made
        if next(iter(self.outputs), None) != "image":
            raise PlanError(f"outputs are {list(self.outputs)}; the first must be `image`")
        for output, value in self.outputs.items():
            if value not in channels:
                raise PlanError(f"output `{output}` names the value `{value}`, which no op makes")
        self._check_bands()
        return channels

    def extents(self, size: Size) -> dict[str, Extent]:
        """Height, width and height of a band of every value for an input of ``size``.

        Raises:
            PlanError: if an op's inputs differ in size, or one is too small, or a value too large.
        """
        extents = {INPUT: Extent(*size)}
        for node in self.nodes:
            extent = _located(node, _extent, node.op, tuple(extents[name] for name in node.inputs))
            if max(extent.size) > MAX_SIDE:
                raise PlanError(f"node `{node.name}`: an input of {size} becomes larger than {MAX_SIDE} on a side")
            extents[node.name] = extent
        return extents

    def sizes(self, size: Size) -> dict[str, Size]:
        """Height and width of every value for an input of ``size``; of a value in bands, the rows of all of them.

        Raises:
            PlanError: as `extents`.
        """
        return {name: extent.size for name, extent in self.extents(size).items()}

    def frames(self, size: Size) -> dict[str, int | None]:
        """Rows of one band of every value that is in bands, for an input of ``size``; None: it is one image.

        Raises:
            PlanError: as `extents`.
        """
        return {name: extent.band for name, extent in self.extents(size).items()}

    def macs(self, size: Size) -> int:
        """Multiply-accumulates for an input of ``size``."""
        channels, sizes = self.channels(), self.sizes(size)
        return sum(n.op.macs(tuple(channels[i] for i in n.inputs), sizes[n.name]) for n in self.nodes)

    def binary_macs(self, size: Size) -> int:
        """Multiply-accumulates of two signs for an input of ``size``, which are not among `macs`."""
        channels, sizes = self.channels(), self.sizes(size)
        return sum(n.op.binary_macs(tuple(channels[i] for i in n.inputs), sizes[n.name]) for n in self.nodes)

    def tensor_names(self) -> set[str]:
        """Names of all tensors that the plan uses."""
        return {name for node in self.nodes for name in node.tensors.values()}

    def check_tensors(self, shapes: Shapes) -> None:
        """Check that every tensor is there in the shape that its op asks for.

        Raises:
            PlanError: naming the node, the tensor, and both shapes.
        """
        for node in self.nodes:
            wanted = node.op.tensor_shapes()
            if wanted.keys() != node.tensors.keys():
                found = f"tensors {sorted(node.tensors)}; accepted: {sorted(wanted)}"
                raise PlanError(f"node `{node.name}` ({kind_of(node.op)}): {found}")
            for role, shape in wanted.items():
                name = node.tensors[role]
                if shapes.get(name) != shape:
                    found = f"has shape {shapes[name]}" if name in shapes else "is missing"
                    raise PlanError(f"node `{node.name}`: tensor `{name}` {found}; accepted: {shape}")

    @staticmethod
    def _check_node(node: Node, known: Mapping[str, int]) -> None:
        if node.name in known:
            raise PlanError(f"two values are named `{node.name}`")
        if len(node.inputs) != node.op.arity:
            raise PlanError(
                f"node `{node.name}` ({kind_of(node.op)}): {len(node.inputs)} inputs; accepted: {node.op.arity}"
            )
        for name in node.inputs:
            if name not in known:
                raise PlanError(f"node `{node.name}` reads `{name}`, which no earlier op makes")

    def _check_bands(self) -> None:
        """Check that bands are opened once, closed as they were opened, and not mixed with images.

        Raises:
            PlanError: naming the node.
        """
        opened: dict[str, tuple[int, int] | None] = {INPUT: None}  # value -> rows and warm-up of its bands
        for node in self.nodes:
            opened[node.name] = _located(node, _bands, node.op, tuple(opened[name] for name in node.inputs))
        for output, value in self.outputs.items():
            if opened[value] is not None:
                raise PlanError(f"output `{output}` is in bands; put them together with `unbands`")


def _bands(op: Op, inputs: tuple[tuple[int, int] | None, ...]) -> tuple[int, int] | None:
    """Rows and warm-up of the bands that an op's output is in, for those of its inputs."""
    if isinstance(op, Bands):
        if inputs[0] is not None:
            raise PlanError("`bands`: the input is in bands already; accepted: an image")
        return op.rows, op.warm_up
    if isinstance(op, Unbands):
        if inputs != ((op.rows, op.warm_up), None):
            raise PlanError(f"`unbands`: accepted: bands of {op.rows} rows, {op.warm_up} to warm up, and an image")
        return None
    if op.recurrent:
        inputs = _of_memory(op, inputs)
    if len(set(inputs)) != 1:
        raise PlanError(f"`{kind_of(op)}`: some inputs are in bands and others not, or in other ones")
    if op.whole_image and inputs[0] is not None:
        raise PlanError(f"`{kind_of(op)}`: needs the whole image, and cannot stand between `bands` and `unbands`")
    return inputs[0]


def _of_memory(op: Op, inputs: tuple[tuple[int, int] | None, ...]) -> tuple[tuple[int, int] | None, ...]:
    """The inputs of a memory that are in bands: all but the image at the end."""
    if inputs[-1] is not None or None in inputs[:-1]:
        raise PlanError(f"`{kind_of(op)}`: accepted: values in bands, and an image at the end")
    return inputs[:-1]


def _extent(op: Op, inputs: tuple[Extent, ...]) -> Extent:
    """Extent of an op's output for those of its inputs."""
    if op.reframes:
        height, width = op.out_size(tuple(extent.size for extent in inputs))
        if isinstance(op, Bands):
            return Extent(height, width, op.rows)
        if isinstance(op, Unbands) and inputs[0].band != op.rows * op.scale:
            raise PlanError(f"`unbands`: bands have {inputs[0].band} rows; accepted: {op.rows * op.scale}")
        return Extent(height, width)
    if len({extent.bands for extent in inputs[: -1 if op.recurrent else None]}) != 1:
        raise PlanError(f"`{kind_of(op)}`: inputs differ in their number of bands")
    height, width = op.out_size(tuple(extent.frame for extent in inputs))
    bands = inputs[0].bands
    return Extent(height, width) if bands is None else Extent(height * bands, width, height)


def _located(node: Node, rule: Callable[P, R], *arguments: P.args, **_: P.kwargs) -> R:
    """Apply a record's rule; its error then names the node."""
    try:
        return rule(*arguments, **_)
    except PlanError as error:
        raise PlanError(f"node `{node.name}`: {error}") from error
