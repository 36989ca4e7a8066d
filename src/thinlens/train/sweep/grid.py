"""A sweep's TOML file: grids over recipes.

    [data]
    train = ["train/cid22"]
    val = ["val"]

    [[grid]]
    network = "edge_sr_tm_k{k}_c{c}_x{scale}"
    together = "c"
    [grid.axes]
    scale = [2, 3, 4]
    k = [3, 5, 7]
    c = [1, 2, 3]
    [grid.loop]
    kind = "shared_phase"
    steps = 10000

The last axis turns fastest. What is trained together is one group; a network that an earlier grid has is left out.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from thinlens.errors import RecipeError
from thinlens.train.networks.edge_sr import EdgeSR
from thinlens.train.pipeline import check_fits, configuration_of
from thinlens.train.recipe import Data, Recipe, read_table, to_recipe

Value = int | str


class Grid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recipes that differ in the numbers of their network's name.

    Args:
        network: a name that `thinlens networks` prints, with ``{axis}`` for what changes.
        axes: name -> values; every combination is a network.
        loop: of each recipe; left out: the networks are made as they are, not trained (bicubic).
        together: the axis whose networks are trained in one go, by ``shared_phase``.
        seed: of each recipe.
        schedule: of each recipe.
    """

    network: str
    axes: dict[str, Annotated[tuple[Value, ...], Meta(min_length=1)]]
    loop: dict[str, Any] | None = None
    together: str | None = None
    seed: Annotated[int, Meta(ge=0)] = 0
    schedule: Literal["full", "short"] = "short"


class Sweep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides a sweep's models.

    Args:
        data: which images, for all grids.
        grid: the grids, in the order in which they are trained.
    """

    data: Data
    grid: Annotated[tuple[Grid, ...], Meta(min_length=1)]

    def canonical(self) -> bytes:
        """All values as JSON with sorted keys, without `data.root`."""
        neutral = msgspec.structs.replace(self, data=msgspec.structs.replace(self.data, root=""))
        return msgspec.json.encode(neutral, order="sorted")


@dataclass(frozen=True)
class Group:
    """What one trial trains.

    Args:
        name: of the only network; of several: that of all, such as ``edge_sr_tm_k7_c1to16_x2``.
        grid: the pattern of its grid's names.
        networks: their names.
        recipes: one for each network; none where nothing is trained.
    """

    name: str
    grid: str
    networks: tuple[str, ...]
    recipes: tuple[Recipe, ...]


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep.

    Args:
        path: a TOML file.
        overrides: ``a.b=value`` each, such as ``data.root="/data"``.

    Raises:
        RecipeError: if the file is missing or no TOML, or has an unknown key, a wrong type or a value out of range.
    """
    return to_sweep(read_table(path, overrides), str(path))


def to_sweep(table: Any, where: str = "sweep") -> Sweep:
    """Check a decoded table; ``where`` begins the messages. Errors as in `read_sweep`."""
    try:
        return msgspec.convert(table, Sweep)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{where}: {error}; docs/pool.md says what a sweep holds") from error


def groups_of(sweep: Sweep, where: str = "sweep") -> dict[str, Group]:
    """The groups of a sweep by name, in the order in which they are trained.

    Args:
        sweep: decoded.
        where: begins the messages.

    Raises:
        RecipeError: if a grid and its axes do not fit together, or a recipe is wrong or does not fit its network.
        UnknownNameError: if there is no network of a name.
    """
    groups: dict[str, Group] = {}
    seen: set[str] = set()
    for number, grid in enumerate(sweep.grid, 1):
        at = f"{where}: grid {number}"
        _check_axes(grid, at)
        for name, networks in _names(grid):
            new = tuple(network for network in networks if network not in seen)
            seen |= set(new)
            if new:
                groups[name if len(new) > 1 else new[0]] = Group(
                    name, grid.network, new, _recipes(sweep, grid, new, at)
                )
    return groups


def _check_axes(grid: Grid, where: str) -> None:
    asked = set(re.findall(r"\{(\w*)\}", grid.network))
    if asked != grid.axes.keys():
        raise RecipeError(
            f"{where}: `network` names the axes {_listed(asked)}, `axes` holds {_listed(grid.axes)}; accepted: the same"
        )
    if grid.together is None:
        return
    if grid.together not in grid.axes:
        raise RecipeError(f"{where}: `together`: got `{grid.together}`; accepted: one of {_listed(grid.axes)}")
    if grid.loop is None or grid.loop.get("kind") != "shared_phase":
        raise RecipeError(f'{where}: `together`: only `kind = "shared_phase"` trains several; leave it out')


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def _names(grid: Grid) -> Iterator[tuple[str, list[str]]]:
    """For each group its name and its networks."""
    outer = {axis: values for axis, values in grid.axes.items() if axis != grid.together}
    inner: tuple[Value, ...] = grid.axes[grid.together] if grid.together is not None else ("",)
    span = f"{inner[0]}to{inner[-1]}" if len(inner) > 1 else inner[0]
    for values in product(*outer.values()):
        chosen = dict(zip(outer, values, strict=True))
        yield (
            _fill(grid.network, chosen | {str(grid.together): span}),
            [_fill(grid.network, chosen | {str(grid.together): value}) for value in inner],
        )


def _fill(pattern: str, values: dict[str, Value]) -> str:
    return re.sub(r"\{(\w*)\}", lambda found: str(values[found[1]]), pattern)


def _recipes(sweep: Sweep, grid: Grid, networks: Sequence[str], where: str) -> tuple[Recipe, ...]:
    """The recipes of a group's networks, each checked as if it stood alone."""
    if grid.loop is None:
        return ()
    data = {key: value for key, value in msgspec.to_builtins(sweep.data).items() if value is not None}
    recipes, shapes = [], set()
    for name in networks:
        loop = {key: _fill_loop(value, name) for key, value in grid.loop.items()}
        table = {"network": name, "seed": grid.seed, "schedule": grid.schedule, "data": data, "loop": loop}
        recipe = to_recipe(table, where)
        configuration = configuration_of(recipe)
        try:
            check_fits(recipe, configuration)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from error
        if isinstance(configuration, EdgeSR):
            shapes.add((configuration.kind, configuration.kernel_size, configuration.scale))
        recipes.append(recipe)
    if grid.together is not None and len(shapes) > 1:
        raise RecipeError(
            f"{where}: `together`: only networks of one kind, kernel size and scale share a step; use `c`"
        )
    return tuple(recipes)


def _fill_loop(value: Any, network: str) -> Any:
    """``{scale}`` in a text of the loop, such as `source`, is the scale of the network."""
    scale = network.rpartition("_x")[2]
    return value.replace("{scale}", scale) if isinstance(value, str) else value
