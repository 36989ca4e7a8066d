"""Processes beside this one that restore its files, one at a time each, with an engine session of their own.

They are spawned, so that they share nothing, and they end with this process, however it ends. One that dies costs no
more than its file, which is tried once more after all others.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from thinlens.cli.batch import Hand, Orders, Way
from thinlens.cli.checks import Step
from thinlens.cli.jobs import Job
from thinlens.cli.output import clean
from thinlens.cli.progress import Meter
from thinlens.cli.restore import Record, restore_step
from thinlens.errors import ThinlensError
from thinlens.runtime.restore import Restorer

TRIES = 2
STILLBORN = 3  # workers in a row that may die before they can work
END_SECONDS = 2.0


@dataclass(frozen=True)
class Errand:
    """A job on its way through the workers.

    Args:
        number: of its step.
        job: what to do.
        tries: how often it was handed out.
    """

    number: int
    job: Job
    tries: int = 0


@dataclass
class Worker:
    """A process, seen from here.

    Args:
        process: it.
        ready: whether its session is open.
        errand: what it works on.
    """

    process: SpawnProcess
    ready: bool = False
    errand: Errand | None = None


class Workers(Way):
    """Restores by several processes; records come as files are done."""

    def __init__(self, orders: Orders, restorer: Restorer) -> None:
        super().__init__(orders, restorer)
        self._workers: dict[Connection, Worker] = {}
        self._waiting = deque[Errand]()
        self._stillborn = 0

    def __exit__(self, *_: object) -> None:
        """End all workers at once, and remove what they were writing."""
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join(END_SECONDS)
            worker.process.kill()
            worker.process.join()
        self.clear({worker.errand.job.target.parent for worker in self._workers.values() if worker.errand})

    def restore(self, steps: Sequence[Step], meter: Meter) -> Iterator[tuple[int, Record]]:
        """See `Way`: first what needs no work, then as files are done."""
        for number, step in enumerate(steps):
            if step.status == "planned":
                self._waiting.append(Errand(number, step.job))
            else:
                yield number, restore_step(step, self.restorer, self.orders.settings, meter)
        while self._waiting or self._busy():
            self._start()
            self._hand_out()
            for pipe in wait(list(self._workers)):
                yield from self._heard(pipe, meter)  # type: ignore[arg-type]  # it is one of those given

    def _busy(self) -> int:
        return sum(worker.errand is not None for worker in self._workers.values())

    def _start(self) -> None:
        """Start as many workers as are wanted and have something to do."""
        wanted = min(self.orders.workers or 1, len(self._waiting) + self._busy())
        while len(self._workers) < wanted:
            pipe, end = multiprocessing.get_context("spawn").Pipe()
            process = multiprocessing.get_context("spawn").Process(target=work, args=(self.orders, end), daemon=True)
            with _interrupts_blocked():
                process.start()
            end.close()
            self._workers[pipe] = Worker(process)

    def _hand_out(self) -> None:
        for pipe, worker in self._workers.items():
            if worker.ready and worker.errand is None and self._waiting:
                errand = self._waiting.popleft()
                worker.errand = replace(errand, tries=errand.tries + 1)
                with contextlib.suppress(OSError):  # it has died, which is heard next
                    pipe.send(errand.job)

    def _heard(self, pipe: Connection, meter: Meter) -> Iterator[tuple[int, Record]]:
        """Take what a worker sent: nothing but that it is ready, a record, or its end."""
        worker = self._workers[pipe]
        try:
            result: tuple[Record, str] | None = pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(pipe)
            return
        self._stillborn, worker.ready = 0, True
        if result is not None and worker.errand is not None:
            record, told = result
            for line in told.splitlines():
                meter.say(line)
            number, worker.errand = worker.errand.number, None
            yield number, record

    def _bury(self, pipe: Connection) -> Iterator[tuple[int, Record]]:
        """Put a dead worker's job back, or give it up."""
        worker = self._workers.pop(pipe)
        worker.process.join()
        pipe.close()
        code = worker.process.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                raise ThinlensError(
                    f"workers die at their start ({how}); is there enough memory? use fewer `--workers`, or none"
                )
        if worker.errand is None:
            return
        number, job, tries = worker.errand.number, worker.errand.job, worker.errand.tries
        self.clear({job.target.parent})
        if tries < TRIES:  # its output, should there be one, is its own: the check found none
            self._waiting.append(Errand(number, replace(job, past="begun" if job.past == "new" else job.past), tries))
            return
        name = clean(str(job.source))
        reason = f"its worker ended {how}, {tries} times; short of memory? use fewer `--workers`"
        yield number, {"status": "failed", "error": f"`{name}`: {reason}"}


def work(orders: Orders, pipe: Connection) -> None:
    """What a worker does: restore the jobs that the pipe brings, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too, but the command ends it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary files go
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hand = Hand(orders)
    pipe.send(None)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            pipe.send(hand.restore(pipe.recv()))


def _end_with_parent() -> None:
    """End this process when the command's has ended, even in the middle of a file."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started inside inherit that Ctrl-C does not reach them, from their first moment on."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
