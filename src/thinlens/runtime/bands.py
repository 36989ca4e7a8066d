"""One band of output rows: from the image's pixels, through the network, back to pixels.

A luma network restores the luma of a colour image; chroma, and alpha in any case, are resampled by antialiased bicubic.
Gray given to an RGB network is repeated in, and its luma returned.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ModelError, ShapeError
from thinlens.image.colour import bleed, from_float32, from_ycbcr, luma, to_float32, to_ycbcr
from thinlens.image.resample import Resampler
from thinlens.model.ops import Rows, Size, border_index
from thinlens.model.plan import Plan
from thinlens.runtime.reference.rows import input_rows, run_rows

AnyImage = npt.NDArray[Any]
Float = npt.NDArray[np.float32]


UNIT = (0.0, 1.0)
NOISY = (-4.0, 5.0)  # noise of sigma 255 reaches this far; pixels in 0..255 by mistake lie outside


def check_image(image: AnyImage, floats: tuple[float, float] = UNIT) -> None:
    """Check what `Session.run` accepts.

    Args:
        image: what was given.
        floats: the range of float32 pixels; a denoiser takes noise that was not clipped.

    Raises:
        ShapeError: if it is not ``H W``, ``H W 2``, ``H W 3`` or ``H W 4`` of uint8, uint16 or float32 in 0..1.
    """
    found = f"an array of shape {image.shape}, {image.dtype}"
    if image.ndim not in (2, 3) or 0 in image.shape or (image.ndim == 3 and image.shape[2] not in (2, 3, 4)):
        raise ShapeError(f"image: got {found}; accepted `H W`, `H W 2` (gray, alpha), `H W 3`, `H W 4`, not empty")
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ShapeError(f"image: got {found}; accepted uint8, uint16 or float32 in 0..1")
    low, high = floats
    if image.dtype == np.float32 and not bool((image.min() >= low) & (image.max() <= high)):  # NaN fails both
        raise ShapeError(f"image: value range: float32 pixels must be finite and within {low:g}..{high:g}")


def enlarged(image: AnyImage, size: Size) -> AnyImage:
    """An image mirrored at the bottom and on the right until it has a size; itself if it has it.

    Args:
        image: ``H W`` or ``H W C``.
        size: height and width, at least those of the image.
    """
    if image.shape[:2] == size:
        return image
    rows, columns = (
        border_index(np.arange(side), have, "mirror") for side, have in zip(size, image.shape, strict=False)
    )
    return image[rows][:, columns]


class BandRestorer:
    """Restores any rows of one image; rows may be asked for in any order and from several threads.

    Args:
        plan: of the network; its ``image`` output has as many channels as its input, 1 or 3.
        tensors: its tensors.
        scale: its scale.
        image: as `check_image` accepts.
    """

    def __init__(self, plan: Plan, tensors: Mapping[str, Float], scale: int, image: AnyImage) -> None:
        self.plan, self.tensors = plan, tensors
        self.height, self.width = int(image.shape[0]), int(image.shape[1])
        self.out_height, self.out_width = self.height * scale, self.width * scale
        self._resampler = Resampler(self.height, self.width, self.out_height, self.out_width)
        channels = 1 if image.ndim == 2 else image.shape[2]
        self._alpha = image[..., -1] if channels in (2, 4) else None
        self._gray = channels < 3
        colour = image[..., 0] if channels == 2 else image[..., :3] if channels == 4 else image
        self._colour = colour if self._alpha is None else bleed(colour, self._alpha)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the restored image."""
        channels = (1 if self._gray else 3) + (self._alpha is not None)
        return (self.out_height, self.out_width, channels)[: 2 if channels == 1 else 3]

    def rows(self, start: int, stop: int) -> AnyImage:
        """Rows ``[start, stop)`` of the restored image, in the image's own dtype."""
        restored = self._restored(start, stop)
        if self._alpha is not None:
            alpha = self._resampled(self._alpha, start, stop)
            restored = np.dstack((restored, alpha))
        return from_float32(restored, self._colour.dtype)

    def _restored(self, start: int, stop: int) -> Float:
        first, last = input_rows(self.plan, (self.height, self.width), (start, stop))
        pixels = to_float32(self._colour[first:last])
        if self.plan.input_channels == 3:
            rgb = np.repeat(pixels[..., None], 3, axis=2) if self._gray else pixels
            restored = self._network(rgb.transpose(2, 0, 1), first, (start, stop)).transpose(1, 2, 0)
            return luma(restored).astype(np.float32, copy=False) if self._gray else restored
        gray = pixels if self._gray else luma(pixels)
        y: Float = self._network(gray.astype(np.float32, copy=False)[None], first, (start, stop))[0]
        return y if self._gray else from_ycbcr(np.dstack((y, self._chroma(start, stop)))).astype(np.float32, copy=False)

    def _network(self, lq: Float, first: int, rows: Rows) -> Float:
        with np.errstate(over="ignore", invalid="ignore"):  # finite weights may still be absurd: see below
            restored = run_rows(self.plan, self.tensors, (first, lq), (self.height, self.width), rows)
        if np.isnan(restored).any():
            raise ModelError("the network's result is not a number: its weights overflow; train it again")
        clipped: Float = np.clip(restored, np.float32(0), np.float32(1))
        return clipped

    def _chroma(self, start: int, stop: int) -> Float:
        first, last = self._resampler.input_rows(start, stop)
        chroma = to_ycbcr(to_float32(self._colour[first:last]))[..., 1:]
        return self._resampler.rows(chroma, first, start, stop).astype(np.float32, copy=False)

    def _resampled(self, plane: AnyImage, start: int, stop: int) -> Float:
        first, last = self._resampler.input_rows(start, stop)
        band = to_float32(plane[first:last])
        return self._resampler.rows(band, first, start, stop).astype(np.float32, copy=False)
