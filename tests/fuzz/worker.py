"""The process that cases run in: reads numbers, answers each with one line of JSON.

python -m tests.fuzz.worker TARGET SEED FOLDER
"""

import importlib  # targets are modules, and that of foreign weights needs torch
import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

from thinlens.cli.verb import line_of
from thinlens.errors import ThinlensError

HARD_LIMIT_BYTES = 4 << 30


def case_of(target, seed: int, number: int):
    """The generator and the input of a case; the same for the same numbers."""
    rng = np.random.default_rng([seed, number])
    return rng, target.make(rng)


def main() -> None:
    name, seed, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    target = importlib.import_module(f"tests.fuzz.{name}")  # noqa: TID251
    target.seeds()
    answers, noise = _redirect(folder)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + HARD_LIMIT_BYTES,) * 2)
    before = _status("VmSize")
    for line in sys.stdin:
        rng, data = case_of(target, seed, int(line))
        begun, written = time.monotonic(), os.fstat(noise).st_size
        outcome, detail = _judge(target, data, folder, rng)
        seconds = time.monotonic() - begun
        if os.fstat(noise).st_size > written and outcome in ("right", "clean"):
            outcome, detail = "noise", os.pread(noise, 500, written).decode(errors="replace")
        answer = {"outcome": outcome, "detail": detail, "seconds": seconds, "bytes": _status("VmPeak") - before}
        print(json.dumps(answer), file=answers, flush=True)


def _judge(target, data, folder, rng):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target.put_through(data, folder, rng)
    except ThinlensError as error:
        line = line_of(error)
        return ("clean", line) if line and "\n" not in line else ("wrong", f"no line of text: {line!r}")
    except BaseException as error:  # noqa: BLE001  # that nothing else is raised is what is tested
        return "wrong", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
    return "right", ""


def _redirect(folder):
    """Keep stdout for answers; whatever else is printed, by libraries too, goes into a file."""
    answers = os.fdopen(os.dup(1), "w")
    noise = os.open(folder / "noise", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(noise, stream)
    return answers, noise


def _status(field: str) -> int:
    """A size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
