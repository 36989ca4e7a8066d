"""Random crops for the plain trainer: of pairs, or of clean images that are damaged as they are drawn."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thinlens.errors import RecipeError
from thinlens.image.colour import to_float32
from thinlens.image.resample import resize_uint8
from thinlens.train.datasets.damage import AnyPlane, Damage
from thinlens.train.datasets.pairs import Pair, Plane
from thinlens.train.datasets.patches import SYMMETRIES, turn

FloatBatch = npt.NDArray[np.float32]


class CropSampler:
    """Batches of aligned crops; batch ``step`` is a function of the seed and ``step`` alone.

    Args:
        pairs: of one scale ``s``; images smaller than the crop are left out.
        crop: side of the `lq` crops, in pixels.
        batch: crops a batch.
        seed: of the random draws.
        damage: makes `lq` of each crop of `hq`; None: `lq` is that of the pairs.

    Raises:
        RecipeError: if no image is large enough.
    """

    def __init__(self, pairs: Sequence[Pair], crop: int, batch: int, seed: int, damage: Damage | None = None) -> None:
        self._damage = damage
        crop += damage.margin if damage else 0
        self._pairs = [pair for pair in pairs if min(pair.lq.shape[-2:]) >= crop]
        if not self._pairs:
            raise RecipeError(f"loop.crop: got {crop}; no `lq` image is that large; accepted: at most its smaller side")
        self._crop, self._batch, self._seed = crop, batch, seed
        pixels = np.array([pair.lq.size for pair in self._pairs], np.float64)
        self._share = pixels / pixels.sum()
        self._between: dict[tuple[int, int], Plane] = {}

    def batch(self, step: int) -> tuple[FloatBatch, FloatBatch]:
        """Draw a batch: images by their size, places and symmetries evenly.

        Returns:
            ``lq``: ``(N, C, crop, crop)`` and ``hq``: ``(N, C, s * crop, s * crop)``, float32 in 0..1; C is 1 or 3.
        """
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(len(self._pairs), self._batch, p=self._share)
        crops = [self._draw(self._pairs[index], rng) for index in chosen]
        return _to_batch([lq for lq, _ in crops]), _to_batch([hq for _, hq in crops])

    def between(self, step: int, scales: Sequence[int]) -> dict[int, FloatBatch]:
        """The batch of the same step at sizes between: the clean images brought down by bicubic.

        Args:
            step: as `batch` takes it.
            scales: of the images over `lq`; each divides that of the pairs.

        Returns:
            Scale k -> ``(N, C, k * crop, k * crop)``.
        """
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(len(self._pairs), self._batch, p=self._share).tolist()
        places = [(index, *self._place(self._pairs[index], rng)) for index in chosen]
        return {
            k: _to_batch([turn(_cut(self._reduced(index, k), k, place, self._crop), s) for index, place, s in places])
            for k in scales
        }

    def _reduced(self, index: int, scale: int) -> Plane:
        """An image of the pairs at a size between, made once."""
        if (index, scale) not in self._between:
            lq, hq = self._pairs[index]
            height, width = (scale * size for size in lq.shape[-2:])
            planes = hq if hq.ndim == 2 else np.ascontiguousarray(hq.transpose(1, 2, 0))
            small = resize_uint8(planes, height, width)
            self._between[index, scale] = small if hq.ndim == 2 else np.ascontiguousarray(small.transpose(2, 0, 1))
        return self._between[index, scale]

    def _place(self, pair: Pair, rng: np.random.Generator) -> tuple[tuple[int, int], int]:
        """Row and column of a crop of `lq`, and one of the symmetries."""
        y, x = (int(rng.integers(0, size - self._crop + 1)) for size in pair.lq.shape[-2:])
        return (y, x), int(rng.integers(len(SYMMETRIES)))

    def _draw(self, pair: Pair, rng: np.random.Generator) -> tuple[AnyPlane, AnyPlane]:
        place, symmetry = self._place(pair, rng)
        hq = turn(_cut(pair.hq, pair.hq.shape[-1] // pair.lq.shape[-1], place, self._crop), symmetry)
        if self._damage is not None:
            return self._damage(hq, rng)
        return turn(_cut(pair.lq, 1, place, self._crop), symmetry), hq


def _cut(plane: Plane, scale: int, place: tuple[int, int], crop: int) -> Plane:
    """The crop at a place of `lq`, of an image that is ``scale`` times as large."""
    y, x = place
    return plane[..., scale * y : scale * (y + crop), scale * x : scale * (x + crop)]


def _to_batch(planes: list[AnyPlane]) -> FloatBatch:
    """N times ``H W`` or ``3 H W``, uint8 or float32 -> ``N C H W`` float32 in 0..1, or around it."""
    batch = np.stack([np.atleast_3d(p.T).T for p in planes])
    return to_float32(batch)
