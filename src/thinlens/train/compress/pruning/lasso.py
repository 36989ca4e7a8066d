"""CP: channels by LASSO on what a layer makes, then least squares for those that stay.

    choose   min over b of  1/(2M) |Y - sum_c b_c Z_c|^2 + alpha |b|_1      Z_c: share of channel c at M samples
    refit    min over W of  |Y - X W|^2                                      X: patches of the channels that stay

alpha is found by bisection, so that as many entries as asked for are not zero. Biases are refitted with the weights.

Source: He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017, section 3.1.
"""

import numpy as np
import numpy.typing as npt
import torch

from thinlens.train.compress.pruning.layer import Layer, Reader
from thinlens.train.compress.pruning.samples import Samples, draw_samples

RIDGE = 1e-6  # of the mean variance: holds what the samples do not tell where it was
ROUNDS = 60
SWEEPS, CLOSE = 400, 1e-9
ALIKE = 1e-8  # below 1, the cosine between shares that count as the same

Double = npt.NDArray[np.float64]


def cp(layer: Layer, keep: int, seed: int) -> list[int]:
    """Choose units by LASSO and refit their readers by least squares, in place.

    Args:
        layer: all units at work.
        keep: how many units stay.
        seed: of the samples.

    Returns:
        The units that stay, ascending.

    Raises:
        CompressionError: as `draw_samples`.
    """
    samples = draw_samples(layer, seed)
    shares = np.concatenate([part.shares.reshape(len(layer), -1) for part in samples], axis=1)
    target = np.concatenate([part.target.ravel() for part in samples])
    factors = choose_by_lasso(shares @ shares.T, shares @ target, keep)
    kept = np.flatnonzero(factors).tolist()
    layer.silence(kept)
    for reader, part in zip(layer.readers, samples, strict=True):
        refit_by_least_squares(reader, part, kept)
    return kept


def choose_by_lasso(gram: Double, products: Double, keep: int) -> Double:
    """Factors of the units, exactly ``keep`` of them not zero.

    Args:
        gram: (units, units), products of the units' shares.
        products: (units,), of the shares with the target.
        keep: 1 to all of them.

    Returns:
        (units,). Where no penalty gives that number, the largest of the nearest greater one stay. Of shares that are
        multiples of each other all but the first go before any others do: to the LASSO each mix of them is as good.
    """
    low, high = 0.0, float(np.abs(products).max())
    again = _multiples(gram)
    if keep <= len(gram) - again.sum():
        products, gram = np.where(again, 0, products), np.where(np.logical_or.outer(again, again), 0, gram)
    best = factors = lasso(gram, products, low, np.zeros(len(products)))
    for _ in range(ROUNDS):
        if np.count_nonzero(best) == keep or high <= low:
            break
        middle = (low + high) / 2
        factors = lasso(gram, products, middle, factors)
        if np.count_nonzero(factors) >= keep:
            low, best = middle, factors
        else:
            high = middle
    weight = np.where(best != 0, np.abs(best) * np.sqrt(gram.diagonal()) + np.finfo(float).tiny, 0)
    chosen = np.argsort(-weight, kind="stable")[:keep]
    made = np.zeros(len(best))
    made[chosen] = np.where(best[chosen] != 0, best[chosen], 1.0)
    return made


def _multiples(gram: Double) -> npt.NDArray[np.bool_]:
    """For each unit, whether its share is a multiple of an earlier one's."""
    size = np.sqrt(np.maximum(gram.diagonal(), np.finfo(float).tiny))
    alike = np.abs(gram / size[:, None] / size) > 1 - ALIKE
    return np.asarray(np.tril(alike, -1).any(axis=1), np.bool_)


def lasso(gram: Double, products: Double, penalty: float, start: Double) -> Double:
    """``min over b of b G b / 2 - p b + penalty |b|_1`` by coordinate descent.

    Args:
        gram: (n, n), G.
        products: (n,), p.
        penalty: at least 0.
        start: (n,), where to begin.
    """
    b, curvature = start.copy(), np.maximum(gram.diagonal(), np.finfo(float).tiny)
    for _ in range(SWEEPS):
        before = b.copy()
        for j in range(len(b)):
            slope = products[j] - gram[j] @ b + gram[j, j] * b[j]
            b[j] = np.sign(slope) * max(abs(slope) - penalty, 0.0) / curvature[j]
        if np.abs(b - before).max() <= CLOSE * max(1.0, np.abs(b).max()):
            break
    return b


@torch.no_grad()
def refit_by_least_squares(reader: Reader, samples: Samples, kept: list[int]) -> None:
    """Give a reader the weights for the kept units, and the bias, that come nearest to the target; in place.

    A transposed convolution gets a factor for each unit instead.
    """
    kept = [unit for unit in kept if reader.channels[unit]]
    if not kept:
        return
    shares = samples.shares[kept]
    rest = samples.target - shares.sum(axis=0)
    if samples.patches is None:
        columns = shares.reshape(len(kept), -1).T
        more = _nearest(columns, rest.reshape(-1, 1), centred=False)[0][:, 0]
        for unit, factor in zip(kept, 1 + more, strict=True):
            reader.weights[0].movedim(reader.axis, 0)[reader.channels[unit]] *= float(factor)
        return
    taps = samples.patches.shape[1] // sum(len(channels) for channels in reader.channels)
    begins = np.cumsum([0, *(len(channels) * taps for channels in reader.channels)])
    columns = np.concatenate([samples.patches[:, begins[unit] : begins[unit + 1]] for unit in kept], axis=1)
    bias = reader.body.get_parameter("bias") if "bias" in reader.node.tensors else None
    more, shift = _nearest(columns, rest, centred=bias is not None)
    weight, at = reader.weights[0], 0
    for unit in kept:
        for channel in reader.channels[unit]:
            own = more[at : at + taps].T.reshape(weight.shape[0], *weight.shape[2:])
            weight[:, channel] += torch.from_numpy(own)
            at += taps
    if bias is not None:
        bias.add_(torch.from_numpy(shift))


def _nearest(columns: Double, rest: Double, *, centred: bool) -> tuple[Double, Double]:
    """``min over D of |rest - columns D|^2 + ridge |D|^2``: (D, what is left in the mean)."""
    mean = columns.mean(axis=0) if centred else np.zeros(columns.shape[1])
    left = rest.mean(axis=0) if centred else np.zeros(rest.shape[1])
    apart = columns - mean
    gram = apart.T @ apart
    ridge = RIDGE * gram.trace() / len(gram) + np.finfo(float).tiny
    found = np.linalg.solve(gram + ridge * np.eye(len(gram)), apart.T @ (rest - left))
    return found, left - mean @ found
