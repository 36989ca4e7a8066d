"""What exactly was measured: a PSNR without its protocol is off by up to 1.3 dB from the next paper's."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError
from thinlens.image.colour import studio_luma
from thinlens.metrics.psnr import psnr_db
from thinlens.metrics.ssim import ssim

AnyImage = npt.NDArray[Any]

LUMA_TEXTS = {
    "rgb2ycbcr": "studio-range Y of RGB (MATLAB's rgb2ycbcr, unrounded)",
    "gray": "8-bit gray (Pillow's L) mapped to studio range by 16 + 219/255 g",
    "full": "8-bit gray (Pillow's L) on its own values",
    "studio": "8-bit studio-range Y of RGB (MATLAB's rgb2ycbcr, rounded) on its own values",
}
OWN_VALUES = ("full", "studio")


@dataclass(frozen=True)
class Protocol:
    """How a figure was measured; stored beside it.

    Files that are gray themselves are measured on their own values whatever ``luma`` says.

    Attributes:
        channel: ``y`` or ``rgb``.
        border: pixels cut from each side before measuring.
        rounded: whether the restored image was clamped and rounded to 8 bits before measuring.
        luma: where Y comes from, a key of ``LUMA_TEXTS``; None for ``rgb``.
        peak: the value of white.
    """

    channel: Literal["y", "rgb"]
    border: int
    rounded: bool = True
    luma: Literal["rgb2ycbcr", "gray", "full", "studio"] | None = "rgb2ycbcr"
    peak: float = 255.0

    def describe(self) -> str:
        """Say in one line what is measured."""
        channel = LUMA_TEXTS[self.luma] if self.channel == "y" and self.luma else "all RGB values"
        rounded = "rounded to 8 bits" if self.rounded else "not rounded"
        return f"{channel}, gray files on their own values; {rounded}; border {self.border} cut; peak {self.peak:g}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, and the description as ``text``, ready for JSON."""
        return {**asdict(self), "text": self.describe()}

    def psnr_db(self, restored: AnyImage, hq: AnyImage, *, gray_file: bool = False) -> float:
        """Measure the PSNR in dB.

        Args:
            restored: ``H W`` gray or ``H W 3`` RGB in 0..255, already rounded if the protocol says so.
            hq: the truth, same shape.
            gray_file: whether the file was gray itself.

        Raises:
            ShapeError: if the shapes differ or nothing is left inside the border.
        """
        return psnr_db(self._measured(restored, gray_file), self._measured(hq, gray_file), peak=self.peak)

    def ssim(self, restored: AnyImage, hq: AnyImage, *, gray_file: bool = False) -> float:
        """Measure the SSIM of Y: arguments and errors as ``psnr_db``, and 11x11 pixels must be left."""
        return ssim(self._measured(restored, gray_file), self._measured(hq, gray_file), peak=self.peak)

    def _measured(self, image: AnyImage, gray_file: bool) -> npt.NDArray[np.float64]:
        height, width = image.shape[:2]
        if min(height, width) <= 2 * self.border:
            raise ShapeError(
                f"{width}x{height} pixels leave nothing inside a border of {self.border}; use a larger image"
            )
        inside = image[self.border : height - self.border, self.border : width - self.border]
        if image.ndim == 2:
            own = inside.astype(np.float64)
            as_is = gray_file or self.channel == "rgb" or self.luma in OWN_VALUES
            return own if as_is else own * (219.0 / 255.0) + 16.0
        return studio_luma(inside) if self.channel == "y" else inside.astype(np.float64)
