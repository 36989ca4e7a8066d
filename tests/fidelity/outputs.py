"""What an upscaler wrote: samples as they are, read by libvips; what the file says about them, read by Pillow."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from PIL import Image

from tests.fidelity.inputs import ARTIST, EXIF_BLOCK, MAKE, ORIENTATION, STORED, TAKEN_AT

TURNS = STORED | {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}


@dataclass(frozen=True)
class Output:
    """A picture as a viewer would show it.

    Attributes:
        format: of the file, told by its content.
        colour: ``H W`` or ``H W 3`` in 0..1, turned as the file's EXIF orientation says.
        alpha: ``H W`` in 0..1 or None.
        deep: whether it stores 16 bits a sample and uses them.
        icc: its colour profile.
        exif: values of the tags that the inputs have.
        orientation: what its EXIF block says, 1 if nothing.
        text: what it is, in words.
    """

    format: str
    colour: np.ndarray
    alpha: np.ndarray | None
    deep: bool
    icc: bytes | None
    exif: dict[int, object]
    orientation: int
    text: str


def read_output(path: Path) -> Output:
    """Read a file; raises pyvips.Error or OSError if it is none."""
    image = pyvips.Image.new_from_file(str(path))
    format = image.get("vips-loader").removesuffix("load")
    cmyk = image.interpretation == "cmyk"
    image = image.colourspace("srgb") if cmyk else image
    samples = image.numpy().reshape(image.height, image.width, image.bands)
    white = 65535 if samples.dtype == np.uint16 else 255
    orientation, exif = _read_exif(path)
    samples = _turned(samples, orientation) / white
    colour = samples[..., 0] if image.bands < 3 else samples[..., :3]
    alpha = samples[..., -1] if image.bands in (2, 4) else None
    deep = white == 65535 and bool(np.rint(samples * white % 257).any())
    names = {1: "gray", 2: "gray + alpha", 3: "CMYK" if cmyk else "RGB", 4: "RGBA"}
    shape = f"{image.width}x{image.height}"
    text = f"{names.get(image.bands, image.bands)}, {white.bit_length()} bits, {shape}"
    icc = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    text += ", ICC" * bool(icc) + ", EXIF" * bool(exif) + f", orientation {orientation}" * (orientation != 1)
    return Output(format, colour, alpha, deep, icc, exif, orientation, text)


def _read_exif(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a rival's odd tags are its own business
        with Image.open(path) as image:
            exif = image.getexif()
            found = {tag: exif[tag] for tag in (ARTIST, MAKE) if tag in exif}
            taken = exif.get_ifd(EXIF_BLOCK).get(TAKEN_AT)
            orientation = exif.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1, found | ({TAKEN_AT: taken} if taken else {})


def _turned(samples, orientation):
    if orientation == 1:
        return samples
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(samples, -1, 0)]
    return np.stack([np.asarray(plane.transpose(TURNS[orientation])) for plane in planes], axis=-1)
