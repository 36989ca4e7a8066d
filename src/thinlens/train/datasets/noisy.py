"""Random crops with white Gaussian noise, for denoisers: drawn anew for every step, as a function of the step alone."""

from collections.abc import Sequence

import numpy as np

from thinlens.degrade.noise import gaussian_noise
from thinlens.train.datasets.crops import CropSampler, FloatBatch
from thinlens.train.datasets.pairs import Pair


class NoisyCrops:
    """Batches of clean crops and of the same with noise; batch ``step`` is a function of the seed and ``step`` alone.

    Args:
        pairs: of scale 1, whose two images are the same.
        crop: side of the crops, in pixels.
        batch: crops a batch.
        sigma: of the noise, in 8-bit units; a pair draws it uniformly from that range for each crop.
        seed: of the random draws.

    Raises:
        RecipeError: if no image is large enough.
        ShapeError: if ``sigma`` is out of range.
    """

    def __init__(
        self, pairs: Sequence[Pair], crop: int, batch: int, sigma: float | tuple[float, float], seed: int
    ) -> None:
        self._crops, self._sigma, self._seed = CropSampler(pairs, crop, batch, seed), sigma, seed

    def batch(self, step: int) -> tuple[FloatBatch, FloatBatch]:
        """Draw a batch.

        Returns:
            ``lq``, which may leave 0..1, and ``hq``: ``(N, C, crop, crop)`` float32 each.
        """
        _, hq = self._crops.batch(step)
        rng = np.random.default_rng((self._seed, step, 1))  # the places of the crops are drawn from (seed, step)
        return np.stack([gaussian_noise(clean, self._sigma, seed=rng) for clean in hq]), hq
