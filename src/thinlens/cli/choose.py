"""`thinlens choose`: the best model that keeps a budget of time and memory on this machine."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thinlens.cli.budget import HELP, Budget, parse_budget
from thinlens.cli.options import RAW_FORMATS, Json, RawFormat, Threads
from thinlens.cli.output import print_fields, print_json, print_table, to_bytes_text
from thinlens.cli.verb import UsageError
from thinlens.errors import BudgetError

if TYPE_CHECKING:
    from thinlens.bench.choose import Promise

BUSY = 0.75  # load a processor
COLUMNS = ("", "model", ">promised", ">memory", ">PSNR on val", "budget")


def choose(
    budget: Annotated[Budget, typer.Option(metavar="TIME@SIZE,MEMORY", parser=parse_budget, help=HELP)],
    task: Annotated[Literal["sr", "denoise", "deblock"], typer.Option(help="What to do.")] = "sr",
    scale: Annotated[int | None, typer.Option(metavar="2|3|4", help="For sr; default: 2.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="MODEL", help="A model to choose among, beside those that ship; may be repeated."
        ),
    ] = None,
    format_: Annotated[RawFormat, typer.Option("--format", help="Of the images.")] = "rgb24",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Choose the best model that keeps a budget here: each is timed on a strip of an image, in about a second in all.

    Time is that of a whole image from memory to memory, in a process that has warmed up. Memory is that of a process
    that does nothing else. The best is that of the highest PSNR on validation images.
    """
    if task != "sr" and scale is not None:
        raise UsageError(f"`--scale {scale}`: task {task} keeps the size; leave it out")
    scale = (scale or 2) if task == "sr" else 1
    choice = choose_within(budget, task, scale, named=models or (), format_=format_, threads=threads)
    if as_json:
        print_json(choice.record())
    else:
        choice.print()
    choice.best()


@dataclass(frozen=True)
class Choice:
    """What was measured, and what follows from it.

    Args:
        budget: to keep.
        task: ``sr``, ``denoise`` or ``deblock``.
        source: width and height of the image that goes in.
        format: its pixels.
        threads: that worked.
        seconds: that measuring took.
        load: processes that wanted to run before it, the mean of a minute; None where the system does not tell.
        promises: of the models, the cheapest first.
        pick: the best of those that keep the budget; None: none does.
    """

    budget: Budget
    task: str
    source: tuple[int, int]
    format: RawFormat
    threads: int
    seconds: float
    load: float | None
    promises: "Sequence[Promise]"
    pick: "Promise | None"

    @property
    def busy(self) -> bool:
        """Whether so much else wanted to run that times are worth little."""
        return self.load is not None and self.load > BUSY * (os.cpu_count() or 1)

    def excess(self, promise: "Promise") -> str | None:
        """Why a model does not keep the budget; None: it does."""
        return promise.excess(self.budget.seconds, self.budget.memory_bytes)

    def best(self) -> "Promise":
        """The pick; raise BudgetError, saying what would fit, if no model keeps the budget."""
        if self.pick is not None:
            return self.pick
        rated = [promise for promise in self.promises if promise.psnr_db is not None] or self.promises
        quickest, smallest = min(rated, key=lambda p: p.seconds), min(rated, key=lambda p: p.memory_bytes)
        told = f"the quickest, `{quickest.name}`, takes {takes(quickest)}"
        if smallest is not quickest:
            told += f"; the smallest, `{smallest.name}`, takes {takes(smallest)}"
        raise BudgetError(f"no model keeps {self.budget.text} here: {told}; allow that, or use other threads (`-j`)")

    def describe(self) -> str:
        """The pick, and why it is, in a line."""
        best, kept = self.best(), sum(self.excess(promise) is None for promise in self.promises)
        why = f"{best.psnr_db:.2f} dB on val, the best of {kept} that keep {self.budget.text}"
        return f"`{best.name}`: {takes(best)} promised; {why}"

    def record(self) -> dict[str, object]:
        """For JSON."""
        candidates = [
            {
                "model": promise.name,
                "ms": round(promise.seconds * 1e3, 3),
                "memory_bytes": promise.memory_bytes,
                "psnr_db": promise.psnr_db,
                "fits": self.excess(promise) is None,
                "why_not": self.excess(promise),
            }
            for promise in self.promises
        ]
        return {
            "budget": asdict(self.budget),
            "task": self.task,
            "image": {"width": self.source[0], "height": self.source[1], "format": self.format},
            "threads": self.threads,
            "seconds": round(self.seconds, 2),
            "load": self.load,
            "pick": self.pick and self.pick.name,
            "candidates": candidates,
        }

    def print(self) -> None:
        """For people."""
        rows = [
            (
                "->" if promise is self.pick else None,
                promise.name,
                to_time_text(promise.seconds),
                to_bytes_text(promise.memory_bytes),
                None if promise.psnr_db is None else f"{promise.psnr_db:.2f} dB",
                self.excess(promise) or "kept",
            )
            for promise in self.promises
        ]
        print_table(COLUMNS, rows)
        (width, height), result = self.source, f"{self.budget.width}x{self.budget.height}"
        print_fields(
            [
                ("image", f"{width}x{height} {self.format}, for a result of {result}"),
                ("threads", self.threads),
                ("measured in", f"{self.seconds:.1f} s"),
                (
                    "load",
                    f"{self.load:g}: busy, promises are worth little; repeat when it is quiet" if self.busy else None,
                ),
            ]
        )


def choose_within(
    budget: Budget,
    task: str,
    scale: int,
    *,
    named: Sequence[str] = (),
    format_: RawFormat = "rgb24",
    threads: int | None = None,
) -> Choice:
    """Measure the models of a task and scale on images whose result is as large as a budget says, or just larger.

    Args:
        budget: to keep.
        task: ``sr``, ``denoise`` or ``deblock``.
        scale: 1 unless the task is ``sr``.
        named: models to choose among beside those that ship.
        format_: of the images.
        threads: that work; None: as many as the process may use.

    Raises:
        UnknownNameError: if no model ships for task and scale, or a named one is of another.
        ShapeError: if a model takes no image of that size.
    """
    from thinlens.bench.choose import choose, find_candidates, measure_promises
    from thinlens.models import find_model
    from thinlens.runtime.compile import ImageKind

    begun, load = time.monotonic(), round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    kind = ImageKind(*RAW_FORMATS[format_])
    sessions = find_candidates(task, scale, named, gray=kind.channels == 1, threads=threads)
    width, height = -(-budget.width // scale), -(-budget.height // scale)
    promises = list(measure_promises(sessions, find_model(next(iter(sessions))), height, width, kind))
    pick = choose(promises, budget.seconds, budget.memory_bytes)
    used = next(iter(sessions.values())).threads
    return Choice(budget, task, (width, height), format_, used, time.monotonic() - begun, load, promises, pick)


def takes(promise: "Promise") -> str:
    """Time and memory of a promise in words."""
    return f"{to_time_text(promise.seconds)} and {to_bytes_text(promise.memory_bytes)}"


def to_time_text(seconds: float) -> str:
    """Short times for people: ``0.85 ms``, ``12.3 ms``, ``1.24 s``."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.{1 if seconds >= 0.01 else 2}f} ms"
