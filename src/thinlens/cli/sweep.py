"""`thinlens sweep`: train a grid of recipes, by any number of processes on any number of machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinlens.cli.options import Json
from thinlens.cli.output import print_json, print_line, print_table
from thinlens.cli.progress import Meter
from thinlens.cli.verb import FAILED, UsageError, needing_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna import Study

    from thinlens.train.sweep.grid import Group, Sweep
    from thinlens.train.sweep.study import Entry

Place = Annotated[
    str, typer.Argument(metavar="DIR_OR_STORAGE", help="The folder of `sweep run`, or the URL of its storage.")
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="DIR", readable=False, help="Folder for models; default: that of `run`."),
]
StudyName = Annotated[str | None, typer.Option("--study", metavar="NAME", help="Where a storage holds several.")]
Heartbeat = Annotated[
    int, typer.Option(min=1, metavar="SECONDS", help="Between signs of life; four without one, and a worker is dead.")
]
Root = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", readable=False, help="Root of the images; default: the sweep's.")
]
EXTRA = "sweep"


def run(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP", readable=False, help="A TOML file.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", readable=False, help="Folder for models and logs.")
    ],
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="A database for many machines; default: a file in DIR.")
    ] = None,
    data: Root = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the sweep; may be repeated.")
    ] = None,
    heartbeat: Heartbeat = 60,
    as_json: Json = False,
) -> int:
    """Queue every group of a grid of recipes and work until all are trained (needs the extras `train` and `sweep`).

    The same command goes on with a sweep that was stopped. `thinlens sweep work DIR` helps, from another terminal or
    machine.
    """
    with needing_extra("`thinlens sweep`", "train"):
        from thinlens.train.sweep.grid import groups_of, read_sweep
    with needing_extra("`thinlens sweep`", EXTRA):
        from thinlens.train.sweep.study import create_study
    wanted = read_sweep(sweep, overrides or ())
    groups = groups_of(wanted, str(sweep))
    output.mkdir(parents=True, exist_ok=True)
    root = data or Path(wanted.data.root)
    attrs = {
        "sweep": wanted.canonical().decode(),
        "groups": [(group.name, group.grid, len(group.networks)) for group in groups.values()],
        "folder": str(output.resolve()),
        "root": str(root.resolve()),
    }
    create_study(storage or str(output), heartbeat, sweep.stem, attrs)
    return _work(storage or str(output), sweep.stem, output, root, heartbeat, groups=groups, as_json=as_json)


def work(
    place: Place,
    output: Output = None,
    data: Root = None,
    study: StudyName = None,
    heartbeat: Heartbeat = 60,
    as_json: Json = False,
) -> int:
    """Help with a sweep until all is trained: another process, here or on another machine.

    Each takes the next group that nobody has. What a killed worker had begun, others go on with where they see its
    folder, and begin again where they do not.
    """
    return _work(place, study, output, data, heartbeat, as_json=as_json)


def status(place: Place, study: StudyName = None, as_json: Json = False) -> None:
    """Show how far a sweep is: done, being trained, failed, left, and the time that needs."""
    with needing_extra("`thinlens sweep`", EXTRA):
        from thinlens.train.sweep.study import open_study
    with open_study(place, 60, study) as found:
        _show(found, as_json=as_json)


def _work(
    place: str,
    name: str | None,
    folder: Path | None,
    root: Path | None,
    heartbeat: int,
    *,
    groups: "dict[str, Group] | None" = None,
    as_json: bool,
) -> int:
    with needing_extra("`thinlens sweep`", "train"):
        from thinlens.train.sweep.grid import groups_of
        from thinlens.train.sweep.worker import Worker
    with needing_extra("`thinlens sweep`", EXTRA):
        from thinlens.train.sweep.study import open_study
        from thinlens.train.sweep.study import work as work_on
    with open_study(place, heartbeat, name) as study, Meter() as meter:
        sweep = _sweep_of(study, root)
        target = folder or (Path(place) if "://" not in place else Path(study.user_attrs["folder"]))
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if not target.is_dir():
            raise UsageError(f"`{target}`, where the sweep was begun, is no folder here; say with `-o` where models go")
        worker = Worker(groups or groups_of(sweep), sweep.data, target, meter.show)
        work_on(study, worker.train, heartbeat)
        return FAILED if _show(study, as_json=as_json) else 0


def _sweep_of(study: "Study", root: Path | None) -> "Sweep":
    """The sweep of a study, with its images where this machine has them."""
    import msgspec

    from thinlens.train.sweep.grid import to_sweep

    sweep = to_sweep(msgspec.json.decode(study.user_attrs["sweep"]), study.study_name)
    data = msgspec.structs.replace(sweep.data, root=str(root or study.user_attrs["root"]))
    return msgspec.structs.replace(sweep, data=data)


def _show(study: "Study", *, as_json: bool) -> int:
    """Print how far a sweep is; return how many groups have failed."""
    import msgspec

    from thinlens.train.sweep.study import entries, eta_minutes

    found = entries(study)
    eta = eta_minutes(found)
    failed = [entry for entry in found if entry.state == "failed"]
    if as_json:
        record = {"study": study.study_name, **_counts(found), "eta_minutes": eta and round(eta, 1)}
        print_json({**record, "groups": [msgspec.to_builtins(entry) for entry in found]})
        return len(failed)
    grids = dict.fromkeys(entry.grid for entry in found)
    rows = [_row(grid, [entry for entry in found if entry.grid == grid]) for grid in grids]
    columns = (">models", ">trained", ">groups", ">done", ">running", ">failed", ">left", ">core hours")
    print_table(("networks", *columns), [*rows, _row("all", found)])
    for entry in failed:
        print_line(f"failed: {entry.group}: {entry.error}")
    print_line(f"{study.study_name}: {_when(found, eta)}")
    return len(failed)


def _counts(found: "Sequence[Entry]") -> dict[str, int | float]:
    """Models and groups by state, and what the done ones took."""
    states = {state: sum(e.state == state for e in found) for state in ("done", "running", "failed", "left")}
    models = {"models": sum(e.models for e in found), "models_done": sum(e.models for e in found if e.state == "done")}
    return {**models, "groups": len(found), **states, "core_hours": round(sum(e.minutes or 0 for e in found) / 60, 3)}


def _row(name: str, found: "Sequence[Entry]") -> tuple[object, ...]:
    counts = _counts(found)
    return (
        name,
        *(counts[key] for key in ("models", "models_done", "groups", "done", "running", "failed", "left")),
        f"{counts['core_hours']:.2f}",
    )


def _when(found: "Sequence[Entry]", eta: float | None) -> str:
    if all(entry.state in ("done", "failed") for entry in found):
        return "all is done"
    if not any(entry.state == "running" for entry in found):
        return "nobody is at work; `thinlens sweep work` goes on"
    return "no end is known yet" if eta is None else f"about {_duration(eta)} left"


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
