"""What several tests of training begin with."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of data with two images to train on and two to validate on."""
    rng = np.random.default_rng(0)
    for folder in ("train/cid22", "val"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name in "ab":
            pixels = rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"{name}.png")
    return tmp_path / "data"
