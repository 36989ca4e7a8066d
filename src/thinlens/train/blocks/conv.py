"""The convolution that most networks repeat."""

from thinlens.model.ops import PadMode
from thinlens.train.ops import Conv2d

SLOPE = 0.05  # of every leaky ReLU in IDN, IMDN, RFDN, RFN and RepRFN


def same_conv(channels: int, out: int, kernel: int, pad_mode: PadMode, *, groups: int = 1) -> Conv2d:
    """A convolution with bias that keeps the size: ``N channels H W`` -> ``N out H W``.

    Args:
        channels: of the input.
        out: channels of the output.
        kernel: odd side of the kernel.
        pad_mode: how the ``kernel // 2`` pixels around the input are made.
        groups: as in `thinlens.model.ops.Conv2d`.
    """
    size = {"kernel": (kernel, kernel), "padding": (kernel // 2, kernel // 2)}
    return Conv2d(in_channels=channels, out_channels=out, pad_mode=pad_mode, groups=groups, bias=True, **size)
