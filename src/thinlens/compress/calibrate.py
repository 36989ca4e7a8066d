"""Which numbers a model's values take on real images, and the `quantize` that loses least of them.

The NumPy reference computes the values of some crops twice: first their ranges, then their histograms.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thinlens.bench.pairs import Pairs
from thinlens.bench.quality import Progress, read_hq
from thinlens.compress.low_precision import CLIPS
from thinlens.image.colour import to_float32
from thinlens.model.file import Model
from thinlens.model.ops import Quantize
from thinlens.model.plan import INPUT
from thinlens.runtime.low import MAX_LEVEL
from thinlens.runtime.reference.rows import iter_values

BINS = 4096

Array = npt.NDArray[np.float32]


def lq_crops(paths: Sequence[Path], pairs: Pairs, *, side: int, per_image: int, seed: int) -> list[Array]:
    """Crops of degraded images at random places, the same for the same arguments.

    Args:
        paths: clean images.
        pairs: how they are degraded.
        side: of a crop in pixels of the degraded image; smaller images are taken whole.
        per_image: crops of each image.
        seed: of the places.

    Returns:
        ``C H W`` float32 each.

    Raises:
        ImageError: if an image cannot be read.
    """
    rng = np.random.default_rng(seed)
    crops = []
    for path in paths:
        lq = to_float32(pairs.make(read_hq(path))[1])
        planes = np.moveaxis(lq.reshape(*lq.shape[:2], -1), 2, 0)
        for _ in range(per_image):
            y, x = (int(rng.integers(max(1, length - side + 1))) for length in lq.shape[:2])
            crops.append(np.ascontiguousarray(planes[:, y : y + side, x : x + side]))
    return crops


def quantizers(
    model: Model, names: Collection[str], crops: Sequence[Array], progress: Progress | None = None
) -> dict[str, Quantize]:
    """Find the `quantize` for values of a model's main plan.

    The range of ``input`` is the card's, widened by what lies outside, and is not clipped: with 8-bit images in 0..1 it
    loses nothing.

    Args:
        model: checked.
        names: of the values.
        crops: ``C H W`` float32 each, as the network takes them.
        progress: called with passes done and passes in all, two a crop.

    Returns:
        Name -> `quantize`; ``zero`` is 0 where no value was negative, and 0 itself is always exact.
    """
    ranges = dict.fromkeys(names, (0.0, 0.0))
    if INPUT in ranges:
        ranges[INPUT] = model.card.value_range
    for name, value in _values(model, names, crops, progress, 0):
        low, high = ranges[name]
        ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    for name, value in _values(model, names, crops, progress, len(crops)):
        counts[name] += np.histogram(value, BINS, ranges[name])[0] if ranges[name] != (0.0, 0.0) else 0
    return {
        name: quantize_of(*ranges[name]) if name == INPUT else best_quantize(counts[name], *ranges[name])
        for name in names
    }


def _values(
    model: Model, names: Collection[str], crops: Sequence[Array], progress: Progress | None, done: int
) -> Iterator[tuple[str, Array]]:
    """The named values of each crop."""
    for i, crop in enumerate(crops):
        yield from ((name, value) for name, value in iter_values(model.plan, model.tensors, crop) if name in names)
        if progress is not None:
            progress(done + i + 1, 2 * len(crops))


def best_quantize(counts: npt.NDArray[np.int64], low: float, high: float) -> Quantize:
    """The `quantize` of least squared error among some that clip the range.

    Args:
        counts: histogram of the values between ``low`` and ``high``.
        low: at most 0.
        high: at least 0.
    """
    edges = np.linspace(low, high, len(counts) + 1)
    middles = (edges[:-1] + edges[1:]) / 2

    def error(op: Quantize) -> float:
        levels = np.clip(np.rint(middles / op.scale), -op.zero, MAX_LEVEL - op.zero)
        return float(counts @ (levels * op.scale - middles) ** 2)

    return min((quantize_of(clip * low, clip * high) for clip in CLIPS), key=error)


def quantize_of(low: float, high: float) -> Quantize:
    """The `quantize` whose 256 levels reach from ``low`` (at most 0) to ``high`` (at least 0), 0 being one of them."""
    scale = float(np.float32(max(high - low, 1e-12) / MAX_LEVEL))
    return Quantize(scale=scale, zero=min(MAX_LEVEL, round(-low / scale)))
