"""Pairs for super-resolution of luma: a clean image and what the bicubic camera leaves of it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thinlens.image.colour import gray_uint8
from thinlens.image.resample import resize_uint8
from thinlens.train.datasets.images import read_clean

Plane = npt.NDArray[np.uint8]


class Pair(NamedTuple):
    """Full-range luma of one image at two sizes.

    Args:
        lq: ``H W`` uint8.
        hq: ``sH sW`` uint8.
    """

    lq: Plane
    hq: Plane


def create_pair(image: npt.NDArray[np.uint8], scale: int) -> Pair:
    """Degrade a clean image: antialiased bicubic on its own channels, rounded to 8 bits, then luma of both.

    Args:
        image: ``H W`` or ``H W 3`` uint8; cropped at the right and the bottom to a multiple of ``scale``.
        scale: 2 or more.

    Returns:
        Luma as Pillow's mode ``L`` makes it: the networks' input and target by protocol P1.

    Raises:
        ShapeError: if the image is smaller than ``scale`` pixels a side.
    """
    height, width = image.shape[0] // scale, image.shape[1] // scale
    clean = image[: height * scale, : width * scale]
    small = resize_uint8(clean, height, width)
    return Pair(_luma(small), _luma(clean))


def _luma(image: npt.NDArray[np.uint8]) -> Plane:
    return np.ascontiguousarray(image) if image.ndim == 2 else gray_uint8(image)


def iter_pairs(files: Iterable[Path], scale: int) -> Iterator[Pair]:
    """Read images one by one and degrade each; errors as in `read_clean` and `create_pair`."""
    for path in files:
        yield create_pair(read_clean(path), scale)
