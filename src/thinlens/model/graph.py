"""What follows from a plan's graph alone: rows that an output row depends on, and channels that are cut together."""

from collections.abc import Mapping
from dataclasses import dataclass

from thinlens.model.ops import Size
from thinlens.model.plan import INPUT, Node, Plan

Rows = tuple[int, int]  # [start, stop)


def rows_needed(plan: Plan, sizes: Mapping[str, Size] | None, value: str, rows: Rows) -> dict[str, Rows]:
    """Rows of each value that rows ``[start, stop)`` of one value depend on.

    Args:
        plan: the plan.
        sizes: size of every value (`Plan.sizes`): rows are cut to the image. None: they may lie outside it.
        value: name of the value asked for.
        rows: its rows.

    Returns:
        Name -> rows, for the values that are needed at all; ``input`` among them.
    """
    needed = {value: rows}
    for node in reversed(plan.nodes):
        if node.name not in needed:
            continue
        first, last = node.op.in_rows(*needed[node.name])
        for name in node.inputs:
            if sizes is not None:
                first, last = max(first, 0), min(last, sizes[name][0])
            have = needed.get(name, (first, last))
            needed[name] = min(have[0], first), max(have[1], last)
    return needed


def receptive_rows(plan: Plan, scale: int) -> tuple[int, int]:
    """Input rows above and below the input row that an output row lies in, the farthest of its phases.

    Args:
        plan: the plan of a network that multiplies the size by ``scale``.
        scale: output rows for one input row.
    """
    far = 1 << 20  # a row so deep inside an endless image that nothing is cut
    rows = (far * scale, far * scale + scale)
    first, last = rows_needed(plan, None, plan.outputs["image"], rows)[INPUT]
    return far - first, last - far - 1


@dataclass(frozen=True)
class Tie:
    """Channels that must be cut together.

    Args:
        made: (node, output channel) of the convolutions that make them.
        read: (node, input channel) of the convolutions that read them.
        fixed: True if the input or an output of the plan is among them, so that they cannot be cut.
    """

    made: tuple[tuple[str, int], ...]
    read: tuple[tuple[str, int], ...]
    fixed: bool


def channel_ties(plan: Plan) -> list[Tie]:
    """Derive the channel ties of a plan: which channels of which tensors go together.

    Every channel of every value belongs to one tie; ops without tensors pass ties on or join them (a pixel shuffle
    joins the phases of a channel, a product its two factors), convolutions begin new ones.
    """
    joined: list[int] = []

    def fresh() -> int:
        joined.append(len(joined))
        return joined[-1]

    def find(tie: int) -> int:
        while joined[tie] != tie:
            tie = joined[tie]
        return tie

    def union(a: int, b: int) -> int:
        joined[find(b)] = find(a)
        return find(a)

    values = {INPUT: [fresh() for _ in range(plan.input_channels)]}
    for node in plan.nodes:
        values[node.name] = node.op.tie(tuple(values[i] for i in node.inputs), union, fresh)
    fixed = {find(t) for name in (INPUT, *plan.outputs.values()) for t in values[name]}
    made: dict[int, list[tuple[str, int]]] = {find(t): [] for t in range(len(joined))}
    read: dict[int, list[tuple[str, int]]] = {root: [] for root in made}
    for node in _with_tensors(plan):
        for channel, tie in enumerate(values[node.name]):
            made[find(tie)].append((node.name, channel))
        for channel, tie in enumerate(values[node.inputs[0]]):
            read[find(tie)].append((node.name, channel))
    return [Tie(tuple(made[t]), tuple(read[t]), t in fixed) for t in made if made[t]]


def _with_tensors(plan: Plan) -> list[Node]:
    return [node for node in plan.nodes if node.tensors]
