import sys

import pytest

from tests.cli.fixtures import picture
from thinlens.model.file import read_model

SWEEP = """
[data]
root = "."
train = ["images"]
val = ["images"]
[[grid]]
network = "bicubic_x{scale}"
[grid.axes]
scale = [2, 3]
[[grid]]
network = "edge_sr_tm_k3_c{c}_x2"
together = "c"
[grid.axes]
c = [1, 2]
[grid.loop]
kind = "shared_phase"
steps = 3
batch = 64
patches = 128
val_patches = 64
[[grid]]
network = "espcn_d{d}_s3_x2"
[grid.axes]
d = [0, 1]
[grid.loop]
kind = "plain"
steps = 2
batch = 2
crop = 8
"""


@pytest.fixture
def sweep(bench):
    picture("images/a.png", 40, 40)
    (bench / "pool.toml").write_text(SWEEP)
    return bench / "pool.toml"


def test_trains_the_whole_grid_and_says_so(thinlens, sweep, bench):
    done = thinlens("sweep", "run", "pool.toml", "-o", "out")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split()[:4] == ["networks", "models", "trained", "groups"]
    assert lines[2].split()[:8] == ["edge_sr_tm_k3_c{c}_x2", "2", "2", "1", "1", "0", "0", "0"]
    assert lines[4].split()[:8] == ["all", "6", "6", "5", "5", "0", "0", "0"]
    assert lines[5] == "pool: all is done"
    card = read_model(bench / "out/edge_sr_tm_k3_c2_x2.safetensors").card
    assert (card.training.steps, card.training.schedule, card.training.seed) == (3, "short", 0)
    assert [source.name for source in card.training.data] == ["images"]
    assert read_model(bench / "out/bicubic_x3.safetensors").card.training.schedule == "none"
    assert thinlens("restore", "images/a.png", "-o", "b.png", "--model", "out/espcn_d1_s3_x2.safetensors").code == 0


def test_status_and_going_on(thinlens, sweep, bench):
    assert thinlens("sweep", "run", "pool.toml", "-o", "out", "--json").code == 0
    (record,) = thinlens("sweep", "status", "out", "--json").records
    assert {key: record[key] for key in ("study", "models", "models_done", "done", "failed", "left")} == {
        "study": "pool",
        "models": 6,
        "models_done": 6,
        "done": 5,
        "failed": 0,
        "left": 0,
    }
    assert record["groups"][2]["group"] == "edge_sr_tm_k3_c1to2_x2"
    assert record["groups"][2]["state"] == "done"
    made = (bench / "out/espcn_d0_s3_x2.safetensors").stat().st_mtime_ns
    (bench / "out/sweep.sqlite").unlink()  # models that are there need no study: nothing is trained again
    (bench / "out/espcn_d1_s3_x2.safetensors").unlink()
    assert thinlens("sweep", "run", "pool.toml", "-o", "out").code == 0
    assert (bench / "out/espcn_d0_s3_x2.safetensors").stat().st_mtime_ns == made
    assert (bench / "out/espcn_d1_s3_x2.safetensors").is_file()
    assert thinlens("sweep", "work", "out").code == 0


def test_what_fails_is_listed_and_fails_the_command(thinlens, sweep, bench):
    picture("tiny/a.png", 4, 4)
    done = thinlens("sweep", "run", "pool.toml", "-o", "out", "--data", "nowhere")
    assert done.code == 1
    assert "failed: espcn_d1_s3_x2: RecipeError: data: no images in `nowhere/images`" in done.out
    assert thinlens("sweep", "run", "pool.toml", "-o", "out").code == 0  # `--data` was wrong; it is tried again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "pool.toml", "-o", "out", "--set", "grids=1"), "grids"),
        (("run", "missing.toml", "-o", "out"), "`missing.toml`: cannot be read as TOML"),
        (("run", "pool.toml", "-o", "out", "--storage", "postgresql://127.0.0.1:1/none"), "cannot be opened"),
        (("status", "nowhere"), "`nowhere` holds no `sweep.sqlite`; give the folder"),
        (("work", "nowhere"), "`nowhere` holds no `sweep.sqlite`"),
    ],
)
def test_usage_errors(thinlens, sweep, arguments, message):
    done = thinlens("sweep", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.line


@pytest.mark.parametrize("arguments", [("run", "pool.toml", "-o", "out"), ("work", "out"), ("status", "out")])
def test_without_the_extra(thinlens, sweep, bench, monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "thinlens.train.sweep.study", raising=False)
    done = thinlens("sweep", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "`thinlens sweep` needs the extra `sweep`: pip install 'thinlens[sweep]'" in done.line
    assert not (bench / "out").exists()


def test_a_changed_sweep_is_refused(thinlens, sweep):
    assert thinlens("sweep", "run", "pool.toml", "-o", "out").code == 0
    sweep.write_text(SWEEP.replace("steps = 3", "steps = 4"))
    done = thinlens("sweep", "run", "pool.toml", "-o", "out")
    assert done.code == 2
    assert "study `pool` holds another sweep" in done.line
