"""Chroma planes by bicubic, on the grid where they lie.

The centre of chroma sample ``i`` of a subsampled axis lies, in 4:2:0 and 4:2:2 of MPEG-2, H.264 and all that came after
unless they say otherwise, on the left luma sample of its pair across, and between the two rows down. Luma grows about
the centres of its samples: ``(x + 0.5) / s - 0.5``. So a chroma sample of the result reads at ``(i + a) / s - a``, with
a = 0.25 across and 0.5 down; the usual a = 0.5 on both would shift colour by an eighth of a pixel of chroma at x2.

A whole scale runs as a network on the engine (Keys' cubic, a 5x5 convolution and a pixel shuffle); others, and
shrinking, as picture files do.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.image.colour import to_float32
from thinlens.image.resample import Resampler, cubic
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.model.ops import Conv2d, PixelShuffle
from thinlens.model.plan import Node, Plan
from thinlens.runtime.session import Session

Plane = npt.NDArray[Any]
Size = tuple[int, int]

CENTRE, LEFT = 0.5, 0.25
LARGEST_SCALE = 8  # of what runs on the engine


class PlaneScaler:
    """Scales planes of one size to another.

    Args:
        source: height and width.
        target: height and width.
        origins: where samples lie down and across, ``CENTRE`` or ``LEFT``.
        peak: the largest value.
        threads: for the engine.
    """

    def __init__(self, source: Size, target: Size, origins: tuple[float, float], peak: int, threads: int) -> None:
        self._peak, self._same = peak, source == target
        self._session = self._resampler = None
        scale = target[0] // source[0]
        if self._same:
            return
        if 2 <= scale <= LARGEST_SCALE and target == (source[0] * scale, source[1] * scale):
            self._session = Session(bicubic(scale, origins), threads=threads)
        else:
            self._resampler = Resampler(*source, *target, origins=origins)

    def run(self, plane: Plane, out: Plane) -> None:
        """Scale one plane into another; uint8 or uint16, whatever the video's range, as weights sum to 1."""
        if self._session is not None:
            np.minimum(self._session.run(plane), self._peak, out=out)
        elif self._resampler is not None:
            rows = self._resampler.rows(to_float32(plane), 0, 0, len(out))
            limit = np.iinfo(plane.dtype).max
            out[...] = np.rint((rows * limit).clip(0, self._peak))
        else:
            out[...] = plane


def bicubic(scale: int, origins: tuple[float, float]) -> Model:
    """Keys' cubic as a network of one plane, with samples that lie at ``origins``."""
    down, across = (_taps(scale, origin) for origin in origins)
    weight = np.einsum("iy,jx->ijyx", down, across).reshape(scale**2, 1, 5, 5).astype(np.float32)
    conv = Conv2d(in_channels=1, out_channels=scale**2, kernel=(5, 5), padding=(2, 2), pad_mode="edge")
    nodes = (
        Node(name="filter", op=conv, inputs=("input",), tensors={"weight": "filter.weight"}),
        Node(name="shuffle", op=PixelShuffle(scale=scale), inputs=("filter",)),
    )
    card = ModelCard(
        name=f"bicubic_x{scale}",
        task="sr",
        scale=scale,
        colour="luma",
        params=weight.size,
        macs_per_pixel=25.0,
        licence="Apache-2.0",
        training=Training(recipe="none", recipe_sha256="", schedule="none", steps=0, seed=0),
    )
    plan = Plan(input_channels=1, nodes=nodes, outputs={"image": "shuffle"})
    return Model({"main": plan}, {"filter.weight": weight}, card)


def _taps(scale: int, origin: float) -> npt.NDArray[np.float64]:
    """Weights of each phase at input offsets -2..2: ``(scale, 5)``; rows sum to 1."""
    position = (np.arange(scale) + origin) / scale - origin
    return cubic(position[:, None] - np.arange(-2, 3))
