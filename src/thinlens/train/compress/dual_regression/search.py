"""How many channels each layer keeps: a search by gradients, of any plan's pairs.

Each pair has six candidates, 0.5 to 1 times of what the ratio leaves it, and six logits. Channels are ranked by the
weights that read them; the one of rank j is multiplied by the probability of all candidates that keep more than j:

    m_j = sum over candidates i of softmax(logits)_i [count_i > j]

so that the network runs once, and those past the largest candidate are silent. Logits learn on one half of the images
what weights, that learn on the other half, make of them:

    min over a of  L(V; w*(a), a)   subject to   w*(a) minimises L(T; w, a)

with one step of the weights for w*(a). Its derivative takes a product of a mixed second derivative with a vector, by
finite differences:

    w' = w - eta (dL(T; w, a)/dw + decay w)
    dL(V; w', a)/da - eta [dL(T; w + e g, a)/da - dL(T; w - e g, a)/da] / (2 e)
    g = dL(V; w', a)/dw',   e = 0.01 / |g|

The official code multiplies by e instead of dividing, by which the last term vanishes; `Settings.second_order` off does
the same.

Source: Guo et al., Towards Lightweight Super-Resolution with Dual Regression Learning, 2022, section 4.2, algorithm 1;
Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, section 2.3.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from thinlens.errors import CompressionError
from thinlens.model.file import Tensors
from thinlens.model.groups import Group, find_group, reading_axis
from thinlens.model.plan import Plan
from thinlens.train.checkpoint import read_checkpoint, write_checkpoint
from thinlens.train.compress.pruning.layer import LEVELS, Batch, Measure, Outputs
from thinlens.train.loop import Watch
from thinlens.train.losses.dual_regression import as_outputs
from thinlens.train.thaw import PlanModule, body_path, thaw

FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MULTIPLE = 4
SPREAD = 1e-3  # of the logits at the beginning
FLOOR = 1e-7  # that learning rates come down to
DIFFERENCE = 0.01

Weights = dict[str, torch.Tensor]
Loss = Callable[[Weights, torch.Tensor, Batch], torch.Tensor]
Batches = Callable[[int], Batch]


def candidates(channels: int, ratio: float) -> tuple[int, ...]:
    """How many of a pair's channels may stay: `FACTORS` times what the ratio leaves.

    Whole, then to the nearest multiple of 4, down from the exact middle, at least 4 (or all there are) and at most all.
    Some come more than once; they share what the search gives them.

    Args:
        channels: of the pair, >= 1.
        ratio: the share that goes, 0 to below 1.
    """
    found = []
    for factor in FACTORS:
        count = math.floor(channels * (1 - ratio) * factor + 1e-9)
        near = math.ceil(count / MULTIPLE - 0.5) * MULTIPLE
        found.append(min(max(near, MULTIPLE), channels))
    return tuple(found)


@dataclass(frozen=True)
class Settings:
    """How to search; the defaults are the papers'.

    Args:
        steps: of weights and logits.
        epoch: steps after which widths are written down and the network is measured.
        lr: of the weights, at the beginning; a cosine brings it to 1e-7. It is the virtual step's size too.
        logits_lr: of the logits, likewise.
        decay: weight decay in the virtual step.
        logits_decay: of the logits.
        clip: largest norm of the weights' gradient.
        second_order: whether logits take into account what they do to the weights.
        seed: of the logits at the beginning.
    """

    steps: int = 2500
    epoch: int = 25
    lr: float = 1e-4
    logits_lr: float = 3e-4
    decay: float = 3e-4
    logits_decay: float = 1e-3
    clip: float = 5.0
    second_order: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        widths: name of each pair -> how many of its channels stay, of the epoch that was best.
        epochs: for each epoch the widths, and the PSNR of the relaxed network, dB.
    """

    widths: dict[str, int]
    epochs: list[tuple[dict[str, int], float]]


class Relaxed:
    """A plan whose pairs have soft widths.

    Args:
        plan: a checked plan.
        tensors: its tensors.
        pairs: names of groups of its channels.
        ratio: the share of channels that goes.

    Raises:
        CompressionError: if there are no pairs, or the ratio is out of range.
    """

    def __init__(self, plan: Plan, tensors: Tensors, pairs: Sequence[str], ratio: float) -> None:
        if not pairs:
            raise CompressionError("no channels lie between one convolution and the next ones; nothing to search")
        if not 0 <= ratio < 1:
            raise CompressionError(f"ratio: got {ratio:g}; accepted: 0 to below 1")
        self.module = thaw(plan, tensors)
        self.groups = [find_group(plan, name) for name in pairs]
        self.candidates = [candidates(len(group), ratio) for group in self.groups]
        self._readers = [_readers(self.module, group) for group in self.groups]
        self._keeps = [  # for each candidate (row) the ranks that it keeps
            (torch.tensor(counts)[:, None] > torch.arange(len(group))).float()
            for counts, group in zip(self.candidates, self.groups, strict=True)
        ]

    def weights(self) -> Weights:
        """The network's own parameters by name."""
        return dict(self.module.named_parameters())

    def by_rank(self, logits: torch.Tensor) -> list[torch.Tensor]:
        """What the channels of each pair are multiplied by, the first ranked first.

        Args:
            logits: (pairs, 6).
        """
        return [
            (row.softmax(0)[:, None] * keeps.to(row.dtype)).sum(0)
            for row, keeps in zip(logits, self._keeps, strict=True)
        ]

    def __call__(self, weights: Weights, logits: torch.Tensor, lq: torch.Tensor) -> Outputs:
        """Run the relaxed network; gradients go to weights and logits, none through the ranking."""
        changed = dict(weights)
        for soft, readers in zip(self.by_rank(logits), self._readers, strict=True):
            of_unit = soft[_ranks(readers, changed)]
            for reader in readers:
                side = torch.ones(changed[reader.name].shape[reader.axis], dtype=soft.dtype)
                side = side.index_put((reader.channels,), of_unit[reader.units])
                shape = [-1 if axis == reader.axis else 1 for axis in range(changed[reader.name].ndim)]
                changed[reader.name] = changed[reader.name] * side.reshape(shape)
        return as_outputs(torch.func.functional_call(self.module, changed, (lq,)))

    def widths(self, logits: torch.Tensor) -> dict[str, int]:
        """The candidate of each pair with the largest probability; equal ones share theirs."""
        found = {}
        for group, counts, row in zip(self.groups, self.candidates, logits.detach().softmax(1), strict=True):
            shares = {count: sum(float(p) for p, c in zip(row, counts, strict=True) if c == count) for count in counts}
            found[group.name] = max(shares, key=shares.__getitem__)
        return found


@dataclass(frozen=True)
class _Reader:
    """A parameter that multiplies channels of a pair: which of them on its axis, and of which unit each is."""

    name: str
    axis: int
    channels: torch.Tensor
    units: torch.Tensor


def _readers(module: PlanModule, group: Group) -> list[_Reader]:
    nodes = {node.name: node for node in module.plan.nodes}
    found = []
    for name, units in group.readers.items():
        channels = torch.tensor([channel for places in units for channel in places])
        of_unit = torch.tensor([unit for unit, places in enumerate(units) for _ in places])
        for role, shape in nodes[name].op.tensor_shapes().items():
            if len(shape) > 1:
                path = f"{body_path(module, name)}.{role}"
                found.append(_Reader(path, reading_axis(nodes[name]), channels, of_unit))
    return found


def _ranks(readers: Sequence[_Reader], weights: Weights) -> torch.Tensor:
    """The rank of each unit, 0 for the one that is read with the largest weights."""
    sizes = torch.zeros(1 + max(int(reader.units.max()) for reader in readers), dtype=torch.float64)
    for reader in readers:
        size = weights[reader.name].detach().movedim(reader.axis, 0).flatten(1).abs().sum(1)
        sizes = sizes.index_add(0, reader.units, size[reader.channels].double())
    ranks = torch.empty(len(sizes), dtype=torch.long)
    ranks[sizes.argsort(descending=True, stable=True)] = torch.arange(len(sizes))
    return ranks


def logits_gradient(
    loss: Loss,
    weights: Weights,
    logits: torch.Tensor,
    batches: tuple[Batch, Batch],
    eta: float,
    decay: float,
    *,
    second_order: bool = True,
) -> torch.Tensor:
    """How the loss on the second batch changes with the logits, the weights having made a step on the first one.

    Args:
        loss: of weights, logits and a batch.
        weights: by name.
        logits: (pairs, 6).
        batches: that of the weights, that of the logits.
        eta: size of the weights' step.
        decay: weight decay in it.
        second_order: whether the weights' step depends on the logits too.
    """
    first, second = batches
    names = list(weights)
    logits = logits.detach().requires_grad_()

    def shifted(directions: Sequence[torch.Tensor], factor: float) -> Weights:
        return {name: weights[name].detach() + factor * d for name, d in zip(names, directions, strict=True)}

    here = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    steps = torch.autograd.grad(loss(here, logits.detach(), first), list(here.values()))
    steps = tuple(step + decay * here[name].detach() for name, step in zip(names, steps, strict=True))
    there = {name: weight.requires_grad_() for name, weight in shifted(steps, -eta).items()}
    direct, *vector = torch.autograd.grad(loss(there, logits, second), [logits, *there.values()])
    if not second_order:
        return direct
    size = float(torch.stack([part.square().sum() for part in vector]).sum().sqrt())
    reach = DIFFERENCE / max(size, 1e-30)
    ahead, behind = (
        torch.autograd.grad(loss(shifted(vector, side * reach), logits, first), logits)[0] for side in (1.0, -1.0)
    )
    return direct - eta * (ahead - behind) / (2 * reach)


def search(
    relaxed: Relaxed,
    halves: tuple[Batches, Batches],
    val: Sequence[Batch],
    measure: Measure,
    settings: Settings,
    watch: Watch | None = None,
    maps: Mapping[str, nn.Module] | None = None,
) -> Found:
    """Search widths; the network's weights change with them and are not given back.

    Args:
        relaxed: the network.
        halves: batches by step, of the images for weights and of those for logits.
        val: what the relaxed network is measured on after each epoch.
        measure: the loss.
        settings: how long and how fast.
        watch: its folder keeps each epoch, so that a killed call goes on there.
        maps: dual maps that the measure uses, which are trained with the weights; None: they stay.

    Returns:
        The widths; the same arguments give the same, killed and resumed or not, on one thread.
    """
    run = _Run(relaxed, measure, settings, list(nn.ModuleDict(dict(maps or {})).parameters()))
    watch = watch or Watch("search")
    done = run.resume(watch)
    for step in range(done, settings.steps):
        run.step(step, halves[0](step), halves[1](step))
        if (step + 1) % settings.epoch == 0 or step + 1 == settings.steps:
            run.note(val)
            run.save(watch, step + 1)
        watch.progress(watch.name, step + 1, settings.steps)
    best = max(run.epochs, key=lambda epoch: epoch[1])
    return Found(best[0], run.epochs)


class _Run:
    """A search at work."""

    def __init__(self, relaxed: Relaxed, measure: Measure, settings: Settings, more: list[nn.Parameter]) -> None:
        self.relaxed, self.measure, self.settings = relaxed, measure, settings
        draw = torch.Generator().manual_seed(settings.seed)
        self.logits = (SPREAD * torch.randn(len(relaxed.groups), len(FACTORS), generator=draw)).requires_grad_()
        self.weights = relaxed.weights()
        self.trained = [*self.weights.values(), *more]
        self.by_weights = torch.optim.Adam(self.trained, settings.lr)
        self.by_logits = torch.optim.Adam([self.logits], settings.logits_lr, weight_decay=settings.logits_decay)
        self.epochs: list[tuple[dict[str, int], float]] = []

    def loss(self, weights: Weights, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return LEVELS * self.measure(self.relaxed(weights, logits, batch.lq), batch)

    def step(self, step: int, first: Batch, second: Batch) -> None:
        """One step of the logits, then one of the weights."""
        settings, wave = self.settings, 0.5 * (1 + math.cos(math.pi * step / self.settings.steps))
        eta = FLOOR + (settings.lr - FLOOR) * wave
        self.by_weights.param_groups[0]["lr"] = eta
        self.by_logits.param_groups[0]["lr"] = FLOOR + (settings.logits_lr - FLOOR) * wave
        pair, order = (first, second), settings.second_order
        self.logits.grad = logits_gradient(
            self.loss, self.weights, self.logits, pair, eta, settings.decay, second_order=order
        )
        self.by_logits.step()
        self.by_weights.zero_grad()
        value = self.loss(self.weights, self.logits.detach(), first)
        if not torch.isfinite(value):
            raise CompressionError(f"search: the loss is {float(value)} at step {step}; search with a lower rate")
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, settings.clip)
        self.by_weights.step()

    @torch.no_grad()
    def note(self, val: Sequence[Batch]) -> None:
        """Write widths and quality down."""
        errors = []
        for batch in val:
            image = self.relaxed(self.weights, self.logits, batch.lq)["image"]
            errors.append((image.clamp(0, 1) - batch.images[max(batch.images)]).square().mean((1, 2, 3)))
        psnr = float((-10 * torch.cat(errors).clamp_min(1e-12).log10()).mean())
        self.epochs.append((self.relaxed.widths(self.logits), psnr))

    def save(self, watch: Watch, step: int) -> None:
        if watch.checkpoints is not None:
            state = {
                "step": step,
                "trained": [parameter.detach() for parameter in self.trained],
                "logits": self.logits.detach(),
                "by_weights": self.by_weights.state_dict(),
                "by_logits": self.by_logits.state_dict(),
                "epochs": [[widths, psnr] for widths, psnr in self.epochs],
            }
            write_checkpoint(watch.checkpoints, step, state)

    @torch.no_grad()
    def resume(self, watch: Watch) -> int:
        """Take up the newest sound checkpoint; the steps done."""
        state: dict[str, Any] | None = None if watch.checkpoints is None else read_checkpoint(watch.checkpoints)
        if state is None:
            return 0
        for parameter, value in zip(self.trained, state["trained"], strict=True):
            parameter.copy_(value)
        self.logits.copy_(state["logits"])
        self.by_weights.load_state_dict(state["by_weights"])
        self.by_logits.load_state_dict(state["by_logits"])
        self.epochs = [(widths, psnr) for widths, psnr in state["epochs"]]
        return int(state["step"])
