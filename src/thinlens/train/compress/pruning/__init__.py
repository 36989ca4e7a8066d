"""Channel pruning of any plan: layer by layer in the plan's order, what is pruned staying so while later ones follow.

    dual-regression  greedy, with the loss that says how well the network is inverted     `greedy.py`
    dcp              greedy, with the loss of the task alone                              `greedy.py`
    cp               LASSO, then least squares                                            `lasso.py`
    thinet           what adds up to least goes                                           `thinet.py`
    uniform          the largest weights stay, nothing is refitted                        `greedy.py`

All of them choose among the units of `thinlens.model.groups` and cut by `thinlens.model.slicing`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from thinlens.errors import CompressionError
from thinlens.model.file import Tensors
from thinlens.model.groups import Group, channel_groups, cut_units, find_group, prunable_pairs
from thinlens.model.ops import Bfloat16, Quantize
from thinlens.model.plan import Plan
from thinlens.model.slicing import Sliced
from thinlens.train.checkpoint import read_checkpoint, write_checkpoint
from thinlens.train.compress.pruning.greedy import by_size, greedy
from thinlens.train.compress.pruning.lasso import cp
from thinlens.train.compress.pruning.layer import Batch, Layer, Measure, Objective, Outputs, dual_measure, l1_measure
from thinlens.train.compress.pruning.thinet import thinet
from thinlens.train.loop import Watch
from thinlens.train.thaw import tensors_of, thaw

Method = Callable[[Layer, int, int], list[int]]

METHODS: dict[str, Method] = {
    "dual-regression": greedy,
    "cp": cp,
    "thinet": thinet,
    "dcp": greedy,
    "uniform": by_size,
}

__all__ = [
    "METHODS",
    "Batch",
    "Layer",
    "Measure",
    "Method",
    "Objective",
    "Outputs",
    "cp",
    "dual_measure",
    "greedy",
    "l1_measure",
    "prune",
    "thinet",
    "uniform_widths",
    "with_options",
]


def uniform_widths(plan: Plan, ratio: float, *, trunks: bool = False) -> dict[str, int]:
    """How many units each group keeps: all of them less ``floor(units * ratio)``.

    Args:
        plan: a checked plan.
        ratio: the share that goes, 0 to below 1.
        trunks: take in the groups that several convolutions make; else those of one alone.

    Raises:
        CompressionError: if the ratio is out of range, or the plan has no such groups.
    """
    if not 0 <= ratio < 1:
        raise CompressionError(f"ratio: got {ratio:g}; accepted: 0 to below 1")
    groups = prunable_pairs(plan, trunks=trunks)
    if any(isinstance(node.op, Quantize | Bfloat16) for node in plan.nodes):
        raise CompressionError("the network is in low precision already; prune it first, and round it after that")
    if not groups:
        raise CompressionError(
            "no channels lie between one convolution and the next ones, so none can be pruned"
            + (
                ""
                if trunks or not prunable_pairs(plan, trunks=True)
                else "; those of residual trunks can, if they are asked for"
            )
        )
    return {group.name: len(group) - int(len(group) * ratio) for group in groups}


def prune(
    plan: Plan,
    tensors: Tensors,
    widths: Mapping[str, int],
    method: Method,
    objective: Objective,
    seed: int = 0,
    watch: Watch | None = None,
) -> Sliced:
    """Prune the groups of a plan.

    Args:
        plan: a checked plan.
        tensors: its tensors.
        widths: name of a group -> how many of its units stay, 1 to all.
        method: of `METHODS`, or one of them with other options.
        objective: what is to be kept small.
        seed: of all draws; a layer's draws do not depend on what was done before.
        watch: its folder keeps what is done, so that a killed call goes on there; its progress counts groups.

    Returns:
        The smaller plan and its tensors. The same arguments give the same, killed and resumed or not, on one thread.

    Raises:
        CompressionError: if a method cannot work on a group, or a number is out of range.
        PlanError: if there is no such group, or a value would be left without channels.
    """
    order = [group.name for group in channel_groups(plan) if group.name in widths]
    for name, width in widths.items():
        if not 1 <= width <= len(find_group(plan, name)):
            raise CompressionError(f"`{name}`: {width} of {len(find_group(plan, name))} units to be kept; at least 1")
    whole = thaw(plan, tensors).requires_grad_(False)
    watch = watch or Watch("pruning")
    state = _State(plan, tensors)
    state.resume(watch.checkpoints, order)
    for index in range(len(state.kept), len(order)):
        group = find_group(state.plan, order[index])
        module = thaw(state.plan, state.tensors)
        if widths[group.name] < len(group):
            layer = Layer(module, group, whole, state.origin, objective)
            state.cut(group, method(layer, widths[group.name], seed + index), tensors_of(module))
        else:
            state.cut(group, list(range(len(group))), state.tensors)
        if watch.checkpoints is not None:
            write_checkpoint(watch.checkpoints, index + 1, {"kept": state.kept, "tensors": _to_torch(state.tensors)})
        watch.progress(watch.name, index + 1, len(order))
    return state.plan, state.tensors


class _State:
    """A plan part way through its pruning.

    ``kept`` has the units of each group done; ``origin`` the channels of the whole network that nodes still make.
    """

    def __init__(self, plan: Plan, tensors: Tensors) -> None:
        self.plan, self.tensors = plan, tensors
        self.kept: list[list[int]] = []
        self.origin: dict[str, list[int]] = {}

    def cut(self, group: Group, kept: list[int], tensors: Tensors) -> None:
        """Cut a group to the units kept, of tensors that were refitted."""
        gone = {place for unit, tie in enumerate(group.ties) if unit not in set(kept) for place in tie.made}
        channels = self.plan.channels()
        for name in {name for name, _ in gone}:
            own = self.origin.get(name, list(range(channels[name])))
            self.origin[name] = [own[c] for c in range(channels[name]) if (name, c) not in gone]
        self.plan, self.tensors = cut_units(self.plan, tensors, group, kept)
        self.kept.append(kept)

    def resume(self, folder: Path | None, order: list[str]) -> None:
        """Take up what a folder holds of an earlier call."""
        found = None if folder is None else read_checkpoint(folder)
        if found is not None:
            for name, kept in zip(order, found["kept"], strict=False):
                self.cut(find_group(self.plan, name), kept, self.tensors)
            self.tensors = {name: tensor.numpy() for name, tensor in found["tensors"].items()}


def _to_torch(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in tensors.items()}


def with_options(name: str, per_step: int | None = None) -> Method:
    """A method by its name, the greedy ones with that many channels a step."""
    method = METHODS[name]
    return partial(greedy, per_step=per_step) if method is greedy else method
