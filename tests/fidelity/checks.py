"""What must be true of an upscaled file. Each check returns "" if it is, else what is wrong in a few words."""

import numpy as np
from PIL import Image

from tests.fidelity.inputs import TAGS, TAKEN, TAKEN_AT, Case
from tests.fidelity.outputs import Output

# An upscaler may sharpen; one that mixes channels up, inverts or shifts by a pixel is off by more.
COLOUR_LIMIT, MEAN_LIMIT = 12 / 255, 3 / 255
ALPHA_LIMIT = 16 / 255
FRINGE_LIMIT, DARK_LIMIT = 20 / 255, 6 / 255
EDGE = (16 / 255, 240 / 255)
FLAT = 3  # pixels around, more than bicubic reaches


def applicable(case: Case) -> dict:
    """Name the checks that make sense for a case, in the order of the table."""
    checks = {"size": size, "mode": mode, "depth": depth}
    if case.alpha is not None:
        checks |= {"alpha": alpha, "fringe": fringe}
    else:
        checks["colour" if case.orientation == 1 else "upright"] = colour
    if case.icc:
        checks["ICC"] = icc
    if case.exif:
        checks["EXIF"] = exif
    return checks


def size(case: Case, output: Output, scale: int) -> str:
    """The picture as shown is exactly ``scale`` times as high and wide."""
    height, width = (side * scale for side in case.colours[0].shape[:2])
    found = output.colour.shape[:2]
    return "" if found == (height, width) else f"{found[1]}x{found[0]}, not {width}x{height}"


def mode(case: Case, output: Output, scale: int) -> str:
    """Same file format; gray stays gray, colour stays colour, alpha stays and is not made up."""
    if output.format != case.format:
        return f"a {output.format} file"
    if (output.colour.ndim == 2) != (case.colours[0].ndim == 2):
        return "gray became colour" if output.colour.ndim == 3 else "colour became gray"
    if (output.alpha is None) != (case.alpha is None):
        return "alpha lost" if output.alpha is None else "alpha made up"
    return ""


def depth(case: Case, output: Output, scale: int) -> str:
    """16 bits stay 16 bits that are used, 8 stay 8."""
    if output.deep == case.deep:
        return ""
    return "16 bits became 8" if case.deep else "8 bits became 16"


def colour(case: Case, output: Output, scale: int) -> str:
    """The picture as shown is near bicubic of the truth, and no channel drifts."""
    if size(case, output, scale):
        return "not comparable"
    found = as_rgb(output.colour)
    errors = [found - enlarged(as_rgb(truth), scale) for truth in case.colours]
    error = min(errors, key=lambda e: np.sqrt(np.mean(e**2)))
    off, drift = np.sqrt(np.mean(error**2)), np.abs(error.mean(axis=(0, 1))).max()
    if off <= COLOUR_LIMIT and drift <= MEAN_LIMIT:
        return ""
    return f"off by {off * 255:.0f} of 255, in the mean by {drift * 255:.0f}"


def alpha(case: Case, output: Output, scale: int) -> str:
    """Near bicubic, and exactly 0 or full wherever the input is, some pixels from any border."""
    if output.alpha is None or size(case, output, scale):
        return "no alpha" if output.alpha is None else "not comparable"
    off = np.sqrt(np.mean((output.alpha - enlarged(case.alpha, scale).clip(0, 1)) ** 2))
    if off > ALPHA_LIMIT:
        return f"off by {off * 255:.0f} of 255"
    for value in (0.0, 1.0):
        inside = np.kron(eroded(case.alpha == value), np.ones((scale, scale), bool))
        if (output.alpha[inside] != value).any():
            return f"not exactly {value * 255:.0f} where the input is"
    return ""


def fringe(case: Case, output: Output, scale: int) -> str:
    """Half-transparent borders have the colour of what is visible, not of what is hidden."""
    if output.alpha is None or size(case, output, scale):
        return "no alpha" if output.alpha is None else "not comparable"
    border = (output.alpha >= EDGE[0]) & (output.alpha <= EDGE[1])
    if not border.any():
        return "no soft border left"
    error = (as_rgb(output.colour) - enlarged(as_rgb(case.colours[0]), scale))[border]
    off, darker = np.sqrt(np.mean(error**2)), -error.mean()
    return (
        "" if off <= FRINGE_LIMIT and darker <= DARK_LIMIT else f"off by {off * 255:.0f}, darker by {darker * 255:.0f}"
    )


def icc(case: Case, output: Output, scale: int) -> str:
    """The colour profile is the input's, byte for byte."""
    if output.icc == case.icc:
        return ""
    return "lost" if output.icc is None else "another"


def exif(case: Case, output: Output, scale: int) -> str:
    """All tags are kept, of the nested block too."""
    lost = [f"{tag:#06x}" for tag, value in (TAGS | {TAKEN_AT: TAKEN}).items() if output.exif.get(tag) != value]
    return f"lost {', '.join(lost)}" if lost else ""


def as_rgb(picture):
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def enlarged(picture, scale):
    """Bicubic by Pillow, of planes of 32-bit floats."""
    planes = picture[..., None] if picture.ndim == 2 else picture
    side = (planes.shape[1] * scale, planes.shape[0] * scale)
    images = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(planes, -1, 0)]
    result = np.stack([np.asarray(image.resize(side, Image.Resampling.BICUBIC)) for image in images], axis=-1)
    return result[..., 0] if picture.ndim == 2 else result


def eroded(mask):
    """True where all pixels ``FLAT`` around are; outside the image counts as its nearest pixel."""
    padded, result = np.pad(mask, FLAT, mode="edge"), np.ones_like(mask)
    for dy in range(2 * FLAT + 1):
        for dx in range(2 * FLAT + 1):
            result &= padded[dy : dy + mask.shape[0], dx : dx + mask.shape[1]]
    return result
