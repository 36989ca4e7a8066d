"""The steps of compression that train: from a model and images to a smaller model.

    dual-regression, dcp, cp, thinet, uniform     channels are pruned, then the rest is trained
    bidirectional                                 LineDL's two steps: channels, training, layers, training
    binarize                                      3x3 convolutions become binary units, then all is trained

Each step is a function of its arguments alone: killed and resumed, by the folder of its watch, it gives the same model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from thinlens.errors import CompressionError, RecipeError
from thinlens.model.dual import is_dual
from thinlens.model.file import Model, Tensors
from thinlens.model.graph import fitting_size
from thinlens.model.plan import Plan
from thinlens.model.value_range import to_unit_range
from thinlens.train.compress.bidirectional import (
    compress_channels,
    compress_layers,
    middle,
    module_values,
    transmission_modules,
)
from thinlens.train.compress.binarize import binarize
from thinlens.train.compress.dual_regression.search import Relaxed, Settings, search
from thinlens.train.compress.pruning import (
    METHODS,
    Batch,
    Measure,
    Objective,
    dual_measure,
    l1_measure,
    prune,
    uniform_widths,
    with_options,
)
from thinlens.train.compress.pruning.layer import LEVELS
from thinlens.train.datasets.crops import CropSampler
from thinlens.train.datasets.damage import Damage, Jpeg, Noise
from thinlens.train.datasets.pairs import Pair
from thinlens.train.finetune import finetune_model
from thinlens.train.loop import Watch, fit
from thinlens.train.losses.dual_regression import (
    DualRegression,
    create_maps,
    dual_loss,
    lower_maps,
    scale_of,
    thaw_maps,
)
from thinlens.train.lower import lower
from thinlens.train.plain import fit_plain
from thinlens.train.recipe import Plain
from thinlens.train.thaw import thaw

Pixels = tuple[npt.NDArray[Any], npt.NDArray[Any]]
DUAL = 0.1  # weight of the dual term, the papers'
MAP_STEPS, MAP_WIDTH = 300, 16  # to train dual maps for a network that has none, and their channels
CROP = 32  # pixels a side of the lq crops
SMALL = (4, 8)  # batches of the small set that channels are chosen on, and crops in each
EPOCHS = 20  # in a search, after each of which widths are noted and saved
SAVES = 10  # checkpoints in a training


@dataclass(frozen=True)
class Options:
    """How to prune and train.

    Args:
        degradation: one of ``scale``, ``sigma`` (with ``seed``) and ``quality``, as `thinlens evaluate` takes it.
        ratio: share of the channels that go.
        finetune_steps: of each training; 0: none.
        search_steps: of the search for widths, of ``dual-regression``; 0: all pairs lose the same share.
        trunks: prune residual trunks too.
        per_step: channels that a greedy method takes back at a time; None: a quarter of those that stay.
        seed: of all draws.
        lr: peak learning rate of the training.
        batch: crops a step.
        distil: weight of a loss that imitates the model as it was before the step; 0: there is none.
        threads: of torch; the last bits of the weights depend on it.
    """

    degradation: dict[str, Any]
    ratio: float = 0.5
    finetune_steps: int = 2000
    search_steps: int = 0
    trunks: bool = False
    per_step: int | None = None
    seed: int = 0
    lr: float = 1e-3
    batch: int = 16
    distil: float = 0.0
    threads: int = 1


@dataclass(frozen=True)
class Images:
    """What a step learns from.

    Args:
        pairs: to train on; of denoisers and deblockers clean images twice, to be damaged as they are drawn.
        small: what channels are chosen on.
        side: of a crop of ``lq``, pixels.
    """

    pairs: list[Pair]
    small: list[Batch]
    side: int


def take_step(model: Model, method: str, images: Sequence[Pixels], options: Options, watch: Watch) -> Model:
    """Compress a model by one method.

    Args:
        model: checked, on pixels of any range.
        method: of `STEPS`.
        images: lq and hq of each image to learn from, ``H W`` or ``H W 3``, uint8, or float32 in 0..1 and around it.
        options: how much, and how long.
        watch: its folder keeps what is done.

    Returns:
        The smaller model, on pixels in 0..1. Name and history of its card are the old ones.

    Raises:
        CompressionError: if the method does not fit the network, or the images are too small.
    """
    torch.set_num_threads(options.threads)
    _check_plans(model)
    low, high = model.card.value_range
    unit = to_unit_range(model)
    teacher = unit if options.distil else None
    work = _Work(method, draw_images(unit, images, options), options, LEVELS / (high - low), watch, teacher)
    return STEPS[method](unit, work)


@dataclass(frozen=True)
class _Work:
    """What every step is given beside the model.

    ``gain`` brings features to those of pixels of 0..255; ``teacher`` is imitated, if there is one.
    """

    method: str
    images: Images
    options: Options
    gain: float
    watch: Watch
    teacher: Model | None

    def part(self, name: str) -> Watch:
        """The watch of a part of the step."""
        return replace(self.watch, name=name)

    def loop(self, **fields: Any) -> Plain:
        """The loop of a training."""
        options, steps = self.options, self.options.finetune_steps
        loop = Plain(
            steps=max(1, steps),
            batch=options.batch,
            crop=self.images.side,
            lr=options.lr,
            warmup=min(100, steps // 10),
            loss="l1",
            checkpoint_every=max(1, steps // SAVES),
            threads=options.threads,
            distil=options.distil or 1.0,
        )
        return msgspec.structs.replace(loop, **fields)


def _check_plans(model: Model) -> None:
    """Further plans that share tensors would no longer fit."""
    own = model.plan.tensor_names()
    shared = [name for name, plan in model.plans.items() if name != "main" and plan.tensor_names() & own]
    if shared:
        raise CompressionError(
            f"`{model.card.name}`: its plans {shared} share tensors with the main one; accepted: plans of their own"
        )


def draw_images(model: Model, images: Sequence[Pixels], options: Options) -> Images:
    """Prepare what a step learns from; which crops are the small set is up to the seed.

    Args:
        model: checked.
        images: lq and hq of each, ``H W`` or ``H W 3``.
        options: of the step.

    Raises:
        CompressionError: if no image holds a crop that the network takes.
    """
    card = model.card
    degraded = [Pair(_planes(lq), _planes(hq)) for lq, hq in images]
    side = min(CROP, max(min(pair.lq.shape[-2:]) for pair in degraded))
    if fitting_size(model.plan, (side, side)) != (side, side):
        side = max(fitting_size(model.plan, (side, side)))
    count, batch = SMALL
    try:
        crops = CropSampler(degraded, side, batch, options.seed)
    except RecipeError as error:
        raise CompressionError(
            f"`{card.name}`: needs {side} pixels a side, more than any degraded image has; give larger images"
        ) from error
    small = [to_batch(crops, step, model) for step in range(count)]
    clean = [Pair(pair.hq, pair.hq) for pair in degraded]
    return Images(clean if card.scale == 1 else degraded, small, side)


def _planes(image: Any) -> Any:
    """``H W`` as it is; ``H W 3`` -> ``3 H W``."""
    return image if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))


def _prune(model: Model, work: _Work) -> Model:
    """Choose and cut channels, then train what is left; both with the dual term, if the method has one."""
    options = work.options
    widths = uniform_widths(model.plan, options.ratio, trunks=options.trunks)
    measure: Measure = l1_measure
    if work.method == "dual-regression":
        model = _with_maps(model, work)
        maps = thaw_maps(model.plans, model.tensors)
        measure = dual_measure(maps, model.card.scale, DUAL)
        if options.search_steps:
            widths = _searched(model, list(widths), work, measure, maps)
            measure = dual_measure(thaw_maps(model.plans, model.tensors), model.card.scale, DUAL)
    objective = Objective(work.images.small, measure, gain=work.gain)
    method = with_options(work.method, options.per_step)
    pruned = prune(model.plan, model.tensors, widths, method, objective, options.seed, work.part("pruning"))
    return _trained(
        _with_plan(model, *pruned), work, "training", dual=DUAL if work.method == "dual-regression" else 0.0
    )


def _searched(
    model: Model, names: list[str], work: _Work, measure: Measure, maps: dict[str, nn.Module]
) -> dict[str, int]:
    """Widths by search: one half of the images trains weights and maps, the other decides."""
    options, side = work.options, work.images.side
    pairs = [pair for pair in work.images.pairs if min(pair.lq.shape[-2:]) >= side]
    halves = tuple(_batches(model, part, work) for part in (pairs[::2], pairs[1::2] or pairs))
    settings = Settings(steps=options.search_steps, epoch=max(1, options.search_steps // EPOCHS), seed=options.seed)
    if options.search_steps < Settings().steps:  # as far as the paper's logits come, in fewer steps
        settings = replace(settings, logits_lr=settings.logits_lr * Settings().steps / options.search_steps)
    relaxed = Relaxed(model.plan, model.tensors, names, options.ratio)
    watch = work.part("searching")
    return search(relaxed, (halves[0], halves[1]), work.images.small, measure, settings, watch, maps).widths


def _batches(model: Model, pairs: Sequence[Pair], work: _Work) -> Callable[[int], Batch]:
    """Batches of crops by step."""
    crops = CropSampler(pairs, work.images.side, work.options.batch, work.options.seed)
    return lambda step: to_batch(crops, step, model)


def to_batch(crops: CropSampler, step: int, model: Model) -> Batch:
    """The crops of a step, and the clean image at all sizes that a model makes."""
    scale = model.card.scale
    sizes = [scale_of(name, scale) for name in model.plan.outputs]
    between = [size for size in sizes if size is not None and 1 < size < scale]
    lq, hq = (torch.from_numpy(array) for array in crops.batch(step))
    more = crops.between(step, between) if between else {}
    return Batch(lq, {1: lq, **{k: torch.from_numpy(array) for k, array in more.items()}, scale: hq})


def _with_maps(model: Model, work: _Work) -> Model:
    """The model with dual maps: its own, or new ones that learn to bring its results down."""
    if any(is_dual(name) for name in model.plans):
        return model
    card, channels = model.card, model.plan.input_channels
    if card.scale == 1:
        raise CompressionError(f"`{card.name}`: keeps the size, so nothing is brought down again; use `dcp`")
    network = thaw(model.plan, model.tensors).requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(work.options.seed)
        maps = create_maps(network, None, card.scale, channels, MAP_WIDTH)
    both, small = DualRegression(network, maps, card.scale), work.images.small

    def loss(module: nn.Module, step: int) -> torch.Tensor:
        batch = small[step % len(small)]
        return dual_loss(module(batch.lq), batch.images)

    settings = work.loop(steps=MAP_STEPS, optimiser="adam", lr=2e-3, warmup=30, ema=0.98, checkpoint_every=MAP_STEPS)
    fit(both, loss, settings, work.part("dual maps"))
    plans, tensors = lower_maps(maps.items(), channels)
    return replace(model, plans=model.plans | plans, tensors=model.tensors | tensors)


def _bidirectional(model: Model, work: _Work) -> Model:
    """LineDL's two steps, each trained."""
    plan, options = model.plan, work.options
    if not 0 <= options.ratio < 1:
        raise CompressionError(f"ratio: got {options.ratio:g}; accepted: 0 to below 1")
    smaller = compress_channels(plan, model.tensors, module_values(plan), 1 - options.ratio, seed=options.seed)
    model = _trained(_with_plan(model, *smaller), work, "training channels")
    modules = transmission_modules(model.plan)
    shorter = compress_layers(model.plan, model.tensors, middle(modules))
    return _trained(_with_plan(model, *shorter), work, "training layers")


def _binarize(model: Model, work: _Work) -> Model:
    """Binary units in place of convolutions, then training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(work.options.seed)
        network = binarize(model.plan, model.tensors, model.card.name)
    if work.options.finetune_steps:
        damage = _damage(**work.options.degradation)
        loop, part = work.loop(), work.part("training")
        fit_plain(network, work.images.pairs, loop, work.options.seed, part, damage, work.teacher)
    return _with_plan(model, *lower(network, model.plan.input_channels))


def _damage(sigma: float | None = None, quality: int | None = None, **_: Any) -> Damage | None:
    """What `evaluate` would do to clean images, done to crops; None: they come in pairs."""
    if sigma is not None:
        return Noise((sigma, sigma))
    return None if quality is None else Jpeg((quality, quality))


def _with_plan(model: Model, plan: Plan, tensors: Tensors) -> Model:
    """The model with another main plan; other plans stay."""
    plans = {**model.plans, "main": plan}
    kept = {name for key, other in plans.items() if key != "main" for name in other.tensor_names()}
    return replace(model, plans=plans, tensors=tensors | {name: model.tensors[name] for name in kept})


def _trained(model: Model, work: _Work, name: str, dual: float = 0.0) -> Model:
    """The model, trained further."""
    if not work.options.finetune_steps:
        return model
    loop, seed = work.loop(dual=dual), work.options.seed
    return finetune_model(model, loop, work.images.pairs, seed, work.part(name), work.teacher)


STEPS: dict[str, Callable[[Model, _Work], Model]] = {
    **dict.fromkeys(METHODS, _prune),
    "bidirectional": _bidirectional,
    "binarize": _binarize,
}
