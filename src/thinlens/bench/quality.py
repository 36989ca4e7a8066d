"""Quality of a super-resolution network on a set of clean images: shrink, restore, compare.

A luma network is measured on luma, a colour network on Y of its RGB result; ``protocol_of`` says what that means.
Bicubic itself is measured the same way (``bicubic``), so that a gain over it is a difference of like figures.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.degrade.bicubic import bicubic_down, check_scale, crop_to_multiple
from thinlens.errors import ImageError, ShapeError
from thinlens.image.colour import from_float32, gray_uint8, to_float32
from thinlens.image.files import read_image
from thinlens.image.formats import format_of_suffix
from thinlens.image.resample import resize
from thinlens.metrics.protocol import Protocol
from thinlens.metrics.ssim import WINDOW

Float32Image = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]
Run = Callable[[Float32Image], Float32Image]
Progress = Callable[[int, int], None]

MAX_PIXELS = 500_000_000


class ImageQuality(msgspec.Struct, frozen=True):
    """Figures of one image.

    Attributes:
        name: its file name.
        psnr_y_db: dB on Y; infinity (null in JSON) for a perfect result.
        ssim_y: SSIM on Y.
        psnr_rgb_db: dB over R, G and B; None for luma networks.
    """

    name: str
    psnr_y_db: float
    ssim_y: float
    psnr_rgb_db: float | None


class Quality(msgspec.Struct, frozen=True):
    """Figures of a set: means over its images, the protocol, and each image's own.

    Attributes:
        count: number of images.
        psnr_y_db: mean of the images' PSNR on Y, dB.
        ssim_y: mean SSIM on Y.
        psnr_rgb_db: mean PSNR over R, G and B, dB; None for luma networks.
        protocol: ``Protocol.to_dict()``, with ``scale`` and how the input was made.
        images: in the order given.
    """

    count: int
    psnr_y_db: float
    ssim_y: float
    psnr_rgb_db: float | None
    protocol: dict[str, Any]
    images: list[ImageQuality]


def list_images(folder: Path) -> list[Path]:
    """List a folder's own images by name.

    Raises:
        ImageError: if it is no folder or holds none.
    """
    if not folder.is_dir():
        raise ImageError(f"`{folder}`: not a folder; give a folder of images")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and format_of_suffix(path))
    if not paths:
        raise ImageError(f"`{folder}`: holds no images; accepted PNG, JPEG, TIFF, WebP, BMP and PPM")
    return paths


def protocol_of(scale: int, *, colour: bool) -> Protocol:
    """Return how a network of this kind is measured; the border is ``scale`` pixels of the result."""
    return Protocol(channel="y", border=scale, luma="rgb2ycbcr" if colour else "gray")


def bicubic(scale: int) -> Run:
    """Return bicubic enlargement as something to evaluate: ``H W`` or ``H W 3`` float32 -> ``scale`` times larger."""
    return lambda lq: resize(lq, lq.shape[0] * scale, lq.shape[1] * scale)


def evaluate(run: Run, paths: Sequence[Path], *, scale: int, colour: bool, progress: Progress | None = None) -> Quality:
    """Measure a network on clean images: the low-quality ones are made here, by MATLAB's antialiased bicubic on 8 bits.

    Args:
        run: the network. Luma: ``H W`` float32 in 0..1 -> ``scale*H scale*W``; colour: the same with ``3`` behind.
        paths: clean images, 8 bits, gray or RGB.
        scale: 2, 3, 4 or 8.
        colour: whether ``run`` takes RGB (gray files are repeated to RGB for it) or full-range luma.
        progress: called with images done and images in all, after each.

    Returns:
        The figures; arithmetic means over the images.

    Raises:
        ImageError: if there are no images, or one cannot be read or is not 8-bit gray or RGB.
        ShapeError: on another scale, if an image is too small, or if ``run`` returns another size.
    """
    check_scale(scale)
    if not paths:
        raise ImageError("no images to evaluate on; give at least one")
    images = []
    for path in paths:
        images.append(_evaluate_image(run, Path(path), scale, colour))
        if progress:
            progress(len(images), len(paths))
    degradation = {"scale": scale, "lq": "antialiased bicubic of the 8-bit image, rounded to 8 bits"}
    return Quality(
        count=len(images),
        psnr_y_db=_mean([image.psnr_y_db for image in images]),
        ssim_y=_mean([image.ssim_y for image in images]),
        psnr_rgb_db=_mean([image.psnr_rgb_db for image in images if image.psnr_rgb_db is not None]) if colour else None,
        protocol=protocol_of(scale, colour=colour).to_dict() | degradation,
        images=images,
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _evaluate_image(run: Run, path: Path, scale: int, colour: bool) -> ImageQuality:
    hq = _read_hq(path)
    if min(hq.shape[:2]) // scale * scale < WINDOW + 2 * scale:
        raise ShapeError(
            f"`{path}`: {hq.shape[1]}x{hq.shape[0]} pixels; at least {-(-WINDOW // scale) * scale + 2 * scale} on each "
            f"side are needed at scale {scale}; leave it out"
        )
    hq = crop_to_multiple(hq, scale)
    lq = bicubic_down(hq, scale)
    gray_file = hq.ndim == 2
    hq, lq = (_as_rgb(hq), _as_rgb(lq)) if colour else (_as_gray(hq), _as_gray(lq))
    restored = from_float32(run(to_float32(lq)), np.uint8)
    if restored.shape != hq.shape:
        raise ShapeError(f"`{path}`: the network made {restored.shape} of {lq.shape}; {hq.shape} were expected")
    rgb_db = Protocol(channel="rgb", border=scale, luma=None).psnr_db(restored, hq) if colour else None
    if gray_file:
        restored, hq = _as_gray(restored), _as_gray(hq)
    protocol = protocol_of(scale, colour=colour)
    return ImageQuality(
        name=path.name,
        psnr_y_db=protocol.psnr_db(restored, hq, gray_file=gray_file),
        ssim_y=protocol.ssim(restored, hq, gray_file=gray_file),
        psnr_rgb_db=rgb_db,
    )


def _read_hq(path: Path) -> ByteImage:
    """Read a clean image; alpha is dropped where it hides nothing."""
    pixels = read_image(path, max_pixels=MAX_PIXELS).pixels
    if pixels.dtype != np.uint8:
        raise ImageError(
            f"`{path}`: 16 bits a sample; accepted 8, which all published figures are for; convert it first"
        )
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if (pixels[..., -1] != 255).any():
            raise ImageError(f"`{path}`: has transparent pixels; accepted opaque gray and RGB; leave it out")
        return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    return pixels


def _as_gray(image: ByteImage) -> ByteImage:
    return image if image.ndim == 2 else gray_uint8(image)


def _as_rgb(image: ByteImage) -> ByteImage:
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
