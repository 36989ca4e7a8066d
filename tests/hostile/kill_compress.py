"""Kill compressions with SIGKILL at random moments; what resumes gives the same bytes in the end.

    python -m tests.hostile.kill_compress --kills 5

Runs are forked off this process, so that their time is that of the work and not of imports.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

import thinlens.train.compress.steps  # noqa: F401  # imported before the forks; nothing of it is run here
from tests.compress.models import small_model, write_pictures
from tests.hostile.kill import finish, kill_one
from thinlens.model.file import write_model

STEPS = "24"


def kill_runs(folder, kills, seed):
    """Kill that many runs of one chain, then let it end; return how many runs it took."""
    write_pictures(folder / "images")
    write_model(folder / "small.safetensors", small_model())
    command = ["compress", str(folder / "small.safetensors"), "--data", str(folder / "images"), "-j", "1"]
    command += ["--method", "dual-regression", "--method", "cp", "--method", "int8", "--ratio", "0.4"]
    command += ["--finetune-steps", STEPS, "--search-steps", "6", "-o"]
    whole, output = folder / "whole.safetensors", folder / "out.safetensors"
    seconds = finish(*command, str(whole))
    draw, killed, runs = random.Random(seed), 0, 0
    while killed < kills:
        killed += kill_one((*command, str(output), "--resume"), draw.uniform(0.05, 0.6) * seconds)
        runs += 1
        assert runs < 4 * kills, "runs end before they are killed"
        if output.exists() and killed < kills:  # it was done; begin anew
            check(output, whole)
            finish(*command, str(output), "--overwrite")
            output.unlink()
    finish(*command, str(output), "--resume", *(["-f"] if output.exists() else []))
    check(output, whole)
    left = {path.name for path in folder.iterdir()} - {"images", "small.safetensors", whole.name, output.name}
    assert not {name for name in left if not name.startswith(".thinlens-")}, f"{left} are left"
    return runs


def check(output, whole):
    """What a resumed run gives is what an undisturbed one gives."""
    assert output.read_bytes() == whole.read_bytes(), "the resumed run gives another model"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = kill_runs(Path(folder), options.kills, options.seed)
    sys.stdout.write(f"{options.kills} of {runs} runs killed at work, the same bytes in the end\n")


if __name__ == "__main__":
    main()
