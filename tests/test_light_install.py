"""Everything but `thinlens.train` works, and restores, where torch cannot be imported."""

import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "thinlens"

PROGRAM = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "lightning", "lightning_fabric"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import thinlens
before = set(sys.modules)
assert "numpy" not in before, "importing thinlens alone must stay cheap"
for name in MODULES:
    __import__(name)
import numpy as np
restored = thinlens.restore(np.zeros((5, 7), np.uint8), scale=2)
assert restored.shape == (10, 14)
assert not [name for name in sys.modules if name.split(".")[0] == "torch"]
"""


def light_modules():
    """Names of all modules outside `train`."""
    files = [path.relative_to(SRC.parent) for path in SRC.rglob("*.py")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    return sorted(name for name in names if not name.startswith("thinlens.train") and name != "thinlens.__main__")


def test_everything_but_training_runs_without_torch():
    assert "thinlens.runtime.session" in light_modules()
    program = PROGRAM.replace("MODULES", repr(light_modules()))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
