"""Pairs of images: a clean one, and what the bicubic camera leaves of it."""

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
    """One image at two sizes: full-range luma, or RGB.

    Args:
        lq: ``H W`` or ``3 H W`` uint8.
        hq: ``sH sW`` or ``3 sH sW`` uint8.
    """

    lq: Plane
    hq: Plane


def create_pair(image: npt.NDArray[np.uint8], scale: int, channels: int = 1) -> Pair:
    """Degrade a clean image: antialiased bicubic on its own channels, rounded to 8 bits, then luma or RGB of both.

    Args:
        image: ``H W`` or ``H W 3`` uint8; cropped at the right and the bottom to a multiple of ``scale``.
        scale: 2 or more; at 1 nothing is degraded and the two are one array, to be damaged later.
        channels: 1 for luma, 3 for RGB (of a gray image three times the same).

    Returns:
        RGB, or luma as Pillow's mode ``L`` makes it: the networks' input and target by protocol P1.

    Raises:
        ShapeError: if the image is smaller than ``scale`` pixels a side.
    """
    height, width = image.shape[0] // scale, image.shape[1] // scale
    clean = image[: height * scale, : width * scale]
    planes = _luma if channels == 1 else _rgb
    if scale == 1:
        whole = planes(clean)
        return Pair(whole, whole)
    small = resize_uint8(clean, height, width)
    return Pair(planes(small), planes(clean))


def _rgb(image: npt.NDArray[np.uint8]) -> Plane:
    return np.ascontiguousarray(np.broadcast_to(np.atleast_3d(image), (*image.shape[:2], 3)).transpose(2, 0, 1))


def _luma(image: npt.NDArray[np.uint8]) -> Plane:
    return np.ascontiguousarray(image) if image.ndim == 2 else gray_uint8(image)


def iter_pairs(files: Iterable[Path], scale: int, channels: int = 1) -> Iterator[Pair]:
    """Read images one by one and degrade each; arguments and errors as in `read_clean` and `create_pair`."""
    for path in files:
        yield create_pair(read_clean(path), scale, channels)
