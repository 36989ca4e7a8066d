"""Work in a thread of its own, so that an interrupt reaches the thread that waits for it."""

import threading
from collections.abc import Callable

POLL_SECONDS = 0.1  # between two looks at how far the work is


class StopWork(Exception):  # noqa: N818  # no error: the work is not wanted any more
    """Ends work from within."""


class Worker(threading.Thread):
    """Work that counts how far it is.

    Args:
        work: called with the worker; calls `count` for each step that is done.

    ``stopped`` is set once nobody waits for the rest.
    """

    def __init__(self, work: Callable[["Worker"], None]) -> None:
        super().__init__(name="thinlens-video", daemon=True)
        self._work, self._done, self.stopped = work, 0, threading.Event()
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def count(self) -> None:
        """One step is done; raises `StopWork` once nobody waits for the rest."""
        self._done += 1
        if self.stopped.is_set():
            raise StopWork

    def run(self) -> None:
        """Do the work."""
        try:
            self._work(self)
        except BaseException as error:  # noqa: BLE001  # for the thread that waits
            self._error = error
        finally:
            self._ended.set()

    def watch(self, report: Callable[[int], None]) -> int:
        """Start, and wait until all is done; how many steps that were.

        Args:
            report: called now and then with the steps done, from the calling thread.

        Raises:
            Exception: whatever the work raised; what interrupts the wait ends the work first.
        """
        self.start()
        try:
            while not self._ended.wait(POLL_SECONDS):  # a `join` that is interrupted takes the thread for ended
                report(self._done)
            report(self._done)
        except BaseException:
            self.stopped.set()
            self._ended.wait()
            raise
        if self._error is not None:
            raise self._error
        return self._done
