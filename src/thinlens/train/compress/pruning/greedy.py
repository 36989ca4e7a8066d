"""Channels chosen one after the other by what they would do for the objective, and the rest by their size.

The layer begins with nothing: all weights of those who read the group are zero. The gradient of the objective for them
says how much each channel is missed; the one missed most comes back with the weights that it had, all that are there
are refitted, and so on.

With a loss of the task alone this is DCP; with a dual regression term in it, the pruning of DRC.

Source: Guo et al., Towards Lightweight Super-Resolution with Dual Regression Learning, section 4.3; Zhuang et al.,
Discrimination-aware Channel Pruning, NeurIPS 2018, section 3.
"""

import torch

from thinlens.train.compress.pruning.layer import Layer

AGAIN, LAST = 2, 20  # iterations of the refit behind each step, and behind the last


def greedy(layer: Layer, keep: int, seed: int, *, per_step: int | None = None) -> list[int]:
    """Choose units and refit their readers, in place.

    Args:
        layer: all units at work.
        keep: how many units stay.
        seed: not used: nothing is drawn.
        per_step: units that come back at a time; None: a quarter of those that stay.

    Returns:
        The units that stay, ascending.
    """
    step = per_step or max(1, keep // 4)
    chosen: list[int] = []
    layer.silence(chosen)
    while len(chosen) < keep:
        scores = layer.scores()
        scores[chosen] = -1
        more = scores.argsort(descending=True, stable=True)[: min(step, keep - len(chosen))].tolist()
        layer.restore(more)
        chosen += more
        layer.refit(chosen, AGAIN)
    layer.refit(chosen, LAST)
    return sorted(chosen)


def by_size(layer: Layer, keep: int, seed: int) -> list[int]:
    """Keep the units that are read with the largest weights, by the sum of their magnitudes; nothing is refitted.

    Args:
        layer: all units at work.
        keep: how many units stay.
        seed: not used.

    Returns:
        The units that stay, ascending.
    """
    kept = rank_units(layer)[:keep]
    layer.silence(kept)
    return sorted(kept)


@torch.no_grad()
def rank_units(layer: Layer) -> list[int]:
    """All units, those read with the largest weights first."""
    sizes = torch.zeros(len(layer))
    for reader in layer.readers:
        for weight in reader.weights:
            sizes += torch.stack([reader.by_unit(weight, unit).abs().sum() for unit in range(len(layer))])
    order: list[int] = sizes.argsort(descending=True, stable=True).tolist()
    return order
