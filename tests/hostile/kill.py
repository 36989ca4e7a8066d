"""Kill folder runs with SIGKILL at random moments; no file may be damaged or lost, and the next run finishes the rest.

    python -m tests.hostile.kill --kills 100

Half of the runs fill a folder with `--skip-existing`, half replace old outputs with `--overwrite`. Runs are forked off
this process, so that their time is that of the work and not of imports.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import template_matching_model
from thinlens.cli.app import run
from thinlens.model.file import write_model

SUFFIXES = ("png", "jpg", "tif", "webp")
OLD = b"an old output"


def make_inputs(folder, count):
    """Pictures of several formats; return their bytes by name."""
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8).repeat(5, 0).repeat(5, 1)
        Image.fromarray(pixels).save(folder / f"{number:02}.{SUFFIXES[number % len(SUFFIXES)]}")
    return contents(folder)


def contents(folder):
    """Bytes of the files of a folder by name, without what killed runs left."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".thinlens-")}


def leftovers(folder):
    """Temporary files that hold something; an empty one is kept for a day, it may be about to be written."""
    return [path.name for path in folder.glob(".thinlens-*.part") if path.stat().st_size]


def start(*arguments):
    """Run a command in a forked process, without its output; return the process's id."""
    pid = os.fork()
    if pid == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os._exit(run(list(arguments)))
    return pid


def finish(*arguments):
    """Run a command to its end, which must be a good one; return the seconds it took."""
    begun = time.monotonic()
    _, status = os.waitpid(start(*arguments), 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"`thinlens {' '.join(arguments)}` failed"
    return time.monotonic() - begun


def kill_one(command, seconds):
    """Start a run and kill it after that time; return whether it was still at work."""
    pid = start(*command)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"ended with {code}"
    return code != 0


def check(output, expected, allowed_old):
    """Every file is whole: new, or the old one where there was one; with ``allowed_old`` none is missing."""
    for name, data in contents(output).items():
        assert data == expected[name] or (allowed_old and data == OLD), f"`{name}` is damaged"
    assert not allowed_old or contents(output).keys() == expected.keys(), "an old file is lost"


def prepare(output, expected, replaces):
    """Fill the folder with old outputs; or take those away, and begin anew when all is done."""
    if replaces or contents(output).keys() == expected.keys():
        shutil.rmtree(output)
        output.mkdir()
    for name in expected if replaces else ():
        (output / name).write_bytes(OLD)


def kill_runs(folder, kills, seed, count):
    """Kill that many runs; return counts of what was seen."""
    source, output, reference = (folder / name for name in ("in", "out", "reference"))
    for path in (source, output):
        path.mkdir()
    inputs = make_inputs(source, count)
    write_model(folder / "x2.safetensors", template_matching_model())
    command = ("restore", str(source), "--model", str(folder / "x2.safetensors"), "-o")
    seconds = finish(*command, str(reference))
    expected = contents(reference)
    assert expected.keys() == inputs.keys()
    draw, seen = random.Random(seed), {"killed at work": 0, "left a part": 0, "left outputs": 0}
    for replaces, option in ((False, "--skip-existing"), (True, "--overwrite")):
        shutil.rmtree(output)
        output.mkdir()
        for _ in range(kills // 2 + (kills % 2 and replaces)):
            prepare(output, expected, replaces)
            killed = kill_one((*command, str(output), option), draw.uniform(0, seconds))
            assert contents(source) == inputs, "an input is damaged"
            check(output, expected, allowed_old=replaces)
            seen["killed at work"] += killed
            seen["left a part"] += bool(leftovers(output))
            seen["left outputs"] += any(data != OLD for data in contents(output).values())
        finish(*command, str(output), option)
        assert contents(output) == expected, "the last run did not finish the rest"
        assert not leftovers(output), "what killed runs left is still there"
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = kill_runs(Path(folder), options.kills, options.seed, options.images)
    counts = ", ".join(f"{count} {what}" for what, count in seen.items())
    sys.stdout.write(f"{options.kills} kills, no damaged or lost file; {counts}\n")


if __name__ == "__main__":
    main()
