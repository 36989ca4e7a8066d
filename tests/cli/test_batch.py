"""Many files: by workers, cut off, and gone on with."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.fixtures import files, picture, size_of
from thinlens.cli.journal import NAME
from thinlens.runtime.session import Session

COUNT = 60
TRUNCATED, EMPTY, TEXT = 7, 23, 41  # numbers of the damaged ones
GOOD = COUNT - 3
COMMAND = ("restore", "in", "-o", "out", "--model", "x2.safetensors")


@pytest.fixture
def many(bench):
    """A folder of small pictures, three of them damaged."""
    rng = np.random.default_rng(0)
    (bench / "in").mkdir()
    for number in range(COUNT):
        path = bench / "in" / f"{number:02}.{'png' if number % 2 else 'jpg'}"
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).save(path)
        if number == TRUNCATED:
            path.write_bytes(path.read_bytes()[:-80])
        elif number in (EMPTY, TEXT):
            path.write_text("" if number == EMPTY else "no image")
    return bench


def contents(folder="out"):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def times(folder="out"):
    return {p.name: p.stat().st_mtime_ns for p in Path(folder).iterdir() if not p.name.startswith(".")}


def plain(records):
    """Records in one order, without what differs from run to run."""
    for record in records:
        record.pop("seconds", None)
        record.get("summary", {}).pop("seconds", None)
    return sorted(records, key=lambda record: record.get("input", "~"))


def program(*arguments, setup=""):
    """A command in a process of its own, in the current folder, after some Python."""
    code = f"import sys\n{setup}\nsys.argv = ['thinlens', *{list(map(str, arguments))!r}]\n"
    code += "from thinlens.__main__ import main\nmain()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], **pipes)


def wait_for(condition):
    """Wait until something is so; that it takes for ever is a failure."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited in vain")


def children_of(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(path.parent.name))
    return found


def is_worker(pid):
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_workers_give_what_one_process_gives(thinlens, many):
    alone = thinlens(*COMMAND, "--json")
    expected = contents()
    Path("out").rename("alone")
    done = thinlens(*COMMAND, "--json", "--workers", 2)
    assert (done.code, done.err) == (1, alone.err)
    assert plain(done.records) == plain(alone.records)
    assert done.records[-1]["summary"]["restored"] == GOOD
    assert contents() == expected
    assert [Path(line.split("`")[1]).stem for line in done.err.splitlines()] == ["07", "23", "41"]


def test_what_a_worker_would_say_is_said(thinlens, many):
    setting = ("restore", "in/00.jpg", "in/02.jpg", "-o", "out", "--task", "deblock")
    alone = thinlens(*setting)
    Path("out").rename("alone")
    done = thinlens(*setting, "--workers", 2)
    assert sorted(done.err.splitlines()) == sorted(alone.err.splitlines())
    assert len(done.err.splitlines()) == 2


def test_workers_share_the_threads_out(monkeypatch):
    from thinlens.cli import batch

    monkeypatch.setattr(batch, "usable_cpus", lambda: 8)
    assert [batch.threads_of(None, n, None) for n in (None, 1, 3, 9)] == [None, 8, 2, 1]
    assert [batch.threads_of(6, n, None) for n in (None, 2, 9)] == [6, 3, 1]
    assert [batch.threads_of(threads, 4, "ray") for threads in (None, 3)] == [1, 3]


SLOW = """
import os, time
from pathlib import Path
from thinlens.image import files
read = files.read_image
def slow(path, **options):
    name = Path(path).name
    Path("at_work", f"{name}.{os.getpid()}").touch()
    if name == Path("slow").read_text():
        time.sleep(60)
    return read(path, **options)
files.read_image = slow
"""


@pytest.fixture
def slow(many, monkeypatch):
    """Workers sleep for a minute over the file that `slow` names, and leave `at_work/NAME.PID` as they take a file."""
    (many / "patch").mkdir()
    (many / "at_work").mkdir()
    (many / "patch/sitecustomize.py").write_text(
        "import sys\nif 'multiprocessing.spawn' in ' '.join(sys.orig_argv):\n"
        + "".join(f"    {line}\n" for line in SLOW.strip().splitlines())
    )
    monkeypatch.setenv("PYTHONPATH", str(many / "patch"))
    (many / "slow").write_text("05.png")
    return lambda: list((many / "at_work").glob("05.png.*"))


def test_a_worker_that_dies_costs_its_file_only(slow, many):
    with program(*COMMAND, "--json", "--workers", 2) as process:
        for tries in (1, 2):
            wait_for(lambda tries=tries: len(slow()) == tries)
            newest = max(slow(), key=lambda path: path.stat().st_mtime_ns)
            os.kill(int(newest.suffix[1:]), signal.SIGKILL)
        out, error = process.communicate(timeout=120)
    assert process.returncode == 1
    records = [json.loads(line) for line in out.splitlines()]
    assert records[-1]["summary"] | {"seconds": 0, "models": []} == {
        "task": "sr", "models": [], "restored": GOOD - 1, "planned": 0, "skipped": 0, "failed": 4, "seconds": 0,
    }  # fmt: skip
    assert "`in/05.png`: its worker ended by SIGKILL, 2 times; short of memory? use fewer `--workers`" in error
    assert len(files("out")) == GOOD - 1


def test_a_worker_killed_once_costs_nothing(slow, many):
    with program(*COMMAND, "--workers", 2) as process:
        wait_for(slow)
        (many / "slow").write_text("none")
        os.kill(int(slow()[0].suffix[1:]), signal.SIGKILL)
        process.communicate(timeout=120)
    assert len(files("out")) == GOOD


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_all_workers_and_leaves_whole_files(slow, many, kind, code):
    with program(*COMMAND, "--workers", 2) as process:
        wait_for(lambda: slow() and (many / "out").exists() and len(times()) > 20)
        workers = [pid for pid in children_of(process.pid) if is_worker(pid)]
        assert len(workers) == 2
        process.send_signal(kind)
        _, error = process.communicate(timeout=30)
    assert process.returncode == code
    assert error == ("thinlens: interrupted; no half-written file was left\n" if code == 130 else "")
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    for name in times():
        size_of(many / "out" / name)
    assert [name for name in files("out") if name.startswith(".")] == [NAME]


@pytest.mark.parametrize("workers", [(), ("--workers", 2)])
def test_a_killed_run_is_gone_on_with(thinlens, slow, many, workers):
    reference = thinlens("restore", "in", "-o", "reference", "--model", "x2.safetensors")
    patch = (
        (many / "patch/sitecustomize.py")
        .read_text()
        .replace("if 'multi", "if '--model' in sys.orig_argv[-1] or 'multi")
    )
    (many / "patch/sitecustomize.py").write_text(patch)
    (many / "slow").write_text("40.jpg")
    with program(*COMMAND, *workers) as process:
        wait_for(lambda: list((many / "at_work").glob("40.jpg.*")))
        process.kill()
        process.communicate()
    (many / "slow").write_text("none")
    before = times()
    assert 30 < len(before) < GOOD
    with (many / "out" / NAME).open("ab") as file:
        file.write(b'{"output": "4')  # as a crash tears it
    done = thinlens(*COMMAND, *workers, "--resume", "--json")
    assert done.code == 1
    assert done.records[-1]["summary"]["restored"] == GOOD - len(before)
    assert done.records[-1]["summary"]["skipped"] == len(before)
    assert {r["note"] for r in done.records[:-1] if r["status"] == "skipped"} == {"done by an earlier run"}
    assert done.err.startswith(f"thinlens: going on with the run in `out`: {len(before)} files done, ")
    assert before.items() <= times().items()
    assert {n: d for n, d in contents().items() if n != NAME} == contents("reference")
    assert reference.code == 1


def test_a_run_that_ends_leaves_no_journal(restore, many):
    assert restore("in", "-o", "out").code == 1
    assert len(files("out")) == GOOD
    assert NAME not in files("out")


@pytest.fixture
def two(restore):
    """Two pictures, restored with `--resume`; how to do it again."""
    picture("in/a.png")
    picture("in/b.png", 6)
    assert restore("in", "-o", "out", "--resume").code == 0
    return lambda *options: restore("in", "-o", "out", "--resume", "--json", *options)


def statuses(done):
    return [(record["status"], record.get("note")) for record in done.records[:-1]]


DONE = ("skipped", "done by an earlier run")


def test_resuming_what_is_done_does_nothing(two, monkeypatch):
    monkeypatch.setattr(Session, "run", lambda *_, **__: pytest.fail("worked in vain"))
    done = two()
    assert (done.code, statuses(done)) == (0, [DONE, DONE])
    assert done.line == "thinlens: going on with the run in `out`: 2 files done, 0 left"


def test_a_changed_input_is_done_again_and_a_new_one_too(two):
    picture("in/a.png", 9)
    picture("in/c.png")
    done = two()
    changed = ("restored", "the input has changed since an earlier run; done again")
    assert (done.code, statuses(done)) == (0, [changed, DONE, ("restored", None)])
    assert size_of("out/a.png") == (14, 18)
    assert statuses(two()) == [DONE] * 3


def test_a_missing_output_is_made_again(two):
    Path("out/b.png").unlink()
    assert statuses(two()) == [DONE, ("restored", None)]


def test_failed_files_are_tried_again(two, bench):
    (bench / "in/c.png").write_text("no image")
    assert [status for status, _ in statuses(two())] == ["skipped", "skipped", "failed"]
    picture("in/c.png")
    assert statuses(two()) == [DONE, DONE, ("restored", None)]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--scale", "1.5"), "scale not given, now it is `1.5`"),
        (("--strip",), "strip `False`, now it is `True`"),
        (("--jpeg-quality", "90"), "jpeg_quality `95`, now it is `90`"),
    ],
)
def test_other_settings_are_refused(two, options, found):
    before = contents()
    done = two(*options)
    assert done.code == 2
    assert f"`out`: its run was begun with {found}; give the same to go on" in done.line
    assert contents() == before


def test_another_model_is_refused(two, bench):
    (bench / "x3.safetensors").replace("x2.safetensors")
    done = two()
    assert done.code == 2
    assert "its run was begun with model `sha256 " in done.line


def test_a_damaged_journal_is_refused(two, bench):
    path = bench / "out" / NAME
    path.write_bytes(b"[1]\n" + path.read_bytes())
    done = two()
    assert done.code == 2
    assert f"`out/{NAME}`: line 1 is damaged; remove the file" in done.line


def test_a_folder_that_another_run_writes_into(two, restore):
    fcntl = pytest.importorskip("fcntl")
    with Path("out", NAME).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = two()
        assert done.code == 2
        assert "another run writes into this folder" in done.line
        picture("d.png")
        picture("e.png")
        done = restore("d.png", "e.png", "-o", "out")
        assert done.code == 0
        assert "no journal can be kept" in done.line


def test_inputs_replaced_by_their_outputs_are_not_restored_twice(restore, monkeypatch):
    picture("in/a.png")
    picture("in/b.png")
    run = Session.run

    def interrupted(self, image, **options):
        if Path("in/a.png").stat().st_mtime_ns != begun:
            raise KeyboardInterrupt
        return run(self, image, **options)

    begun = Path("in/a.png").stat().st_mtime_ns
    monkeypatch.setattr(Session, "run", interrupted)
    assert restore("in", "-o", "in", "-f").code == 130
    monkeypatch.setattr(Session, "run", run)
    done = restore("in", "-o", "in", "-f", "--resume", "--json")
    assert statuses(done) == [DONE, ("restored", None)]
    assert {size_of(f"in/{name}.png") for name in "ab"} == {(14, 10)}


def test_resume_goes_with_a_folder(restore):
    picture("a.png")
    done = restore("a.png", "-o", "b.png", "--resume")
    assert done.code == 2
    assert "`--resume` goes on with a run into a folder; `b.png` is one file" in done.line


def test_dry_run_tells_what_is_left_and_writes_nothing(two):
    picture("in/c.png")
    before = contents()
    assert statuses(two("--dry-run")) == [DONE, DONE, ("planned", None)]
    assert contents() == before
