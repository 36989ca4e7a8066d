"""How pairs of clean and degraded images are made for a measurement, and by which protocol results are compared.

A luma network gets one plane. For denoising that is full-range gray, noise added to it; for deblocking it is what the
literature encodes: 8-bit studio-range Y of a colour file, a gray file as it is. BBCU's figures on Classic5, whose files
are gray, are for those files brought to studio range too: ``studio_gray``. For super-resolution a colour file is shrunk
in RGB and its gray taken then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.degrade.bicubic import bicubic_down, check_scale, crop_to_multiple
from thinlens.degrade.jpeg import check_quality, jpeg_round_trip
from thinlens.degrade.noise import check_sigma, gaussian_noise
from thinlens.errors import ShapeError
from thinlens.image.colour import gray_uint8, studio_luma
from thinlens.metrics.protocol import Protocol

AnyImage = npt.NDArray[Any]
ByteImage = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pairs:
    """One way of making pairs.

    Attributes:
        scale: size of the clean image over that of the degraded one.
        colour: whether the network takes RGB; gray files are then repeated to RGB, after they were degraded.
        degrade: a clean image, ``H W`` or ``H W 3`` uint8 -> the degraded one, uint8, or float32 around 0..1.
        gray: RGB -> the plane that a luma network is measured on; ``H W`` stays.
        gray_first: whether that plane is degraded, or taken from the degraded RGB.
        protocol: how results are compared.
        record: the parameters, and ``lq``, how the input is made in words.
    """

    scale: int
    colour: bool
    degrade: Callable[[ByteImage], AnyImage]
    gray: Callable[[ByteImage], ByteImage]
    gray_first: bool
    protocol: Protocol
    record: dict[str, Any]

    def make(self, clean: ByteImage) -> tuple[ByteImage, AnyImage]:
        """Turn a clean file's pixels, ``H W`` or ``H W 3``, into (hq, lq) as the network takes them."""
        hq = crop_to_multiple(clean, self.scale) if self.scale > 1 else clean
        if self.colour:
            return as_rgb(hq), as_rgb(self.degrade(hq))
        plane = self.gray(hq)
        return plane, self.degrade(plane) if self.gray_first else self.gray(self.degrade(hq))


def create_pairs(
    *,
    colour: bool,
    scale: int | None = None,
    sigma: float | None = None,
    seed: int = 0,
    quality: int | None = None,
    studio_gray: bool = False,
) -> Pairs:
    """Choose by which of ``scale``, ``sigma`` and ``quality`` is given; see `thinlens.bench.quality.evaluate`.

    Raises:
        ShapeError: if not exactly one is given, or it is out of range; or if ``studio_gray`` goes with none but a luma
            network's ``quality``.
    """
    if studio_gray and (colour or quality is None):
        raise ShapeError("`studio_gray`: accepted only for luma networks, with `quality`; leave it out")
    given = [name for name, value in (("scale", scale), ("sigma", sigma), ("quality", quality)) if value is not None]
    if scale is not None and len(given) == 1:
        return _upscaling(scale, colour=colour)
    if sigma is not None and len(given) == 1:
        return _denoising(sigma, seed, colour=colour)
    if quality is not None and len(given) == 1:
        return _deblocking(quality, colour=colour, studio_gray=studio_gray)
    found = " and ".join(f"`{name}`" for name in given) or "none"
    raise ShapeError(f"degradation: got {found}; accepted: one of `scale`, `sigma` and `quality`")


def _upscaling(scale: int, *, colour: bool) -> Pairs:
    check_scale(scale)
    return Pairs(
        scale=scale,
        colour=colour,
        degrade=lambda hq: bicubic_down(hq, scale),
        gray=as_gray,
        gray_first=False,
        protocol=Protocol(channel="y", border=scale, luma="rgb2ycbcr" if colour else "gray"),
        record={"scale": scale, "lq": "antialiased bicubic of the 8-bit image, rounded to 8 bits"},
    )


def _denoising(sigma: float, seed: int, *, colour: bool) -> Pairs:
    check_sigma(sigma)
    text = f"white Gaussian noise of sigma {sigma:g}, neither clipped nor rounded, seed {seed} anew for each image"
    return Pairs(
        scale=1,
        colour=colour,
        degrade=lambda hq: gaussian_noise(hq, sigma, seed=seed),
        gray=as_gray,
        gray_first=True,
        protocol=Protocol(channel="y", border=0, luma="rgb2ycbcr" if colour else "full"),
        record={"scale": 1, "sigma": sigma, "seed": seed, "lq": text},
    )


def _deblocking(quality: int, *, colour: bool, studio_gray: bool) -> Pairs:
    check_quality(quality)
    kind = "RGB as YCbCr 4:2:0" if colour else "the measured plane as gray"
    if studio_gray:
        kind += "; gray files brought to 16..235 before that, as BBCU measures Classic5"
    return Pairs(
        scale=1,
        colour=colour,
        degrade=lambda hq: jpeg_round_trip(hq, quality),
        gray=to_studio if studio_gray else as_studio,
        gray_first=True,
        protocol=Protocol(channel="y", border=0, luma="rgb2ycbcr" if colour else "studio"),
        record={"scale": 1, "quality": quality, "lq": f"JPEG of quality {quality} by libjpeg, {kind}"},
    )


def as_gray(image: ByteImage) -> ByteImage:
    """``H W`` as it is; full-range gray of ``H W 3``."""
    return image if image.ndim == 2 else gray_uint8(image)


def as_studio(image: ByteImage) -> ByteImage:
    """``H W`` as it is; 8-bit studio-range Y of ``H W 3``."""
    return image if image.ndim == 2 else np.rint(studio_luma(image)).astype(np.uint8)


def to_studio(image: ByteImage) -> ByteImage:
    """8-bit studio-range Y, of ``H W`` as if it were colour."""
    return as_studio(as_rgb(image))


def as_rgb(image: AnyImage) -> AnyImage:
    """``H W 3`` as it is; ``H W`` repeated."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
