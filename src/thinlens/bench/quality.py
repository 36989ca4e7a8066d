"""Quality of a network on a set of clean images: degrade, restore, compare.

A luma network is measured on luma, a colour network on Y of its RGB result; ``protocol_of`` says what that means.
Bicubic itself (``bicubic``), and the degraded image as it is (``unchanged``), are measured the same way, so that a gain
over them is a difference of like figures.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.bench.pairs import Pairs, as_gray, create_pairs
from thinlens.errors import ImageError, ShapeError
from thinlens.image.colour import from_float32, to_float32
from thinlens.image.files import read_header, read_image
from thinlens.image.formats import format_of_suffix
from thinlens.image.resample import resize
from thinlens.metrics.protocol import Protocol
from thinlens.metrics.ssim import WINDOW

Float32Image = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]
Run = Callable[[Float32Image], Float32Image]
Progress = Callable[[int, int], None]

MAX_PIXELS = 500_000_000


class UnfitImageError(ImageError):
    """An image that is sound, but that no published protocol measures on."""


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
        protocol: ``Protocol.to_dict()``, with how the input was made: ``lq`` in words, ``scale``, and ``sigma`` and
            ``seed``, or ``quality``.
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


def usable_images(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Sort out the images that nothing can be measured on: those of 16 bits, and those with transparent pixels.

    Args:
        paths: clean images. Only those with an alpha channel are decoded.

    Returns:
        The others, and for each one that is left out why.

    Raises:
        ImageError: if an image cannot be read, or none is left.
    """
    usable, notes = [], []
    for path in paths:
        header = read_header(path)
        if header.dtype == np.uint8 and header.channels in (1, 3):
            usable.append(path)
            continue
        try:
            read_hq(path)
        except UnfitImageError as error:
            notes.append(str(error))
        else:
            usable.append(path)
    if not usable:
        raise ImageError(f"no image of {len(paths)} can be measured on: {notes[0] if notes else 'there is none'}")
    return usable, notes


def protocol_of(scale: int, *, colour: bool) -> Protocol:
    """Return how an upscaling network of this kind is measured; the border is ``scale`` pixels of the result."""
    return create_pairs(scale=scale, colour=colour).protocol


def bicubic(scale: int) -> Run:
    """Return bicubic enlargement as something to evaluate: ``H W`` or ``H W 3`` float32 -> ``scale`` times larger."""
    return lambda lq: resize(lq, lq.shape[0] * scale, lq.shape[1] * scale)


def unchanged(lq: Float32Image) -> Float32Image:
    """Return the degraded image itself: what a denoising or deblocking network has to beat."""
    return lq


def evaluate(  # noqa: PLR0913  # one keyword for each option of `thinlens evaluate`
    run: Run,
    paths: Sequence[Path],
    *,
    colour: bool,
    scale: int | None = None,
    sigma: float | None = None,
    seed: int = 0,
    quality: int | None = None,
    studio_gray: bool = False,
    progress: Progress | None = None,
) -> Quality:
    """Measure a network on clean images; the degraded ones are made here. Give one of scale, sigma and quality.

    Args:
        run: the network. Luma: ``H W`` float32 in 0..1 -> ``scale*H scale*W``; colour: the same with ``3`` behind.
            With ``sigma`` its input leaves 0..1, as the noise is not clipped.
        paths: clean images, 8 bits, gray or RGB.
        colour: whether ``run`` takes RGB (gray files are repeated to RGB for it) or one plane: full-range gray, but
            8-bit studio-range Y for ``quality``, see `thinlens.bench.pairs`.
        scale: super-resolution by 2, 3, 4 or 8: MATLAB's antialiased bicubic on 8 bits; border ``scale``.
        sigma: denoising: white Gaussian noise, 0..255 in 8-bit units, neither clipped nor rounded; border 0.
        seed: of the noise, the same for each image.
        quality: deblocking: JPEG of quality 1..100; border 0.
        studio_gray: whether gray files are brought to studio range before they are encoded, as BBCU does.
        progress: called with images done and images in all, after each.

    Returns:
        The figures; arithmetic means over the images.

    Raises:
        ImageError: if there are no images, or one cannot be read or is not 8-bit gray or RGB.
        ShapeError: if not exactly one degradation is given or it is out of range, if an image is too small, or if
            ``run`` returns another size.
    """
    pairs = create_pairs(colour=colour, scale=scale, sigma=sigma, seed=seed, quality=quality, studio_gray=studio_gray)
    if not paths:
        raise ImageError("no images to evaluate on; give at least one")
    images = []
    for path in paths:
        images.append(_evaluate_image(run, Path(path), pairs))
        if progress:
            progress(len(images), len(paths))
    return Quality(
        count=len(images),
        psnr_y_db=_mean([image.psnr_y_db for image in images]),
        ssim_y=_mean([image.ssim_y for image in images]),
        psnr_rgb_db=_mean([image.psnr_rgb_db for image in images if image.psnr_rgb_db is not None]) if colour else None,
        protocol=pairs.protocol.to_dict() | pairs.record,
        images=images,
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _evaluate_image(run: Run, path: Path, pairs: Pairs) -> ImageQuality:
    clean = read_hq(path)
    _check_size(path, clean, pairs)
    hq, lq = pairs.make(clean)
    restored = from_float32(run(to_float32(lq)), np.uint8)
    if restored.shape != hq.shape:
        raise ShapeError(f"`{path}`: the network made {restored.shape} of {lq.shape}; {hq.shape} were expected")
    protocol, gray_file, rgb_db = pairs.protocol, clean.ndim == 2, None
    if pairs.colour:
        rgb_db = Protocol(channel="rgb", border=protocol.border, luma=None).psnr_db(restored, hq)
    if gray_file:
        restored, hq = as_gray(restored), as_gray(hq)
    return ImageQuality(
        name=path.name,
        psnr_y_db=protocol.psnr_db(restored, hq, gray_file=gray_file),
        ssim_y=protocol.ssim(restored, hq, gray_file=gray_file),
        psnr_rgb_db=rgb_db,
    )


def _check_size(path: Path, clean: ByteImage, pairs: Pairs) -> None:
    scale, border = pairs.scale, pairs.protocol.border
    if min(clean.shape[:2]) // scale * scale < WINDOW + 2 * border:
        raise ShapeError(
            f"`{path}`: {clean.shape[1]}x{clean.shape[0]} pixels; at least {-(-WINDOW // scale) * scale + 2 * border} "
            f"on each side are needed at scale {scale}; leave it out"
        )


def read_hq(path: Path) -> ByteImage:
    """Read a clean image; alpha is dropped where it hides nothing.

    Raises:
        UnfitImageError: if it has 16 bits or transparent pixels.
        ImageError: if it cannot be read.
    """
    pixels = read_image(path, max_pixels=MAX_PIXELS).pixels
    if pixels.dtype != np.uint8:
        raise UnfitImageError(
            f"`{path}`: 16 bits a sample; accepted 8, which all published figures are for; convert it first"
        )
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if (pixels[..., -1] != 255).any():
            raise UnfitImageError(f"`{path}`: has transparent pixels; accepted opaque gray and RGB; leave it out")
        return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    return pixels
