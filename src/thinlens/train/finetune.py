"""Training goes on from a model file, whatever made it: one of ours, an imported one, a pruned one.

The plan is thawed; no configuration is asked for. Dual maps that the file holds go on with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import torch
from torch import nn

from thinlens.errors import ModelError, RecipeError
from thinlens.model.card import Task
from thinlens.model.dual import is_dual
from thinlens.model.file import Model
from thinlens.model.ops import Bfloat16, Quantize
from thinlens.model.value_range import to_unit_range
from thinlens.train.compress.fuse import train_form
from thinlens.train.datasets.damage import Damage, Jpeg, Noise
from thinlens.train.datasets.pairs import Pair
from thinlens.train.loop import Watch
from thinlens.train.losses.dual_regression import thaw_maps
from thinlens.train.plain import fit_plain, geometry, lower_all, with_maps
from thinlens.train.recipe import Plain
from thinlens.train.thaw import thaw

SIZE = (64, 64)  # on which costs per pixel are counted


@dataclass(frozen=True)
class Thawed:
    """A configuration whose network is that of a model.

    Args:
        name: of the result.
        model: checked; on whatever pixels its card says, which become 0..1.

    Raises:
        ModelError: if its weights cannot be trained.
    """

    name: str
    model: Model

    def __post_init__(self) -> None:
        _check_trainable(self.model)
        object.__setattr__(self, "model", to_unit_range(self.model))

    @property
    def scale(self) -> int:
        """Output size over input size."""
        return self.model.card.scale

    @property
    def channels(self) -> int:
        """Of the images, 1 or 3."""
        return self.model.plan.input_channels

    @property
    def task(self) -> Task:
        """What the model does."""
        return self.model.card.task

    def create(self) -> nn.Module:
        """The network, with the model's weights."""
        return thaw(self.model.plan, self.model.tensors)

    def maps(self) -> dict[str, nn.Module]:
        """The model's dual maps by name; empty if it has none."""
        return thaw_maps(self.model.plans, self.model.tensors)


def finetune_model(
    model: Model, loop: Plain, pairs: Sequence[Pair], seed: int, watch: Watch, teacher: Model | None = None
) -> Model:
    """Train a model further.

    On the CPU the same arguments give the same weights, killed and resumed (by the checkpoints of ``watch``) or not.

    Args:
        model: checked; it stays as it is. A denoiser or deblocker is trained on the damage that its card tells.
        loop: steps, rates, loss, crops; its dual maps go on with those of the model, or begin anew where it has none
            that fit. ``init`` is not looked at.
        pairs: training images, of the model's scale and colours (`thinlens.train.datasets.pairs.iter_pairs`).
        seed: of the crops, and of fresh dual maps.
        watch: where checkpoints and log go; a folder of its own for each training.
        teacher: a larger model of the same scale and colours to be imitated, with the weight ``loop.distil``; None: the
            one that the loop names, if any.

    Returns:
        The trained model, on pixels in 0..1, its ``main`` plan as it was, with its dual maps, if the loop has some, or
        those that it had. Of the card name, training and history stay (whoever takes a step adds it to them); costs
        are counted anew, and measured quality is gone.

    Raises:
        ModelError: if the model's weights cannot be trained: it is in low precision, or has further plans that share
            its tensors.
        RecipeError: if pairs or teacher do not fit the model, or the loss leaves the finite numbers.
    """
    configuration = Thawed(model.card.name, model)
    found = geometry(pairs)
    if found != (configuration.scale, configuration.channels):
        raise RecipeError(
            f"pairs: got scale {found[0]} and {found[1]} channels for `{model.card.name}`; accepted: scale "
            f"{configuration.scale} and {configuration.channels}, as it has"
        )
    maps = configuration.maps()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = train_form(configuration.create(), loop.branches, loop.space)
        network = with_maps(network, maps, loop, *found)
    fit_plain(network, list(pairs), loop, seed, watch, _damage_of(model), teacher)
    plans, tensors = lower_all(network, configuration.channels)
    if not loop.dual:
        kept = {name: plan for name, plan in model.plans.items() if is_dual(name)}
        plans |= kept
        tensors |= {name: model.tensors[name] for plan in kept.values() for name in plan.tensor_names()}
    plan = plans["main"]
    height, width = plan.sizes(SIZE)[plan.outputs["image"]]
    card = msgspec.structs.replace(
        configuration.model.card,
        params=sum(tensors[name].size for name in plan.tensor_names()),
        macs_per_pixel=plan.macs(SIZE) / (height * width),
        quality=(),
    )
    return replace(model, plans=plans, tensors=tensors, card=card)


def _damage_of(model: Model) -> Damage | None:
    """What the model was trained to undo; None: its images come in pairs."""
    card = model.card
    if card.task == "denoise":
        return Noise(card.sigma_range or (0.0, 50.0))
    return Jpeg(card.quality_range or (10, 90)) if card.task == "deblock" else None


def _check_trainable(model: Model) -> None:
    low = next((node for node in model.plan.nodes if isinstance(node.op, Quantize | Bfloat16)), None)
    if low is not None:
        raise ModelError(
            f"`{model.card.name}`: node `{low.name}` rounds to low precision, whose weights cannot be trained; "
            "give the model before that step"
        )
    other = [name for name in model.plans if name != "main" and not is_dual(name)]
    if other:
        raise ModelError(
            f"`{model.card.name}`: has the plans {other}, which share its tensors; accepted: `main` and dual maps"
        )
