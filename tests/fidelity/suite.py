"""Run an upscaler over all input files and judge what it makes."""

import shlex
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyvips

from tests.fidelity.checks import applicable
from tests.fidelity.inputs import Case, iter_cases
from tests.fidelity.outputs import read_output

# Takes input, output and scale; returns "" or why it failed.
Upscaler = Callable[[Path, Path, int], str]

LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Result:
    """What came of one input file.

    Attributes:
        kind: what the file is an example of.
        format: its format.
        name: its name.
        went_in: what it is, in words.
        came_out: what the output is, in words, or why there is none.
        checks: name -> "" if it holds, else what is wrong.
    """

    kind: str
    format: str
    name: str
    went_in: str
    came_out: str
    checks: dict[str, str]

    @property
    def failed(self) -> dict[str, str]:
        return {name: wrong for name, wrong in self.checks.items() if wrong}

    def to_dict(self):
        return asdict(self)


def command(template: str) -> Upscaler:
    """An upscaler from a command line with ``{input}``, ``{output}`` and ``{scale}``; no shell is involved."""
    words = shlex.split(template)

    def run(source: Path, target: Path, scale: int) -> str:
        names = {"{input}": str(source), "{output}": str(target), "{scale}": str(scale)}
        filled = words
        for name, value in names.items():
            filled = [word.replace(name, value) for word in filled]
        try:
            done = subprocess.run(filled, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        lines = done.stderr.strip().splitlines()
        return "" if done.returncode == 0 else f"exit code {done.returncode}: {lines[-1] if lines else ''}"

    return run


def run_suite(upscale: Upscaler, folder: Path, scale: int = 2, cases: Iterable[Case] | None = None) -> list[Result]:
    """Judge an upscaler; files are left in ``folder``."""
    return [judge(upscale, case, folder, scale) for case in (iter_cases() if cases is None else cases)]


def judge(upscale: Upscaler, case: Case, folder: Path, scale: int) -> Result:
    """Judge one case."""
    source, target = (folder / place / case.format / case.name for place in ("in", "out"))
    for path in (source, target):
        path.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(case.data)
    trouble = upscale(source, target, scale)
    try:
        output = None if trouble else read_output(target)
    except (OSError, pyvips.Error) as error:
        trouble = f"no output that can be read: {str(error).splitlines()[0]}"
    checks = {"done": trouble}
    for name, check in applicable(case).items():
        checks[name] = "no output" if trouble else check(case, output, scale)
    came_out = trouble.replace(str(folder), "") if trouble else output.text
    return Result(case.kind, case.format, case.name, case.text, came_out, checks)
