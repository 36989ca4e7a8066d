"""From a recipe to a model file: images -> pairs -> training -> plan -> `model.safetensors`."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from thinlens.atomic import write_bytes
from thinlens.errors import OutputError, RecipeError
from thinlens.model.card import DataSource, ModelCard, Task, Training
from thinlens.model.file import Model, read_model, write_model
from thinlens.models import find_model
from thinlens.train.compress.fuse import train_form
from thinlens.train.datasets.damage import Damage, Jpeg, Noise
from thinlens.train.datasets.images import ImageFolder, find_images
from thinlens.train.datasets.pairs import Pair, iter_pairs
from thinlens.train.finetune import Thawed
from thinlens.train.loop import Progress, Watch, ignore_progress
from thinlens.train.losses import PIXEL_LOSSES
from thinlens.train.losses.distillation import Teacher
from thinlens.train.narrow import narrow
from thinlens.train.networks import Configuration, find_configuration, task_of
from thinlens.train.networks.edge_sr import EdgeSR, EdgeSRCNN, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.plain import fit_plain, lower_all, with_maps
from thinlens.train.recipe import Data, Narrowed, Plain, Recipe, SharedPhase
from thinlens.train.shared_phase import fit_shared_phase

MODEL = "model.safetensors"
RECIPE = "recipe.json"
LOG = "log.jsonl"


def run_recipe(
    recipe: Recipe,
    directory: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    progress: Progress = ignore_progress,
) -> Path:
    """Train what a recipe says.

    On the CPU the same recipe gives the same weights, killed and resumed or not.

    Args:
        recipe: checked; `data.root` is relative to the current folder.
        directory: gets `model.safetensors`, `log.jsonl`, `recipe.json` and `checkpoints/`; made if missing.
        resume: go on with the training that `directory` holds.
        minutes: how long to train, reading the images apart; None: to the end.
        progress: called with (part, steps done, steps in all) now and then.

    Returns:
        The path of the model file.

    Raises:
        OutputError: if `directory` is not empty and `resume` is not asked for.
        RecipeError: if the recipe does not fit the images, the network, or the training to be resumed.
        UnknownNameError: if no network has the recipe's name.
        ImageError: if an image is damaged.
        Paused: if the minutes are over before the training is.
    """
    configuration = configuration_of(recipe)
    check_fits(recipe, configuration)
    root = Path(recipe.data.root)
    folders = find_images(root, recipe.data.train, permissive=recipe.data.terms == "permissive")
    held_out = find_images(root, recipe.data.val)
    claim(directory, recipe, resume=resume)
    pairs = read_pairs(folders, configuration, "training images", progress)
    val = read_pairs(held_out, configuration, "validation images", progress)
    until = None if minutes is None else time.monotonic() + 60 * minutes
    network = train_network(recipe, configuration, pairs, val, Watch("training", directory, progress, until))
    taken = minutes_taken(directory / LOG)
    model = to_model(network, recipe, tuple(folder.source() for folder in folders), taken)
    write_model(directory / MODEL, model, overwrite=True)
    return directory / MODEL


def minutes_taken(log: Path, clock: str = "seconds") -> float:
    """How long a training took by its log, however often it was resumed; what was lost on the way was work, too.

    Args:
        log: of one training; missing: nothing was logged.
        clock: ``seconds``, or ``core_seconds`` of the processor.
    """
    total = last = 0.0
    part = None
    for text in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:  # a killed process may leave half a line
            continue
        seconds = line.get(clock, last)
        if line["part"] != part or "resumed_at" in line or seconds < last:  # the clock began again
            total, last = total + last, 0.0
        part, last = line["part"], line.get(clock, last)
    return round((total + last) / 60, 3)


def configuration_of(recipe: Recipe) -> Configuration:
    """What a recipe trains: a named configuration, or the network of the model file that it begins with.

    Raises:
        UnknownNameError: if no network or model has that name.
        ModelError: if the model's weights cannot be trained.
    """
    if isinstance(recipe.loop, Plain) and recipe.loop.init is not None:
        return Thawed(recipe.network, read_model(find_model(recipe.loop.init)))
    return find_configuration(recipe.network)


def train_network(
    recipe: Recipe, configuration: Configuration, train: list[Pair], val: list[Pair], watch: Watch
) -> nn.Module:
    """Train one network; see `train_networks`."""
    (network,) = train_networks([recipe], [configuration], train, val, watch)
    return network


def train_networks(
    recipes: Sequence[Recipe],
    configurations: Sequence[Configuration],
    train: list[Pair],
    val: list[Pair],
    watch: Watch,
) -> list[nn.Module]:
    """Train fresh networks, or one of a model file, by the recipe's loop, on pairs of their scale.

    Args:
        recipes: one; or several by ``shared_phase`` that differ in nothing but the candidates of their networks.
        configurations: of each recipe.
        train: training pairs.
        val: validation pairs.
        watch: where checkpoints and log go.

    Returns:
        The networks; with its dual maps, if it has some, a `thinlens.train.losses.dual_regression.DualRegression`.

    Raises:
        RecipeError: as in `run_recipe`.
    """
    recipe, loop = recipes[0], recipes[0].loop
    if isinstance(loop, Plain):
        return [_train_plain(recipe, configurations[0], loop, train, watch)]
    one_layer = [each for each in configurations if isinstance(each, EdgeSR)]  # all of them, by `check_fits`
    networks = [each.create() for each in one_layer]
    weights = fit_shared_phase(one_layer, train, val, loop, recipe.seed, watch)
    for network, weight in zip(networks, weights, strict=True):
        with torch.no_grad():
            network.get_parameter("filter.weight").copy_(torch.from_numpy(weight))
    return networks


def _train_plain(
    recipe: Recipe, configuration: Configuration, loop: Plain, train: list[Pair], watch: Watch
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = train_form(configuration.create(), loop.branches, loop.space)
        maps = configuration.maps() if isinstance(configuration, Thawed) else {}
        trained = with_maps(network, maps, loop, configuration.scale, configuration.channels)
    if isinstance(loop, Narrowed) and isinstance(network, EdgeSRCNN):
        narrow(network, train, loop, recipe.seed)
    fit_plain(trained, train, loop, recipe.seed, watch, damage_of(recipe.data))
    return trained


def damage_of(data: Data) -> Damage | None:
    """What the recipe does to clean crops; None: they come in pairs."""
    if data.sigma is not None:
        return Noise(data.sigma)
    return None if data.quality is None else Jpeg(data.quality)


def to_model(network: nn.Module, recipe: Recipe, data: tuple[DataSource, ...], minutes: float | None) -> Model:
    """Lower a trained network and write its card; quality is measured elsewhere.

    Args:
        network: trained; in its train form, if it has one.
        recipe: by which.
        data: the training images and their terms.
        minutes: that the training took, if known.
    """
    configuration = configuration_of(recipe)
    channels = configuration.channels
    plans, tensors = lower_all(network, channels)
    plan = plans["main"]
    size = (64, 64)
    height, width = plan.sizes(size)[plan.outputs["image"]]
    training = Training(
        recipe=recipe.network,
        recipe_sha256=recipe.sha256(),
        schedule=recipe.schedule,
        steps=recipe.loop.steps,
        seed=recipe.seed,
        starts=recipe.loop.starts if isinstance(recipe.loop, SharedPhase) else 1,
        data=data,
        minutes=minutes,
        device=f"{recipe.loop.accelerator}, {recipe.loop.threads} thread(s)",
    )
    card = ModelCard(
        name=recipe.network,
        task=task_of(configuration),
        scale=height // size[0],
        colour="luma" if channels == 1 else "rgb",
        params=sum(tensors[name].size for name in plan.tensor_names()),
        macs_per_pixel=plan.macs(size) / (height * width),
        licence=recipe.licence,
        training=training,
        sigma_range=recipe.data.sigma,
        quality_range=recipe.data.quality,
        history=configuration.model.card.history if isinstance(configuration, Thawed) else (),
    )
    return Model(plans, tensors, card)


def check_fits(recipe: Recipe, configuration: Configuration) -> None:
    """Raise RecipeError if a recipe's loop or data do not suit its network."""
    _check_damage(recipe, task_of(configuration))
    if len(scales_of(configuration)) > 1:
        _check_joint(recipe)
    if isinstance(recipe.loop, SharedPhase) and not isinstance(configuration, EdgeSR):
        raise RecipeError(
            f'`loop.kind`: got "shared_phase" for `{recipe.network}`; it trains only one-layer networks '
            '(`edge_sr_max_*`, `edge_sr_tm_*`, `edge_sr_tr_*`); use "plain"'
        )
    if isinstance(recipe.loop, Plain):
        _check_plain(recipe.loop, configuration)
    if isinstance(recipe.loop, Narrowed):
        _check_source(recipe.network, recipe.loop.source, configuration)


def _check_joint(recipe: Recipe) -> None:
    """Scales that are trained together take turns, which leaves no place for images between."""
    loop = recipe.loop
    for name in ("dual", "teacher"):
        if isinstance(loop, Plain) and getattr(loop, name):
            raise RecipeError(
                f"`loop.{name}`: got {getattr(loop, name)!r} for `{recipe.network}`, which has several scales; "
                "leave it out, or train one scale, `..._x2`"
            )


def _check_plain(loop: Plain, configuration: Configuration) -> None:
    """Branches, dual maps and teacher fit the network."""
    with torch.device("meta"):  # no memory, no random numbers: only to see whether they fit
        network = train_form(configuration.create(), loop.branches, loop.space)
        with_maps(network, {}, loop, configuration.scale, configuration.channels)
    if loop.teacher is not None:
        teacher = read_model(find_model(loop.teacher))
        Teacher(teacher, network, PIXEL_LOSSES[loop.loss], configuration.scale, configuration.channels)


def _check_damage(recipe: Recipe, task: Task) -> None:
    """The recipe says how strong the damage is, of the kind that the network undoes, and of no other."""
    needed = {"denoise": "sigma", "deblock": "quality"}.get(task)
    for name, found in (("sigma", recipe.data.sigma), ("quality", recipe.data.quality)):
        if name == needed and found is None:
            example = "sigma = [0, 50]" if name == "sigma" else "quality = [10, 90]"
            raise RecipeError(f"`data.{name}`: missing; `{recipe.network}` does {task}; add it, such as `{example}`")
        if name != needed and found is not None:
            raise RecipeError(f"`data.{name}`: got {list(found)}; `{recipe.network}` does {task}; leave it out")


def _check_source(network: str, name: str, configuration: Configuration) -> None:
    """The source of a narrowed training is an ESPCN of the same scale that is wide enough."""
    if not isinstance(configuration, EdgeSRCNNConfig):
        raise RecipeError(f'`loop.kind`: got "narrowed" for `{network}`; it trains only `edge_sr_cnn_*`; use "plain"')
    source = find_configuration(read_model(find_model(name)).card.name)
    if not isinstance(source, EspcnConfig) or not _is_wider(source, configuration):
        raise RecipeError(
            f"`loop.source`: got `{source.name}` for `{network}`; accepted: an ESPCN of scale {configuration.scale} "
            f"with D >= {configuration.width} and S >= {configuration.shrink}"
        )


def _is_wider(source: EspcnConfig, network: EdgeSRCNNConfig) -> bool:
    return source.scale == network.scale and source.width >= network.width and source.shrink >= network.shrink


def scales_of(configuration: Configuration) -> tuple[int, ...]:
    """The scales that a network gives images of to be judged by: its own, or several that are trained together."""
    several: tuple[int, ...] = getattr(configuration, "scales", ())
    return several or (configuration.scale,)


def read_pairs(folders: list[ImageFolder], configuration: Configuration, name: str, progress: Progress) -> list[Pair]:
    """Pairs of the scales and colours of a network; ``progress`` hears of them under ``name``."""
    files = [path for folder in folders for path in folder.files]
    pairs: list[Pair] = []
    for scale in scales_of(configuration):
        for pair in iter_pairs(files, scale, configuration.channels):
            pairs.append(pair)
            progress(name, len(pairs), len(files) * len(scales_of(configuration)))
    return pairs


def claim(directory: Path, recipe: Recipe, *, resume: bool) -> None:
    """Make `directory` this recipe's, or check that it is; errors as in `run_recipe`."""
    held = directory / RECIPE
    if resume and held.is_file():
        if held.read_bytes() != recipe.canonical():
            raise RecipeError(f"`{directory}` holds a training by another recipe; resume that one, or use a new folder")
        return
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OutputError(f"`{directory}` is not empty; use a new folder, or `--resume` to go on with what is in it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"`{directory}`: cannot be made: {error.strerror}") from error
    write_bytes(held, recipe.canonical())
