"""The table of verbs, and running one."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from thinlens.cli import sweep
from thinlens.cli.bench import memory, replay, speed
from thinlens.cli.choose import choose
from thinlens.cli.compress import compress
from thinlens.cli.doctor import doctor
from thinlens.cli.evaluate import evaluate
from thinlens.cli.export import export
from thinlens.cli.import_ import import_
from thinlens.cli.inspect import inspect
from thinlens.cli.models import models
from thinlens.cli.networks import networks
from thinlens.cli.output import clean
from thinlens.cli.report import report
from thinlens.cli.restore import restore
from thinlens.cli.sensitivity import sensitivity
from thinlens.cli.stream import stream
from thinlens.cli.templates import templates
from thinlens.cli.train import train
from thinlens.cli.verb import FAILED, INTERRUPTED, USAGE, print_error, verb

# Verb and the example that its help ends with, in the order of the help.
VERBS: tuple[tuple[Callable[..., int | None], str], ...] = (
    (restore, "thinlens restore photo.jpg -o photo_x4.png --scale 4"),
    (models, "thinlens models"),
    (choose, "thinlens choose --task sr --scale 2 --budget 20ms@1080p,64MB"),
    (inspect, "thinlens inspect edge_sr_tm_k7_c4_x2 --width 1920"),
    (stream, "thinlens stream edge_sr_tm_k7_c4_x2 --width 640 --format gray8 < rows.gray > rows_x2.gray"),
    (evaluate, "thinlens evaluate edge_sr_tm_k7_c4_x2 --data images/"),
    (networks, "thinlens networks"),
    (train, "thinlens train recipes/edge_sr_tm_k7_c4_x2.toml -o runs/tm --set loop.steps=200"),
    (import_, "thinlens import eSR-TM_s2_K7_C4.model -o official_tm.safetensors"),
    (
        compress,
        "thinlens compress espcn_d16_s32_x2 --method dcp --ratio 0.3 --method int8 --data images/ -o small.safetensors",
    ),
    (export, "thinlens export edge_sr_tm_k7_c4_x2 --to onnx -o edge_sr_tm_x2.onnx"),
    (report, "thinlens report docs/results -o report/"),
    (doctor, "thinlens doctor"),
)
# Verbs of two words: the first, what it does, and the table of the second.
GROUPS: tuple[tuple[str, str, tuple[tuple[Callable[..., int | None], str], ...]], ...] = (
    (
        "bench",
        "Measure speed and memory beside other runtimes.",
        (
            (speed, "thinlens bench speed edge_sr_tm_k7_c4_x2 --against ort,opencv --size 960x540 -o record.json"),
            (memory, "thinlens bench memory edge_sr_tm_k7_c4_x2 --size 1920x1080 --against ort"),
            (replay, "thinlens bench replay record.json"),
        ),
    ),
    (
        "analyse",
        "Study a model.",
        (
            (sensitivity, "thinlens analyse sensitivity edge_sr_tm_k7_c4_x2 -o study.svg"),
            (templates, "thinlens analyse templates edge_sr_tm_k7_c4_x2 --image photo.png -o study/"),
        ),
    ),
    (
        "sweep",
        "Train a grid of recipes, by any number of processes.",
        (
            (sweep.run, "thinlens sweep run recipes/sweeps/edge_sr.toml -o runs/pool --data images"),
            (sweep.work, "thinlens sweep work runs/pool"),
            (sweep.status, "thinlens sweep status runs/pool"),
        ),
    ),
)


def _show_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


def _add(parent: typer.Typer, verbs: tuple[tuple[Callable[..., int | None], str], ...]) -> None:
    for function, example in verbs:
        parent.command(function.__name__.rstrip("_"), epilog=f"Example: {example}")(verb(function))


app = typer.Typer(name="thinlens", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
_add(app, VERBS)
for _name, _help, _verbs in GROUPS:
    _group = typer.Typer(name=_name, help=_help, epilog=f"Example: {_verbs[0][1]}")
    _group.callback(invoke_without_command=True)(_show_help)
    _add(_group, _verbs)
    app.add_typer(_group)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"thinlens {version('thinlens')}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog="Example: thinlens restore photo.jpg -o photo_x2.jpg")
def thinlens(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Restore images with networks small enough for the edge."""
    _show_help(context)


def run(arguments: Sequence[str]) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name.

    Returns:
        The exit code: 0 all done, 1 at least one input failed, 2 usage or a missing extra, 130 Ctrl-C.
    """
    try:
        code = app(list(arguments), prog_name="thinlens", standalone_mode=False) or 0
        sys.stdout.flush()
    except typer.TyperException as error:
        print_error(_usage(error))
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        code = FAILED
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails again
    if code == INTERRUPTED:
        print_error("interrupted; no half-written file was left")
    return int(code)


def _usage(error: typer.TyperException) -> str:
    """A usage error as one line, with the help that explains it."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "thinlens"
    return f"{clean(error.format_message()).rstrip('.')}; `{command} --help` explains"
