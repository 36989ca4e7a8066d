"""The whole chain by its commands, each in a process of its own: train, kill, resume, inspect, evaluate, restore."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from thinlens.bench.quality import evaluate, list_images
from thinlens.degrade.bicubic import bicubic_down
from thinlens.model.file import read_model

RECIPE = """
network = "edge_sr_tm_k3_c2_x2"
[data]
train = ["train"]
val = ["val"]
[loop]
kind = "shared_phase"
steps = 400
batch = 1024
patches = 1024
val_patches = 1024
checkpoint_every = 100
"""

# Killed in the middle of writing its third checkpoint: the fourth file that is flushed, after the recipe and two more.
KILLED = """
import os, signal, sys
flush, count = os.fsync, 0
def fsync(handle):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(handle)
os.fsync = fsync
"""

NO_TORCH = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "lightning", "lightning_fabric"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
"""


TEST_SEED = 4


def synthetic(seed, side=96):
    """A clean gray image: smooth waves, and discs with sharp edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    pixels = 128 + 40 * np.sin(2 * np.pi * (rng.uniform(1, 5) * x + rng.uniform(1, 5) * y))
    for _ in range(8):
        (cy, cx), radius = rng.uniform(0, 1, 2), rng.uniform(0.05, 0.25)
        pixels[np.hypot(y - cy, x - cx) < radius] = rng.uniform(0, 255)
    return pixels.clip(0, 255).astype(np.uint8)


def thinlens(folder, *arguments, before="", code=0):
    """Run a command in a process of its own; JSON values that it printed."""
    program = f"{before}\nimport sys\nsys.argv[0] = 'thinlens'\nfrom thinlens.__main__ import main\nmain()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with images, the recipe, and the training that it leads to in `run`."""
    folder = tmp_path_factory.mktemp("chain")
    for seed, name in enumerate(("data/train/a", "data/train/b", "data/train/c", "data/val/a", "test/a")):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(synthetic(seed)).save(path)
    (folder / "recipe.toml").write_text(RECIPE)
    (record,) = thinlens(folder, "train", "recipe.toml", "-o", "run", "--json")
    assert record["path"] == "run/model.safetensors"
    return folder


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls(folder):
    losses = [line["loss"] for line in log(folder / "run") if "loss" in line]
    assert len(losses) > 1
    assert losses[-1] < losses[0]


def test_a_training_that_is_killed_and_resumed_gives_the_same_bits(folder):
    arguments = ("train", "recipe.toml", "-o", "killed", "--json")
    thinlens(folder, *arguments, before=KILLED, code=-signal.SIGKILL)
    assert not (folder / "killed/model.safetensors").exists()
    thinlens(folder, *arguments, "--resume")
    assert [line["resumed_at"] for line in log(folder / "killed") if "resumed_at" in line] == [200]
    whole, resumed = (read_model(folder / name / "model.safetensors") for name in ("run", "killed"))
    assert whole.tensors.keys() == resumed.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert tensor.tobytes() == resumed.tensors[name].tobytes()
    assert whole.card.training.recipe_sha256 == resumed.card.training.recipe_sha256


def test_what_was_trained_is_inspected_measured_and_run_without_torch(folder):
    model = "run/model.safetensors"
    (found,) = thinlens(folder, "inspect", model, "--width", 64, "--json", before=NO_TORCH)
    assert (found["card"]["name"], found["needs"]["halo_rows_above"]) == ("edge_sr_tm_k3_c2_x2", 1)
    (measured,) = thinlens(folder, "evaluate", model, "--data", "test", "--json", before=NO_TORCH)
    nearest = evaluate(_nearest, list_images(folder / "test"), scale=2, colour=False)
    assert measured["psnr_y_db"] > nearest.psnr_y_db + 1
    small = bicubic_down(synthetic(TEST_SEED), 2)
    Image.fromarray(small).save(folder / "small.png")
    arguments = ("restore", "small.png", "-o", "large.png", "--model", model, "--json")
    restored, summary = thinlens(folder, *arguments, before=NO_TORCH)
    assert (restored["width"], restored["height"], summary["summary"]["restored"]) == (96, 96, 1)
    large = np.asarray(Image.open(folder / "large.png"))
    assert _error(large) < 0.9 * _error(_nearest(small))


def _nearest(image):
    return image.repeat(2, axis=0).repeat(2, axis=1)


def _error(pixels):
    """Root of the mean squared distance from the clean test image."""
    return np.sqrt(np.mean((pixels.astype(float) - synthetic(TEST_SEED)) ** 2))
