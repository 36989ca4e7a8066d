"""The binary plan: what the native engine loads. Little-endian, every offset a multiple of 8.

    header 64 bytes | nodes, 32 bytes each | tensors, 16 bytes each | words, i32 | floats, f32

Value 0 is the raw input rows (``W`` x channels, interleaved); value ``i`` is what the ``i``-th node makes. A node's
inputs, parameters and tensor numbers stand in the pool of words; a float parameter as its bits.
"""

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

MAGIC, FORMAT, HEADER_BYTES = b"THINLENS", 1, 64
HEADER = struct.Struct("<8sIIQIIIIQIIII")
NODE = struct.Struct("<8I")
TENSOR = struct.Struct("<QQ")
TYPES = {"uint8": 0, "uint16": 1, "float32": 2}
PAD_MODES = {"zero": 0, "edge": 1, "mirror": 2}

Array = npt.NDArray[np.float32]
Number = int | float


class Kind(enum.IntEnum):
    """What a node does."""

    PIXELS_IN = 1
    PIXELS_OUT = 2
    CONV2D = 3
    CONV_TRANSPOSE2D = 4
    ACTIVATION = 5
    CLAMP = 6
    AFFINE = 7
    ADD = 8
    MULTIPLY = 9
    CONCAT = 10
    GATHER = 11
    CHANNEL_MAX = 12
    SOFTMAX_SUM = 13
    PIXEL_SHUFFLE = 14
    PIXEL_UNSHUFFLE = 15
    MAX_POOL = 16
    RESIZE = 17
    PAD = 18
    CROP = 19
    GLOBAL_MEAN = 20
    GLOBAL_STD = 21
    BANDS = 22
    UNBANDS = 23
    EDGE_SR = 24
    QUANTIZE = 25
    LOW_CONV2D = 26
    SIGN = 27
    BINARY_CONV2D = 28
    LINE_DELAY = 29
    LSTM_CELL = 30


class Precision(enum.IntEnum):
    """What a convolution in low precision takes, and what an op gives."""

    FLOATS = 0
    INT8 = 1
    BFLOAT16 = 2


class PixelsIn(enum.IntEnum):
    """How raw rows become values."""

    PLANES = 0  # each channel a float plane
    YCBCR = 1  # the first three channels, RGB, as Y, Cb and Cr
    LEVELS = 2  # 8-bit gray as integers, for a one-layer upscaler alone


class PixelsOut(enum.IntEnum):
    """How values become raw rows."""

    CLAMPED = 1  # each plane a channel, cut to 0..1
    YCBCR = 2  # Y, Cb and Cr as RGB
    LUMA = 3  # RGB as one luma


class Activation(enum.IntEnum):
    """An activation, alone or at the end of a convolution."""

    NONE = 0
    RELU = 1
    LEAKY_RELU = 2
    PRELU = 3
    TANH = 4
    SIGMOID = 5


class Family(enum.IntEnum):
    """Families of one-layer upscalers, by how their candidates compete; one more group of filters each."""

    MAX = 0
    TM = 1
    TR = 2


class Cell(enum.IntEnum):
    """What a node of a memory makes of its gates."""

    STATE = 0  # forget s + input candidate
    OUTPUT = 1  # output tanh(s)


ALIGNS = {"same": 0, "flip": 1, "last": 2}
RESIZE_MODES = {"nearest": 0, "bilinear": 1, "bicubic": 2}
BORDERS = {"edge": 0, "symmetric": 1}


@dataclass(frozen=True)
class Item:
    """One node of a binary plan.

    Args:
        kind: what it does.
        inputs: value numbers.
        params: integers, and floats where the kind wants floats.
        tensors: float32 arrays, flattened as they are stored.
        name: of the node in the plan that it stands for, for messages.
    """

    kind: Kind
    inputs: tuple[int, ...]
    params: tuple[Number, ...] = ()
    tensors: tuple[Array, ...] = ()
    name: str = ""


@dataclass
class Program:
    """A binary plan in the making.

    Args:
        channels: of a raw input row.
        dtype: of input and output: ``uint8``, ``uint16`` or ``float32``.
    """

    channels: int
    dtype: str
    items: list[Item] = field(default_factory=list)

    def add(
        self,
        kind: Kind,
        inputs: Sequence[int],
        params: Sequence[Number] = (),
        tensors: Sequence[Array] = (),
        name: str = "",
    ) -> int:
        """Append a node; return the number of its value."""
        self.items.append(Item(kind, tuple(inputs), tuple(params), tuple(tensors), name))
        return len(self.items)

    def to_bytes(self) -> bytes:
        """The bytes of the plan; its last node makes the output."""
        words: list[int] = []
        pool: dict[int, int] = {}  # an array's id -> its number: shared tensors are stored once
        arrays: list[Array] = []
        nodes = []
        for item in self.items:
            for array in item.tensors:
                if id(array) not in pool:
                    pool[id(array)] = len(arrays)
                    arrays.append(array)
            parts = item.inputs, [_word(p) for p in item.params], [pool[id(a)] for a in item.tensors]
            places = []
            for part in parts:
                places += [len(part), len(words)]
                words += part
            nodes.append(NODE.pack(item.kind, *places, 0))
        body = b"".join([*nodes, *_tensor_table(arrays), _padded("<i4", words), _padded("<f4", *arrays)])
        counts = len(nodes), len(words), len(arrays), self.channels, sum(a.size for a in arrays)
        kinds = TYPES[self.dtype], len(nodes), TYPES[self.dtype], 0
        return HEADER.pack(MAGIC, FORMAT, HEADER_BYTES, HEADER_BYTES + len(body), *counts, *kinds) + body


def _word(number: Number) -> int:
    """A parameter as a 32-bit word."""
    return number if isinstance(number, int) else int(struct.unpack("<i", struct.pack("<f", number))[0])


def _tensor_table(arrays: Sequence[Array]) -> list[bytes]:
    """Where each array begins in the pool of floats, and how long it is."""
    ends = np.cumsum([0, *(array.size for array in arrays)])
    return [TENSOR.pack(int(first), array.size) for first, array in zip(ends, arrays, strict=False)]


def _padded(dtype: str, *arrays: "npt.ArrayLike") -> bytes:
    """Numbers one after the other, filled up to a multiple of 8 bytes."""
    data = b"".join(np.ascontiguousarray(array, dtype).tobytes() for array in arrays)
    return data + b"\0" * (-len(data) % 8)
