"""NumPy truth: every op slow and obvious. The specification of the native engine, and the fallback without it.

Values are ``C H W`` float32. A body gets input rows with all padding of rows already made (`rows.py`), and gives every
output row that they determine; padding of columns it makes itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import (
    ChannelMax,
    ChannelSlice,
    Conv2d,
    ConvTranspose2d,
    Multiply,
    Op,
    PixelShuffle,
    PRelu,
    Sigmoid,
    SoftmaxSum,
    Tanh,
)
from thinlens.runtime.reference import pixelwise
from thinlens.runtime.reference.conv import conv2d, conv_transpose2d

Value = npt.NDArray[np.float32]
Body = Callable[[Any, tuple[Value, ...], Mapping[str, Value]], Value]

BODIES: dict[type[Op], Body] = {
    ChannelMax: pixelwise.channel_max,
    ChannelSlice: pixelwise.channel_slice,
    Conv2d: conv2d,
    ConvTranspose2d: conv_transpose2d,
    Multiply: pixelwise.multiply,
    PRelu: pixelwise.prelu,
    PixelShuffle: pixelwise.pixel_shuffle,
    Sigmoid: pixelwise.sigmoid,
    SoftmaxSum: pixelwise.softmax_sum,
    Tanh: pixelwise.tanh,
}
