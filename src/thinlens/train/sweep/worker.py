"""Training one group of a sweep: images -> networks -> model files, in a folder that a killed training left or not."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from thinlens.atomic import remove_abandoned
from thinlens.errors import ThinlensError
from thinlens.model.card import DataSource, Training
from thinlens.model.file import Model, read_model, write_model
from thinlens.models import SUFFIX
from thinlens.train.datasets.images import find_images
from thinlens.train.datasets.pairs import Pair
from thinlens.train.loop import Progress, Watch
from thinlens.train.pipeline import (
    LOG,
    claim,
    configuration_of,
    minutes_taken,
    read_pairs,
    scales_of,
    to_model,
    train_networks,
)
from thinlens.train.recipe import Data, Plain, Recipe
from thinlens.train.sweep.grid import Group

if sys.platform != "win32":
    import fcntl

RUNS, CLOCK = "runs", "core_seconds"


class Images(NamedTuple):
    """Training and validation pairs of one scale, and where they come from."""

    train: list[Pair]
    val: list[Pair]
    sources: tuple[DataSource, ...]


class Worker:
    """Trains groups; keeps the pairs of the last scale.

    Args:
        groups: of the sweep, by name.
        data: which images.
        folder: gets `NAME.safetensors` of each model; `runs/GROUP` below it holds log and checkpoints.
        progress: called with (part, steps done, steps in all) now and then.
    """

    def __init__(self, groups: dict[str, Group], data: Data, folder: Path, progress: Progress) -> None:
        self._groups, self._data, self._folder, self._progress = groups, data, folder, progress
        self._images: tuple[object, Images] | None = None

    def train(self, name: str) -> float:
        """Train a group, or what is left of it; return the minutes of a core that its steps took.

        Raises:
            RecipeError: if an image folder is missing, or the loss leaves the finite numbers.
            OutputError: if the folder cannot be written.
        """
        group, run = self._groups[name], self._folder / RUNS / name
        run.parent.mkdir(parents=True, exist_ok=True)
        with _held(run.with_suffix(".lock")):
            if not all(self._is_made(group, index) for index in range(len(group.networks))):
                self._make(group, run)
            shutil.rmtree(run / "checkpoints", ignore_errors=True)
            return minutes_taken(run / LOG, CLOCK)

    def _make(self, group: Group, run: Path) -> None:
        if not group.recipes:
            for network in group.networks:
                self._write(untrained(network, self._data))
            return
        remove_abandoned(run)
        claim(run, group.recipes[0], resume=True)
        images = self._read(group.recipes[0])
        watch = Watch("training", run, lambda part, *steps: self._progress(f"{group.name} {part}", *steps))
        configurations = [configuration_of(recipe) for recipe in group.recipes]
        networks = train_networks(group.recipes, configurations, images.train, images.val, watch)
        minutes = round(minutes_taken(run / LOG, CLOCK) / len(networks), 3)
        for trained, recipe in zip(networks, group.recipes, strict=True):
            self._write(to_model(trained, recipe, images.sources, minutes))

    def _write(self, model: Model) -> None:
        write_model(self._folder / f"{model.card.name}{SUFFIX}", model, overwrite=True)

    def _is_made(self, group: Group, index: int) -> bool:
        """Whether a network's model is there, by the same recipe."""
        try:
            card = read_model(self._folder / f"{group.networks[index]}{SUFFIX}").card
        except (ThinlensError, OSError):
            return False
        return not group.recipes or card.training.recipe_sha256 == group.recipes[index].sha256()

    def _read(self, recipe: Recipe) -> Images:
        configuration = configuration_of(recipe)
        key = scales_of(configuration), configuration.channels
        if self._images is None or self._images[0] != key:
            self._images = None  # not two scales in memory
            root, permissive = Path(self._data.root), self._data.terms == "permissive"
            folders = find_images(root, self._data.train, permissive=permissive)
            held_out = find_images(root, self._data.val)
            pairs = read_pairs(folders, configuration, "training images", self._progress)
            val = read_pairs(held_out, configuration, "validation images", self._progress)
            self._images = key, Images(pairs, val, tuple(folder.source() for folder in folders))
        return self._images[1]


def untrained(network: str, data: Data) -> Model:
    """The model of a network that is made as it is, such as bicubic."""
    recipe = Recipe(network=network, data=data, loop=Plain(steps=1))
    model = to_model(configuration_of(recipe).create(), recipe, (), None)
    none = Training(recipe=network, recipe_sha256="", schedule="none", steps=0, seed=0)
    return Model(model.plans, model.tensors, msgspec.structs.replace(model.card, training=none))


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Only one process at a time is inside; one that was taken for dead may still be, and is waited for."""
    with path.open("ab") as file:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
