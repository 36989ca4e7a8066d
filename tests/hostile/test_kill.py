"""A few of the kills of `tests/hostile/kill.py`; a hundred take a minute and are done by hand."""

import subprocess
import sys
from pathlib import Path


def test_killed_runs_lose_and_damage_nothing():
    command = [sys.executable, "-m", "tests.hostile.kill", "--kills", "6", "--images", "4"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 kills, no damaged or lost file; ")


def test_a_compression_killed_five_times_ends_in_the_same_bytes():
    command = [sys.executable, "-m", "tests.hostile.kill_compress", "--kills", "5"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
