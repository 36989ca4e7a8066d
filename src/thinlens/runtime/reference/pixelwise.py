"""Reference of the ops that look at one pixel at a time.

All take the record, a tuple of ``C H W`` float32 arrays, and the op's tensors; they return ``C H W`` float32.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import ChannelMax, ChannelSlice, Multiply, PixelShuffle, PRelu, Sigmoid, SoftmaxSum, Tanh

Value = npt.NDArray[np.float32]
Tensors = Mapping[str, Value]


def pixel_shuffle(op: PixelShuffle, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``C s^2, H, W`` -> ``C, s H, s W``; channel ``g s^2 + i s + j`` holds pixels ``(s y + i, s x + j)`` of ``g``."""
    s = op.scale
    _, height, width = inputs[0].shape
    phases = inputs[0].reshape(-1, s, s, height, width)
    return phases.transpose(0, 3, 1, 4, 2).reshape(-1, s * height, s * width)


def channel_slice(op: ChannelSlice, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Channels ``[start, stop)``."""
    return inputs[0][op.start : op.stop]


def tanh(op: Tanh, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Hyperbolic tangent."""
    return np.asarray(np.tanh(inputs[0]))


def sigmoid(op: Sigmoid, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``1 / (1 + exp(-x))``, by way of tanh, which cannot overflow."""
    half = np.float32(0.5)
    return np.asarray(half + half * np.tanh(half * inputs[0]))


def prelu(op: PRelu, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``max(x, 0) + weight min(x, 0)``."""
    x, zero = inputs[0], np.float32(0)
    return np.maximum(x, zero) + tensors["weight"][:, None, None] * np.minimum(x, zero)


def multiply(op: Multiply, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Product of two arrays of one shape."""
    return inputs[0] * inputs[1]


def channel_max(op: ChannelMax, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """Largest channel: ``C H W`` -> ``1 H W``."""
    return np.asarray(inputs[0].max(axis=0, keepdims=True))


def softmax_sum(op: SoftmaxSum, inputs: tuple[Value, ...], tensors: Tensors) -> Value:
    """``sum_c values_c softmax_c(logits)``: twice ``C H W`` -> ``1 H W``. The largest logit is taken off first."""
    values, logits = inputs
    weights = np.exp(logits - logits.max(axis=0, keepdims=True))
    total = (values * weights).sum(axis=0, keepdims=True) / weights.sum(axis=0, keepdims=True)
    return np.asarray(total)
