"""Torch body of the memory between bands: a loop over the bands of all images of a batch at once."""

import torch
import torch.nn.functional as F
from torch import nn

from thinlens.model import ops
from thinlens.train.ops.module import OpModule


class LineMemory(OpModule):
    """A convolutional LSTM, or a plain sum, over the bands of an image; fields as in `thinlens.model.ops.LineMemory`.

    Attributes:
        truncate: bands after which gradients go no further back; None: they go back to the first. It is no part of the
            record: what is computed does not depend on it.
    """

    record = ops.LineMemory
    truncate: int | None = None

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """The gates, ``N n, C, rows, W`` each, bands of an image in order, and any ``N . . .`` -> as a gate."""
        images = values[-1].shape[0]
        gates = [gate.reshape(images, -1, *gate.shape[1:]) for gate in values[:-1]]
        hidden = torch.zeros_like(gates[0][:, 0])
        cell, made = hidden, []
        weight = torch.cat([self.get_parameter(role) for role in ops.GATES]) if self.op.cell == "lstm" else None
        for band in range(gates[0].shape[1]):
            if self.truncate and band % self.truncate == 0:
                hidden, cell = hidden.detach(), cell.detach()
            seen = [gate[:, band] for gate in gates]
            before = aligned(hidden, self.op.align)
            if weight is None:
                hidden = seen[0] + before
            else:
                hidden, cell = self._step(seen, before, aligned(cell, self.op.align), weight)
            made.append(hidden)
        return torch.stack(made, dim=1).flatten(0, 1)

    def _step(
        self, seen: list[torch.Tensor], hidden: torch.Tensor, cell: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One band of all images: hidden state and cell after it."""
        kh, kw = self.op.kernel
        recalled = F.conv2d(hidden, weight, padding=(kh // 2, kw // 2)).chunk(len(ops.GATES), dim=1)
        let_in, forget, let_out = (torch.sigmoid(x + h) for x, h in zip(seen[:3], recalled[:3], strict=True))
        cell = forget * cell + let_in * torch.tanh(seen[3] + recalled[3])
        return let_out * torch.tanh(cell), cell

    def reset_parameters(self) -> None:
        """As torch's own convolutions."""
        for parameter in self.parameters(recurse=False):
            bound = parameter[0].numel() ** -0.5
            nn.init.uniform_(parameter, -bound, bound)


def aligned(state: torch.Tensor, align: ops.Align) -> torch.Tensor:
    """Which row of the band before stands for which: ``N C rows W``."""
    if align == "flip":
        return state.flip(2)
    return state[:, :, -1:].expand_as(state) if align == "last" else state
