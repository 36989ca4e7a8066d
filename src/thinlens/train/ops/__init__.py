"""Torch bodies of the ops: one small module each, built from its record, with the record's tensors as parameters.

Networks are built from these modules (and from blocks that fuse into them), so that `lower` and `thaw` need no rule
of their own for any op.
"""

from thinlens.model.ops import Op
from thinlens.train.ops.conv import Conv2d, ConvTranspose2d
from thinlens.train.ops.module import OpModule
from thinlens.train.ops.pixelwise import (
    ChannelMax,
    ChannelSlice,
    Multiply,
    PixelShuffle,
    PRelu,
    Sigmoid,
    SoftmaxSum,
    Tanh,
)

BODIES: dict[type[Op], type[OpModule]] = {
    body.record: body
    for body in (
        ChannelMax,
        ChannelSlice,
        Conv2d,
        ConvTranspose2d,
        Multiply,
        PRelu,
        PixelShuffle,
        Sigmoid,
        SoftmaxSum,
        Tanh,
    )
}

__all__ = [
    "BODIES",
    "ChannelMax",
    "ChannelSlice",
    "Conv2d",
    "ConvTranspose2d",
    "Multiply",
    "OpModule",
    "PRelu",
    "PixelShuffle",
    "Sigmoid",
    "SoftmaxSum",
    "Tanh",
]
