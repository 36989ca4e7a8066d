"""Which channels of a plan can go, and what goes with each: derived from the plan's graph alone.

A *group* is channels that some convolutions make and others read, none of them the image's. Its *units* are the
smallest parts that can be cut alone: one channel as a rule, the four phases of one behind a pixel shuffle. The residual
trunk of a network is one group, made by every convolution that adds to it; the channels between two convolutions of a
block are another, made by one:

    head --+-- a -- b --(+)--+-- c -- d --(+)-- tail          a, read by b;  c, read by d;
           |_____________|   |_____________|                  head, b and d, read by a, c and tail

What is *silent* is multiplied by zero wherever it is read. A network with silent units and one from which they were cut
compute the same.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from thinlens.errors import PlanError
from thinlens.model.file import Tensors
from thinlens.model.graph import Tie, channel_ties, fitting_size, value_ties
from thinlens.model.ops import Conv2d, ConvTranspose2d
from thinlens.model.plan import Node, Plan
from thinlens.model.slicing import Sliced, slice_channels

PROBE = (32, 32)  # the size on which values of one pixel are told from others
Places = tuple[int, ...]  # channels that one unit has in a value


@dataclass(frozen=True)
class Group:
    """Channels between convolutions.

    Args:
        makers: names of the nodes that make them, in the plan's order.
        readers: name of each node that has weights for them, in the plan's order -> for each unit, its channels of what
            that node reads; none, if it reads other units alone.
        ties: for each unit, all that goes with it.
    """

    makers: tuple[str, ...]
    readers: dict[str, tuple[Places, ...]]
    ties: tuple[Tie, ...]

    @property
    def name(self) -> str:
        """The value that the first maker makes."""
        return self.makers[0]

    def __len__(self) -> int:
        """How many units there are."""
        return len(self.ties)


def channel_groups(plan: Plan) -> list[Group]:
    """All groups of two units or more, in the order of their first makers.

    Left out are channels that an op without weights compares or mixes (`channel_max`, `softmax_sum`), that no
    convolution reads, or for which two nodes share weights. Depthwise convolutions pass channels on: they count neither
    as makers nor as readers.
    """
    order = {node.name: at for at, node in enumerate(plan.nodes)}
    passing = {node.name for node in plan.nodes if _passes(node)}
    groups = []
    for ties in _connected(_free_ties(plan, passing), passing):
        made, read = ({name for tie in ties for name, _ in places(tie)} - passing for places in (_made, _read))
        if len(ties) > 1:
            own = tuple(sorted(ties, key=lambda tie: [(order[name], channel) for name, channel in tie.made]))
            readers = {name: _places(own, name) for name in sorted(read, key=order.__getitem__)}
            groups.append(Group(tuple(sorted(made, key=order.__getitem__)), readers, own))
    return sorted(groups, key=lambda group: order[group.name])


def prunable_pairs(plan: Plan, *, trunks: bool = False) -> list[Group]:
    """The groups that pruning is about: what lies between one convolution and the next ones.

    Groups of several makers, such as residual trunks, are not among them, unless ``trunks`` asks for them too. Groups
    behind a `global_mean`, of one pixel, are none, as they cost next to nothing; nor are those with no more units than
    the image has channels, which are colours.
    """
    sizes = plan.sizes(fitting_size(plan, PROBE))
    groups = [group for group in channel_groups(plan) if len(group) > plan.input_channels]
    large = [group for group in groups if any(sizes[name] != (1, 1) for name in group.makers)]
    return [group for group in large if trunks or len(group.makers) == 1]


def find_group(plan: Plan, name: str) -> Group:
    """The group of a name.

    Raises:
        PlanError: if the plan has none of that name.
    """
    for group in channel_groups(plan):
        if group.name == name:
            return group
    raise PlanError(f"`{name}`: makes no channels that can be cut")


def silence(plan: Plan, tensors: Tensors, group: Group, kept: Collection[int]) -> Tensors:
    """The tensors, with zeros wherever a unit that is not kept is read."""
    silent = dict(tensors)
    for node in plan.nodes:
        gone = [c for unit, places in enumerate(group.readers.get(node.name, ())) if unit not in kept for c in places]
        for name in node.tensors.values() if gone else ():
            if silent[name].ndim > 1:
                silent[name] = silent[name].copy()
                np.moveaxis(silent[name], reading_axis(node), 0)[gone] = 0
    return silent


def cut_units(plan: Plan, tensors: Tensors, group: Group, kept: Collection[int]) -> Sliced:
    """The plan without the units that are not kept.

    Args:
        plan: the plan that the group belongs to.
        tensors: its tensors.
        group: one of `channel_groups`.
        kept: numbers of units, at least one.

    Raises:
        PlanError: as `slice_channels`.
    """
    channels = plan.channels()
    gone = {place for unit, tie in enumerate(group.ties) if unit not in kept for place in tie.made}
    keep = {name: [c for c in range(channels[name]) if (name, c) not in gone] for name in group.makers}
    return slice_channels(plan, tensors, keep)


def reading_axis(node: Node) -> int:
    """The axis of a node's weights that counts the channels it reads."""
    return 0 if isinstance(node.op, ConvTranspose2d) else 1


def _passes(node: Node) -> bool:
    """True of a depthwise convolution: each channel has a filter for itself."""
    return isinstance(node.op, Conv2d) and node.op.groups > 1


def _made(tie: Tie) -> tuple[tuple[str, int], ...]:
    return tie.made


def _read(tie: Tie) -> tuple[tuple[str, int], ...]:
    return tie.read


def _places(ties: Iterable[Tie], reader: str) -> tuple[Places, ...]:
    return tuple(tuple(channel for name, channel in tie.read if name == reader) for tie in ties)


def _free_ties(plan: Plan, passing: Collection[str]) -> list[Tie]:
    """The ties that can be cut so that a silent network computes the same."""
    values = value_ties(plan)
    mixed = {tie for node in plan.nodes for tie in _mixed(node, values)}
    sharing = _sharing(plan)

    def free(tie: Tie) -> bool:
        name, channel = tie.made[0]
        touched = {name for name, _ in (*tie.made, *tie.read, *tie.passed)}
        read = any(name not in passing for name, _ in tie.read)
        return read and not tie.fixed and not touched & sharing and values[name][channel] not in mixed

    return [tie for tie in channel_ties(plan) if free(tie)]


def _mixed(node: Node, values: dict[str, list[int]]) -> set[int]:
    """The ties that a node without weights makes something else of."""
    read = {tie for name in node.inputs for tie in values[name]}
    return set() if node.tensors or read & set(values[node.name]) else read


def _sharing(plan: Plan) -> set[str]:
    """Names of the nodes that share a tensor with another."""
    users: dict[str, set[str]] = defaultdict(set)
    for node in plan.nodes:
        for tensor in node.tensors.values():
            users[tensor].add(node.name)
    return {name for names in users.values() if len(names) > 1 for name in names}


def _connected(ties: Iterable[Tie], passing: Collection[str]) -> list[list[Tie]]:
    """Ties that have a maker in common, directly or by others between them."""
    found: list[tuple[set[str], list[Tie]]] = []
    for tie in ties:
        makers, own = {name for name, _ in tie.made} - set(passing), [tie]
        apart = []
        for others in found:
            if others[0] & makers:
                makers, own = makers | others[0], others[1] + own
            else:
                apart.append(others)
        found = [*apart, (makers, own)]
    return [own for _, own in found]
