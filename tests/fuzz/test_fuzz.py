"""A short run of each target; `python -m tests.fuzz` runs more of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import images, models, mutate, recipes, runner, tree, worker
from tests.image.pictures import encoded, picture


@pytest.mark.parametrize(("target", "count"), [("images", 150), ("models", 150), ("recipes", 100), ("foreign", 60)])
def test_clean_errors_or_right_results(target, count, monkeypatch):
    monkeypatch.setattr(runner, "LIMIT_SECONDS", 60.0)  # only the long run measures time: this machine may be busy
    verdicts = list(runner.run(target, range(10_000, 10_000 + count)))
    assert [verdict for verdict in verdicts if not verdict.good] == []
    outcomes = {verdict.outcome for verdict in verdicts}
    assert outcomes == {"right", "clean"}  # neither too gentle nor too rough


@pytest.mark.parametrize("target", [images, models, recipes])
def test_sound_files_come_out_right(target, tmp_path):
    for data in target.seeds():
        rng = np.random.default_rng(1)  # draws no override for a recipe
        target.put_through(data if isinstance(data, bytes) else data.encode(), tmp_path, rng)


@pytest.mark.parametrize("target", [images, models, recipes])
def test_a_case_is_always_the_same(target):
    first, again, other = (worker.case_of(target, 1, number)[1] for number in (5, 5, 6))
    assert first == again != other


def test_checksums_fit_again():
    sound = encoded(picture(4, 4, 3), "png")
    broken = sound[:29] + b"\0\0\0\0" + sound[33:]
    assert mutate.mended(broken) == sound
    assert mutate.mended(sound[:40]).startswith(sound[:33])
    assert mutate.mended(b"\0" + sound) == b"\0" + sound


def test_mutations_leave_the_original_alone():
    rng, value = np.random.default_rng(0), {"a": [1, {"b": 2.5}], "c": "x"}
    found = [tree.mutated(value, rng) for _ in range(50)]
    assert value == {"a": [1, {"b": 2.5}], "c": "x"}
    assert sum(other != value for other in found) > 35
    assert tree.mutated({}, rng) == {}


BAD = {
    "wrong": "raise KeyError('oops')",
    "noise": "os.write(2, b'libfoo: oops')",
    "memory": "mmap.mmap(-1, (1 << 30) + (1 << 24))",
    "crash": "os._exit(3)",
    "hang": "time.sleep(60)",
}


@pytest.mark.parametrize("outcome", BAD)
def test_the_runner_notices(outcome, tmp_path, monkeypatch):
    """A target that goes wrong at case 1, and only then."""
    package = tmp_path / "tests" / "fuzz"
    package.mkdir(parents=True)
    source = Path(__file__).parent
    for name in ("__init__", "worker"):
        (package / f"{name}.py").write_text((source / f"{name}.py").read_text())
    (tmp_path / "tests" / "__init__.py").write_text("")
    body = f"def put_through(data, folder, rng):\n    if data == 1:\n        {BAD[outcome]}\n"
    lines = [
        "import mmap, os, time",
        "numbers = iter((0, 1, 2))",
        "seeds = list",
        "def make(rng):\n    return next(numbers)",
    ]
    (package / "bad.py").write_text("\n".join([*lines, body]))
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "LIMIT_SECONDS", 2.0)
    verdicts = list(runner.run("bad", range(3)))
    assert [verdict.outcome for verdict in verdicts] == ["right", outcome, "right"]
    assert "oops" in verdicts[1].detail or outcome not in ("wrong", "noise")


def test_a_worker_that_cannot_start_is_no_verdict():
    with pytest.raises(RuntimeError, match="the worker did not start: exit code 1"):
        list(runner.run("no_such_target", [0]))


def test_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--recipes", "5", "--seed", "4"],
        capture_output=True,
        text=True,
        check=False,
        cwd=runner.ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("recipes: 5 cases of seed 4: ")
