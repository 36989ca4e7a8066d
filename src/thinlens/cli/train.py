"""`thinlens train`: from a recipe to a model file."""

import math
from pathlib import Path
from typing import Annotated

import typer

from thinlens.cli.options import Json
from thinlens.cli.output import print_json, print_line
from thinlens.cli.progress import Meter
from thinlens.cli.verb import UsageError, needing_extra


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", readable=False, help="A TOML file.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", readable=False, help="Folder for model, log and checkpoints."),
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training that DIR holds.")] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, metavar="N", help="Pause after that time, to be resumed; default: train to the end."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train what a recipe says and leave DIR/model.safetensors (needs the extra `train`)."""
    with needing_extra("`thinlens train`", "train"):
        from thinlens.train.loop import Paused
        from thinlens.train.pipeline import run_recipe
        from thinlens.train.recipe import read_recipe
    from thinlens.model.file import read_model

    if minutes is not None and math.isnan(minutes):
        raise UsageError(f"`--minutes`: got {minutes}; accepted: 0 and more")
    wanted = read_recipe(recipe, overrides or ())
    try:
        with Meter() as meter:
            path = run_recipe(wanted, output, resume=resume, minutes=minutes, progress=meter.show)
    except Paused as paused:
        if as_json:
            print_json({"path": None, "model": wanted.network, "part": paused.name, "step": paused.step})
        else:
            print_line(f"{output}: {paused}; `--resume` goes on")
        return
    card = read_model(path).card
    if as_json:
        print_json({"path": str(path), "model": card.name, "params": card.params, "steps": card.training.steps})
    else:
        print_line(f"{path}: {card.name}, {card.params} parameters, {card.training.steps} steps")
