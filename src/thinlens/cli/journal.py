"""The journal of a run into a folder: what lets `--resume` go on exactly where a run was cut off.

It is a hidden file in the output folder, JSON line by line. A run begins with one line of its settings, then one for
each job that it is to do, with the size and time of its input; all these are on the disk before any work. Each job that
ends adds a line. Nothing is ever rewritten, so that whatever happens only the last line can be torn.

A job without an end is left to do, unless its output is there: outputs appear whole, and it was not there at the start.
"""

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from thinlens.cli.checks import Settings, Step
from thinlens.cli.jobs import Job, Past
from thinlens.cli.verb import UsageError, print_error
from thinlens.runtime.restore import Wish

if sys.platform != "win32":
    import fcntl

NAME = ".thinlens-journal.jsonl"
SYNC_SECONDS = 5.0
Line = dict[str, Any]
Stamp = Callable[[Path], list[object] | None]


class Log(Protocol):
    """Where the lines of a journal are kept."""

    name: str

    def read(self) -> bytes:
        """Return all lines, for going on with them; empty if there are none."""

    def open(self, *, keep: int) -> None:
        """Make ready for writing after the first ``keep`` bytes; what follows them is gone. 0: all is gone."""

    def write(self, data: bytes, *, sync: bool) -> None:
        """Append lines, which outlive this process, and with ``sync`` the machine's next crash."""

    def close(self, *, remove: bool) -> None:
        """Let go; ``remove`` it if so told."""


class LocalLog:
    """A file in the output folder, locked while a run writes it.

    Args:
        folder: of the outputs.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.name = str(self._path)
        self._file: BinaryIO | None = None

    def read(self) -> bytes:
        """See `Log`; raises UsageError if another run is writing it."""
        if not self._path.exists():
            return b""
        self._file = self._locked()
        return self._file.read()

    def open(self, *, keep: int) -> None:
        """See `Log`; raises UsageError if another run is writing it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._file or self._locked()
        self._file.truncate(keep)
        self._file.seek(keep)

    def write(self, data: bytes, *, sync: bool) -> None:
        """See `Log`."""
        if self._file is not None:
            self._file.write(data)
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())

    def close(self, *, remove: bool) -> None:
        """See `Log`."""
        if self._file is not None:
            if remove and sys.platform != "win32":
                self._path.unlink(missing_ok=True)  # while the lock is held
            self._file.close()
            if remove and sys.platform == "win32":
                self._path.unlink(missing_ok=True)  # open files cannot be removed there
            self._file = None

    def _locked(self) -> BinaryIO:
        file = self._path.open("r+b" if self._path.exists() else "w+b")
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.close()
                raise UsageError(
                    f"`{self._path}`: another run writes into this folder; wait for it, or give another output"
                ) from error
            except OSError:
                pass  # a file system without locks: then nobody can be told from a run that was killed
        return file


@dataclass
class Entry:
    """What a journal knows of a job.

    Args:
        stamp: of its input when it was listed; None: it was not, its check forbade it.
        replaces: whether its output may have been there before.
        status: how it ended; empty if it did not.
    """

    stamp: list[object] | None = None
    replaces: bool = False
    status: str = ""


class Journal:
    """The journal of this run, and what an earlier one left.

    Args:
        log: where it is kept; None: nowhere.
        stamp: tells what changes when a file does; None if there is no such file.
        output: folder of the outputs.
        run: the settings that results depend on, see `describe_run`.
        resume: go on with the earlier run, and stay when all is done; else begin anew, and go away.
        replaces: whether an output that is there need not be this run's own.

    Attributes:
        finished: whether every job has ended, well or not.

    Raises:
        UsageError: if the earlier run had other settings, or its journal is damaged or in use.
    """

    def __init__(
        self, log: Log | None, stamp: Stamp, output: Path, run: Line, *, resume: bool, replaces: bool = False
    ) -> None:
        self._log, self._stamp, self._output, self._run = log, stamp, output, run
        self._resume, self._replaces = resume, replaces
        self.finished = False
        self._open = self._any_done = False
        self._entries: dict[str, Entry] = {}
        self._keep = 0
        self._synced = time.monotonic()
        if log is not None and resume:
            try:
                self._read(log)
            except BaseException:
                log.close(remove=False)
                raise

    def recall(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs, with what the earlier run came to."""
        if not self._keep or self._log is None:
            return list(jobs)
        known = [replace(job, past=self._past(job)) for job in jobs]
        done = sum(job.past == "done" for job in known)
        failed = sum(entry.status == "failed" for entry in self._entries.values())
        again = f", {failed} of them failed before" if failed else ""
        print_error(f"going on with the run in `{self._output}`: {done} files done, {len(jobs) - done} left{again}")
        return known

    def begin(self, steps: Sequence[Step]) -> None:
        """List what is to be done, on the disk."""
        log, planned = self._log, [step.job for step in steps if step.status == "planned"]
        if log is None or not (planned or self._resume):
            return
        try:
            log.open(keep=self._keep)
            self._open = True
            log.write(b"".join(map(_packed, self._listing(planned))), sync=True)
        except UsageError as error:
            if self._resume:
                raise
            self._give_up(error)
        except OSError as error:
            self._give_up(error)

    def note(self, job: Job, record: Line) -> None:
        """Write how a job ended."""
        if not self._open or self._log is None or job.past == "done":
            return
        line = {"output": self._key(job), "status": record["status"]}
        if "error" in record:
            line["error"] = record["error"]
        self._any_done |= record["status"] == "restored"
        now = time.monotonic()
        sync = now - self._synced > SYNC_SECONDS
        try:
            self._log.write(_packed(line), sync=sync)
        except OSError as error:
            self._give_up(error)
        self._synced = now if sync else self._synced

    def close(self) -> None:
        """Go away if all is done, or nothing; unless a user resumes by it."""
        if self._log is not None:
            remove = self._open and not self._resume and (self.finished or not self._any_done)
            with contextlib.suppress(OSError):
                if self._open and not remove:
                    self._log.write(b"", sync=True)
                self._log.close(remove=remove)

    def _give_up(self, error: Exception) -> None:
        """Go on without a journal, which the user is told."""
        self._open = False
        reason = getattr(error, "strerror", None) or error
        name = "" if self._log is None else self._log.name
        print_error(f"`{name}`: no journal can be kept ({reason}); `--resume` will know nothing of this run")

    def _listing(self, jobs: Sequence[Job]) -> Iterator[Line]:
        yield {"run": self._run, "replaces": self._replaces}
        for job in jobs:
            yield {"input": str(job.source), "output": self._key(job), "stamp": self._stamp(job.source)}

    def _key(self, job: Job) -> str:
        """An output's path inside the folder: the folder may be moved."""
        return job.target.relative_to(self._output).as_posix()

    def _past(self, job: Job) -> Past:
        entry = self._entries.get(self._key(job)) if job.error is None else None
        if entry is None or entry.status == "failed":
            return "new"
        if entry.status == "skipped" and entry.stamp is None:
            return "done" if self._stamp(job.target) else "new"
        changed = self._stamp(job.source) != entry.stamp
        if job.source == job.target:  # the input is the output, and must not be restored twice
            return "done" if changed or entry.status else "new"
        if not self._stamp(job.target):
            return "new"
        if changed:
            return "changed"
        return "done" if entry.status or not entry.replaces else "begun"

    def _read(self, log: Log) -> None:
        data = log.read()
        self._keep = data.rfind(b"\n") + 1  # what follows is torn
        replaces = False
        for number, text in enumerate(data[: self._keep].splitlines(), 1):
            try:
                line = json.loads(text)
                if "run" in line:
                    self._check_run(line["run"])
                    replaces = bool(line["replaces"])
                elif "stamp" in line:
                    self._entries[line["output"]] = Entry(line["stamp"], replaces)
                else:
                    self._entries.setdefault(line["output"], Entry()).status = line["status"]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if isinstance(error, UsageError):
                    raise
                raise UsageError(
                    f"`{log.name}`: line {number} is damaged; remove the file and finish with `--skip-existing`"
                ) from error

    def _check_run(self, run: Line) -> None:
        """Refuse to mix results of two settings."""
        for name in self._run | run:
            was, now = run.get(name), self._run.get(name)
            if was != now:
                raise UsageError(
                    f"`{self._output}`: its run was begun with {name} {_text(was)}, now it is {_text(now)}; "
                    f"give the same to go on, or another output; or remove `{self._log and self._log.name}`"
                )


def describe_run(wish: Wish, settings: Settings) -> Line:
    """What results depend on, as JSON: a run that differs in any of it is another run."""
    model = wish.model
    if model is not None and Path(model).is_file():
        model = f"sha256 {hashlib.sha256(Path(model).read_bytes()).hexdigest()}"
    return {
        "thinlens": version("thinlens"),
        "task": wish.task,
        "scale": wish.scale,
        "size": None if wish.size is None else f"{wish.size[1]}x{wish.size[0]}",
        "model": model,
        "prefer": wish.prefer,
        "sigma": wish.sigma,
        "quality": wish.quality,
        "format": settings.format,
        "jpeg_quality": settings.jpeg_quality,
        "strip": settings.strip,
        "certify": settings.certify,
    }


def _packed(line: Line) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _text(value: object) -> str:
    return "not given" if value is None else f"`{value}`"
