"""Restoring on a Ray cluster: without Ray the refusal, without a cluster what actors do, on a file system in memory."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from tests.cli.fixtures import files, picture, size_of
from thinlens.cli.batch import Orders
from thinlens.cli.checks import Settings
from thinlens.runtime.restore import Restorer, Wish

HAS_RAY = importlib.util.find_spec("ray") is not None and importlib.util.find_spec("upath") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs the extra `fleet`")


@pytest.mark.skipif(HAS_RAY, reason="the extra `fleet` is here")
def test_without_the_extra_the_pip_command_is_named(restore):
    picture("a.png")
    done = restore("a.png", "-o", "out", "--on", "ray")
    assert done.code == 2
    assert "`--on ray` needs the extra `fleet`: pip install 'thinlens[fleet]'" in done.line
    assert files() == ["a.png"]


@pytest.fixture
def memory(bench):
    """An empty file system in memory, as a URL."""
    pytest.importorskip("ray")
    upath = pytest.importorskip("upath")
    root = upath.UPath("memory://bucket")
    if root.exists():
        root.fs.rm(root.path, recursive=True)
    root.mkdir()
    return root


@pytest.fixture
def fleet(memory):
    """A fleet with the x2 model and changed settings, and one of its actors."""

    def make(**changes):
        from thinlens.cli.fleet import Actor, Fleet

        plain = {"format": None, "jpeg_quality": 95, "strip": False, "max_pixels": 10**6, "max_memory": None}
        plain |= {"skip_existing": False, "overwrite": False, "dry_run": False}
        wish = Wish(model="x2.safetensors")
        orders = Orders(wish, 1, Settings(**plain | changes), on="ray")
        return Fleet(orders, Restorer(wish, threads=1)), Actor(orders, Path("x2.safetensors").read_bytes())

    return make


def put(root, *names):
    for name in names:
        picture("made.png")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(Path("made.png").read_bytes())


def result_of(actor, job):
    from thinlens.cli.fleet import _packed

    number, record, told = json.loads(actor({"job": _packed(7, job)})["result"])
    assert (number, told) == (7, "")
    return record


def test_jobs_of_urls_are_named_like_those_of_paths(fleet, memory):
    put(memory, "in/a.png", "in/b.jpg", "in/sub/c.png", "in/.hidden.png", "in/notes.txt")
    ray, _ = fleet(format="webp")
    out = ray.place(Path(f"{memory}/out"))  # as pathlib shortens it

    def named(*inputs, recursive=False):
        jobs = ray.plan([str(text) for text in inputs], out, recursive=recursive)
        return {str(job.source).removeprefix(f"{memory}/"): str(job.target).removeprefix(f"{memory}/") for job in jobs}

    assert named(memory / "in") == {"in/a.png": "out/a.webp", "in/b.jpg": "out/b.webp"}
    assert named(memory / "in", recursive=True)["in/sub/c.png"] == "out/sub/c.webp"
    assert named(f"{memory}/in/*.png") == {"in/a.png": "out/a.webp"}
    picture("local/d.png")
    assert named("local", memory / "in/a.png") == {"local/d.png": "out/d.webp", "in/a.png": "out/a.webp"}
    [job] = ray.plan([f"{memory}/none"], out, recursive=False)
    assert "no such file, or no image in this folder" in str(job.error)


def test_an_actor_restores_a_url_into_a_url(fleet, memory):
    put(memory, "in/a.png")
    ray, actor = fleet()
    [job] = ray.plan([f"{memory}/in"], memory / "out", recursive=False)
    assert ray.check(job).status == "planned"
    record = result_of(actor, job)
    assert (record["status"], record["width"], record["height"]) == ("restored", 14, 10)
    Path("got.png").write_bytes((memory / "out/a.png").read_bytes())
    assert size_of("got.png") == (14, 10)
    assert [path.name for path in (memory / "out").iterdir()] == ["a.png"]


def test_a_job_that_comes_twice_is_done_once(fleet, memory):
    put(memory, "in/a.png")
    ray, actor = fleet()
    [job] = ray.plan([f"{memory}/in"], memory / "out", recursive=False)
    first = result_of(actor, job)
    (memory / "out/a.png").write_bytes(b"whole")
    second = result_of(actor, job)
    assert first.pop("seconds") >= 0
    assert second == first
    assert (memory / "out/a.png").read_bytes() == b"whole"


def test_a_damaged_url_fails_alone_and_is_named(fleet, memory):
    put(memory, "in/a.png")
    (memory / "in/a.png").write_bytes(b"no image")
    ray, actor = fleet()
    [job] = ray.plan([f"{memory}/in"], memory / "out", recursive=False)
    assert result_of(actor, job)["error"].startswith(f"`{memory}/in/a.png`: not an image of a known format")
    (memory / "in/a.png").unlink()
    assert result_of(actor, job)["error"] == f"`{memory}/in/a.png`: no such file or folder"


def test_certify_goes_to_the_url_too(fleet, memory):
    put(memory, "in/a.png")
    ray, actor = fleet(certify="report")
    [job] = ray.plan([f"{memory}/in"], memory / "out", recursive=False)
    assert result_of(actor, job)["certify"]["heat_map"] == f"{memory}/out/a_certify.png"
    assert (memory / "out/a_certify.png").exists()


def test_an_existing_output_behind_a_url_is_kept(fleet, memory):
    put(memory, "in/a.png", "out/a.png")
    for changes, status in (({}, "failed"), ({"skip_existing": True}, "skipped"), ({"overwrite": True}, "planned")):
        ray, _ = fleet(**changes)
        [job] = ray.plan([f"{memory}/in"], memory / "out", recursive=False)
        assert ray.check(job).status == status


def test_where_a_put_is_not_atomic_it_is_moved_into_place(memory, monkeypatch):
    from thinlens.cli import remote

    seen = []
    monkeypatch.setattr(remote, "ATOMIC", set())
    move = memory.fs.mv
    monkeypatch.setattr(type(memory.fs), "mv", lambda self, a, b, **_: seen.append((a, b)) or move(a, b))
    Path("made").write_bytes(b"data")
    remote.put(Path("made"), memory / "deep/a.png")
    assert (memory / "deep/a.png").read_bytes() == b"data"
    assert [path.name for path in (memory / "deep").iterdir()] == ["a.png"]
    assert len(seen) == 1
    assert ".thinlens-" in seen[0][0]


def test_the_journal_behind_a_url_grows_by_objects(memory):
    from thinlens.cli.remote import RemoteLog

    log = RemoteLog(memory / "out")
    assert log.read() == b""
    log.open(keep=0)
    log.write(b"1\n", sync=True)
    log.write(b"2\n", sync=False)
    log.write(b"", sync=True)
    again = RemoteLog(memory / "out")
    assert again.read() == b"1\n2\n"
    again.open(keep=4)
    again.write(b"3\n", sync=True)
    assert RemoteLog(memory / "out").read() == b"1\n2\n3\n"
    again.close(remove=True)
    assert RemoteLog(memory / "out").read() == b""


@needs_ray
def test_what_is_no_address_is_refused(restore):
    picture("a.png")
    for words in ("spark", "ray://", "ray://a/b"):
        assert f"`--on {words}`: accepted: `ray`" in restore("a.png", "-o", "out", "--on", words).line


@needs_ray
@pytest.mark.skipif(
    "THINLENS_TEST_RAY" not in os.environ, reason="starts a cluster, which takes a quiet machine: set THINLENS_TEST_RAY"
)
def test_a_cluster_of_this_machine_gives_what_one_process_gives(restore, bench):
    for number in range(20):
        picture(f"in/{number:02}.png", 5 + number)
    (bench / "in/05.png").write_text("no image")
    alone = restore("in", "-o", "alone", "--json")
    done = restore("in", "-o", "out", "--json", "--on", "ray", "--workers", 2)
    assert done.code == alone.code == 1
    assert {p.name: p.read_bytes() for p in Path("out").iterdir()} == {
        p.name: p.read_bytes() for p in Path("alone").iterdir()
    }


@needs_ray
def test_what_other_threads_print_is_kept_from_standard_output(capsys):
    import contextlib
    import sys
    import threading

    from thinlens.cli.fleet import Apart

    with contextlib.redirect_stdout(Apart(sys.stdout)):
        sys.stdout.write("a record\n")
        other = threading.Thread(target=print, args=("a warning",))
        other.start()
        other.join()
    assert capsys.readouterr() == ("a record\n", "a warning\n")
