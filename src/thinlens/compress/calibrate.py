"""Which numbers a model's values take on real images: the `quantize` that loses least of them, and their covariances.

The NumPy reference computes the values of some crops three times: ranges, histograms, and what convolutions read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thinlens.bench.pairs import Pairs
from thinlens.bench.quality import Progress, read_hq
from thinlens.compress.low_precision import CLIPS, Patches, Rounding
from thinlens.errors import CompressionError
from thinlens.image.colour import to_float32
from thinlens.model.file import Model
from thinlens.model.ops import Conv2d, Quantize
from thinlens.model.plan import INPUT, Node
from thinlens.model.value_range import UNIT
from thinlens.runtime.low import MAX_LEVEL
from thinlens.runtime.reference import BODIES
from thinlens.runtime.reference.rows import iter_values

BINS = 4096
PATCH_STEP = 2  # rows and columns from one patch to the next: neighbours tell little more

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

    The range of ``input`` is 0..1, widened by what lies outside, and is not clipped: 8-bit images lose nothing by it.

    Args:
        model: checked, on pixels in 0..1.
        names: of the values.
        crops: ``C H W`` float32 each, as the network takes them.
        progress: called with crops done and crops in all, each of them counted twice.

    Returns:
        Name -> `quantize`; ``zero`` is 0 where no value was negative, and 0 itself is always exact.

    Raises:
        CompressionError: if a value is not finite.
    """
    ranges = dict.fromkeys(names, (0.0, 0.0))
    if INPUT in ranges:
        ranges[INPUT] = UNIT
    for name, value in _values(model, names, crops, progress, 0, 2):
        low, high = ranges[name]
        ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    for name, value in _values(model, names, crops, progress, 1, 2):
        counts[name] += np.histogram(value, BINS, ranges[name])[0] if ranges[name] != (0.0, 0.0) else 0
    return {
        name: quantize_of(*ranges[name]) if name == INPUT else best_quantize(counts[name], *ranges[name])
        for name in names
    }


def _values(
    model: Model, names: Collection[str], crops: Sequence[Array], progress: Progress | None, part: int, parts: int
) -> Iterator[tuple[str, Array]]:
    """The named values of each crop; ``part`` of ``parts`` times that this is done."""
    for i, crop in enumerate(crops, part * len(crops) + 1):
        for name, value in iter_values(model.plan, model.tensors, crop):
            if name not in names:
                continue
            if not np.isfinite(value).all():
                raise CompressionError(f"value `{name}`: is not finite, as the weights overflow; train the model again")
            yield name, value
        if progress is not None:
            progress(i, parts * len(crops))


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


def patches_of(
    model: Model,
    convs: Sequence[Node],
    roundings: Mapping[str, Rounding],
    crops: Sequence[Array],
    progress: Progress | None = None,
) -> dict[str, Patches]:
    """Measure what convolutions of a model's main plan read. Patches that reach over a border are left out.

    Args:
        model: checked.
        convs: nodes of `conv2d` with stride 1 and one group.
        roundings: name of each value that they read -> its `quantize` or `bfloat16`.
        crops: ``C H W`` float32 each, as the network takes them.
        progress: called with crops done and crops in all.

    Returns:
        Name of each convolution -> its patches, as the network on floats has them.

    Raises:
        CompressionError: if a value is not finite.
    """
    sums = {node.name: _Sums(node) for node in convs}
    noise = dict.fromkeys(roundings, 0.0)
    for name, value in _values(model, roundings, crops, progress, 0, 1):
        noise[name] += _noise(roundings[name], value) / len(crops)
        for node in convs:
            if node.inputs[0] == name:
                sums[node.name].add(value)
    return {node.name: sums[node.name].patches(noise[node.inputs[0]]) for node in convs}


class _Sums:
    """Sums of the patches that a convolution reads, and of their products, in float64 and around the first ones' mean.

    Else the covariance of values that hardly move would be lost in the square of their mean.
    """

    def __init__(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, Conv2d)  # noqa: S101  # so says the caller
        self._kernel, n = op.kernel, op.in_channels * op.kernel[0] * op.kernel[1]
        self._count, self._shift, self._sum, self._products = 0, np.zeros(n), np.zeros(n), np.zeros((n, n))

    def add(self, value: Array) -> None:
        """Add the patches of a ``C H W`` value."""
        if value.shape[1] < self._kernel[0] or value.shape[2] < self._kernel[1]:
            return
        windows = np.lib.stride_tricks.sliding_window_view(value, self._kernel, axis=(1, 2))
        rows = (
            windows[:, ::PATCH_STEP, ::PATCH_STEP]
            .transpose(1, 2, 0, 3, 4)
            .reshape(-1, len(self._sum))
            .astype(np.float64)
        )
        if self._count == 0:
            self._shift = rows.mean(axis=0)
        rows -= self._shift
        self._count += len(rows)
        self._sum += rows.sum(axis=0)
        self._products += rows.T @ rows

    def patches(self, noise: float) -> Patches:
        """Mean and covariance of all that were added."""
        count = max(self._count, 1)
        mean = self._sum / count
        return Patches(self._shift + mean, self._products / count - np.outer(mean, mean), noise)


def _noise(op: Rounding, value: Array) -> float:
    """Mean squared error of rounding a value."""
    body = BODIES[type(op)]
    size = value.shape[1], value.shape[2]
    rounded = body(op, ((0, value),), {}, (0, size[0]), (size,))
    worth = op.scale if isinstance(op, Quantize) else 1.0
    return float(np.square(rounded * np.float32(worth) - value).mean())
