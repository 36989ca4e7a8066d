"""How much each layer of a model can lose: filters silenced, one layer at a time, nothing retrained.

For each convolution the filters of the smallest norm are set to zero, with their biases, and the quality on a few
images is measured again. A layer that hardly costs anything is redundant; so RepRFN's authors found that spatial
attention can do without two of its three convolutions. Where a sum ties a layer's channels to another's, its filters
are silenced alone: that is a question to the layer, not yet a smaller network.

Source: Deng et al., Reparameterized Residual Feature Network, CVPRW 2023, section 3.2, which names the analysis; the
norm as importance: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017, section 3.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from thinlens.errors import ModelError
from thinlens.model.file import Model
from thinlens.model.graph import channel_ties
from thinlens.model.plan import Plan
from thinlens.model.value_range import to_unit_range
from thinlens.train.ops import Conv2d, ConvTranspose2d
from thinlens.train.thaw import PlanModule, thaw

RATIOS = (0.25, 0.5, 0.75)

Float = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


class Layer(msgspec.Struct, frozen=True):
    """What one convolution's filters are worth.

    Attributes:
        layer: name of its node.
        channels: filters it has.
        params: its weights and biases.
        loss_db: PSNR lost with each share of its filters silenced.
        rank: 1 for the layer that loses least with the middle share, the most redundant one.
    """

    layer: str
    channels: int
    params: int
    loss_db: tuple[float, ...]
    rank: int


class Sensitivity(msgspec.Struct, frozen=True):
    """The study of a model.

    Attributes:
        ratios: shares of the filters that were silenced.
        psnr_db: of the whole model, on all values of the images.
        layers: in the order in which they run; those that make the image itself are not among them.
    """

    ratios: tuple[float, ...]
    psnr_db: float
    layers: tuple[Layer, ...]


def measure_sensitivity(
    model: Model,
    pairs: Sequence[tuple[Float, Float]],
    *,
    ratios: Sequence[float] = RATIOS,
    progress: Progress = lambda done, total: None,
) -> Sensitivity:
    """Silence filters layer by layer and measure.

    Args:
        model: checked.
        pairs: lq ``H W`` or ``H W 3``, as the model's colours are, in 0..1, and hq, ``scale`` times larger.
        ratios: shares of filters to silence, each above 0 and below 1; at least one filter goes.
        progress: called with measurements done and in all.

    Raises:
        ModelError: if no layer's filters can be silenced.
    """
    model = to_unit_range(model)
    network, names = thaw(model.plan, model.tensors), _layers(model.plan)
    if not names:
        raise ModelError(f"`{model.card.name}`: no convolution but those that make the image; nothing to study")
    batches = [(_tensor(lq), _tensor(hq)) for lq, hq in pairs]
    whole = _psnr_db(network, batches)
    found: list[tuple[str, Conv2d | ConvTranspose2d, tuple[float, ...]]] = []
    for name in names:
        layer = _module(network, name)
        losses = []
        for ratio in ratios:
            with _silenced(layer, ratio):
                losses.append(whole - _psnr_db(network, batches))
            progress(len(found) * len(ratios) + len(losses), len(names) * len(ratios))
        found.append((name, layer, tuple(losses)))
    order = sorted(found, key=lambda entry: entry[2][len(ratios) // 2])
    layers = (
        Layer(
            layer=name,
            channels=layer.op.out_channels,
            params=sum(p.numel() for p in layer.parameters()),
            loss_db=tuple(round(loss, 5) for loss in losses),
            rank=1 + [entry[0] for entry in order].index(name),
        )
        for name, layer, losses in found
    )
    return Sensitivity(tuple(ratios), round(whole, 4), tuple(layers))


def _layers(plan: Plan) -> list[str]:
    """Convolutions, each once however often it is called, but for those whose channels are the image's."""
    fixed = {node for tie in channel_ties(plan) if tie.fixed for node, _ in tie.made}
    kinds = (Conv2d.record, ConvTranspose2d.record)
    convs = [node.name for node in plan.nodes if isinstance(node.op, kinds) and "#" not in node.name]
    return [name for name in convs if name not in fixed]


def _module(network: PlanModule, name: str) -> Conv2d | ConvTranspose2d:
    module: Conv2d | ConvTranspose2d = network.get_submodule(name.replace(".", "/"))  # type: ignore[assignment]
    return module


@contextmanager
def _silenced(layer: Conv2d | ConvTranspose2d, ratio: float) -> Iterator[None]:
    """The filters of the smallest norm at zero, biases too; as before afterwards."""
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    with torch.no_grad():
        filters = layer.weight if isinstance(layer, Conv2d) else layer.weight.transpose(0, 1)
        order = filters.flatten(1).norm(dim=1).argsort(stable=True)
        gone = order[: max(1, int(ratio * len(order)))]
        filters[gone] = 0
        if layer.op.bias:
            layer.bias[gone] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(layer.parameters(), before, strict=True):
                parameter.copy_(value)


def _tensor(image: Float) -> torch.Tensor:
    """``H W`` or ``H W C`` -> ``1 C H W``."""
    return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))[None]


@torch.inference_mode()
def _psnr_db(network: nn.Module, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Mean over the images, the result clipped to 0..1."""
    values = []
    for lq, hq in batches:
        result = network(lq)
        restored = result if isinstance(result, torch.Tensor) else result["image"]
        values.append(-10 * (restored.clamp(0, 1) - hq).square().mean().clamp_min(1e-12).log10())
    return float(torch.stack(values).mean())
