"""Dual regression: what restores an image is trained together with a small map that brings the result back down.

For an image x, its clean one y, a network P and a dual map D:

    L = L_P(P(x), y) + weight * |D(P(x)) - x|

The second term closes a loop on the small side. Of all large images that are near y it prefers those that shrink to x,
which leaves less to choose from. There are two kinds of maps:

    steps   one for each factor of 2: ``dual1`` brings the network's own x2 image down to x1, ``dual2`` its x4 image to
            x2, and so on; the network must give those images (outputs ``scale2``, ``scale4``)
    whole   one, ``dual``, for the whole scale: any upscaler

A network that gives images of several scales (``scale1`` among them) is trained on all of them, each against the clean
image brought down that far by bicubic; their losses count the same.

The maps are linear but for one leaky ReLU and have no biases, so that they work on pixels of any range. They are stored
in the model file as plans of their own, share no tensor with the network, and are not run when an image is restored.

Source: Guo et al., Closed-loop Matters: Dual Regression Networks for Single Image Super-Resolution, CVPR 2020, section
3; Guo et al., Towards Lightweight Super-Resolution with Dual Regression Learning, 2022, section 3.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
import torch
from torch import nn

from thinlens.errors import RecipeError
from thinlens.model.dual import PREFIX, downward, is_dual, source_of, target_of
from thinlens.model.file import Tensors
from thinlens.model.outputs import is_image
from thinlens.model.plan import Plan
from thinlens.train.losses.pixel import l1
from thinlens.train.lower import lower
from thinlens.train.ops import Conv2d, LeakyRelu
from thinlens.train.thaw import thaw

SLOPE = 0.2
Maps = Literal["steps", "whole"]
Images = Mapping[int, torch.Tensor]  # scale over the input -> N C H W


class DualMap(nn.Module):
    """``N C fH fW`` -> ``N C H W``: a convolution of stride f, leaky ReLU, a 3x3 convolution; no biases.

    Args:
        channels: of the images.
        width: channels between the two; the papers' is the network's own width before its first step down.
        factor: f, at least 2. The first kernel has a side of 2 f - 1, the papers' 3 at f = 2, so that no pixel is
            passed over.
    """

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__()
        around = factor - 1
        self.shrink = Conv2d(
            in_channels=channels,
            out_channels=width,
            kernel=(2 * factor - 1, 2 * factor - 1),
            stride=factor,
            padding=(around, around),
            pad_mode="edge",
        )
        self.activation = LeakyRelu(slope=SLOPE)
        self.mix = Conv2d(in_channels=width, out_channels=channels, kernel=(3, 3), padding=(1, 1), pad_mode="edge")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The image, brought down."""
        return self.mix(self.activation(self.shrink(image)))  # type: ignore[no-any-return]


def outputs_of(network: nn.Module) -> tuple[str, ...]:
    """Names of what a network's forward gives, ``image`` first."""
    plan = getattr(network, "plan", None)
    if isinstance(plan, Plan):
        return tuple(plan.outputs)
    names: tuple[str, ...] = getattr(network, "outputs", ("image",))
    return names


def scale_of(output: str, scale: int) -> int | None:
    """Of an output's image over the input; None: it is no image."""
    if not is_image(output):
        return None
    return scale if output == "image" else int(output.removeprefix("scale"))


def create_maps(network: nn.Module, kind: Maps | None, scale: int, channels: int, width: int) -> dict[str, nn.Module]:
    """Fresh dual maps for a network (seed torch before).

    Args:
        network: an upscaler.
        kind: of the maps; None: steps where the network gives what they need, else one for the whole scale.
        scale: of the network, at least 2.
        channels: of the images.
        width: of the maps.

    Returns:
        Name -> map; ``dual``, or ``dual1`` to ``dualN``.

    Raises:
        RecipeError: if steps are asked for and the network does not give the images between.
    """
    count = scale.bit_length() - 1
    needed = {f"scale{2**step}" for step in range(1, count)}
    stepped = scale == 2**count and needed <= set(outputs_of(network))  # at scale 2 the two kinds are one
    if kind == "steps" and not stepped:
        raise RecipeError(
            f'`loop.dual_maps`: got "steps", but the network gives {", ".join(outputs_of(network))} at scale {scale}; '
            'accepted: a scale of 2, 4 or 8 and all images between (such as DRN); or use "whole"'
        )
    if kind == "whole" or not stepped or scale == 2:
        return {PREFIX: DualMap(channels, width, scale)}
    return {f"{PREFIX}{step}": DualMap(channels, width, 2) for step in range(1, count + 1)}


class DualRegression(nn.Module):
    """A network and its dual maps, trained as one.

    Args:
        network: an upscaler; gives an image or a dict of outputs, ``image`` first.
        maps: as `create_maps` names them, applied to the network's images.
        scale: of the network.
    """

    def __init__(self, network: nn.Module, maps: Mapping[str, nn.Module], scale: int) -> None:
        super().__init__()
        self.network, self.maps, self.scale = network, nn.ModuleDict(maps), scale
        self.outputs = outputs_of(network)

    def forward(self, lq: torch.Tensor, hq: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """All outputs of the network, what each map makes of its own by its name, and ``again``.

        Args:
            lq: ``N C H W``.
            hq: ``N C sH sW``, for the loop on the large side: brought down by the maps and restored it is ``again``;
                None: there is no such loop.
        """
        made = as_outputs(self.network(lq))
        images = images_of(made, self.scale)
        brought = {name: dual(images[source_of(name, self.scale)]) for name, dual in self.maps.items()}
        if hq is None:
            return made | brought
        return made | brought | {"again": as_outputs(self.network(self.down(hq)))["image"]}

    def down(self, image: torch.Tensor) -> torch.Tensor:
        """``N C sH sW`` -> ``N C H W``, through all maps."""
        for name in downward(self.maps):
            image = self.maps[name](image)
        return image


def as_outputs(made: torch.Tensor | dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a network's forward gives, by name."""
    return made if isinstance(made, dict) else {"image": made}


def images_of(made: Mapping[str, torch.Tensor], scale: int) -> dict[int, torch.Tensor]:
    """The network's images by their scale, that of the whole scale first."""
    return {size: image for name, image in made.items() if (size := scale_of(name, scale)) is not None}


def dual_loss(made: Mapping[str, torch.Tensor], images: Images) -> torch.Tensor:
    """Mean absolute error of all maps, and of the loop on the large side where there is one: a sum of means.

    Args:
        made: what `DualRegression` gives.
        images: the clean image by its scale: 1 is ``lq``; the largest is ``hq``.
    """
    terms = [l1(image, images[target_of(name)]) for name, image in made.items() if is_dual(name)]
    if "again" in made:
        terms.append(l1(made["again"], images[max(images)]))
    return torch.stack(terms).sum()


def lower_maps(maps: Iterable[tuple[str, nn.Module]], channels: int) -> tuple[dict[str, Plan], Tensors]:
    """Dual maps as plans by name, and their tensors, whose names begin with the plan's."""
    plans: dict[str, Plan] = {}
    tensors: Tensors = {}
    for name, module in maps:
        plan, own = lower(module, channels)
        nodes = (
            msgspec.structs.replace(node, tensors={role: f"{name}.{tensor}" for role, tensor in node.tensors.items()})
            for node in plan.nodes
        )
        plans[name] = msgspec.structs.replace(plan, nodes=tuple(nodes))
        tensors |= {f"{name}.{tensor}": array for tensor, array in own.items()}
    return plans, tensors


def thaw_maps(plans: Mapping[str, Plan], tensors: Tensors) -> dict[str, nn.Module]:
    """The dual maps that a model file holds, in order; empty if there are none."""
    return {name: thaw(plans[name], tensors) for name in reversed(downward(plans))}
