"""Restoring many files: what is the same whether this process does it, workers beside it, or a cluster.

A `Way` plans jobs, checks them and restores them; `run_batch` keeps the journal, prints the records and the summary.
"""

import contextlib
import io
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thinlens.atomic import remove_abandoned
from thinlens.cli.checks import Settings, Step, check, check_heat_maps
from thinlens.cli.jobs import Job, plan_jobs
from thinlens.cli.journal import Journal, LocalLog, Log, describe_run
from thinlens.cli.output import clean, print_json, print_line
from thinlens.cli.progress import Meter
from thinlens.cli.restore import Record, restore_step
from thinlens.cli.verb import FAILED, UsageError, print_error, set_debug
from thinlens.image.formats import format_of_suffix
from thinlens.runtime.restore import Restorer, Wish
from thinlens.runtime.session import usable_cpus

if TYPE_CHECKING:
    from types import TracebackType

NOTES = {
    "done": "done by an earlier run",
    "changed": "the input has changed since an earlier run; done again",
}


@dataclass(frozen=True)
class Orders:
    """All that the command said; can be sent to other processes.

    Args:
        wish: what is wanted of each image.
        threads: of one process; None: as many as it may use.
        settings: how results are written, and what may be read.
        workers: processes; None: this one, or, on a cluster, as many as it has room for.
        resume: go on with an earlier run.
        on: ``ray``, ``ray://HOST:PORT`` or None.
        debug: whether tracebacks are shown.
    """

    wish: Wish
    threads: int | None
    settings: Settings
    workers: int | None = None
    resume: bool = False
    on: str | None = None
    debug: bool = False


def threads_of(threads: int | None, workers: int | None, on: str | None) -> int | None:
    """Threads of one process: workers share out what is given, or all processors; on a cluster each has its own."""
    if on is not None:
        return threads or 1
    return threads if workers is None else max(1, (threads or usable_cpus()) // workers)


class Hand:
    """Restores jobs in a process that works for a command; opens its session once.

    Args:
        orders: of the command.
    """

    def __init__(self, orders: Orders) -> None:
        set_debug(orders.debug)
        self.settings = orders.settings
        self.restorer = Restorer(orders.wish, threads=orders.threads)

    def restore(self, job: Job, *, dry: bool = False) -> tuple[Record, str]:
        """Check and restore one job; return its record, and what the command is to print on stderr."""
        settings = replace(self.settings, dry_run=True) if dry else self.settings
        with contextlib.redirect_stderr(io.StringIO()) as told, Meter() as meter:
            record = restore_step(check(job, self.restorer, settings), self.restorer, settings, meter)
        return record, told.getvalue()


class Way:
    """How jobs are restored: here, one after the other.

    Args:
        orders: of the command.
        restorer: made from them.
    """

    def __init__(self, orders: Orders, restorer: Restorer) -> None:
        self.orders, self.restorer = orders, restorer

    def __enter__(self) -> "Way":
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        """Let go of what was started."""

    def place(self, name: Path) -> Path:
        """What the command's output names."""
        return name

    def plan(self, inputs: Sequence[str], output: Path, *, recursive: bool) -> list[Job]:
        """Expand inputs and name their outputs; see `plan_jobs`."""
        settings = self.orders.settings
        return plan_jobs(inputs, output, recursive=recursive, format=settings.format, overwrite=settings.overwrite)

    def log(self, output: Path) -> Log:
        """Where the journal of a run into a folder is kept."""
        return LocalLog(output)

    def stamp(self, path: Path) -> list[object] | None:
        """What changes when a file does: its size and time; None if there is no such file."""
        try:
            found = path.stat()
        except OSError:
            return None
        return [found.st_size, found.st_mtime_ns]

    def check(self, job: Job) -> Step:
        """Tell what can be told of a job before any work."""
        return check(job, self.restorer, self.orders.settings)

    def restore(self, steps: Sequence[Step], meter: Meter) -> Iterator[tuple[int, Record]]:
        """Restore what is planned.

        Yields:
            Of each step, in any order: its number and what its record says besides the names.
        """
        for number, step in enumerate(steps):
            yield number, restore_step(step, self.restorer, self.orders.settings, meter)
            meter.drop(clean(step.job.source.name))

    def clear(self, folders: set[Path]) -> None:
        """Remove what killed runs left in the output folders."""
        for folder in folders:
            remove_abandoned(folder)


def run_batch(
    inputs: Sequence[str], output: Path, orders: Orders, restorer: Restorer, *, recursive: bool, as_json: bool
) -> int:
    """Check all files, then restore them; failures are listed at the end.

    Returns:
        The exit code of the command.

    Raises:
        UsageError: if the inputs or options contradict each other, or the run that is to be resumed.
        MissingExtraError: for a cluster, without the extra.
    """
    begun, tally, settings = time.monotonic(), Tally(), orders.settings
    with _way(orders, restorer) as way, Meter() as meter:
        output = way.place(output)
        jobs = way.plan(inputs, output, recursive=recursive)
        if settings.certify is not None:
            check_heat_maps(jobs)
        with contextlib.closing(_journal(way, jobs, output)) as journal:
            steps = _checked(journal.recall(jobs), way, meter)
            if not settings.dry_run:
                way.clear({job.target.parent for job in jobs})
                journal.begin(steps)
            for number, facts in way.restore(steps, meter):
                record = _named(steps[number].job, facts)
                journal.note(steps[number].job, record)
                tally.add(number, record)
                if len(steps) > 1:
                    meter.show("files", tally.count, len(steps))
                _print_record(record, as_json=as_json)
            journal.finished = True
    for _, line in sorted(tally.errors):
        print_error(line)
    _print_summary(tally, restorer.task, time.monotonic() - begun, as_json=as_json)
    return FAILED if tally.errors else 0


def _way(orders: Orders, restorer: Restorer) -> Way:
    if orders.on is not None:
        from thinlens.cli.fleet import Fleet

        return Fleet(orders, restorer)
    if orders.workers is not None and not orders.settings.dry_run:
        from thinlens.cli.workers import Workers

        return Workers(orders, restorer)
    return Way(orders, restorer)


def _journal(way: Way, jobs: Sequence[Job], output: Path) -> Journal:
    """The journal of this run; one for one file remembers nothing."""
    orders = way.orders
    to_file = len(jobs) == 1 and jobs[0].target == output and format_of_suffix(output) is not None
    if orders.resume and to_file:
        raise UsageError(f"`--resume` goes on with a run into a folder; `{output}` is one file: leave `--resume` out")
    if not orders.resume and (len(jobs) == 1 or orders.settings.dry_run):
        return Journal(None, way.stamp, output, {}, resume=False)
    return Journal(
        way.log(output),
        way.stamp,
        output,
        describe_run(orders.wish, orders.settings),
        resume=orders.resume,
        replaces=orders.settings.overwrite or orders.settings.certify is not None,
    )


def _checked(jobs: Sequence[Job], way: Way, meter: Meter) -> list[Step]:
    """Check every file before any work."""
    steps = []
    for number, job in enumerate(jobs):
        meter.show("checks", number, len(jobs))
        steps.append(way.check(job))
    meter.drop("checks")
    return steps


def _named(job: Job, facts: Record) -> Record:
    """The record of a job: its names, its facts, and what came of earlier tries."""
    record: Record = {"input": str(job.source), "output": str(job.target)} | facts
    if job.past in NOTES and record["status"] != "failed":
        record["note"] = "; ".join(str(text) for text in (NOTES[job.past], facts.get("note")) if text)
    return record


@dataclass
class Tally:
    """What is remembered of the records: not they themselves, of which there may be many.

    Attributes:
        statuses: how many there were of each.
        models: names.
        errors: number of the job and line, of those that failed.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    models: set[str] = field(default_factory=set)
    errors: list[tuple[int, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many records there were."""
        return self.statuses.total()

    def add(self, number: int, record: Record) -> None:
        """Take in one record."""
        self.statuses[str(record["status"])] += 1
        if record.get("model"):
            self.models.add(str(record["model"]))
        if "error" in record:
            self.errors.append((number, str(record["error"])))


def _print_record(record: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    elif record["status"] != "failed":
        print_line(f"{record['input']} -> {record['output']} ({', '.join(_details(record))})")


def _details(record: Record) -> Iterator[str]:
    """What the line of a result says in brackets."""
    if record["status"] != "restored":
        yield str(record["status"])
    if "width" in record:
        yield f"{record['width']}x{record['height']}"
    if "seconds" in record:
        yield f"{record['seconds']:.1f} s"
    for name in ("note", "consistency"):
        if name in record:
            yield str(record[name])


def _print_summary(tally: Tally, task: str, seconds: float, *, as_json: bool) -> None:
    counts = {status: tally.statuses[status] for status in ("restored", "planned", "skipped", "failed")}
    models = sorted(tally.models)
    if as_json:
        print_json({"summary": {"task": task, "models": models, **counts, "seconds": round(seconds, 3)}})
    elif tally.count > 1:
        done = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        print_line("; ".join([done, *models, f"{seconds:.1f} s"]))
