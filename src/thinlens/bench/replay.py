"""Measure again what a record says, and set then and now side by side."""

from collections.abc import Callable
from dataclasses import dataclass

from thinlens.bench.memory import measure_memory
from thinlens.bench.records import Record, SpeedRecord
from thinlens.bench.speed import measure_speed
from thinlens.bench.subjects import reopen

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Change:
    """One figure of a record, then and now.

    Args:
        model: its name.
        against: the peer; for memory, the way of working.
        then: speed: the ratio to the peer; memory: peak bytes over bare.
        now: likewise; None: it could not be measured.
        ratio: speed: now over then; memory: then over now; so that less than 1 is a loss. 0 if there is no ``now``.
    """

    model: str
    against: str
    then: float
    now: float | None
    ratio: float


def measure_again(record: Record, progress: Progress = lambda name, done, total: None) -> Record:
    """Measure a record's models with its settings on this machine.

    Args:
        record: of either kind.
        progress: as in `measure_speed`.

    Raises:
        RecordError: if a model of that name has another plan or other weights than then.
        ThinlensError, ImportError: as `measure_speed` and `measure_memory`.
    """
    size = record.settings.width, record.settings.height
    models = [reopen(subject, *size) for subject in record.models]
    if isinstance(record, SpeedRecord):
        return measure_speed(models, record.settings, progress)
    return measure_memory(models, record.settings, progress=progress)


def compare(then: Record, now: Record) -> list[Change]:
    """The figures of one record beside those of another of the same kind and settings, in the order of the first."""
    speed, later = isinstance(then, SpeedRecord), _figures(now)
    changes = []
    for (model, against), old in _figures(then).items():
        new = later.get((model, against))
        ratio = 0.0 if new is None else new / old if speed else old / new
        changes.append(Change(model, against, old, new, ratio))
    return changes


def _figures(record: Record) -> dict[tuple[str, str], float]:
    if isinstance(record, SpeedRecord):
        return {(result.model, result.peer): result.ratio for result in record.results}
    return {(result.model, result.way): result.peak for result in record.results}
