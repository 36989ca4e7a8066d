"""Patches for the shared-phase trainer: a K x K neighbourhood of `lq` and the one `hq` value to be restored.

All 8 symmetries of each pair serve: a flipped or transposed photograph is a photograph.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from thinlens.errors import RecipeError
from thinlens.train.datasets.pairs import Pair

Sample = TypeVar("Sample", bound=np.generic)
Phase = tuple[int, int]
SYMMETRIES = range(8)


def turn(image: npt.NDArray[Sample], symmetry: int) -> npt.NDArray[Sample]:
    """Apply one of the 8 symmetries of the square to the last two axes.

    Args:
        image: ``... H W``.
        symmetry: 0 to 7; bit 0 flips rows, bit 1 flips columns, then bit 2 transposes.

    Returns:
        A view.
    """
    turned = image[..., ::-1, :] if symmetry & 1 else image
    turned = turned[..., ::-1] if symmetry & 2 else turned
    return turned.swapaxes(-1, -2) if symmetry & 4 else turned


class PatchSet(NamedTuple):
    """Samples in random order.

    Args:
        patches: ``(samples, K * K)`` uint8, rows of the patch one after the other.
        targets: ``(samples,)`` uint8.
    """

    patches: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.uint8]


def sample_patches(pairs: Sequence[Pair], phase: Phase, kernel_size: int, count: int, seed: Sequence[int]) -> PatchSet:
    """Draw patches whose centres have the phase ``phase``, evenly over all pixels and symmetries.

    Args:
        pairs: of one scale ``s``.
        phase: row and column of the target within the ``s x s`` pixels that stand over the patch's centre.
        kernel_size: K, odd. Patches lie inside the image: no padding is involved.
        count: samples to draw, with replacement.
        seed: of the random draw; the same arguments give the same set.

    Raises:
        RecipeError: if no image holds a patch.
    """
    rng = np.random.default_rng(seed)
    places = np.array([_places(pair.lq, kernel_size) for pair in pairs for _ in SYMMETRIES], np.float64)
    if not places.any():
        raise RecipeError(f"data.train: no image holds a patch of {kernel_size}x{kernel_size}; give larger images")
    counts = rng.multinomial(count, places / places.sum())
    order = rng.permutation(count)
    result = PatchSet(np.empty((count, kernel_size**2), np.uint8), np.empty(count, np.uint8))
    done = 0
    for index in np.flatnonzero(counts).tolist():
        pair, symmetry = pairs[index // len(SYMMETRIES)], index % len(SYMMETRIES)
        slots = order[done : done + counts[index]]
        result.patches[slots], result.targets[slots] = _draw(pair, symmetry, phase, kernel_size, len(slots), rng)
        done += len(slots)
    return result


def _places(lq: npt.NDArray[np.uint8], kernel_size: int) -> int:
    height, width = (max(0, size - kernel_size + 1) for size in lq.shape)
    return int(height * width)


def _draw(
    pair: Pair, symmetry: int, phase: Phase, kernel_size: int, count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw ``count`` patches of one pair, seen through one symmetry."""
    scale, side = pair.hq.shape[0] // pair.lq.shape[0], kernel_size // 2
    lq = np.ascontiguousarray(turn(pair.lq, symmetry))
    hq = turn(pair.hq, symmetry)[phase[0] :: scale, phase[1] :: scale]
    windows = np.lib.stride_tricks.sliding_window_view(lq, (kernel_size, kernel_size))
    y, x = rng.integers(0, windows.shape[0], count), rng.integers(0, windows.shape[1], count)
    return windows[y, x].reshape(count, kernel_size**2), hq[y + side, x + side]
