"""Run numbered cases in a process of their own, which is replaced when it hangs, dies or grows too much."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 5.0
LIMIT_BYTES = 1 << 30
START_SECONDS = 60.0
GOOD = ("right", "clean")


@dataclass(frozen=True)
class Verdict:
    """How a case ended.

    Attributes:
        target: a module of this package.
        seed: of the run.
        number: of the case.
        outcome: ``right`` and ``clean`` (a ThinlensError) are good; ``wrong`` is any other exception or a result that
            is not right, ``noise`` output of a library, ``memory`` growth over the limit, ``hang``, ``crash``.
        detail: the message.
        seconds: wall time.
        bytes: growth of the process's address space at its peak, since its start.
    """

    target: str
    seed: int
    number: int
    outcome: str
    detail: str
    seconds: float
    bytes: int

    @property
    def good(self) -> bool:
        return self.outcome in GOOD


def run(target: str, numbers: Iterable[int], seed: int = 0) -> Iterator[Verdict]:
    """Run cases one after the other."""
    worker = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number in numbers:
                worker = worker or _Worker(target, seed, Path(folder))
                answer = worker.ask(number)
                if answer["bytes"] > LIMIT_BYTES and answer["outcome"] in GOOD:
                    answer |= {"outcome": "memory", "detail": f"{answer['bytes'] >> 20} MiB; {answer['detail']}"}
                if answer["outcome"] in ("hang", "crash") or answer["bytes"] > LIMIT_BYTES:
                    worker.close()
                    worker = None
                yield Verdict(target, seed, number, **answer)
        finally:
            if worker is not None:
                worker.close()


class _Worker:
    def __init__(self, target: str, seed: int, folder: Path) -> None:
        quiet = {"OMP_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1", "MALLOC_ARENA_MAX": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", target, str(seed), str(folder)],
            cwd=ROOT,
            env={**os.environ, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.starting = True  # the first case waits for the imports

    def ask(self, number: int) -> dict:
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        limit = START_SECONDS if self.starting else LIMIT_SECONDS
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            return {"outcome": "hang", "detail": f"no answer in {limit:g} s", "seconds": limit, "bytes": 0}
        line = self.process.stdout.readline()
        if not line:
            detail = f"exit code {self.process.wait()}"
            if self.starting:
                raise RuntimeError(f"the worker did not start: {detail}")
            return {"outcome": "crash", "detail": detail, "seconds": 0.0, "bytes": 0}
        self.starting, answer = False, json.loads(line)
        return answer | ({"outcome": "hang"} if answer["seconds"] > LIMIT_SECONDS else {})

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
