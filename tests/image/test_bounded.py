import subprocess
import sys

from thinlens.image.bounded import SMALL_BYTES, BoundedReader

DATA = bytes(range(256)) * 1000


def test_reads_as_any_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    with BoundedReader(path) as file:
        assert file.read(8) == DATA[:8]
        assert file.tell() == 8
        assert file.read(SMALL_BYTES + 5) == DATA[8 : SMALL_BYTES + 13]
        assert file.read(1 << 62) == DATA[SMALL_BYTES + 13 :]
        assert file.read(1 << 62) == b""
        file.seek(-3, 2)
        assert file.read() == DATA[-3:]
        file.seek(0)
        assert file.read(None) == DATA
        file.seek(1 << 20)  # behind the end
        assert file.read(1 << 40) == b""


PROGRAM = """
import resource, sys
from pathlib import Path
from thinlens.image.bounded import BoundedReader
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
with BoundedReader(Path(sys.argv[1])) as file:
    print(len(file.read(1 << 32)))
"""


def test_a_claimed_size_is_not_allocated(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{len(DATA)}\n", "")
