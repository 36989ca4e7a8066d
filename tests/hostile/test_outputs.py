"""Outputs that cannot or must not be written; runs that are cut off."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.fixtures import files, picture


@pytest.mark.parametrize("output", ["a.png", "./a.png", ".", "link.png"])
def test_output_equal_to_the_input(restore, bench, output):
    picture("a.png")
    (bench / "link.png").symlink_to("a.png")
    before = (bench / "a.png").read_bytes()
    done = restore("a.png", "-o", output, "--skip-existing")
    assert done.code == 2
    assert "`a.png`: its output would replace the input" in done.line
    assert (bench / "a.png").read_bytes() == before


def test_overwrite_may_replace_the_input(restore, bench):
    picture("a.png")
    before = (bench / "a.png").read_bytes()
    assert restore("a.png", "-o", "a.png", "--overwrite").code == 0
    assert (bench / "a.png").read_bytes() != before
    assert files() == ["a.png"]


def test_overwrite_never_replaces_another_input(restore):
    picture("in/sub/a.png")
    picture("out/sub/a.png")
    done = restore("in", "out/sub", "-r", "-o", "out", "--overwrite")
    assert done.code == 2
    assert "`in/sub/a.png`: its output would replace the input `out/sub/a.png`; give another output" in done.line
    assert "--overwrite" not in done.line


def test_the_output_folder_is_a_file(restore, bench):
    picture("a.png")
    (bench / "out").write_text("a file")
    for output in ("out", "out/b.png", "out/deep/b.png"):
        done = restore("a.png", "-o", output)
        assert done.code in (1, 2)
        assert "`out" in done.line
    assert (bench / "out").read_text() == "a file"


def test_read_only_folder_is_told_before_the_work(restore, bench, monkeypatch):
    picture("a.png")
    (bench / "out").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    monkeypatch.setattr("thinlens.runtime.session.Session.run", lambda *_, **__: pytest.fail("worked in vain"))
    done = restore("a.png", "-o", "out")
    assert done.code == 1
    assert "`out`: the folder cannot be written to" in done.line
    assert files() == ["a.png"]


def test_a_full_disk_leaves_nothing(restore, monkeypatch):
    picture("a.png")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = restore("a.png", "-o", "b.png")
    assert done.code == 1
    assert "No space left on device" in done.line
    assert files() == ["a.png"]


PROGRAM = """
import sys, time
from thinlens.runtime.session import Session
from thinlens.image import encode, files

def slow(*_, **__):
    print("begun", flush=True)
    time.sleep(60)

WHERE = slow
sys.argv = ["thinlens", "restore", "a.png", "b.png", "-o", "out", "--model", "x2.safetensors", "-f"]
from thinlens.__main__ import main
main()
"""


@pytest.mark.parametrize("where", ["Session.run", "files.encode"])
@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_cut_off_leaves_the_old_file(bench, where, kind, code):
    picture("a.png")
    picture("b.png")
    (bench / "out").mkdir()
    (bench / "out/a.png").write_text("old")
    program = [sys.executable, "-c", PROGRAM.replace("WHERE", where)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, cwd=bench, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(kind)
        _, error = process.communicate(timeout=30)
    assert process.returncode == code
    assert error == ("thinlens: interrupted; no half-written file was left\n" if code == 130 else "")
    assert files() == ["a.png", "b.png", "out/a.png"]
    assert (bench / "out/a.png").read_text() == "old"
