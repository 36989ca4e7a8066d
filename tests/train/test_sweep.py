"""Sweeps: grids become groups, workers share a study, and nothing is lost or done twice whoever is killed."""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from thinlens.errors import RecipeError, UnknownNameError
from thinlens.model.file import read_model
from thinlens.train.loop import ignore_progress
from thinlens.train.recipe import Data, to_recipe
from thinlens.train.sweep import study as studies
from thinlens.train.sweep.grid import groups_of, read_sweep, to_sweep
from thinlens.train.sweep.worker import Worker

ROOT = Path(__file__).parents[2]
LOOP = {
    "kind": "shared_phase",
    "steps": 1000,
    "batch": 256,
    "patches": 2048,
    "val_patches": 512,
    "checkpoint_every": 20,
}
GRID = {
    "network": "edge_sr_{kind}_k3_c{c}_x{scale}",
    "together": "c",
    "axes": {"scale": [2, 3], "kind": ["tm", "tr"], "c": [1, 3]},
    "loop": LOOP,
}
BICUBIC = {"network": "bicubic_x{scale}", "axes": {"scale": [2]}}


def table(*grids: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"train": ["train/cid22"], "val": ["val"]}, "grid": list(grids)}


def test_a_grid_is_one_group_for_what_is_trained_together() -> None:
    groups = groups_of(to_sweep(table(GRID, BICUBIC)))
    assert list(groups) == [*(f"edge_sr_{kind}_k3_c1to3_x{s}" for s in (2, 3) for kind in ("tm", "tr")), "bicubic_x2"]
    group = groups["edge_sr_tr_k3_c1to3_x3"]
    assert group.networks == ("edge_sr_tr_k3_c1_x3", "edge_sr_tr_k3_c3_x3")
    alone = {"network": "edge_sr_tr_k3_c3_x3", "schedule": "short", "loop": LOOP, "data": table()["data"]}
    assert group.recipes[1] == to_recipe(alone)  # what `thinlens train` would take
    assert groups["bicubic_x2"].recipes == ()


def test_a_network_of_an_earlier_grid_is_left_out_later() -> None:
    first = {"network": "espcn_d{d}_s3_x2", "axes": {"d": [1]}, "loop": {"kind": "plain", "steps": 5}}
    groups = groups_of(
        to_sweep(table(first, {**first, "axes": {"d": [0, 1, 2]}, "loop": {"kind": "plain", "steps": 9}}))
    )
    assert {name: group.recipes[0].loop.steps for name, group in groups.items()} == {
        "espcn_d1_s3_x2": 5,
        "espcn_d0_s3_x2": 9,
        "espcn_d2_s3_x2": 9,
    }


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({**GRID, "networks": "x"}, "networks"),
        (
            {**GRID, "axes": {"scale": [2], "kind": ["tm"]}},
            "`network` names the axes `c`, `kind`, `scale`, `axes` holds",
        ),
        ({**GRID, "together": "d"}, "`together`: got `d`; accepted: one of `c`, `kind`, `scale`"),
        ({**GRID, "together": "scale"}, "`together`: only networks of one kind, kernel size and scale"),
        ({**GRID, "loop": {**LOOP, "step": 3}}, "grid 1: `loop.step`: unknown key; did you mean `loop.steps`"),
        ({**GRID, "loop": {"kind": "plain", "steps": 3}}, '`together`: only `kind = "shared_phase"`'),
        ({**BICUBIC, "loop": LOOP}, 'grid 1: `loop.kind`: got "shared_phase" for `bicubic_x2`'),
    ],
)
def test_a_wrong_grid_says_what_is_wrong(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        groups_of(to_sweep(table(grid)))
    assert message in str(caught.value)


def test_an_unknown_network_lists_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        groups_of(to_sweep(table({**GRID, "axes": {**GRID["axes"], "scale": [7]}})))


def test_the_pool_is_all_of_the_published_configurations() -> None:
    groups = groups_of(read_sweep(ROOT / "recipes/sweeps/edge_sr.toml"))
    families = Counter(
        network.rpartition("_x")[2] + network[:9] for group in groups.values() for network in group.networks
    )
    each = {"bicubic_x": 1, "edge_sr_m": 48, "edge_sr_t": 96, "edge_sr_c": 100, "espcn_d": 100, "fsrcnn_d": 50}
    assert sum(families.values()) == 1185 == 3 * sum(each.values())
    for scale in "234":
        assert {k: sum(n for f, n in families.items() if f.startswith(scale + k)) for k in each} == each


Train = Callable[[str], float]


@pytest.fixture
def study(tmp_path: Path) -> Iterator[optuna.Study]:
    create(tmp_path)
    with studies.open_study(str(tmp_path), 1, None) as study:
        yield study


def create(folder: Path) -> None:
    groups = [(name, "grid", 1) for name in "abc"]
    attrs = {"sweep": "{}", "groups": groups, "folder": str(folder), "root": str(folder)}
    studies.create_study(str(folder), 1, "three", attrs)


def states(study: optuna.Study) -> dict[str, str]:
    return {entry.group: entry.state for entry in studies.entries(study)}


def test_what_fails_is_tried_again_a_few_times_and_then_listed(study: optuna.Study, tmp_path: Path) -> None:
    calls: list[str] = []

    def train(name: str) -> float:
        calls.append(name)
        if name == "b" or (name == "c" and calls.count("c") == 1):
            raise RecipeError(f"{name} does not work")
        return 1.5

    studies.work(study, train, 0.1)
    assert Counter(calls) == {"a": 1, "b": studies.TRIES, "c": 2}
    assert states(study) == {"a": "done", "b": "failed", "c": "done"}
    failed = studies.entries(study)[1]
    assert failed.error == "RecipeError: b does not work"
    assert studies.eta_minutes(studies.entries(study)) == 0
    create(tmp_path)  # the user has removed the cause
    assert states(study) == {"a": "done", "b": "left", "c": "done"}
    studies.work(study, lambda name: 2.0, 0.1)
    assert states(study)["b"] == "done"


def test_ctrl_c_is_no_failure(study: optuna.Study) -> None:
    def interrupted(name: str) -> float:
        raise KeyboardInterrupt

    for _ in range(studies.TRIES + 1):
        with pytest.raises(KeyboardInterrupt):
            studies.work(study, interrupted, 0.1)
    studies.work(study, lambda name: 1.0, 0.1)
    assert set(states(study).values()) == {"done"}


def test_a_worker_that_was_taken_for_dead_goes_on(study: optuna.Study) -> None:
    calls: list[str] = []

    def train(name: str) -> float:
        calls.append(name)
        if len(calls) == 1:  # another worker, meanwhile
            study.tell(0, state=optuna.trial.TrialState.FAIL)
        return 1.0

    studies.work(study, train, 0.1)
    assert Counter(calls) == {"a": 2, "b": 1, "c": 1}
    assert set(states(study).values()) == {"done"}


def test_a_group_that_two_workers_queued_is_trained_once(study: optuna.Study) -> None:
    for name in "aab":
        study.enqueue_trial({}, user_attrs={"group": name})
    calls: list[str] = []
    studies.work(study, lambda name: float(len(calls.append(name) or calls)), 0.1)
    assert sorted(calls) == ["a", "b", "c"]


def test_a_study_is_found_by_folder_url_and_name(study: optuna.Study, tmp_path: Path) -> None:
    def name_of(where: str, name: str | None) -> str:
        with studies.open_study(where, 1, name) as found:
            return found.study_name

    assert name_of(f"sqlite:///{tmp_path}/{studies.FILE}", "three") == study.study_name == "three"
    with pytest.raises(UnknownNameError, match="did you mean `three`"):
        name_of(str(tmp_path), "tree")
    with pytest.raises(RecipeError, match=r"holds no `sweep\.sqlite`"):
        name_of(str(tmp_path / "nowhere"), None)
    with pytest.raises(RecipeError, match="holds another sweep"):
        studies.create_study(str(tmp_path), 1, "three", {"sweep": "{1}"})


def test_a_storage_that_cannot_be_opened_keeps_its_password() -> None:
    with (
        pytest.raises(RecipeError) as caught,
        studies.open_storage("postgresql://me:secret@127.0.0.1:1/none", 1),
    ):
        pass
    assert "me:***@127.0.0.1:1/none" in str(caught.value)
    assert "secret" not in str(caught.value)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server of our own on a socket in a folder; it refuses to run as root."""
    found = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    initdb = next((Path(path).resolve() for path in found if path), None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        owner = next((e for e in pwd.getpwall() if e.pw_name in ("postgres", "nobody")), None)
        if owner is None:
            pytest.skip("PostgreSQL needs a user that is not root, and there is neither `postgres` nor `nobody`")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
    database = folder / "database"
    subprocess.run([initdb, "-D", database, "-U", "thinlens", "-A", "trust", "--no-sync"], check=True, **quiet)
    options = ["-k", str(folder), "-h", "", "-F"]
    server = subprocess.Popen([initdb.with_name("postgres"), "-D", str(database), *options], **quiet)
    try:
        while not (folder / ".s.PGSQL.5432").exists():
            assert server.poll() is None
            time.sleep(0.05)
        yield f"postgresql://thinlens@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the study lies: in the folder's own file, or in PostgreSQL."""
    if request.param == "sqlite":
        yield str(tmp_path / "out")
        return
    folder = Path("/tmp") / f"thinlens_{os.getpid()}"  # short, as it holds a socket, and open to the server's user
    folder.mkdir(mode=0o755)
    try:
        with postgresql(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_two_workers_finish_a_sweep_although_one_is_killed(storage: str, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    sweep = to_sweep(table({**GRID, "axes": {"scale": [2], "kind": ["max", "tm", "tr"], "c": [1, 3]}}, BICUBIC))
    groups = groups_of(sweep)
    listed = [(group.name, group.grid, len(group.networks)) for group in groups.values()]
    attrs = {"sweep": sweep.canonical().decode(), "groups": listed, "folder": str(out), "root": str(root)}
    studies.create_study(storage, 1, "two", attrs)
    runs = [out / "runs" / name for name in groups]
    with studies.open_study(storage, 1, None) as study:
        with locked(runs[1]):
            with locked(runs[0]):  # each takes one of the two and waits: both are at work
                workers = {process.pid: process for process in (start(storage, out), start(storage, out))}
                wait_for(lambda: at_work(study, workers), 0.3)
                victim = int((studies.entries(study)[0].worker or "").rpartition(":")[2])
            wait_for(lambda: any(runs[0].glob("checkpoints/*/step_*.pt")), 0.02)
            workers[victim].kill()
        assert [process.wait() for pid, process in workers.items() if pid != victim] == [0]
        assert workers[victim].wait() == -signal.SIGKILL
        trials = studies.trials_of(study)

    complete = [sum(t.state == optuna.trial.TrialState.COMPLETE for t in each) for each in trials.values()]
    assert complete == [1] * 4  # nothing lost, nothing done twice
    killed = [name for name, each in trials.items() if any(t.state == optuna.trial.TrialState.FAIL for t in each)]
    assert killed == [runs[0].name]
    assert '"resumed_at"' in (out / "runs" / killed[0] / "log.jsonl").read_text()
    names = {network for group in groups.values() for network in group.networks}
    assert {path.stem for path in out.glob("*.safetensors")} == names
    data = Data(train=("train/cid22",), val=("val",), root=str(root))
    Worker(groups, data, tmp_path, ignore_progress).train(killed[0])  # as if nobody had been killed
    for network in groups[killed[0]].networks:
        resumed, whole = (read_model(folder / f"{network}.safetensors") for folder in (out, tmp_path))
        np.testing.assert_array_equal(resumed.tensors["filter.weight"], whole.tensors["filter.weight"])
        assert (resumed.card.training.steps, resumed.card.training.schedule) == (LOOP["steps"], "short")
        assert resumed.card.training.minutes is not None


def start(storage: str, out: Path) -> "subprocess.Popen[bytes]":
    arguments = ["sweep", "work", storage, "-o", str(out), "--heartbeat", "2", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "thinlens", *arguments], stdout=subprocess.DEVNULL, env=environment)


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep workers from a group, as one of them would."""
    run.parent.mkdir(exist_ok=True)
    with run.with_suffix(".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wait_for(found: Callable[[], bool], seconds: float) -> None:
    while not found():
        time.sleep(seconds)


def at_work(study: optuna.Study, workers: "dict[int, subprocess.Popen[bytes]]") -> bool:
    assert all(process.poll() is None for process in workers.values()), "a worker ended too early"
    entries = studies.entries(study)[:2]
    return all(entry.state == "running" and entry.worker for entry in entries)
