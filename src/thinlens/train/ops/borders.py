"""Padding in torch: any mode, any amount, any size."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from thinlens.model.ops import Border, PadMode, border_index

TORCH_PAD = {"zero": "constant", "edge": "replicate", "mirror": "reflect"}


def padded(x: torch.Tensor, sides: tuple[int, int, int, int], mode: PadMode) -> torch.Tensor:
    """Add pixels around ``N C H W``.

    Args:
        x: the images.
        sides: how many on top, at the bottom, on the left, on the right; each >= 0.
        mode: ``zero``, ``edge`` or ``mirror``.

    Returns:
        ``N, C, top + H + bottom, left + W + right``.
    """
    top, bottom, left, right = sides
    height, width = x.shape[2:]
    if not any(sides):
        return x
    if mode == "mirror" and (max(top, bottom) >= height or max(left, right) >= width):  # more than torch reflects
        return taken(taken(x, 2, np.arange(-top, height + bottom), mode), 3, np.arange(-left, width + right), mode)
    return F.pad(x, (left, right, top, bottom), mode=TORCH_PAD[mode])


def taken(x: torch.Tensor, axis: int, positions: npt.NDArray[np.int64], border: Border) -> torch.Tensor:
    """Pixels at positions on one axis, inside the image or outside, as `thinlens.model.ops.border_index` finds them."""
    index = torch.from_numpy(border_index(positions, x.shape[axis], border)).to(x.device)
    return x.index_select(axis, index)
