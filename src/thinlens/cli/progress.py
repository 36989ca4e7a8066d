"""Progress with remaining time, on stderr: only on a terminal, and only for work of more than two seconds."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DELAY_SECONDS = 2.0


class Meter:
    """Bars by name, as a context; silent where nobody watches."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._state: dict[str, tuple[float, float, str]] = {}

    def __enter__(self) -> "Meter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, name: str, done: float, total: float, note: str = "") -> None:
        """Set the bar ``name`` to ``done`` of ``total``, with a word behind it."""
        self._state[name] = done, total, note
        if not sys.stderr.isatty() or time.monotonic() - self._begun < DELAY_SECONDS:
            return
        bars = self._bars = self._bars or _start()
        for known, (completed, goal, word) in self._state.items():
            if known not in self._tasks:
                self._tasks[known] = bars.add_task(known, total=goal, note=word)
            bars.update(self._tasks[known], completed=completed, total=goal, note=word)

    def say(self, line: str) -> None:
        """Print a line on stderr, above the bars if there are any."""
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{line}\n")

    def drop(self, name: str) -> None:
        """Take the bar ``name`` away, if there is one."""
        self._state.pop(name, None)
        if self._bars is not None and name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))


def _start() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else results meant for a pipe would land on the terminal
    )
    bars.start()
    return bars
