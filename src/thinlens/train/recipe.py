"""Recipes: everything that decides a model's weights, in one strictly typed TOML file.

    network = "edge_sr_tm_k7_c4_x2"
    [data]
    train = ["train/cid22"]
    val = ["val"]
    [loop]
    kind = "shared_phase"
    steps = 10000

A recipe's hash covers every value, defaults included, except where the data lie (`data.root`).
"""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from thinlens.errors import RecipeError
from thinlens.train.blocks.rep_conv import Branch, Space
from thinlens.train.losses import PixelLoss
from thinlens.train.losses.dual_regression import Maps

Count = Annotated[int, Meta(ge=1)]
Sigma = Annotated[float, Meta(ge=0, le=255)]
Quality = Annotated[int, Meta(ge=1, le=100)]
Folders = Annotated[tuple[str, ...], Meta(min_length=1)]


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which images.

    Args:
        train: folders of clean training images, relative to ``root``; subfolders are taken in.
        val: folders of held-out images, by which the best start is chosen; never trained on.
        root: where the folders lie, relative to the current folder; no part of the recipe's hash.
        terms: ``permissive`` refuses folders whose licence does not let the weights be used in products.
        sigma: for denoisers: lowest and highest strength of the noise, in 8-bit units.
        quality: for deblockers: lowest and highest quality of the JPEG.
    """

    train: Folders
    val: Folders
    root: str = "data"
    terms: Literal["permissive", "any"] = "any"
    sigma: tuple[Sigma, Sigma] | None = None
    quality: tuple[Quality, Quality] | None = None


class Loop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both trainers share: Adam (0.9, 0.99), linear warm-up, cosine to zero, averaged weights.

    Args:
        steps: optimiser steps, >= 1.
        batch: samples a step: patches (shared phase) or crops (plain).
        lr: peak learning rate, above 0 and at most 1.
        warmup: steps of linear warm-up, >= 0.
        ema: decay of the average of the weights, 0 (the last weights) to below 1.
        checkpoint_every: steps between checkpoints, >= 1; no influence on the weights.
        threads: of torch, >= 1; sums may be split by it, so the last bits of the weights depend on it.
        accelerator: ``cpu`` gives the same weights each time; ``cuda`` uses one GPU, where sums may differ.
    """

    steps: Count
    batch: Count
    lr: Annotated[float, Meta(gt=0, le=1)] = 2e-3
    warmup: Annotated[int, Meta(ge=0)] = 200
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    checkpoint_every: Count = 5000
    threads: Count = 1
    accelerator: Literal["cpu", "cuda"] = "cpu"


class SharedPhase(Loop, tag_field="kind", tag="shared_phase", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One-layer upscalers: one independent problem for each orbit of phases, see `thinlens.train.shared_phase`.

    Args:
        starts: random starts that are trained at once; the best on validation patches is kept.
        patches: training patches of each phase, >= ``batch``. Too few of them overfit large networks.
        val_patches: validation patches of each phase.
    """

    batch: Count = 4096
    starts: Annotated[int, Meta(ge=1, le=64)] = 2
    patches: Count = 4_000_000
    val_patches: Count = 400_000


class Plain(Loop, tag_field="kind", tag="plain", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any network, end to end on random crops.

    Args:
        crop: side of the `lq` crops in pixels, >= 1.
        optimiser: ``soap`` suits networks of more than one layer: it needs a third of Adam's steps or fewer.
        loss: on pixels: ``l1``, ``l2``, ``charbonnier``, or ``log_mse``, the mean of the logarithms of the crops' mean
            squared errors, as the mean PSNR of images has it.
        fourier: weight of the loss on frequencies, 0 to 1; the one on pixels has the rest. RepRFN's is 0.1.
        branches: through which paths 3x3 convolutions are trained (`thinlens.train.blocks.rep_conv`): those of the
            network's own blocks of two forms, or of a network without, all. Left out: as the network is made.
        space: where a step adds paths up: ``weight`` folds the weights and runs one convolution, ``image`` runs every
            path. The gradients are the same.
        bands: after how many bands gradients go no further back, in networks that read an image line by line. Left out:
            they go back over the whole crop.
        dual: weight of the loss of dual maps, which bring a result back down (`thinlens.train.losses.dual_regression`);
            0: there are none. The papers' is 0.1, with ``l1``.
        dual_maps: ``steps``, one for each factor of 2, of networks that give the images between, such as DRN; or one
            for the ``whole`` scale. Left out: steps where the network allows them.
        dual_width: channels inside a dual map.
        dual_loops: which loops are closed: ``lq``, down to the input; or ``both``, also from the clean image down and
            up again, which takes another run of the network.
        init: a shipped model, or the path of a model file, whose weights (and dual maps) the training begins with; the
            network is that of the file, and the recipe's ``network`` only names the result.
        teacher: a shipped model, or the path of a model file, of the same scale and colours, that is imitated.
        distil: weight of the loss of that.
    """

    batch: Count = 16
    crop: Count = 32
    lr: Annotated[float, Meta(gt=0, le=1)] = 3e-3
    optimiser: Literal["adam", "soap"] = "soap"
    loss: PixelLoss = "l2"
    fourier: Annotated[float, Meta(ge=0, le=1)] = 0.0
    branches: Annotated[tuple[Branch, ...], Meta(min_length=1)] | None = None
    space: Space = "weight"
    bands: Count | None = None
    dual: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    dual_maps: Maps | None = None
    dual_width: Count = 16
    dual_loops: Literal["lq", "both"] = "lq"
    init: str | None = None
    teacher: str | None = None
    distil: Annotated[float, Meta(gt=0, le=1000)] = 1.0


# Fields that came after models had been trained: where these are their defaults, and kept, they are not in the hash.
LATER: dict[str, Any] = {
    "loss": "l2",
    "fourier": 0.0,
    "branches": None,
    "space": "weight",
    "bands": None,
    "dual": 0.0,
    "dual_maps": None,
    "dual_width": 16,
    "dual_loops": "lq",
    "init": None,
    "teacher": None,
    "distil": 1.0,
}


class Narrowed(Plain, tag_field="kind", tag="narrowed", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """eSR-CNN, begun from a trained ESPCN of its scale, see `thinlens.train.narrow`; then as ``plain``.

    Args:
        source: the ESPCN: a shipped model, or the path of a model file.
        chosen_on: crops on which its channels are chosen.
    """

    source: str
    chosen_on: Count = 160
    loss: PixelLoss = "log_mse"


LOOPS: dict[str, type[Loop]] = {"shared_phase": SharedPhase, "plain": Plain, "narrowed": Narrowed}


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides a model's weights.

    Args:
        network: a name that `thinlens networks` prints; the model is named after it.
        data: which images.
        loop: how it is trained; ``kind`` is ``shared_phase``, ``plain`` or ``narrowed``.
        seed: of every random draw, >= 0.
        schedule: ``short`` if the training is shorter than its method's paper asks for.
        licence: SPDX identifier of the weights' licence.
    """

    network: str
    data: Data
    loop: SharedPhase | Plain | Narrowed
    seed: Annotated[int, Meta(ge=0)] = 0
    schedule: Literal["full", "short"] = "full"
    licence: str = "Apache-2.0"

    def canonical(self) -> bytes:
        """All values as JSON with sorted keys, defaults spelled out (but for those of `LATER`), without `data.root`."""
        neutral = msgspec.structs.replace(self, data=msgspec.structs.replace(self.data, root=""))
        values = msgspec.to_builtins(neutral)
        values["data"] = {key: value for key, value in values["data"].items() if value is not None}
        defaults = {field.name: field.default for field in msgspec.structs.fields(self.loop)}
        values["loop"] = {
            key: value
            for key, value in values["loop"].items()
            if key not in LATER or not value == LATER[key] == defaults[key]
        }
        return msgspec.json.encode(values, order="sorted")

    def sha256(self) -> str:
        """Hash of the canonical form."""
        return hashlib.sha256(self.canonical()).hexdigest()


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: a TOML file.
        overrides: ``a.b=value`` each, the value as TOML would have it (``loop.steps=100``, ``data.root="/data"``).

    Raises:
        RecipeError: if the file is missing or no TOML, or has an unknown key, a wrong type or a value out of range.
    """
    return to_recipe(read_table(path, overrides), where=str(path))


def read_table(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Read a TOML file and change it; arguments as in `read_recipe`.

    Raises:
        RecipeError: if the file is missing or no TOML, or an override is none.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"`{path}`: cannot be read as TOML: {reason}") from error
    for text in overrides:
        override(table, text)
    return table


def to_recipe(table: dict[str, Any], where: str = "recipe") -> Recipe:
    """Check a decoded TOML table; ``where`` begins the messages. Errors as in `read_recipe`."""
    try:
        recipe = msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{where}: {_explain(str(error), table)}") from error
    _check_loop(recipe.loop, where)
    _check_ranges(recipe.data, where)
    return recipe


def _check_ranges(data: Data, where: str) -> None:
    """Refuse ranges that are upside down."""
    for name, found in (("sigma", data.sigma), ("quality", data.quality)):
        if found is not None and found[0] > found[1]:
            raise RecipeError(f"{where}: `data.{name}`: got {list(found)}; accepted: the lower number first")


def _check_loop(loop: SharedPhase | Plain, where: str) -> None:
    """Check what no field can say alone."""
    if isinstance(loop, SharedPhase) and min(loop.patches, loop.val_patches) < loop.batch:
        least = min(loop.patches, loop.val_patches)
        raise RecipeError(
            f"{where}: `loop.patches`, `loop.val_patches`: got {least}; accepted: >= batch ({loop.batch})"
        )
    if isinstance(loop, Plain):
        idle = {"dual": ("dual_maps", "dual_loops"), "teacher": ("distil",)}
        for switch, names in idle.items():
            name = next((name for name in names if getattr(loop, name) != LATER[name]), None)
            if name is not None and not getattr(loop, switch):
                raise RecipeError(
                    f"{where}: `loop.{name}` has no effect without `loop.{switch}`; add that, or leave it out"
                )


def override(table: dict[str, Any], text: str) -> None:
    """Put one ``a.b=value`` into a table, in place; a value that is not TOML is text."""
    path, equals, wanted = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise RecipeError(f"--set: got `{text}`; accepted: key=value, such as `loop.steps=100`")
    try:
        value = tomllib.loads(f"value = {wanted}")["value"]
    except tomllib.TOMLDecodeError:
        value = wanted  # a shell takes quotes away: `data.root=/some/where` means the text
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {path}: `{key}` is a value, not a table; give its own name alone")
    table[keys[-1]] = value


def _explain(message: str, table: dict[str, Any]) -> str:
    """Turn msgspec's ``Expected `int`, got `str` - at `$.loop.steps``` into key, found, accepted, advice."""
    problem, _, at = message.partition(" - at `$")
    path = at.rstrip("`").strip(".")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL):
        return _explain_unknown(unknown[1].encode("unicode_escape").decode(), path, table)
    if missing := re.fullmatch(r"Object missing required field `(.*)`", problem):
        return f"`{_join(path, missing[1])}`: missing; add it"
    accepted = re.sub(r"^Expected ", "", problem).split(", got")[0]
    accepted = accepted.replace("`object`", "a table").replace("`array`", "a list")
    if problem.startswith("Invalid "):
        accepted = _accepted_values(path, table)
    return f"`{path or 'recipe'}`: got {_value_at(table, path)!r}; accepted: {accepted}"


def _explain_unknown(key: str, path: str, table: dict[str, Any]) -> str:
    kinds: dict[str, type[msgspec.Struct]] = {
        "": Recipe,
        "data": Data,
        "loop": LOOPS.get(str(_value_at(table, "loop.kind")), SharedPhase),
    }
    known = [*kinds.get(path, Recipe).__struct_fields__] + (["kind"] if path == "loop" else [])
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(f'`{_join(path, name)}`' for name in near)}? " if near else ""
    return f"`{_join(path, key)}`: unknown key; {hint}accepted: {', '.join(known)}"


def _accepted_values(path: str, table: dict[str, Any]) -> str:
    """Values that an enumerated field takes."""
    if path.endswith("kind"):
        return ", ".join(repr(kind) for kind in LOOPS)
    owner = {"data": Data, "loop": Narrowed}.get(path.split(".")[0], Recipe)
    hint = get_type_hints(owner).get(path.split(".")[-1].split("[")[0])
    return ", ".join(repr(value) for value in _literals(hint)) or f"not {_value_at(table, path)!r}"


def _literals(hint: Any) -> list[str]:
    """The texts that an annotation lists, however deep."""
    return [found for part in get_args(hint) for found in ([part] if isinstance(part, str) else _literals(part))]


def _value_at(table: Any, path: str) -> Any:
    for key in re.findall(r"[^.\[\]]+", path):
        if isinstance(table, list) and key.isdecimal() and int(key) < len(table):
            table = table[int(key)]
        else:
            table = table.get(key) if isinstance(table, dict) else None
    return table


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
