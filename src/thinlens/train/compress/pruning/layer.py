"""One group of channels on its way to be pruned: who reads it, what they made before, and how far off they are now.

Features are compared on pixels of 0..255, as the published methods have it, and so are losses: the squared error of
the one against the absolute error of the other depends on the range.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from thinlens.model import ops
from thinlens.model.dual import source_of
from thinlens.model.groups import Group, reading_axis
from thinlens.model.plan import Node, Plan
from thinlens.train.losses.dual_regression import as_outputs, images_of
from thinlens.train.losses.pixel import l1
from thinlens.train.plain import sum_of
from thinlens.train.thaw import PlanModule, body_of, outputs_of, values_of

Features = dict[str, torch.Tensor]
LEVELS = 255.0


@dataclass(frozen=True)
class Batch:
    """A few crops, ``N C H W`` in 0..1.

    Args:
        lq: what the network reads.
        images: what it should make, by the scale over ``lq``: of an upscaler ``lq`` itself at 1, the clean image at its
            scale, and what lies between, where the network makes that too.
    """

    lq: torch.Tensor
    images: Mapping[int, torch.Tensor]


Outputs = dict[str, torch.Tensor]
Measure = Callable[[Outputs, Batch], torch.Tensor]  # of what the network makes of a batch -> a scalar


@dataclass(frozen=True)
class Objective:
    """What pruning is to keep small: ``MSE of the features + gamma measure``.

    Args:
        batches: the small set, gone over again and again.
        measure: the loss of the task, a dual term included where one is wanted.
        gamma: its weight; 1 is best in the paper on dual regression.
        gain: what features are multiplied by to be those of pixels of 0..255.
    """

    batches: Sequence[Batch]
    measure: Measure
    gamma: float = 1.0
    gain: float = LEVELS


@dataclass
class Reader:
    """A node that reads the channels in question.

    Args:
        node: its node.
        body: its module.
        weights: the parameters that multiply what it reads.
        axis: of theirs that counts channels.
        channels: for each unit, its channels on that axis.
        original: a copy of the weights.
    """

    node: Node
    body: nn.Module
    weights: list[nn.Parameter]
    axis: int
    channels: list[list[int]]
    original: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.original = [weight.detach().clone() for weight in self.weights]

    @property
    def dense(self) -> bool:
        """True of convolutions on floats, whose weights may be anything."""
        return isinstance(self.node.op, ops.Conv2d | ops.ConvTranspose2d)

    def by_unit(self, weight: torch.Tensor, unit: int) -> torch.Tensor:
        """The part of a weight, or of its gradient, that multiplies a unit: ``(channels, others, kh, kw)``."""
        return weight.movedim(self.axis, 0)[self.channels[unit]]


class Layer:
    """A network in which all but the readers of one group is frozen.

    Args:
        module: pruned so far; its readers' weights change in place.
        group: of its plan.
        whole: the network before pruning, frozen.
        origin: for nodes whose channels were cut, those of the whole network that are left.
        objective: what is kept small.
    """

    def __init__(
        self, module: PlanModule, group: Group, whole: PlanModule, origin: dict[str, list[int]], objective: Objective
    ) -> None:
        self.module, self.group, self.objective = module.requires_grad_(False), group, objective
        nodes = {node.name: node for node in module.plan.nodes}
        self.readers = [_reader(module, nodes[name], units) for name, units in group.readers.items()]
        self.targets = [_features(whole, batch, self.readers, origin) for batch in objective.batches]
        self._behind = _behind(module.plan, group.readers)
        self._before = [self._values_before(batch) for batch in objective.batches]

    def __len__(self) -> int:
        return len(self.group)

    @torch.no_grad()
    def _values_before(self, batch: Batch) -> Features:
        """What does not change with the readers' weights, of what is needed behind them."""
        needed = {name for node in self._behind for name in node.inputs} | {*self.module.plan.outputs.values()}
        own = {node.name for node in self._behind}
        return {name: value for name, value in values_of(self.module, batch.lq).items() if name in needed - own}

    @torch.no_grad()
    def silence(self, kept: Sequence[int]) -> None:
        """Let readers see the kept units by the weights that they have, and nothing of the others."""
        gone = [unit for unit in range(len(self)) if unit not in set(kept)]
        for reader in self.readers:
            for weight in reader.weights:
                for unit in gone:
                    weight.movedim(reader.axis, 0)[reader.channels[unit]] = 0

    @torch.no_grad()
    def restore(self, units: Sequence[int]) -> None:
        """Give units the weights back that they had in the beginning."""
        for reader in self.readers:
            for weight, before in zip(reader.weights, reader.original, strict=True):
                for unit in units:
                    weight.movedim(reader.axis, 0)[reader.channels[unit]] = reader.by_unit(before, unit)

    def loss(self, index: int, *, features: bool = True) -> torch.Tensor:
        """The objective on one batch; without the features, the measure alone."""
        batch, values = self.objective.batches[index], dict(self._before[index])
        for node in self._behind:
            values[node.name] = body_of(self.module, node.name)(*(values[name] for name in node.inputs))
        made = self.objective.measure(as_outputs(outputs_of(self.module, values)), batch)
        if not features:
            return LEVELS * made
        parts = [(values[name] - target).square().mean() for name, target in self.targets[index].items()]
        return self.objective.gain**2 * torch.stack(parts).sum() + self.objective.gamma * LEVELS * made

    def scores(self) -> torch.Tensor:
        """What each unit would do for the objective: norms of the gradients of its weights, ``(units,)``.

        Of each filter the Frobenius norm over the kernel, added up over filters, channels and readers.
        """
        weights = [weight.requires_grad_() for reader in self.readers for weight in reader.weights]
        for weight in weights:
            weight.grad = None
        for index in range(len(self.objective.batches)):
            self.loss(index).backward()  # type: ignore[no-untyped-call]
        found = torch.zeros(len(self))
        for reader in self.readers:
            for weight in reader.weights:
                gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
                norms = gradient.movedim(reader.axis, 0).flatten(2).norm(dim=2).sum(1)
                found += torch.stack([norms[channels].sum() for channels in reader.channels])
        for weight in weights:
            weight.requires_grad_(False).grad = None
        return found

    def refit(self, kept: Sequence[int], iterations: int, *, features: bool = True) -> None:
        """Train the readers' weights of the kept units, and their biases, on the small set.

        By L-BFGS, all batches a step: the objective is nearly a square, for which a pass of gradient steps is too
        little. Binary weights stay as they are, and so does everything where numbers overflow.
        """
        trained = [p for reader in self.readers if reader.dense for p in reader.body.parameters(recurse=False)]
        if not trained:
            return
        before = [parameter.detach().clone() for parameter in trained]
        optimiser = torch.optim.LBFGS(
            [p.requires_grad_() for p in trained],
            max_iter=iterations,
            max_eval=2 * iterations,
            line_search_fn="strong_wolfe",
        )

        def total() -> float:
            optimiser.zero_grad()
            count, value = len(self.objective.batches), 0.0
            for index in range(count):
                part = self.loss(index, features=features) / count
                part.backward()  # type: ignore[no-untyped-call]
                value += part.item()
            self._mask_gradients(kept)
            return value

        optimiser.step(total)  # type: ignore[no-untyped-call]
        finite = all(bool(parameter.isfinite().all()) for parameter in trained)
        for parameter, old in zip(trained, before, strict=True):
            parameter.requires_grad_(False).grad = None
            if not finite:
                parameter.copy_(old)

    def _mask_gradients(self, kept: Sequence[int]) -> None:
        gone = [unit for unit in range(len(self)) if unit not in set(kept)]
        for reader in self.readers:
            for weight in reader.weights if reader.dense else ():
                if weight.grad is not None:
                    for unit in gone:
                        weight.grad.movedim(reader.axis, 0)[reader.channels[unit]] = 0


def _behind(plan: Plan, readers: Collection[str]) -> list[Node]:
    """The readers and all nodes that what they make goes through, in order."""
    found: dict[str, Node] = {}
    for node in plan.nodes:
        if node.name in readers or any(name in found for name in node.inputs):
            found[node.name] = node
    return list(found.values())


def _reader(module: PlanModule, node: Node, units: Sequence[tuple[int, ...]]) -> Reader:
    body = body_of(module, node.name)
    weights = [parameter for parameter in body.parameters(recurse=False) if parameter.ndim > 1]
    return Reader(node, body, weights, reading_axis(node), [list(places) for places in units])


@torch.no_grad()
def _features(whole: PlanModule, batch: Batch, readers: Sequence[Reader], origin: dict[str, list[int]]) -> Features:
    """What readers gave before pruning, of the channels that they still make."""
    values = values_of(whole, batch.lq)
    names = [reader.node.name for reader in readers]
    return {name: values[name][:, origin[name]] if name in origin else values[name] for name in names}


def l1_measure(made: Outputs, batch: Batch) -> torch.Tensor:
    """Mean absolute error of all images that a network makes, a sum of means: the loss of the task."""
    return sum_of(made, batch.images, l1, 0.0)


def dual_measure(maps: Mapping[str, nn.Module], scale: int, weight: float = 0.1) -> Measure:
    """`l1_measure`, and how far the images are off when dual maps bring them down again.

    Args:
        maps: by name, as `thinlens.train.losses.dual_regression` has them; they are not trained.
        scale: of the network.
        weight: of the dual term; the papers' is 0.1.
    """

    def measure(made: Outputs, batch: Batch) -> torch.Tensor:
        images = images_of(made, scale)
        brought = {name: dual(images[source_of(name, scale)]) for name, dual in maps.items()}
        return sum_of(made | brought, batch.images, l1, weight)

    return measure


def as_numpy(value: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A tensor in double precision, for least squares."""
    return value.detach().cpu().to(torch.float64).numpy()
