"""The closed set of operations: one record each.

A record holds everything about an operation that is known before any pixel moves: its fields, the shapes of its
tensors, how channels, sizes and rows of its output follow from its inputs, which channels must be cut together, and
what it costs. Its three bodies compute it: `thinlens.train.ops` (torch), `thinlens.runtime.reference` (NumPy) and the
native engine. Adding an operation: CONTRIBUTING.md.

Rows: to make output rows ``[start, stop)`` an op reads rows ``in_rows((start, stop), sizes)`` of each input, which may
lie outside the image; such rows are *padding*, made for the op's own input by its ``row_padding``.
"""

from typing import get_args

from thinlens.model.ops.border import BORDERS, NO_ROWS, Border, PadMode, Rows, border_index, image_rows
from thinlens.model.ops.conv import BinaryConv2d, Conv2d, ConvTranspose2d
from thinlens.model.ops.frame import Bands, Unbands, band_count
from thinlens.model.ops.memory import GATES, Align, LineMemory
from thinlens.model.ops.pixelwise import (
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
from thinlens.model.ops.record import MAX_CHANNELS, Channels, Op, Size, kind_of
from thinlens.model.ops.spatial import (
    Crop,
    GlobalMean,
    GlobalStd,
    MaxPool,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Resize,
)

AnyOp = (
    Conv2d
    | ConvTranspose2d
    | Affine
    | Relu
    | LeakyRelu
    | PRelu
    | Tanh
    | Sigmoid
    | Clamp
    | Add
    | Multiply
    | Concat
    | ChannelSlice
    | ChannelGather
    | ChannelMax
    | SoftmaxSum
    | PixelShuffle
    | PixelUnshuffle
    | MaxPool
    | Resize
    | Pad
    | Crop
    | GlobalMean
    | GlobalStd
    | Bands
    | Unbands
    | LineMemory
    | Quantize
    | Bfloat16
    | BinaryConv2d
)
OPS: tuple[type[Op], ...] = get_args(AnyOp)

__all__ = [
    "BORDERS",
    "GATES",
    "MAX_CHANNELS",
    "NO_ROWS",
    "OPS",
    "Add",
    "Affine",
    "Align",
    "AnyOp",
    "Bands",
    "Bfloat16",
    "BinaryConv2d",
    "Border",
    "ChannelGather",
    "ChannelMax",
    "ChannelSlice",
    "Channels",
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
    "Op",
    "PRelu",
    "Pad",
    "PadMode",
    "PixelShuffle",
    "PixelUnshuffle",
    "Quantize",
    "Relu",
    "Resize",
    "Rows",
    "Sigmoid",
    "Size",
    "SoftmaxSum",
    "Tanh",
    "Unbands",
    "band_count",
    "border_index",
    "image_rows",
    "kind_of",
]
