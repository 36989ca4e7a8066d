"""ThiNet: channels go one after the other, those first whose shares of what a layer makes add up to least.

Of each sample one output channel is looked at. Of the units that stay, each is scaled by least squares, and the layer
is trained a little with the loss of the task.

Source: Luo et al., ThiNet, ICCV 2017, section 3.2; in later implementations the sum's magnitude stands for its square.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from thinlens.train.compress.pruning.layer import Layer
from thinlens.train.compress.pruning.samples import Samples, draw_samples

Size = Literal["square", "magnitude"]
RIDGE = 1e-6
ITERATIONS = 4  # of the training that follows

Double = npt.NDArray[np.float64]


def thinet(layer: Layer, keep: int, seed: int, *, size: Size = "square") -> list[int]:
    """Choose units by what is lost without the others, in place.

    Args:
        layer: all units at work.
        keep: how many units stay.
        seed: of the samples, and of the output channel that is looked at in each.
        size: what of the sum over the units that go is kept small.

    Returns:
        The units that stay, ascending.

    Raises:
        CompressionError: as `draw_samples`.
    """
    rng = np.random.default_rng([seed, 1])
    shares, target = (
        np.concatenate(parts) for parts in zip(*(_looked_at(s, rng) for s in draw_samples(layer, seed)), strict=True)
    )
    gone = remove_least(shares, len(layer) - keep, size)
    kept = [unit for unit in range(len(layer)) if unit not in set(gone)]
    layer.silence(kept)
    _scale(layer, kept, shares[:, kept], target)
    layer.refit(kept, ITERATIONS, features=False)
    return kept


def _looked_at(samples: Samples, rng: np.random.Generator) -> tuple[Double, Double]:
    """Shares (samples, units) and target (samples,) of one output channel a sample."""
    count, out = samples.target.shape
    channel, at = rng.integers(out, size=count), np.arange(count)
    return samples.shares[:, at, channel].T, samples.target[at, channel]


def remove_least(shares: Double, count: int, size: Size = "square") -> list[int]:
    """The units that go, in order: each time the one with which the sum of all that have gone is smallest.

    Args:
        shares: (samples, units).
        count: how many go.
        size: of the sums: their squares or their magnitudes, added up over the samples.
    """
    gone: list[int] = []
    total = np.zeros(len(shares))
    for _ in range(count):
        tried = total[:, None] + shares
        cost = np.square(tried).sum(axis=0) if size == "square" else np.abs(tried).sum(axis=0)
        cost[gone] = np.inf
        gone.append(int(cost.argmin()))
        total += shares[:, gone[-1]]
    return gone


@torch.no_grad()
def _scale(layer: Layer, kept: list[int], shares: Double, target: Double) -> None:
    """Multiply the weights of each unit that stays by the factor that least squares finds."""
    gram = shares.T @ shares
    ridge = RIDGE * gram.trace() / len(gram) + np.finfo(float).tiny
    more = np.linalg.solve(gram + ridge * np.eye(len(gram)), shares.T @ (target - shares.sum(axis=1)))
    for reader in layer.readers:
        for unit, factor in zip(kept, 1 + more, strict=True):
            for weight in reader.weights:
                weight.movedim(reader.axis, 0)[reader.channels[unit]] *= float(factor)
