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
from dataclasses import dataclass

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
    """Filters of one phase, for several starts at once, on whitened patches.

    Args:
        kind: of the competition.
        weight: ``(starts, groups, C, K * K)``: values, (queries,) keys; acts on plain patches in 0..1.
        whitening: ``(K * K, K * K)`` float64, M.
    """

    whitening: torch.Tensor

    def __init__(self, kind: Kind, weight: torch.Tensor, whitening: torch.Tensor) -> None:
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.linalg.solve(whitening, weight.double().mT).mT.float())
        self.register_buffer("whitening", whitening, persistent=False)

    def folded(self) -> torch.Tensor:
        """The filters that act on plain patches: ``(starts, groups, C, K * K)`` float64."""
        return self.weight.double() @ self.whitening.mT

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Restore one value a patch.

        Args:
            patches: ``(samples, K * K)`` uint8.

        Returns:
            ``(starts, samples)`` float32, 1 is white.
        """
        filters = (self.folded() / 255).float()
        starts, groups, candidates, taps = filters.shape
        z = (filters.reshape(-1, taps) @ patches.float().T).view(starts, groups, candidates, -1)
        return compete(self.kind, z)


def compete(kind: Kind, z: torch.Tensor) -> torch.Tensor:
    """Let candidates compete: ``(starts, groups, C, samples)`` -> ``(starts, samples)``; formulas as in `EdgeSR`."""
    values, *others = z.unbind(dim=1)  # its gradient is one stack; slices would each fill and add a whole z
    if kind == "max":
        return values.amax(dim=1)
    logits = others[0] if kind == "tm" else others[0] * others[1]
    return (values * logits.softmax(dim=1)).sum(dim=1)


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
    network: EdgeSR, phase: Phase, train: PatchSet, val: PatchSet, settings: SharedPhase, seed: int, watch: Watch
) -> PhaseResult:
    """Train the filters of one phase from several starts and keep the best on validation patches.

    Args:
        network: its kind, kernel size and candidates.
        phase: row and column.
        train: training patches; batches are taken from it in turn.
        val: validation patches.
        settings: of the loop.
        seed: of the starts.
        watch: where checkpoints and log go.
    """
    first = create_filters(network.kind, settings.starts, network.candidates, network.kernel_size, [seed, *phase])
    module = PhaseFilters(network.kind, first, whiten(train.patches))
    patches, targets = torch.from_numpy(train.patches), torch.from_numpy(train.targets)
    batches = len(patches) // settings.batch

    def loss(filters: nn.Module, step: int) -> torch.Tensor:
        at = step % batches * settings.batch
        chosen = slice(at, at + settings.batch)
        device = next(filters.parameters()).device
        error: torch.Tensor = filters(patches[chosen].to(device)) - targets[chosen].to(device).float() / 255
        return error.square().mean(dim=1).sum()  # starts do not touch each other

    fit(module, loss, settings, watch)
    val_mse = measure(module, val, settings.batch)
    watch.log(val_mse=val_mse)
    best = int(np.argmin(val_mse))
    side = network.kernel_size
    filters = module.folded()[best].detach().float().numpy()
    return PhaseResult(filters.reshape(*filters.shape[:2], side, side), tuple(val_mse))


def measure(module: PhaseFilters, patches: PatchSet, batch: int) -> list[float]:
    """Mean squared error of each start, values in 0..1."""
    total = torch.zeros(module.weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        for at in range(0, len(patches.targets), batch):
            target = torch.from_numpy(patches.targets[at : at + batch]).float() / 255
            error = module(torch.from_numpy(patches.patches[at : at + batch])) - target
            total += error.square().sum(dim=1, dtype=torch.float64)
    return [float(value) for value in total / len(patches.targets)]


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
    network: EdgeSR, train: Sequence[Pair], val: Sequence[Pair], settings: SharedPhase, seed: int, watch: Watch
) -> Array:
    """Train all phases of a one-layer upscaler.

    Args:
        network: what to train.
        train: training pairs of the network's scale.
        val: validation pairs, by which each phase's best start is chosen.
        settings: of the loop.
        seed: of patches and starts.
        watch: where checkpoints and log go; phases add their names.

    Returns:
        The weight of the convolution, see `assemble`.

    Raises:
        RecipeError: if no image holds a patch, or the loss leaves the finite numbers.
    """
    filters: dict[Phase, Array] = {}
    for phase in orbits(network.scale):
        part = Watch(f"phase {phase[0]} {phase[1]}", watch.folder, watch.progress)
        draw = network.kernel_size, settings.patches, [seed, TRAIN, *phase]
        samples = sample_patches(train, phase, *draw)
        held_out = sample_patches(val, phase, network.kernel_size, settings.val_patches, [seed, VAL, *phase])
        filters[phase] = fit_phase(network, phase, samples, held_out, settings, seed, part).filters
    return assemble(filters, network.scale)
