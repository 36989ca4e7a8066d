"""A workbench for commands: a folder with a tiny model and pictures, and a way to run `thinlens` in it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import template_matching_model
from thinlens.cli.app import run
from thinlens.model.file import write_model


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self):
        """The one line on stderr."""
        assert self.err.count("\n") == 1
        assert self.err.startswith("thinlens: ")
        return self.err.strip()

    @property
    def records(self):
        """JSON on stdout, a value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """An empty folder as current folder, with the model files `x2.safetensors` and `x3.safetensors`."""
    monkeypatch.chdir(tmp_path)
    for scale in (2, 3):
        write_model(tmp_path / f"x{scale}.safetensors", template_matching_model(scale))
    return tmp_path


@pytest.fixture
def thinlens(bench, capfd):
    """Run a command in the bench."""

    def call(*arguments):
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def restore(thinlens):
    """Run `thinlens restore` with the x2 model."""
    return lambda *arguments: thinlens("restore", *arguments, "--model", "x2.safetensors")


def picture(path, height=5, width=7, mode="RGB"):
    """Write a small picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def size_of(path):
    """Width and height of a picture, which must decode."""
    with Image.open(path) as image:
        image.load()
        return image.size


def files(folder="."):
    """All files below a folder, hidden ones too, as sorted posix paths; without model files."""
    found = (p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())
    return sorted(name for name in found if not name.endswith(".safetensors"))
