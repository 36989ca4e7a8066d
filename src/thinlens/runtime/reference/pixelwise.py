"""Reference of the ops that look at one pixel at a time.

All take the record, bands of ``C H W`` float32 rows, and the op's tensors; they return the asked rows of ``C H W``
float32. Sums over channels are taken in the order of the channels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import (
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
    Rows,
    Sigmoid,
    Size,
    SoftmaxSum,
    Tanh,
)
from thinlens.runtime.reference.borders import Band

Value = npt.NDArray[np.float32]
Tensors = Mapping[str, Value]


def pixelwise(
    body: Callable[[Any, tuple[Value, ...], Tensors], Value],
) -> Callable[[Any, tuple[Band, ...], Tensors, Rows, tuple[Size, ...]], Value]:
    """The body of an op whose output rows are made of the same rows, from one that knows only their values."""

    def whole(op: Any, inputs: tuple[Band, ...], tensors: Tensors, rows: Rows, sizes: tuple[Size, ...]) -> Value:
        return body(op, tuple(value for _, value in inputs), tensors)

    return whole


def affine(op: Affine, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``weight x + bias``, one of each a channel."""
    x = inputs[0]
    if op.weight:
        x = tensors["weight"][:, None, None] * x
    return x + tensors["bias"][:, None, None] if op.bias else x


def relu(op: Relu, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``max(x, 0)``."""
    return np.maximum(inputs[0], np.float32(0))


def leaky_relu(op: LeakyRelu, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``x`` where it is not negative, else ``slope x``."""
    x = inputs[0]
    return np.where(x >= 0, x, np.float32(op.slope) * x)


def prelu(op: PRelu, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``max(x, 0) + weight min(x, 0)``."""
    x, zero = inputs[0], np.float32(0)
    return np.maximum(x, zero) + tensors["weight"][:, None, None] * np.minimum(x, zero)


def tanh(op: Tanh, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Hyperbolic tangent."""
    return np.asarray(np.tanh(inputs[0]))


def sigmoid(op: Sigmoid, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``1 / (1 + exp(-x))``."""
    return logistic(inputs[0])


def logistic(x: Value) -> Value:
    """``1 / (1 + exp(-x))``, by way of tanh, which cannot overflow."""
    half = np.float32(0.5)
    return np.asarray(half + half * np.tanh(half * x))


def quantize(op: Quantize, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``min(max(round(x / scale), -zero), 255 - zero)``; the quotient is a product with the rounded reciprocal."""
    steps: Value = np.rint(inputs[0] * (np.float32(1) / np.float32(op.scale)))
    return np.clip(steps, np.float32(-op.zero), np.float32(255 - op.zero))


def bfloat16(op: Bfloat16, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """The upper half of each float, to nearest, ties to even."""
    bits = np.ascontiguousarray(inputs[0]).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def clamp(op: Clamp, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``min(max(x, low), high)``."""
    return np.minimum(np.maximum(inputs[0], np.float32(op.low)), np.float32(op.high))


def add(op: Add, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``a x + b y``; an input of one channel is repeated over channels, one of size 1x1 over space."""
    return np.float32(op.a) * inputs[0] + np.float32(op.b) * inputs[1]


def multiply(op: Multiply, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Product; inputs are repeated as in `add`."""
    return inputs[0] * inputs[1]


def concat(op: Concat, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """The channels of all inputs, in order."""
    return np.concatenate(inputs)


def channel_slice(op: ChannelSlice, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Channels ``[start, stop)``."""
    return inputs[0][op.start : op.stop]


def channel_gather(op: ChannelGather, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Channels ``op.channels``, in that order."""
    return inputs[0][list(op.channels)]


def channel_max(op: ChannelMax, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Largest channel: ``C H W`` -> ``1 H W``."""
    return np.asarray(inputs[0].max(axis=0, keepdims=True))


def softmax_sum(op: SoftmaxSum, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``sum_c values_c softmax_c(logits)``: twice ``C H W`` -> ``1 H W``. The largest logit is taken off first."""
    values, logits = inputs
    weights = np.exp(logits - logits.max(axis=0, keepdims=True))
    return _sum(values * weights) / _sum(weights)


def _sum(x: Value) -> Value:
    """Sum over channels, one after the other: ``C H W`` -> ``1 H W``."""
    total = x[:1].copy()
    for channel in x[1:]:
        total += channel
    return total
