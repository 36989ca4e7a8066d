"""Torch bodies of `bands` and `unbands`: bands stand in the batch, so that every op between sees each as an image."""

import numpy as np
import torch

from thinlens.model import ops
from thinlens.model.ops import band_count
from thinlens.train.ops.borders import taken
from thinlens.train.ops.module import OpModule


class Bands(OpModule):
    """Images -> bands of rows; the bands of one image stand one after the other in the batch."""

    record = ops.Bands

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N n, C, rows, W`` with ``n = warm_up + ceil(H / rows)`` bands an image."""
        op: ops.Bands = self.op
        images, channels, height, width = x.shape
        count = band_count(op.rows, op.warm_up, height)
        rows = taken(x, 2, np.arange(count * op.rows) - op.warm_up * op.rows, "mirror")
        return rows.reshape(images, channels, count, op.rows, width).transpose(1, 2).flatten(0, 1)


class Unbands(OpModule):
    """Bands -> images: the warm-up and what filled the last band are cut off."""

    record = ops.Unbands

    def forward(self, bands: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """``N n, C, scale rows, W`` and the ``N . H .`` that was cut into bands -> ``N, C, scale H, W``."""
        op: ops.Unbands = self.op
        images, height = image.shape[0], image.shape[2]
        count = band_count(op.rows, op.warm_up, height)
        rows = bands.reshape(images, count, *bands.shape[1:]).transpose(1, 2).flatten(2, 3)
        begin = op.warm_up * op.rows * op.scale
        return rows[:, :, begin : begin + height * op.scale]
