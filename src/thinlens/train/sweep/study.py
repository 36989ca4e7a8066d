"""The shared list of a sweep's groups, an Optuna study: each group is a trial, and any number of workers take from it.

    queued (WAITING) -> being trained (RUNNING) -> done (COMPLETE)
                                                -> failed (FAIL) -> queued again, `TRIES` times in all

A worker that trains says so every few seconds; a trial whose worker has gone silent fails. Two workers may queue or
take the same group at the same moment: `is_taken` then lets the trial of the lower number have it, the other is PRUNED.
"""

import contextlib
import datetime
import os
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from thinlens.errors import RecipeError, UnknownNameError

FILE = "sweep.sqlite"
TRIES = 3
SILENT = 4  # heartbeats that may fail to come
LOCKED_SECONDS = 60  # a SQLite file is waited for
OPEN = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)
# What Optuna raises, by version and moment, where a worker ends a trial that it lost when it was taken for dead.
GIVEN_AWAY = (UpdateFinishedTrialError, ValueError, AssertionError)


class Entry(msgspec.Struct, frozen=True):
    """What the study knows about a group.

    Args:
        group: its name.
        grid: the pattern of its grid.
        models: that it makes.
        state: ``done``, ``running``, ``failed`` (and not tried again) or ``left``.
        minutes: of a core, once done.
        wall_minutes: once done.
        worker: host and process that has or had it.
        error: of the last failure.
    """

    group: str
    grid: str
    models: int
    state: str
    minutes: float | None = None
    wall_minutes: float | None = None
    worker: str | None = None
    error: str | None = None


def storage_url(where: str) -> str:
    """The URL of a study's storage: of a folder's own file, or as it is given (PostgreSQL by psycopg)."""
    if "://" not in where:
        return f"sqlite:///{Path(where) / FILE}"
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", where)


@contextlib.contextmanager
def open_storage(where: str, heartbeat: int) -> Iterator[RDBStorage]:
    """Open a storage, as a context.

    Args:
        where: a folder, or a URL.
        heartbeat: seconds between signs of life of a worker; `SILENT` times as long without one, and it is dead.

    Raises:
        RecipeError: if it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what went wrong is told by `entries`
    url = storage_url(where)
    kwargs: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        kwargs = {"connect_args": {"timeout": LOCKED_SECONDS}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = RDBStorage(url, kwargs, heartbeat_interval=heartbeat, grace_period=SILENT * heartbeat)
    except Exception as error:  # whatever the driver raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RecipeError(f"storage `{_without_password(url)}`: cannot be opened: {reason}") from error
    try:
        yield storage
    finally:
        storage.engine.dispose()


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def create_study(where: str, heartbeat: int, name: str, attrs: Mapping[str, Any]) -> None:
    """Make a sweep's study, or take up the one that is there; what has failed too often is tried again.

    Args:
        where: a folder, or a URL.
        heartbeat: see `open_storage`.
        name: of the study.
        attrs: ``sweep``: its canonical form; ``groups``: of each its name, grid and number of models, in order;
            ``folder`` and ``root``: where models go and where images are.

    Raises:
        RecipeError: if the study of that name belongs to another sweep.
    """
    with open_storage(where, heartbeat) as storage:
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        if study.user_attrs.get("sweep", attrs["sweep"]) != attrs["sweep"]:
            raise RecipeError(f"study `{name}` holds another sweep; go on with that, or use a new folder or database")
        for key, value in attrs.items():
            study.set_user_attr(key, value)
        study.set_user_attr("forgiven", len(study.get_trials(deepcopy=False)))
        queue(study)


@contextlib.contextmanager
def open_study(where: str, heartbeat: int, name: str | None) -> Iterator[optuna.Study]:
    """Open the study of a folder or a URL, as a context.

    Args:
        where: a folder, or a URL.
        heartbeat: see `open_storage`.
        name: of the study; None: the only one there.

    Raises:
        RecipeError: if there is none, or several and no name.
        UnknownNameError: if there is none of that name.
    """
    if "://" not in where and not (Path(where) / FILE).is_file():
        raise RecipeError(f"`{where}` holds no `{FILE}`; give the folder or the storage of a `thinlens sweep run`")
    with open_storage(where, heartbeat) as storage:
        chosen = _choose(storage, where, name)
        yield optuna.load_study(storage=storage, study_name=chosen, sampler=optuna.samplers.RandomSampler())


def _choose(storage: RDBStorage, where: str, name: str | None) -> str:
    names = sorted(study.study_name for study in storage.get_all_studies() if "sweep" in study.user_attrs)
    if name is not None and name not in names:
        raise UnknownNameError.of("study", name, names, f"there are {', '.join(names) or 'none'}")
    if not names or (name is None and len(names) > 1):
        found = f"the studies {', '.join(names)}; name one with `--study`" if names else "no sweep"
        raise RecipeError(f"`{_without_password(where)}` holds {found}")
    return name or names[0]


def trials_of(study: optuna.Study) -> dict[str, list[FrozenTrial]]:
    """All trials of each group, in the order of their numbers; groups without any are there, too."""
    found: dict[str, list[FrozenTrial]] = {name: [] for name, _, _ in study.user_attrs["groups"]}
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get("group") in found:
            found[trial.user_attrs["group"]].append(trial)
    return found


def queue(study: optuna.Study) -> None:
    """Queue every group that is neither queued, nor being trained, nor done, and that has not failed too often."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)
    for name, trials in trials_of(study).items():
        if not any(trial.state in OPEN for trial in trials) and failures(study, trials) < TRIES:
            study.enqueue_trial({}, user_attrs={"group": name})


def failures(study: optuna.Study, trials: Sequence[FrozenTrial]) -> int:
    """How often a group has failed since the sweep was last started; Ctrl-C is no failure."""
    return sum(
        trial.state == TrialState.FAIL
        and trial.number >= study.user_attrs["forgiven"]
        and not trial.user_attrs.get("interrupted")
        for trial in trials
    )


def is_taken(study: optuna.Study, trial: optuna.Trial, name: str) -> bool:
    """Whether another trial has the group: it is done, or comes first."""
    others = [other for other in trials_of(study)[name] if other.number != trial.number]
    return any(
        other.state == TrialState.COMPLETE or (other.state in OPEN and other.number < trial.number) for other in others
    )


def work(study: optuna.Study, train: Callable[[str], float], wait_seconds: float) -> None:
    """Take one group after the other until all are done or have failed too often.

    Args:
        study: of the sweep.
        train: trains the group of a name and gives the minutes that took; may have done so before.
        wait_seconds: between looks, while others are at work on the last ones.
    """

    def objective(trial: optuna.Trial) -> float:
        name = trial.user_attrs.get("group")
        if name is None or is_taken(study, trial, name):
            raise optuna.TrialPruned  # two workers saw the same last one
        trial.set_user_attr("worker", f"{platform.node()}:{os.getpid()}")
        try:
            return train(name)
        except KeyboardInterrupt:
            trial.set_user_attr("interrupted", True)
            raise
        except Exception as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            raise

    while True:
        queue(study)
        states = {trial.state for trials in trials_of(study).values() for trial in trials}
        if TrialState.WAITING in states:
            with contextlib.suppress(*GIVEN_AWAY):
                study.optimize(objective, n_trials=1, catch=(Exception,))
        elif TrialState.RUNNING in states:
            time.sleep(wait_seconds)
        else:
            return


def entries(study: optuna.Study) -> list[Entry]:
    """What the study knows about each group."""
    found = trials_of(study)
    return [_entry(study, name, grid, models, found[name]) for name, grid, models in study.user_attrs["groups"]]


def _entry(study: optuna.Study, name: str, grid: str, models: int, trials: Sequence[FrozenTrial]) -> Entry:
    by_state = {trial.state: trial for trial in trials}
    worker, error = (
        next((t.user_attrs[k] for t in reversed(trials) if k in t.user_attrs), None) for k in ("worker", "error")
    )
    state, minutes, wall = "left", None, None
    if TrialState.COMPLETE in by_state:
        done = by_state[TrialState.COMPLETE]
        state, minutes, worker, error = "done", done.value, done.user_attrs.get("worker"), None
        wall = round((done.duration or datetime.timedelta()).total_seconds() / 60, 3)
    elif TrialState.RUNNING in by_state:
        state = "running"
    elif failures(study, trials) >= TRIES:
        state, error = "failed", error or "its worker was killed each time"
    return Entry(name, grid, models, state, minutes, wall, worker, error)


def eta_minutes(found: Sequence[Entry]) -> float | None:
    """Minutes until all is done: what is left, by the mean of its grid so far, over the workers at work.

    Returns:
        None where nothing is known: nothing is done yet, or nobody is at work.
    """
    done: dict[str, list[float]] = {}
    for entry in found:
        if entry.wall_minutes is not None:
            cost = max(entry.wall_minutes, entry.minutes or 0)  # models that were there took no time now
            done.setdefault(entry.grid, []).append(cost)
    left = [entry.grid for entry in found if entry.state in ("left", "running")]
    workers = sum(entry.state == "running" for entry in found)
    if not left:
        return 0.0
    if not done or not workers:
        return None
    means = {grid: sum(times) / len(times) for grid, times in done.items()}
    overall = sum(means.values()) / len(means)
    return sum(means.get(grid, overall) for grid in left) / workers
