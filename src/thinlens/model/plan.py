"""A plan: ops in order, each with named inputs, from the value ``input`` to named outputs."""

from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar

import msgspec

from thinlens.errors import PlanError
from thinlens.model.ops import AnyOp, Channels, Size, kind_of

INPUT = "input"
T = TypeVar("T")
R = TypeVar("R")
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Shapes = Mapping[str, tuple[int, ...]]


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One op at work: it makes the value that bears its name."""

    name: Name
    op: AnyOp
    inputs: tuple[Name, ...]
    tensors: dict[Name, Name] = {}  # role -> name in the model file


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
            inputs = tuple(channels[name] for name in node.inputs)
            channels[node.name] = _located(node, node.op.channels_out, inputs)
        if next(iter(self.outputs), None) != "image":
            raise PlanError(f"outputs are {list(self.outputs)}; the first must be `image`")
        for output, value in self.outputs.items():
            if value not in channels:
                raise PlanError(f"output `{output}` names the value `{value}`, which no op makes")
        return channels

    def sizes(self, size: Size) -> dict[str, Size]:
        """Height and width of every value for an input of ``size``.

        Raises:
            PlanError: if an op's inputs differ in size, or one is too small.
        """
        sizes = {INPUT: size}
        for node in self.nodes:
            inputs = {sizes[name] for name in node.inputs}
            if len(inputs) != 1:
                raise PlanError(f"node `{node.name}` ({kind_of(node.op)}): inputs differ in size: {sorted(inputs)}")
            sizes[node.name] = _located(node, node.op.out_size, inputs.pop())
        return sizes

    def macs(self, size: Size) -> int:
        """Multiply-accumulates for an input of ``size``."""
        channels, sizes = self.channels(), self.sizes(size)
        return sum(n.op.macs(tuple(channels[i] for i in n.inputs), sizes[n.name]) for n in self.nodes)

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


def _located(node: Node, rule: Callable[[T], R], argument: T) -> R:
    """Apply a record's rule; its error then names the node."""
    try:
        return rule(argument)
    except PlanError as error:
        raise PlanError(f"node `{node.name}`: {error}") from error
