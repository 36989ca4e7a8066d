"""A run that is broken off goes on after its last whole segment, to the same frames."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.cli.fixtures import files
from tests.video.clips import clip, contents, shown
from thinlens.video import restore as video
from thinlens.video.segments import WorkFolder, read_segment

ARGUMENTS = ["in.mp4", "-o", "out.mp4", "--segment", "4", "-j", "2", "--model", "x2.safetensors"]


def same(one, other):
    return len(one) == len(other) and all(
        a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True)
    )


def killed(bench, segment, extra=()):
    """Run in a process of its own that is killed, as by `kill -9`, when it begins a segment."""
    code = f"""
import os, signal, sys
from thinlens.cli.app import run
from thinlens.video.segments import WorkFolder
begin = WorkFolder.segment
def segment(self, number):
    if number == {segment} and sys._getframe(1).f_code.co_name == "put":
        os.kill(os.getpid(), signal.SIGKILL)
    return begin(self, number)
WorkFolder.segment = segment
run(["restore", *{ARGUMENTS + list(extra)!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=bench, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr


def test_kill_and_resume_until_done(thinlens, bench):
    clip(bench / "in.mp4", frames=18, audio=1, subtitles="mov_text")
    assert thinlens("restore", *ARGUMENTS).code == 0
    whole, all_else = shown(bench / "out.mp4"), contents(bench / "out.mp4")
    (bench / "out.mp4").unlink()
    killed(bench, 1)
    done = thinlens("restore", *ARGUMENTS)
    assert done.code == 1
    assert "`out.mp4.work` holds a run that was broken off; `--resume` goes on with it" in done.line
    killed(bench, 3, ["--resume"])
    assert [path.name for path in WorkFolder(bench / "out.mp4").finished()] == [
        "00000.segment", "00001.segment", "00002.segment",
    ]  # fmt: skip
    done = thinlens("restore", *ARGUMENTS, "--resume", "--json")
    assert done.code == 0
    assert (done.records[0]["frames"], done.records[0]["frames_resumed"]) == (18, 12)
    assert same(shown(bench / "out.mp4"), whole)
    assert contents(bench / "out.mp4") == all_else
    assert files(bench) == ["in.mp4", "out.mp4"]


def test_killed_between_the_last_segment_and_the_output(thinlens, bench, monkeypatch):
    clip(bench / "in.mp4", frames=8)
    with monkeypatch.context() as patch:
        patch.setattr(video, "mux", lambda *_, **__: 1 / 0)
        assert thinlens("restore", *ARGUMENTS).code == 1
    assert len(WorkFolder(bench / "out.mp4").finished()) == 2
    assert thinlens("restore", *ARGUMENTS, "--resume").code == 0
    assert len(shown(bench / "out.mp4")) == 8


def test_what_is_done_is_done(thinlens, bench, monkeypatch):
    """A run that was killed after its output was there, too."""
    clip(bench / "in.mp4", frames=8)
    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "remove", lambda _: None)
        assert thinlens("restore", *ARGUMENTS).code == 0
    before = (bench / "out.mp4").read_bytes()
    assert thinlens("restore", *ARGUMENTS, "--resume").out == "in.mp4 -> out.mp4 (skipped)\n"
    assert files(bench) == ["in.mp4", "out.mp4"]
    assert (bench / "out.mp4").read_bytes() == before


def test_an_older_output_is_replaced_only_if_told(thinlens, bench):
    clip(bench / "in.mp4", frames=8)
    (bench / "out.mp4").write_text("old")
    killed(bench, 1, ["--overwrite"])
    done = thinlens("restore", *ARGUMENTS, "--resume")
    assert done.code == 1
    assert "`out.mp4` exists; `--overwrite` replaces it" in done.line
    assert (bench / "out.mp4").read_text() == "old"
    assert thinlens("restore", *ARGUMENTS, "--resume", "--overwrite", "--json").records[0]["frames_resumed"] == 4


def test_other_settings_do_not_go_on(thinlens, bench):
    clip(bench / "in.mp4", frames=12)
    killed(bench, 2)
    done = thinlens("restore", *ARGUMENTS, "--resume", "--crf", 30)
    assert done.code == 1
    assert "`out.mp4.work` was made with encoder crf 18, now 30; give the same" in done.line
    clip(bench / "in.mp4", frames=13)
    assert "was made with source bytes" in thinlens("restore", *ARGUMENTS, "--resume").line
    assert thinlens("restore", *ARGUMENTS, "--overwrite").code == 0
    assert len(shown(bench / "out.mp4")) == 13


def test_the_encoders_threads_are_those_it_began_with(thinlens, bench):
    clip(bench / "in.mp4", frames=12)
    killed(bench, 2)
    assert thinlens("restore", *ARGUMENTS[:-4], *ARGUMENTS[-2:], "-j", 1, "--resume").code == 0


@pytest.fixture
def _interrupts():
    """Ctrl-C interrupts, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts")
def test_ctrl_c_keeps_what_is_done(thinlens, bench, monkeypatch):
    clip(bench / "in.mp4", frames=12)
    begin = WorkFolder.segment

    def interrupted(self, number):
        if number == 1 and sys._getframe(1).f_code.co_name == "put":
            signal.raise_signal(signal.SIGINT)
            assert threading.current_thread().stopped.wait(60)
        return begin(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "segment", interrupted)
        done = thinlens("restore", *ARGUMENTS)
    assert done.code == 130
    assert "thinlens: about 4 frames are kept in `out.mp4.work`; `--resume` goes on with them\n" in done.err
    assert not list(bench.rglob("*.part"))
    assert thinlens("restore", *ARGUMENTS, "--resume").code == 0
    assert len(shown(bench / "out.mp4")) == 12


def test_resume_with_nothing_to_go_on_from_begins(thinlens, bench):
    clip(bench / "in.mp4", frames=4)
    assert thinlens("restore", *ARGUMENTS, "--resume").code == 0


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: b"x" + data[1:], lambda data: data[:5]])
def test_a_damaged_segment_is_named(thinlens, bench, damage):
    clip(bench / "in.mp4", frames=12)
    killed(bench, 2)
    path = bench / "out.mp4.work" / "00001.segment"
    path.write_bytes(damage(path.read_bytes()))
    done = thinlens("restore", *ARGUMENTS, "--resume")
    assert done.code == 1
    assert "00001.segment` is damaged; remove it and `--resume`" in done.line
    path.unlink()
    for later in (bench / "out.mp4.work").glob("0000[2-9].segment"):
        later.unlink()
    assert thinlens("restore", *ARGUMENTS, "--resume").code == 0
    assert len(shown(bench / "out.mp4")) == 12


def test_segments_begin_with_a_key_frame_and_hold_what_they_should(thinlens, bench, monkeypatch):
    clip(bench / "in.mp4", frames=10)
    monkeypatch.setattr(WorkFolder, "remove", lambda _: None)
    assert thinlens("restore", *ARGUMENTS).code == 0
    segments = [list(read_segment(path)) for path in WorkFolder(bench / "out.mp4").finished()]
    assert [len(entries) for entries in segments] == [4, 4, 2]
    assert all(entries[0].key for entries in segments)
