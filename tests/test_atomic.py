"""The one writer: old file or new one, whatever happens; what killed processes leave is found and removed."""

import os
import subprocess
import sys

import pytest

from thinlens.atomic import DAY_SECONDS, remove_abandoned, replacing, write_bytes
from thinlens.errors import OutputError

PART = ".thinlens-0123456789abcdef.part"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_it_is_whole(tmp_path):
    with replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"new")
        assert names(tmp_path) == [temporary.name]
        assert (temporary.name[:10], temporary.suffix) == (".thinlens-", ".part")
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"new"


def test_nothing_is_overwritten_unless_told(tmp_path):
    write_bytes(tmp_path / "x", b"old")
    with pytest.raises(OutputError, match=r"x` exists; nothing is overwritten unless `--overwrite`"):
        write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    write_bytes(tmp_path / "x", b"new", overwrite=True)
    assert (tmp_path / "x").read_bytes() == b"new"
    assert names(tmp_path) == ["x"]


def test_a_dangling_link_is_an_existing_file(tmp_path):
    (tmp_path / "x").symlink_to("nowhere")
    with pytest.raises(OutputError, match="exists"):
        write_bytes(tmp_path / "x", b"new")


def test_a_file_that_appears_meanwhile_stays(tmp_path):
    def write_late():
        with replacing(tmp_path / "x"):
            (tmp_path / "x").write_bytes(b"theirs")

    with pytest.raises(OutputError, match="exists"):
        write_late()
    assert (tmp_path / "x").read_bytes() == b"theirs"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_trouble_leaves_the_old_file_and_passes_on(tmp_path, trouble):
    write_bytes(tmp_path / "x", b"old")

    def write_half():
        with replacing(tmp_path / "x", overwrite=True) as temporary:
            temporary.write_bytes(b"half")
            raise trouble

    with pytest.raises(trouble):
        write_half()
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_full_disk_is_an_output_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"x`: cannot be written: No space left on device"):
        write_bytes(tmp_path / "x", b"new")
    assert names(tmp_path) == []


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(OutputError, match=r"the folder `.*no` does not exist; make it first"):
        write_bytes(tmp_path / "no" / "x", b"")
    with pytest.raises(OutputError, match="is a folder; give a file name"):
        write_bytes(tmp_path, b"", overwrite=True)
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        write_bytes(tmp_path / ("x" * 300), b"")


def test_new_files_have_the_usual_rights(tmp_path):
    (tmp_path / "plain").touch()
    write_bytes(tmp_path / "x", b"")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_abandoned_files_are_removed(tmp_path):
    (tmp_path / PART).write_bytes(b"half")
    (tmp_path / "x.part").write_bytes(b"somebody else's")
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ["x.part"]


def test_an_empty_file_may_be_about_to_be_locked(tmp_path):
    (tmp_path / PART).touch()
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [PART]
    os.utime(tmp_path / PART, times=(0, (tmp_path / PART).stat().st_mtime - DAY_SECONDS - 1))
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_what_cannot_be_removed_stays(tmp_path):
    (tmp_path / PART).mkdir()
    remove_abandoned(tmp_path)
    remove_abandoned(tmp_path / "missing")
    assert names(tmp_path) == [PART]


WRITER = """
import sys, time
from pathlib import Path
from thinlens.atomic import replacing
with replacing(Path("x")) as temporary:
    temporary.write_bytes(b"half")
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_only_the_file_of_a_dead_process_is_abandoned(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, **pipes) as process:
        assert process.stdout.readline() == b"begun\n"
        remove_abandoned(tmp_path)
        (left,) = names(tmp_path)
        assert left.endswith(".part")
        process.kill()
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []
