"""LineDL's compression, for any plan: first fewer channels, then fewer layers, each begun from what was learned before.

A compressed layer with P parameters begins with the first P of the same layer before. Two readings of that:

    slice   the first filters, and in each the weights of the first inputs: a channel keeps what it means
    flat    the first P numbers as they lie in memory: of a layer of half the channels on both sides, a quarter of the
            filters, each cut in two
    none    nothing is kept ("knw" off): all layers begin anew

Gates have a tensor each, so both readings work gate by gate; from one tensor for all gates the literal rule would fill
every gate from the first one's weights.

Removed layers are dropped with their parameters, the others are kept. Between the steps the network is trained
(`thinlens.train.finetune`).

Source: LineDL, "Processing Images Line-by-Line With Deep Learning", bidirectional compression.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from thinlens.errors import CompressionError
from thinlens.model.file import Tensors
from thinlens.model.graph import readers_of
from thinlens.model.ops import Concat, Conv2d, LineMemory
from thinlens.model.plan import INPUT, Node, Plan
from thinlens.model.slicing import Sliced, replace_values, slice_channels
from thinlens.train.thaw import PlanModule, tensors_of

Array = npt.NDArray[np.float32]
Knowledge = Literal["slice", "flat", "none"]


def compress_channels(
    plan: Plan,
    tensors: Tensors,
    values: Sequence[str],
    ratio: float = 0.5,
    knowledge: Knowledge = "slice",
    seed: int = 0,
) -> Sliced:
    """Leave the first channels of some values, and of all that is tied to them.

    Args:
        plan: a checked plan.
        tensors: its tensors.
        values: names; `module_values` finds those of LineDL's modules.
        ratio: of the channels that stay, above 0 and at most 1; each value keeps one at least.
        knowledge: what the smaller tensors begin with.
        seed: of the random numbers, where nothing is kept.

    Raises:
        CompressionError: if the ratio is out of range.
        PlanError: as `slice_channels`.
    """
    if not 0 < ratio <= 1:
        raise CompressionError(f"ratio: got {ratio}; accepted: above 0, at most 1")
    channels = plan.channels()
    keep = {name: range(max(1, round(ratio * channels.get(name, 1)))) for name in values}
    smaller, sliced = slice_channels(plan, tensors, keep)
    return smaller, _begun(smaller, sliced, tensors, knowledge, seed)


def compress_layers(
    plan: Plan, tensors: Tensors, modules: Sequence[tuple[str, str]], knowledge: Knowledge = "slice", seed: int = 0
) -> Sliced:
    """Take modules out.

    Args:
        plan: a checked plan.
        tensors: its tensors.
        modules: (what a module reads, what it makes), of one size and as many channels.
        knowledge: ``none`` lets what is left begin anew; else it keeps what it has.
        seed: of the random numbers.

    Raises:
        PlanError: if there are no such values, or they do not fit.
    """
    shorter, left = replace_values(plan, tensors, {made: read for read, made in modules})
    return shorter, _begun(shorter, left, left, knowledge, seed)


def _begun(plan: Plan, sliced: Tensors, before: Tensors, knowledge: Knowledge, seed: int) -> Tensors:
    if knowledge == "none":
        return fresh_tensors(plan, seed)
    if knowledge == "slice":
        return sliced
    return {name: prefix(before[name], array.shape) for name, array in sliced.items()}


def prefix(array: Array, shape: tuple[int, ...]) -> Array:
    """The first numbers of an array, as many as an array of ``shape`` holds; the array itself if it has that shape."""
    return array if array.shape == shape else array.ravel()[: int(np.prod(shape))].reshape(shape).copy()


def fresh_tensors(plan: Plan, seed: int) -> Tensors:
    """Tensors as a new network of that plan begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tensors_of(PlanModule(plan))


def transmission_modules(plan: Plan) -> list[tuple[str, str]]:
    """LineDL's information transmission modules, in order: (what each reads, what it makes).

    Found by the graph: a memory whose gates are convolutions of one value, concatenated with that value, convolved and
    activated.
    """
    made_by, readers = {node.name: node for node in plan.nodes}, readers_of(plan.nodes)
    found = []
    for node in plan.nodes:
        source = _source_of(node, made_by)
        if source is None:
            continue
        last = node
        for kind in (Concat, Conv2d, object):
            following = readers.get(last.name, [])
            if len(following) != 1 or not isinstance(following[0].op, kind):
                break
            last = following[0]
        else:
            found.append((source, last.name))
    return found


def _source_of(node: Node, made_by: dict[str, Node]) -> str | None:
    """What all gates of a memory are convolutions of."""
    if not isinstance(node.op, LineMemory) or node.op.cell != "lstm":
        return None
    gates = [made_by[name] for name in node.inputs[:-1] if name != INPUT]
    sources = {gate.inputs[0] for gate in gates if isinstance(gate.op, Conv2d)}
    return sources.pop() if len(sources) == 1 else None


def module_values(plan: Plan) -> list[str]:
    """The values whose channels LineDL halves: what its modules read and make, and their memories.

    Among them are the output of the last convolution before and the input of the first one behind.

    Raises:
        CompressionError: if the plan has no such modules.
    """
    modules = transmission_modules(plan)
    if not modules:
        raise CompressionError("the plan has no information transmission modules; name the values to be cut")
    memories = [node.name for node in plan.nodes if isinstance(node.op, LineMemory)]
    return list(dict.fromkeys([*(name for pair in modules for name in pair), *memories]))


def middle(modules: Sequence[tuple[str, str]], count: int = 2) -> list[tuple[str, str]]:
    """The middle ones, which LineDL removes: with few channels deep layers no longer work well.

    Raises:
        CompressionError: if there are not more than that.
    """
    if count >= len(modules):
        raise CompressionError(f"{count} modules of {len(modules)} to be removed; accepted: fewer than there are")
    first = (len(modules) - count) // 2
    return list(modules[first : first + count])
