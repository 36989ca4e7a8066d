"""NumPy truth: every op slow and obvious. The specification of the native engine, and the fallback without it.

Values are ``C H W`` float32. A body gets, of each input, the rows that lie behind the asked rows and inside the image
(`thinlens.model.graph.iter_pieces`), makes whatever padding it needs, and returns exactly the asked rows.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.model import ops
from thinlens.model.ops import Op, Rows, Size
from thinlens.runtime.reference import pixelwise, spatial
from thinlens.runtime.reference.borders import Band
from thinlens.runtime.reference.conv import binary_conv2d, conv2d, conv_transpose2d
from thinlens.runtime.reference.memory import line_memory
from thinlens.runtime.reference.pixelwise import pixelwise as each_pixel

Value = npt.NDArray[np.float32]
Body = Callable[[Any, tuple[Band, ...], Mapping[str, Value], Rows, tuple[Size, ...]], Value]

BODIES: dict[type[Op], Body] = {
    ops.Add: each_pixel(pixelwise.add),
    ops.Affine: each_pixel(pixelwise.affine),
    ops.Bands: spatial.bands,
    ops.Bfloat16: each_pixel(pixelwise.bfloat16),
    ops.BinaryConv2d: binary_conv2d,
    ops.ChannelGather: each_pixel(pixelwise.channel_gather),
    ops.ChannelMax: each_pixel(pixelwise.channel_max),
    ops.ChannelSlice: each_pixel(pixelwise.channel_slice),
    ops.Clamp: each_pixel(pixelwise.clamp),
    ops.Concat: each_pixel(pixelwise.concat),
    ops.Conv2d: conv2d,
    ops.ConvTranspose2d: conv_transpose2d,
    ops.Crop: spatial.crop,
    ops.GlobalMean: spatial.global_mean,
    ops.GlobalStd: spatial.global_std,
    ops.LeakyRelu: each_pixel(pixelwise.leaky_relu),
    ops.LineMemory: line_memory,
    ops.MaxPool: spatial.max_pool,
    ops.Multiply: each_pixel(pixelwise.multiply),
    ops.PRelu: each_pixel(pixelwise.prelu),
    ops.Pad: spatial.pad,
    ops.PixelShuffle: spatial.pixel_shuffle,
    ops.PixelUnshuffle: spatial.pixel_unshuffle,
    ops.Quantize: each_pixel(pixelwise.quantize),
    ops.Relu: each_pixel(pixelwise.relu),
    ops.Resize: spatial.resize,
    ops.Sigmoid: each_pixel(pixelwise.sigmoid),
    ops.SoftmaxSum: each_pixel(pixelwise.softmax_sum),
    ops.Tanh: each_pixel(pixelwise.tanh),
    ops.Unbands: spatial.unbands,
}
