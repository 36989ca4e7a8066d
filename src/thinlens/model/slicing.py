"""Make a plan smaller: cut channels, wherever its graph says that they go together, and take values out.

Both work on any plan, ours or imported. They choose nothing: who prunes says which channels stay.
"""

from collections.abc import Collection, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.errors import PlanError
from thinlens.model.file import Tensors
from thinlens.model.graph import value_ties
from thinlens.model.ops import kind_of
from thinlens.model.ops.record import Kept
from thinlens.model.plan import INPUT, Node, Plan

Array = npt.NDArray[np.float32]
Sliced = tuple[Plan, Tensors]
Axes = dict[str, tuple[Kept | None, ...]]  # name of a tensor -> what is left along its first axes; None: all


def slice_channels(plan: Plan, tensors: Tensors, keep: Mapping[str, Collection[int]]) -> Sliced:
    """Cut channels of some values, and with each all that its ties say: of residual trunks, gates, memories, shuffles.

    Args:
        plan: a checked plan.
        tensors: its tensors.
        keep: name of a value -> channels of it that stay. Of values that are not named all stay, unless they are tied
            to some that go.

    Returns:
        The smaller plan, checked, and its tensors: those of the plan, less what was cut.

    Raises:
        PlanError: if there is no such value or channel, if nothing would be left of a value, if channels must stay (the
            input's, an output's, or one that is named to stay and tied to one that goes), or if an op or a shared
            tensor cannot be cut like this.
    """
    ties = value_ties(plan)
    gone = _gone(plan, ties, keep)
    kept = {name: [channel for channel, tie in enumerate(own) if tie not in gone] for name, own in ties.items()}
    nodes: list[Node] = []
    cuts: Axes = {}
    for node in plan.nodes:
        if not kept[node.name]:
            raise PlanError(f"value `{node.name}`: no channel would be left; accepted: at least one")
        changed = any(len(kept[name]) < len(ties[name]) for name in (node.name, *node.inputs))
        op, axes = node.op.cut(tuple(kept[name] for name in node.inputs), kept[node.name]) if changed else (node.op, {})
        for role, name in node.tensors.items():
            _remember(cuts, name, axes.get(role, ()), node)
        nodes.append(msgspec.structs.replace(node, op=op))
    smaller = msgspec.structs.replace(plan, nodes=tuple(nodes))
    smaller.channels()
    made = {name: _taken(array, cuts.get(name, ())) for name, array in tensors.items()}
    smaller.check_tensors({name: array.shape for name, array in made.items()})
    return smaller, made


def _gone(plan: Plan, ties: Mapping[str, list[int]], keep: Mapping[str, Collection[int]]) -> set[int]:
    """The ties that go."""
    gone: set[int] = set()
    stays = {tie: name for name in (INPUT, *plan.outputs.values()) for tie in ties[name]}
    for name, channels in keep.items():
        if name not in ties:
            raise PlanError(f"value `{name}`: the plan makes none of that name")
        if outside := [channel for channel in channels if not 0 <= channel < len(ties[name])]:
            raise PlanError(f"value `{name}`: keeps channels {outside[:5]} of {len(ties[name])}")
        gone |= {tie for channel, tie in enumerate(ties[name]) if channel not in set(channels)}
        stays |= {ties[name][channel]: name for channel in channels}
    if held := sorted({stays[tie] for tie in gone & stays.keys()}):
        raise PlanError(f"value `{held[0]}`: channels that must stay are tied to some that go")
    return gone


def _remember(cuts: Axes, name: str, axes: tuple[Kept | None, ...], node: Node) -> None:
    """Note how a tensor is cut; nodes that share it must agree."""
    if cuts.setdefault(name, axes) != axes:
        raise PlanError(f"node `{node.name}` ({kind_of(node.op)}): shares `{name}` with one that cuts it elsewhere")


def _taken(array: Array, axes: tuple[Kept | None, ...]) -> Array:
    for axis, left in enumerate(axes):
        if left is not None:
            array = array.take(left, axis)
    return np.ascontiguousarray(array)


def replace_values(plan: Plan, tensors: Tensors, instead: Mapping[str, str]) -> Sliced:
    """Read other values instead of some, and drop the nodes and tensors that nothing reads any more: remove layers.

    Args:
        plan: a checked plan.
        tensors: its tensors.
        instead: name of a value -> the earlier value that is read in its place.

    Raises:
        PlanError: if there is no such value, or the other one does not fit.
    """
    made = {INPUT, *(node.name for node in plan.nodes)}
    if missing := sorted({*instead, *instead.values()} - made):
        raise PlanError(f"value `{missing[0]}`: the plan makes none of that name")

    def found(name: str) -> str:
        seen = {name}
        while name in instead:
            name = instead[name]
            if name in seen:
                raise PlanError(f"value `{name}`: stands in for itself")
            seen.add(name)
        return name

    outputs = {output: found(value) for output, value in plan.outputs.items()}
    needed = set(outputs.values())
    nodes: list[Node] = []
    for node in reversed(plan.nodes):
        if node.name in needed:
            nodes.append(msgspec.structs.replace(node, inputs=tuple(found(name) for name in node.inputs)))
            needed.update(nodes[-1].inputs)
    if not nodes:
        raise PlanError("no node would be left")
    shorter = msgspec.structs.replace(plan, nodes=tuple(reversed(nodes)), outputs=outputs)
    shorter.channels()
    return shorter, {name: tensors[name] for name in tensors if name in shorter.tensor_names()}
