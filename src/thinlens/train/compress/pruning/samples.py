"""What CP and ThiNet look at: at random places of what a layer makes, the share of each channel, and what it should be.

Inputs are those of the network pruned so far, targets those of the network before pruning, so that a layer makes up for
what earlier ones lost.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from thinlens.errors import CompressionError
from thinlens.model import ops
from thinlens.train.compress.pruning.layer import Layer, Reader, as_numpy
from thinlens.train.ops.borders import padded
from thinlens.train.thaw import values_of

PER_IMAGE = 10

Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Of one reader.

    Args:
        shares: (units, samples, out), what each unit adds to the result.
        target: (samples, out), what all of them should add up to: the layer's result before pruning, less what its
            bias and the channels of other groups add.
        patches: (samples, units' channels * kh * kw), what the result is made of, unit after unit; None of a transposed
            convolution, which has no one patch a pixel.
    """

    shares: Double
    target: Double
    patches: Double | None


@torch.no_grad()
def draw_samples(layer: Layer, seed: int) -> list[Samples]:
    """Draw `PER_IMAGE` places of each image for each reader.

    Raises:
        CompressionError: if a reader is no convolution on floats.
    """
    for reader in layer.readers:
        if not reader.dense:
            raise CompressionError(
                f"`{reader.node.name}`: reads channels, and its weights are not free to be refitted; accepted: "
                "convolutions on floats; use `dcp` or `uniform`"
            )
    found: list[list[Samples]] = [[] for _ in layer.readers]
    for index, batch in enumerate(layer.objective.batches):
        values = values_of(layer.module, batch.lq)
        for at, reader in enumerate(layer.readers):
            name = reader.node.name
            rng = np.random.default_rng([seed, index, at])
            places = _places(values[name].shape, rng)
            target = layer.targets[index][name]
            found[at].append(_sampled(reader, values[reader.node.inputs[0]], values[name], target, places))
    return [_joined(parts) for parts in found]


def _places(shape: torch.Size, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and pixel of each sample."""
    images, pixels = shape[0], shape[2] * shape[3]
    chosen = rng.integers(pixels, size=images * PER_IMAGE)
    return torch.arange(images).repeat_interleave(PER_IMAGE), torch.from_numpy(chosen)


def _sampled(
    reader: Reader, x: torch.Tensor, made: torch.Tensor, target: torch.Tensor, places: tuple[torch.Tensor, torch.Tensor]
) -> Samples:
    def at(value: torch.Tensor) -> Double:
        return as_numpy(value.flatten(2)[places[0], :, places[1]])

    shares = np.stack([at(_share(reader, x, unit)) for unit in range(len(reader.channels))])
    patches = None
    if isinstance(reader.node.op, ops.Conv2d):
        patches = at(_unfolded(reader.node.op, x[:, [c for channels in reader.channels for c in channels]]))
    return Samples(shares, at(target) - at(made) + shares.sum(axis=0), patches)


def _share(reader: Reader, x: torch.Tensor, unit: int) -> torch.Tensor:
    """What one unit adds to the reader's result, without the bias."""
    channels, body = reader.channels[unit], reader.body
    if not channels:
        return body(torch.zeros_like(x)) * 0  # type: ignore[no-any-return]
    op = reader.node.op.with_fields(in_channels=len(channels), bias=False)
    part = type(body).of(op)  # type: ignore[attr-defined]
    part.weight.copy_(reader.weights[0].movedim(reader.axis, 0)[channels].movedim(0, reader.axis))
    return part(x[:, channels])  # type: ignore[no-any-return]


def _unfolded(op: ops.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Patches, ``N (C kh kw) H W``."""
    y, side = op.padding
    return F.unfold(padded(x, (y, y, side, side), op.pad_mode), op.kernel, stride=op.stride)


def _joined(parts: list[Samples]) -> Samples:
    patches = [part.patches for part in parts if part.patches is not None]
    return Samples(
        np.concatenate([part.shares for part in parts], axis=1),
        np.concatenate([part.target for part in parts]),
        np.concatenate(patches) if patches else None,
    )
