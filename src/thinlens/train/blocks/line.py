"""What stands between a LineDL network's encoder and decoder: modules that pass something on from band to band.

    ilcem   inter-line correlation extraction: a convolutional LSTM over bands, eight 3x3 convolutions in all; the four
            of the band itself stand before the memory, those of the hidden state in it
    ifm     integrated features: a 3x3 convolution of the band's own features and what was extracted
    itm     information transmission: both

And what the method is compared with: convolutions of as many weights (``plain``), and the features of the band before
added to the band's own (``naive``).

Source: LineDL, "Processing Images Line-by-Line With Deep Learning"; the inside of the modules is not in any text that
can be read, and reconstructed from the published sizes (docs/methods/line_dl.md).
"""

from typing import Literal

import torch
from torch import nn

from thinlens.model.ops import GATES, Align, PadMode
from thinlens.train.ops import Add, Concat, Conv2d, LineMemory, Relu

Transmission = Literal["itm", "plain", "naive"]
UNITS = 10  # 3x3 convolutions of one width that weigh as much as an information transmission module
FORGET_START = 1.0  # bias of the forget gate, where there are biases: what is known is kept until it is unlearned


def band_conv(channels: int, out: int, pad_mode: PadMode, *, bias: bool = False) -> Conv2d:
    """A 3x3 convolution that pads at the edges of the band: ``N channels H W`` -> ``N out H W``."""
    return Conv2d(in_channels=channels, out_channels=out, kernel=(3, 3), padding=(1, 1), pad_mode=pad_mode, bias=bias)


class Ilcem(nn.Module):
    """Inter-line correlation extraction.

    Args:
        channels: of the band's features and of the state.
        align: which row of the band before stands for which.
        pad_mode: of the convolutions of the band.
        bias: whether the gates have biases.
    """

    def __init__(self, channels: int, align: Align, pad_mode: PadMode, *, bias: bool) -> None:
        super().__init__()
        self.gates = nn.ModuleDict(
            {f"{gate}_gate": band_conv(channels, channels, pad_mode, bias=bias) for gate in GATES}
        )
        self.memory = LineMemory(channels=channels, align=align)
        if bias:
            nn.init.constant_(self.gates["forget_gate"].bias, FORGET_START)  # type: ignore[arg-type]

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Bands ``N n, C, rows, W`` and the ``N . . .`` that they are of -> what the memory gives, as the bands."""
        seen = [gate(features) for gate in self.gates.values()]
        return self.memory(*seen, image)  # type: ignore[no-any-return]


class Itm(nn.Module):
    """Information transmission: extraction, and integration with the band's own features.

    Args:
        channels: as for `Ilcem`.
        align: as for `Ilcem`.
        pad_mode: of all convolutions but those of the hidden state.
        bias: whether convolutions have biases.
        residual: whether the band's own features are added to the result.
    """

    def __init__(
        self, channels: int, align: Align, pad_mode: PadMode, *, bias: bool = False, residual: bool = True
    ) -> None:
        super().__init__()
        self.extract = Ilcem(channels, align, pad_mode, bias=bias)
        self.concat = Concat(count=2)
        self.integrate = band_conv(2 * channels, channels, pad_mode, bias=bias)
        self.activation = Relu()
        self.add = Add() if residual else None

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """As `Ilcem.forward`."""
        extracted = self.extract(features, image)
        made: torch.Tensor = self.activation(self.integrate(self.concat(features, extracted)))
        return made if self.add is None else self.add(made, features)


class Plain(nn.Module):
    """As many weights, and every band for itself: pairs of convolutions, with a skip around each pair.

    Without the skips twenty convolutions in a row do not begin to learn.
    """

    def __init__(self, channels: int, pad_mode: PadMode, *, bias: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(band_conv(channels, channels, pad_mode, bias=bias) for _ in range(UNITS))
        self.activation, self.add = Relu(), Add()

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """As `Ilcem.forward`; the image is not looked at."""
        convs = list(self.convs)
        for first, second in zip(convs[::2], convs[1::2], strict=True):
            features = self.add(features, second(self.activation(first(features))))
        return features


class Naive(nn.Module):
    """The features of the band before are added: ``y_n = x_n + y_{n-1}``."""

    def __init__(self, channels: int, align: Align) -> None:
        super().__init__()
        self.memory = LineMemory(channels=channels, cell="sum", align=align)

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """As `Ilcem.forward`."""
        return self.memory(features, image)  # type: ignore[no-any-return]


def truncate(network: nn.Module, bands: int | None) -> None:
    """Let gradients go back over at most so many bands; None: over all. What is computed stays the same."""
    for module in network.modules():
        if isinstance(module, LineMemory):
            module.truncate = bands
