"""The plain trainer: any network, end to end on random crops, by what a recipe's loop asks for.

network -> (dual maps beside it) -> fit -> plans: ``main``, and one for each dual map
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from thinlens.errors import RecipeError
from thinlens.model.dual import source_of
from thinlens.model.file import Model, Tensors, read_model
from thinlens.model.plan import Plan
from thinlens.models import find_model
from thinlens.train.blocks.line import truncate
from thinlens.train.datasets.crops import CropSampler
from thinlens.train.datasets.damage import Damage
from thinlens.train.datasets.pairs import Pair
from thinlens.train.loop import Loss, Watch, fit
from thinlens.train.losses import Measure, create_loss
from thinlens.train.losses.distillation import Teacher
from thinlens.train.losses.dual_regression import (
    DualRegression,
    as_outputs,
    create_maps,
    dual_loss,
    images_of,
    lower_maps,
    outputs_of,
    scale_of,
)
from thinlens.train.lower import lower
from thinlens.train.recipe import Plain


def with_maps(
    network: nn.Module, maps: Mapping[str, nn.Module], settings: Plain, scale: int, channels: int
) -> nn.Module:
    """A network with the dual maps that a recipe's loop asks for; itself, if it asks for none.

    Args:
        network: what is trained.
        maps: to go on with, as a model file held them; empty: fresh ones are made (seed torch before).
        settings: the loop.
        scale: of the network.
        channels: of its images.

    Raises:
        RecipeError: if there can be none: the network is no upscaler, or lacks the images that steps need.
    """
    if not settings.dual:
        return network
    if scale == 1:
        raise RecipeError(f"`loop.dual`: got {settings.dual:g}, but the network keeps the size; accepted: upscalers")
    fresh = create_maps(network, settings.dual_maps, scale, channels, settings.dual_width)
    return DualRegression(network, maps if maps.keys() == fresh.keys() else fresh, scale)


def fit_plain(
    network: nn.Module,
    train: list[Pair],
    settings: Plain,
    seed: int,
    watch: Watch,
    damage: Damage | None = None,
    teacher: Model | None = None,
) -> None:
    """Train any network on random crops of pairs in its colours; in place.

    Args:
        network: in its train form; a `DualRegression` where the loop has dual maps.
        train: pairs of the network's scale; or of several scales, for a network that gives images of all of them: then
            the scales take turns, a step each.
        settings: the loop.
        seed: of the crops.
        watch: where checkpoints and log go.
        damage: that makes `lq` of the clean crops; None: they come in pairs.
        teacher: to be imitated; None: the one that the loop names, if any.

    Raises:
        RecipeError: if no image is as large as a crop, or the teacher is of another scale or colour, or the loss leaves
            the finite numbers.
    """
    truncate(network, settings.bands)
    if len({geometry([pair]) for pair in train}) > 1:
        fit(network, _joint_loss(train, settings, seed), settings, watch)
        return
    crops = CropSampler(train, settings.crop, settings.batch, seed, damage)
    measure, (scale, channels) = create_loss(settings.loss, settings.fourier), geometry(train)
    if teacher is None and settings.teacher is not None:
        teacher = read_model(find_model(settings.teacher))
    imitate = None if teacher is None else Teacher(teacher, network, measure, scale, channels)
    between = [size for size in _scales_of(network, scale) if 1 < size < scale]
    both = isinstance(network, DualRegression) and settings.dual_loops == "both"

    def loss(module: nn.Module, step: int) -> torch.Tensor:
        device = next(module.parameters()).device
        lq, hq = (torch.from_numpy(batch).to(device) for batch in crops.batch(step))
        made = as_outputs(module(lq, hq) if both else module(lq))
        middle = crops.between(step, between) if between else {}
        images = {1: lq, **{k: torch.from_numpy(batch).to(device) for k, batch in middle.items()}, scale: hq}
        total = sum_of(made, images, measure, settings.dual)
        return total if imitate is None else total + settings.distil * imitate(made, lq)

    fit(network, loss, settings, watch)


def _joint_loss(train: Sequence[Pair], settings: Plain, seed: int) -> Loss:
    """The loss of one scale after the other: that of the network's image which is as large as the clean one."""
    scales = sorted({geometry([pair])[0] for pair in train})
    crops = [
        CropSampler([pair for pair in train if geometry([pair])[0] == scale], settings.crop, settings.batch, seed)
        for scale in scales
    ]
    measure = create_loss(settings.loss, settings.fourier)

    def loss(module: nn.Module, step: int) -> torch.Tensor:
        device = next(module.parameters()).device
        lq, hq = (torch.from_numpy(batch).to(device) for batch in crops[step % len(crops)].batch(step))
        made = as_outputs(module(lq))
        return measure(next(image for image in made.values() if image.shape == hq.shape), hq)

    return loss


def geometry(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Scale and channels of pairs."""
    lq, hq = pairs[0]
    return hq.shape[-1] // lq.shape[-1], 1 if lq.ndim == 2 else 3


def sum_of(
    made: Mapping[str, torch.Tensor], images: Mapping[int, torch.Tensor], measure: Measure, dual: float
) -> torch.Tensor:
    """The loss of all images that a network gives, and of its dual maps.

    Args:
        made: what the network, or a `DualRegression`, gives.
        images: the clean image by its scale: 1 is ``lq``, the largest ``hq``; where nothing is enlarged, that alone.
        measure: compares the network's images.
        dual: weight of the dual maps' loss.
    """
    scale = max(images)
    total = measure(made["image"], images[scale])
    for size, image in images_of(made, scale).items():
        if size != scale:
            total = total + measure(image, images[size])
    return total + dual * dual_loss(made, images) if dual else total


def _scales_of(network: nn.Module, scale: int) -> set[int]:
    """Scales of the images that the loss needs."""
    sizes = {scale_of(name, scale) for name in outputs_of(network)}
    if isinstance(network, DualRegression):
        sizes |= {source_of(name, scale) for name in network.maps}
    return {size for size in sizes if size is not None}


def lower_all(network: nn.Module, channels: int) -> tuple[dict[str, Plan], Tensors]:
    """Lower a trained network, and its dual maps if it has some: plans by name, ``main`` first, and all tensors.

    Args:
        network: as `fit_plain` takes it.
        channels: of its images.
    """
    bare = network.network if isinstance(network, DualRegression) else network
    plan, tensors = lower(bare, channels)
    maps = network.maps.items() if isinstance(network, DualRegression) else ()
    plans, more = lower_maps(maps, channels)
    return {"main": plan, **plans}, tensors | more
