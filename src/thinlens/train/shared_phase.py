"""The shared-phase trainer of one-layer upscalers: one small independent problem for each orbit of phases.

In a one-layer network each of the s x s phases (the place of an output pixel over its input pixel) has filters and a
competition of its own, so each can be trained alone. Photographs have no preferred side, so phases that a flip or the
transposition maps onto each other get the flipped or transposed filters: x2 is one problem instead of four, x3 three
instead of nine, x4 three instead of sixteen. A sample is a K x K patch and one value; all 8 symmetries of each pair
serve as augmentation.

Neighbouring pixels are nearly equal, which makes the problem badly conditioned: training runs on whitened patches
``x M`` with ``M = U diag(e)^-1/2`` from the eigen-decomposition of their uncentred covariance, and ``M`` is folded
back into the filters: the same network, exactly. Loss: mean squared error.

Source of the networks: see `thinlens.train.networks.edge_sr`; the training is our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from thinlens.train.datasets.pairs import Pair
from thinlens.train.datasets.patches import SYMMETRIES, PatchSet, Phase, sample_patches, turn
from thinlens.train.loop import Watch, fit
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, Kind
from thinlens.train.recipe import SharedPhase

Array = npt.NDArray[np.float32]

# Spread of the first filters around the centre tap; keys and queries start wider so that candidates soon differ.
SPREAD: dict[Kind, float] = {"max": 0.05, "tm": 0.02, "tr": 0.02}
LOGIT_SPREAD = 4.0

# Weaker directions than this (of patches in 0..1) are treated as this strong: 8-bit rounding alone gives 1e-6.
LEAST_VARIANCE = 1e-9
WHITENING_PATCHES = 200_000
TRAIN, VAL = 0, 1
CACHED = 4096  # samples whose candidates are worked on at a time


def orbits(scale: int) -> dict[Phase, list[tuple[Phase, int]]]:
    """Group phases that symmetries map onto each other.

    Args:
        scale: s, >= 1.

    Returns:
        For each orbit's first phase: every phase of the orbit, with one symmetry that `turn`s the filters of the
        first phase into those of this one.
    """
    numbers = np.arange(scale * scale).reshape(scale, scale)
    owner: dict[Phase, list[tuple[Phase, int]]] = {}
    seen: set[Phase] = set()
    for first in np.ndindex(scale, scale):
        if first in seen:
            continue
        members: dict[Phase, int] = {}
        for symmetry in SYMMETRIES:
            row, column = np.argwhere(turn(numbers, symmetry) == numbers[first])[0]
            members.setdefault((int(row), int(column)), symmetry)
        owner[int(first[0]), int(first[1])] = list(members.items())
        seen |= members.keys()
    return owner


class PhaseFilters(nn.Module):
    """Filters of one phase, of several networks of one kind and kernel size at once, on whitened patches.

    Networks and starts do not touch each other: each ends where it would end alone.

    Args:
        kind: of the competition.
        first: of each network ``(starts, groups, C, K * K)``: values, (queries,) keys; act on plain patches in 0..1.
        whitening: ``(K * K, K * K)`` float64, M.
        dtype: precision of the training.
    """

    whitening: torch.Tensor

    def __init__(
        self, kind: Kind, first: Sequence[torch.Tensor], whitening: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.kind = kind
        self.shapes = [filters.shape[:-1] for filters in first]
        rows = torch.cat([filters.flatten(0, -2) for filters in first])
        self.weight = nn.Parameter(torch.linalg.solve(whitening, rows.double().mT).mT.to(dtype))
        self.register_buffer("whitening", whitening, persistent=False)

    def filters(self) -> torch.Tensor:
        """The filters that act on 8-bit patches: ``(rows, K * K)``, in the precision of the training."""
        return (self.weight.double() @ self.whitening.mT / 255).to(self.weight.dtype)

    def folded(self) -> list[torch.Tensor]:
        """Of each network the filters that act on plain patches: ``(starts, groups, C, K * K)`` float64."""
        return self.split(self.weight.double() @ self.whitening.mT)

    def split(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """``(rows, n)`` -> of each network ``(starts, groups, C, n)``, views."""
        parts = torch.split(rows, [shape.numel() for shape in self.shapes])
        return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]

    def forward(self, patches: torch.Tensor) -> list[torch.Tensor]:
        """Restore one value a patch.

        Args:
            patches: ``(samples, K * K)`` uint8.

        Returns:
            Of each network ``(starts, samples)``, 1 is white.
        """
        z = self.filters() @ patches.to(self.weight.dtype).T
        return [compete(self.kind, part) for part in self.split(z)]

    def loss(self, patches: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean squared errors of all networks and starts, added up; its gradient costs half of autograd's.

        Args:
            patches: ``(samples, K * K)`` uint8.
            targets: ``(samples,)`` uint8.
        """
        loss: torch.Tensor = _Learn.apply(self.weight, self, patches, targets)  # type: ignore[no-untyped-call]
        return loss


def compete(kind: Kind, z: torch.Tensor) -> torch.Tensor:
    """Let candidates compete: ``(starts, groups, C, samples)`` -> ``(starts, samples)``; formulas as in `EdgeSR`."""
    values, *others = z.unbind(dim=1)
    if kind == "max":
        return values.amax(dim=1)
    logits = others[0] if kind == "tm" else others[0] * others[1]
    return (values * logits.softmax(dim=1)).sum(dim=1)


class _Learn(torch.autograd.Function):
    """The loss of `PhaseFilters`, its gradient written by hand: a few passes over candidates still in cache."""

    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, module: PhaseFilters, patches: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        filters = module.filters()
        gradient, loss = filters.new_zeros(filters.shape[::-1]), filters.new_zeros(())
        for some, wanted in zip(torch.split(patches, CACHED), torch.split(targets, CACHED), strict=True):
            x, light = some.to(filters.dtype), wanted.to(filters.dtype) / 255
            z = filters @ x.T
            for part in module.split(z):
                loss += descend(module.kind, part, light, len(targets))
            gradient.addmm_(x.T, z.T)  # z.T @ x would take three times as long where K is 3
        ctx.save_for_backward((gradient.T.double() @ module.whitening / 255).to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return slopes[0] * gradient, None, None, None


def descend(kind: Kind, z: torch.Tensor, targets: torch.Tensor, total: int) -> torch.Tensor:
    """Put the gradient of the mean squared error in the place of the candidates.

    With shares p = softmax(l) and error e = sum_c v_c p_c - target, the slope r is 2 e / total, of v_c it is r p_c and
    of l_c it is r p_c (v_c - sum_c v_c p_c); logits l are k or q k. Of eSR-MAX the winner alone has a slope.

    Args:
        kind: of the competition.
        z: ``(starts, groups, C, samples)``; overwritten.
        targets: ``(samples,)``, 1 is white.
        total: samples of the whole batch.

    Returns:
        The squared errors of the samples of all starts over ``total``, added up.
    """
    values, *others = z.unbind(dim=1)
    if kind == "max":
        restored = values.amax(dim=1, keepdim=True)
        error = restored - targets
        values.eq_(restored).mul_(error * (2 / total))
        return error.square().sum() / total
    logits = others[0] if kind == "tm" else others[0] * others[1]
    share = logits.softmax(dim=1)
    restored = (values * share).sum(dim=1, keepdim=True)
    error = restored - targets
    values.sub_(restored)
    share.mul_(error * (2 / total))
    values.mul_(share)  # now the slopes of the logits
    if kind == "tm":
        others[0].copy_(values)
    else:
        torch.mul(values, others[1], out=logits)
        torch.mul(values, others[0], out=others[1])
        others[0].copy_(logits)
    values.copy_(share)
    return error.square().sum() / total


def create_filters(kind: Kind, starts: int, candidates: int, kernel_size: int, seed: Sequence[int]) -> torch.Tensor:
    """Random first filters: ``(starts, groups, C, K * K)`` float32, values near the identity."""
    rng = np.random.default_rng(seed)
    shape = (starts, GROUPS[kind], candidates, kernel_size**2)
    filters = rng.standard_normal(shape, np.float32) * np.float32(SPREAD[kind])
    filters[:, 1:] *= LOGIT_SPREAD
    filters[:, 0, :, kernel_size**2 // 2] += 1
    return torch.from_numpy(filters)


def whiten(patches: npt.NDArray[np.uint8]) -> torch.Tensor:
    """The matrix M that makes the uncentred covariance of ``x M`` the identity.

    Args:
        patches: ``(samples, K * K)`` uint8.

    Returns:
        ``(K * K, K * K)`` float64, for patches in 0..1.
    """
    x = torch.from_numpy(patches[:WHITENING_PATCHES]).double() / 255
    variances, directions = torch.linalg.eigh(x.T @ x / len(x))
    whitening: torch.Tensor = directions * variances.clamp_min(LEAST_VARIANCE).rsqrt()
    return whitening


@dataclass(frozen=True)
class PhaseResult:
    """The best start of one phase.

    Args:
        filters: ``(groups, C, K, K)`` float32, on plain patches.
        val_mse: mean squared error of each start on validation patches; values in 0..1.
    """

    filters: Array
    val_mse: tuple[float, ...]


def fit_phase(
    networks: Sequence[EdgeSR],
    phase: Phase,
    train: PatchSet,
    val: PatchSet,
    settings: SharedPhase,
    seed: int,
    watch: Watch,
) -> list[PhaseResult]:
    """Train the filters of one phase of networks from several starts and keep each one's best on validation patches.

    Args:
        networks: of one kind and kernel size.
        phase: row and column.
        train: training patches; batches are taken from it in turn.
        val: validation patches.
        settings: of the loop.
        seed: of the starts.
        watch: where checkpoints and log go.
    """
    kind, side = networks[0].kind, networks[0].kernel_size
    first = [create_filters(kind, settings.starts, n.candidates, side, [seed, *phase]) for n in networks]
    module = PhaseFilters(kind, first, whiten(train.patches))
    patches, targets = torch.from_numpy(train.patches), torch.from_numpy(train.targets)
    batches = len(patches) // settings.batch

    def loss(filters: nn.Module, step: int) -> torch.Tensor:
        at = step % batches * settings.batch
        chosen = slice(at, at + settings.batch)
        device = module.weight.device
        return module.loss(patches[chosen].to(device), targets[chosen].to(device))

    fit(module, loss, settings, watch)
    results = []
    for network, filters, errors in zip(networks, module.folded(), measure(module, val, settings.batch), strict=True):
        watch.log(network=network.name, val_mse=errors)
        best = filters[int(np.argmin(errors))].detach().float().numpy()
        results.append(PhaseResult(best.reshape(*best.shape[:2], side, side), tuple(errors)))
    return results


def measure(module: PhaseFilters, patches: PatchSet, batch: int) -> list[list[float]]:
    """Mean squared error of each start of each network, values in 0..1."""
    totals = [torch.zeros(shape[0], dtype=torch.float64) for shape in module.shapes]
    with torch.no_grad():
        for at in range(0, len(patches.targets), batch):
            target = torch.from_numpy(patches.targets[at : at + batch]).float() / 255
            restored = module(torch.from_numpy(patches.patches[at : at + batch]))
            for total, values in zip(totals, restored, strict=True):
                total += (values - target).square().sum(dim=1, dtype=torch.float64)
    return [(total / len(patches.targets)).tolist() for total in totals]


def assemble(filters: dict[Phase, Array], scale: int) -> Array:
    """Put the filters of all orbits together as the weight of the network's convolution.

    Args:
        filters: of each orbit's first phase: ``(groups, C, K, K)``.
        scale: s.

    Returns:
        ``(groups * C * s * s, 1, K, K)`` float32; channel ``g s^2 + i s + j`` belongs to phase ``(i, j)``.
    """
    groups, candidates, side, _ = next(iter(filters.values())).shape
    weight = np.empty((groups, candidates, scale, scale, side, side), np.float32)
    for first, members in orbits(scale).items():
        for (row, column), symmetry in members:
            weight[:, :, row, column] = turn(filters[first], symmetry)
    return weight.reshape(-1, 1, side, side)


def fit_shared_phase(
    networks: Sequence[EdgeSR],
    train: Sequence[Pair],
    val: Sequence[Pair],
    settings: SharedPhase,
    seed: int,
    watch: Watch,
) -> list[Array]:
    """Train all phases of one-layer upscalers that differ in nothing but their candidates.

    One alone costs as much as the others leave it: all share the batch, its copy in cache and one product a step.

    Args:
        networks: what to train.
        train: training pairs of the networks' scale.
        val: validation pairs, by which each phase's best start is chosen.
        settings: of the loop.
        seed: of patches and starts.
        watch: where checkpoints and log go; phases add their names.

    Returns:
        The weight of each network's convolution, see `assemble`.

    Raises:
        RecipeError: if no image holds a patch, or the loss leaves the finite numbers.
    """
    scale, side = networks[0].scale, networks[0].kernel_size
    found: dict[Phase, list[PhaseResult]] = {}
    for phase in orbits(scale):
        part = replace(watch, name=f"phase {phase[0]} {phase[1]}")
        samples = sample_patches(train, phase, side, settings.patches, [seed, TRAIN, *phase])
        held_out = sample_patches(val, phase, side, settings.val_patches, [seed, VAL, *phase])
        found[phase] = fit_phase(networks, phase, samples, held_out, settings, seed, part)
    return [assemble({phase: each[i].filters for phase, each in found.items()}, scale) for i in range(len(networks))]
