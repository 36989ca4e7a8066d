"""Folders of clean images: which files belong to a training, in a fixed order, and their pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import RecipeError
from thinlens.image.colour import from_float32, to_float32
from thinlens.image.files import read_image
from thinlens.model.card import DataSource
from thinlens.train.datasets.terms import terms_of

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".pgm"})
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class ImageFolder:
    """One folder's own images.

    Args:
        name: the folder relative to the data root, with ``/`` between its parts.
        files: its images, by name.
    """

    name: str
    files: tuple[Path, ...]

    def source(self) -> DataSource:
        """The line that a card holds about this folder."""
        return DataSource(name=self.name, images=len(self.files), licence=terms_of(self.name).licence)


def find_images(root: Path, folders: tuple[str, ...], *, permissive: bool = False) -> list[ImageFolder]:
    """Find the images of a training, subfolders included.

    Args:
        root: the data root.
        folders: relative to ``root``.
        permissive: accept only folders whose terms let the weights be used in products.

    Returns:
        One entry a folder that holds images, in alphabetical order, so that the order is the same everywhere.

    Raises:
        RecipeError: if a folder is missing or holds no image, or its terms are not permissive.
    """
    found: dict[str, ImageFolder] = {}
    for folder in folders:
        inside = sorted(p for p in (root / folder).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise RecipeError(f"data: no images in `{root / folder}`; accepted: {', '.join(sorted(SUFFIXES))} files")
        for parent in sorted({p.parent for p in inside}):
            name = parent.relative_to(root).as_posix()
            found[name] = ImageFolder(name, tuple(p for p in inside if p.parent == parent))
    if permissive:
        _check_terms(found)
    return [found[name] for name in sorted(found)]


def _check_terms(folders: dict[str, ImageFolder]) -> None:
    refused = [name for name in sorted(folders) if not terms_of(name).permissive]
    if refused:
        name = refused[0]
        raise RecipeError(
            f'data.train: `{name}` has the terms "{terms_of(name).licence}"; accepted with `terms = "permissive"`: '
            'folders that thinlens.train.datasets.terms lists as such; use `terms = "any"` to train on it'
        )


def read_clean(path: Path) -> npt.NDArray[np.uint8]:
    """Read a clean image as 8-bit gray or RGB; alpha is dropped.

    Args:
        path: an image file of at most 100 million pixels.

    Returns:
        ``H W`` or ``H W 3`` uint8.

    Raises:
        ImageError: if the file is damaged, too large, or no image.
    """
    pixels: npt.NDArray[Any] = read_image(path, max_pixels=MAX_PIXELS).pixels
    if pixels.dtype != np.uint8:
        pixels = from_float32(to_float32(pixels), np.uint8)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    return np.ascontiguousarray(pixels)
