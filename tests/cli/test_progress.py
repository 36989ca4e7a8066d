import sys

import pytest

from thinlens.cli import progress


@pytest.fixture
def clock(monkeypatch):
    """Time as the meter sees it, in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def run(clock, capfd, seconds):
    with progress.Meter() as meter:
        meter.show("files", 1, 4)
        clock[0] = seconds
        meter.show("rows [b]", 2, 4)
        shown = capfd.readouterr()
        meter.drop("rows [b]")
        meter.drop("never shown")
    return shown


def test_silent_where_nobody_watches(clock, capfd):
    shown = run(clock, capfd, 9.0)
    assert (shown.out, shown.err) == ("", "")


def test_silent_for_two_seconds(clock, capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(clock, capfd, 1.9).err == ""


def test_then_bars_on_stderr_only(clock, capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    shown = run(clock, capfd, 2.1)
    assert shown.out == ""
    assert "rows [b]" in shown.err
    assert "files" in shown.err
