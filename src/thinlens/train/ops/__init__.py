"""Torch bodies of the ops: one small module each, built from its record, with the record's tensors as parameters.

Networks are built from these modules (and from blocks that fuse into them), so that `lower` and `thaw` need no rule
of their own for any op.
"""

from thinlens.model.ops import Op
from thinlens.train.ops.binary_conv import BinaryConv2d
from thinlens.train.ops.conv import (
    Conv2d,
    ConvTranspose2d,
)
from thinlens.train.ops.frame import (
    Bands,
    Unbands,
)
from thinlens.train.ops.line_memory import LineMemory
from thinlens.train.ops.module import OpModule
from thinlens.train.ops.pixelwise import (
    Add,
    Affine,
    Bfloat16,
    ChannelGather,
    ChannelMax,
    ChannelSlice,
    Clamp,
    Concat,
    LeakyRelu,
    Multiply,
    PRelu,
    Quantize,
    Relu,
    Sigmoid,
    SoftmaxSum,
    Tanh,
)
from thinlens.train.ops.spatial import (
    Crop,
    GlobalMean,
    GlobalStd,
    MaxPool,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Resize,
)

BODIES: dict[type[Op], type[OpModule]] = {
    body.record: body
    for body in (
        Add,
        Affine,
        Bands,
        Bfloat16,
        BinaryConv2d,
        ChannelGather,
        ChannelMax,
        ChannelSlice,
        Clamp,
        Concat,
        Conv2d,
        ConvTranspose2d,
        Crop,
        GlobalMean,
        GlobalStd,
        LeakyRelu,
        LineMemory,
        MaxPool,
        Multiply,
        PRelu,
        Pad,
        PixelShuffle,
        PixelUnshuffle,
        Quantize,
        Relu,
        Resize,
        Sigmoid,
        SoftmaxSum,
        Tanh,
        Unbands,
    )
}

__all__ = [
    "BODIES",
    "Add",
    "Affine",
    "Bands",
    "Bfloat16",
    "BinaryConv2d",
    "ChannelGather",
    "ChannelMax",
    "ChannelSlice",
    "Clamp",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Crop",
    "GlobalMean",
    "GlobalStd",
    "LeakyRelu",
    "LineMemory",
    "MaxPool",
    "Multiply",
    "OpModule",
    "PRelu",
    "Pad",
    "PixelShuffle",
    "PixelUnshuffle",
    "Quantize",
    "Relu",
    "Resize",
    "Sigmoid",
    "SoftmaxSum",
    "Tanh",
    "Unbands",
]
