"""NumPy truth: every op slow and obvious. The specification of the native engine, and the fallback without it.

Values are ``C H W`` float32. A body gets input rows with all padding of rows already made (`rows.py`), and gives every
output row that they determine; padding of columns it makes itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import ChannelMax, ChannelSlice, Conv2d, Multiply, Op, PixelShuffle, SoftmaxSum
from thinlens.runtime.reference.conv import conv2d
from thinlens.runtime.reference.pixelwise import (
    channel_max,
    channel_slice,
    multiply,
    pixel_shuffle,
    softmax_sum,
)

Value = npt.NDArray[np.float32]
Body = Callable[[Any, tuple[Value, ...], Mapping[str, Value]], Value]

BODIES: dict[type[Op], Body] = {
    ChannelMax: channel_max,
    ChannelSlice: channel_slice,
    Conv2d: conv2d,
    Multiply: multiply,
    PixelShuffle: pixel_shuffle,
    SoftmaxSum: softmax_sum,
}
