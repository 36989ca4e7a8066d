"""Plans and sessions of the native engine: thin, typed wrappers of the C interface (engine/include/thinlens.h).

ctypes releases Python's lock while the engine works. Every object frees what it holds when it is collected.
"""

import contextlib
import ctypes
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ThinlensError
from thinlens.runtime.library import Progress, Request, Schedule, check, engine

Rows = npt.NDArray[Any]  # n W or n W C, C-contiguous
Report = Callable[[int, int], None]

SILENT = Progress()  # reports nothing
POLL_SECONDS = 0.1  # how long a wait may keep a signal from being handled, where waits cannot be interrupted


class NativePlan:
    """A binary plan, checked and loaded for one instruction set; it may be used from several threads.

    Args:
        data: the plan's bytes, as `thinlens.runtime.compile` makes them.
        isa: a name of `library.isa_names`; None: the best.

    Raises:
        PlanError: if the bytes do not hold together.
        UnknownNameError: if there is no such instruction set here.
        UnsupportedOpError: if there is no engine.
    """

    def __init__(self, data: bytes, isa: str | None = None) -> None:
        handle = ctypes.c_void_p()
        check(engine().tl_plan_load(data, len(data), None if isa is None else isa.encode(), ctypes.byref(handle)))
        self._handle = handle
        weakref.finalize(self, engine().tl_plan_free, handle)

    @property
    def isa(self) -> str:
        """The instruction set that runs."""
        return str(engine().tl_plan_isa(self._handle).decode())

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights, as packed for the instruction set."""
        return int(engine().tl_plan_bytes(self._handle))

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result; `ShapeError` where an image of that size gives none."""
        wide, high = ctypes.c_int64(), ctypes.c_int64()
        check(engine().tl_plan_out_size(self._handle, width, height, ctypes.byref(wide), ctypes.byref(high)))
        return wide.value, high.value

    def schedule(self, request: Request, threads: int = 1) -> Schedule:
        """What follows from the request, for that many threads, before any pixel moves.

        Raises:
            ShapeError: if the size is none that the plan can take, or the height must be known and is not.
        """
        found = Schedule()
        check(engine().tl_plan_schedule(self._handle, ctypes.byref(request), threads, ctypes.byref(found)))
        return found

    def run_bytes(self, request: Request, threads: int) -> int:
        """Bytes that `run` allocates beside image and result."""
        count = ctypes.c_int64()
        check(engine().tl_run_bytes(self._handle, ctypes.byref(request), threads, ctypes.byref(count)))
        return count.value

    def open(self, request: Request, threads: int = 1) -> "NativeSession":
        """A session that takes an image row by row; raises as `schedule`, and `MemoryError`."""
        return NativeSession(self, request, threads)

    def call(self, image: Rows, out: Rows, threads: int, report: Any = SILENT) -> None:
        """Restore a whole image in the calling thread, which no signal interrupts; otherwise as `run`.

        Args:
            image: as in `run`.
            out: as in `run`.
            threads: as in `run`.
            report: a `library.Progress`, called with (rows done, rows in all, None) from any thread; 1 from it cancels.
        """
        request = Request(image.shape[1], image.shape[0], 0, 0)
        places = image.ctypes.data, image.strides[0], out.ctypes.data, out.strides[0]
        check(engine().tl_run(self._handle, ctypes.byref(request), *places, threads, report, None))

    def run(self, image: Rows, out: Rows, threads: int, progress: Report | None = None) -> None:
        """Restore a whole image.

        The engine works in a thread of its own, so that an interrupt reaches the calling thread at once; the engine
        then stops within some rows. A thread that no interrupt reaches, and that asks for no progress, works itself.

        Args:
            image: ``H W`` or ``H W C``, C-contiguous, of the plan's input type.
            out: the result, of the size that `out_size` says and the plan's output type.
            threads: how many work; no influence on the result.
            progress: called with (rows of the result done, rows in all), from the calling thread.

        Raises:
            ShapeError: if the plan cannot take an image of this size.
            ModelError: if the result is not a number.
        """
        if progress is None and threading.current_thread() is not threading.main_thread():
            self.call(image, out, threads)
            return
        work = _Work(self, image, out, threads)
        try:
            try:
                work.start()
            except RuntimeError:  # no thread is to be had: this one works, and an interrupt waits
                work.run()
            for done, total in work.steps():
                if progress is not None:
                    progress(done, total)
        except BaseException:
            work.cancel()
            raise
        if work.error is not None:
            raise work.error


class _Work(threading.Thread):
    """One ``tl_run``; it keeps alive whatever the engine reads and writes."""

    def __init__(self, plan: NativePlan, image: Rows, out: Rows, threads: int) -> None:
        super().__init__(name="thinlens-engine", daemon=True)
        self.error: Exception | None = None
        self._plan, self._image, self._out, self._count = plan, image, out, threads
        self._told: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._cancelled = False

    def run(self) -> None:
        """Run the engine, and say so when it is done."""
        try:
            self._plan.call(self._image, self._out, self._count, Progress(self._report))
        except (ThinlensError, MemoryError) as error:
            self.error = error  # for the thread that waits
        finally:
            self._told.put(None)

    def _report(self, done: int, total: int, _: object) -> int:
        self._told.put((done, total))
        return int(self._cancelled)

    def steps(self) -> Iterator[tuple[int, int]]:
        """Progress as it comes, until the engine is done."""
        while True:
            try:
                step = self._told.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if step is None:
                return
            yield step

    def cancel(self) -> None:
        """Let the engine stop, and wait until it has."""
        self._cancelled = True
        with contextlib.suppress(RuntimeError):  # an interrupt came while it was being started: nothing to wait for yet
            self.join()


class NativeSession:
    """One image, row by row; for one thread at a time.

    Args:
        plan: kept alive by the session.
        request: the image's size.
        threads: that share the large convolutions of a row; no influence on the result.

    Raises:
        ShapeError: if the size is none that the plan can take, or the height must be known and is not.
        MemoryError: if the buffers cannot be had.
    """

    def __init__(self, plan: NativePlan, request: Request, threads: int = 1) -> None:
        self._plan = plan
        handle = ctypes.c_void_p()
        check(engine().tl_session_open(plan._handle, ctypes.byref(request), threads, ctypes.byref(handle)))
        self._handle = handle
        weakref.finalize(self, _close, handle, plan)

    def ready(self, rows: int, *, flush: bool = False) -> int:
        """Rows of the result that pushing that many more rows, and with ``flush`` ending the image, would give."""
        count = ctypes.c_int64()
        check(engine().tl_session_ready(self._handle, rows, int(flush), ctypes.byref(count)))
        return count.value

    def push(self, rows: Rows, out: Rows) -> int:
        """Push rows.

        Args:
            rows: ``n W`` or ``n W C``, C-contiguous, of the plan's input type.
            out: room for at least as many rows as `ready` says.

        Returns:
            How many rows of ``out`` were written.
        """
        made = ctypes.c_int64()
        check(
            engine().tl_session_push(
                self._handle,
                rows.ctypes.data,
                rows.strides[0],
                len(rows),
                out.ctypes.data,
                out.strides[0],
                len(out),
                ctypes.byref(made),
            )
        )
        return made.value

    def flush(self, out: Rows) -> int:
        """End the image; as `push` with no rows."""
        made = ctypes.c_int64()
        check(engine().tl_session_flush(self._handle, out.ctypes.data, out.strides[0], len(out), ctypes.byref(made)))
        return made.value

    @property
    def state_bytes(self) -> int:
        """Bytes that `save` returns."""
        return int(engine().tl_session_state_bytes(self._handle))

    def save(self) -> bytes:
        """Everything between two pushes."""
        size = self.state_bytes
        state = np.empty(size, np.uint8)
        check(engine().tl_session_save(self._handle, state.ctypes.data, size))
        return state.tobytes()

    def load(self, state: bytes) -> None:
        """Go on from what a session of the same plan and request saved; `ShapeError` if it was another."""
        check(engine().tl_session_load(self._handle, state, len(state)))


def _close(handle: ctypes.c_void_p, plan: NativePlan) -> None:
    """Close a session's handle while its plan is still there."""
    engine().tl_session_close(handle)
