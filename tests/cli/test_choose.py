import sys

import msgspec
import pytest

from tests.cli.fixtures import picture, size_of
from tests.conftest import template_matching_model
from thinlens import models
from thinlens.bench import choose as choosing
from thinlens.model.card import Measurement
from thinlens.model.file import Model, write_model

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Less time than users have; the fresh process is measured by a test of its own."""
    monkeypatch.setattr(choosing, "SECONDS", 0.01)
    monkeypatch.setattr(choosing, "measure_program", lambda path, width: 40_000_000)


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """One model ships, of 30 dB."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    write_model(folder / "worse.safetensors", rated("worse", 30.0))
    monkeypatch.setattr(models, "FOLDER", folder)


def rated(name, psnr_db):
    model = template_matching_model()
    figure = Measurement(data="val", count=1, psnr_y_db=psnr_db, ssim_y=0.9, protocol="p")
    return Model(model.plans, model.tensors, msgspec.structs.replace(model.card, name=name, quality=(figure,)))


def test_the_best_is_picked_and_marked(thinlens, shipped, bench):
    write_model(bench / "better.safetensors", rated("better", 31.0))
    done = thinlens("choose", "--budget", "100s@64x48,1GB", "--model", "better.safetensors", "-j", 1)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == ["kept", "kept"]
    (marked,) = [line for line in lines if line.startswith("->")]
    assert marked.split()[1] == "better.safetensors"
    assert "31.00 dB" in marked
    assert "image        32x24 rgb24, for a result of 64x48" in lines


@pytest.mark.parametrize(("load", "told"), [(1.0, False), (4.0, True)])
def test_a_busy_machine_is_told(thinlens, shipped, monkeypatch, load, told):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    done = thinlens("choose", "--budget", "100s@64x48")
    assert ("busy, promises are worth little" in done.out) == told


def test_json_tells_what_is_promised(thinlens, shipped):
    (found,) = thinlens(
        "choose", "--budget", "64MB@65x47", "--model", "x2.safetensors", "--format", "gray16", "-j", 2, "--json"
    ).records
    assert found["budget"] == {
        "text": "64MB@65x47",
        "height": 47,
        "width": 65,
        "seconds": None,
        "memory_bytes": 64_000_000,
    }
    assert found["image"] == {"width": 33, "height": 24, "format": "gray16"}
    assert (found["task"], found["threads"], found["pick"]) == ("sr", 2, "worse")
    by_name = {candidate["model"]: candidate for candidate in found["candidates"]}
    assert (by_name["worse"]["fits"], by_name["worse"]["why_not"], by_name["worse"]["psnr_db"]) == (True, None, 30.0)
    assert (by_name["x2.safetensors"]["fits"], by_name["x2.safetensors"]["why_not"]) == (False, "no figure")
    assert by_name["worse"]["ms"] > 0
    pixels = 2 * 33 * 24
    assert 5 * pixels < by_name["worse"]["memory_bytes"] - 40_000_000 < 64_000_000


def test_when_nothing_fits_it_is_said_what_would(thinlens, shipped):
    done = thinlens("choose", "--budget", "0.001ms@64x48", "--json")
    assert (done.code, done.records[0]["pick"]) == (1, None)
    assert "no model keeps 0.001ms@64x48 here: the quickest, `worse`, takes " in done.line
    assert "40.0 MB" in done.line


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing option '--budget'"),
        (("--budget", "20ms"), 2, "got '20ms'; accepted: a time, a memory or both"),
        (("--budget", "20ms@1080p", "--task", "denoise", "--scale", "2"), 2, "task denoise keeps the size"),
        (("--budget", "20ms@1080p", "--scale", "8"), 2, "no model is shipped for task `sr`, scale 8"),
        (("--budget", "20ms@1080p", "--model", "x3.safetensors"), 2, "`x3.safetensors` does sr x3"),
        (("--budget", "20ms@1080p", "--model", "nothing"), 2, "unknown model `nothing`"),
    ],
)
def test_bad_arguments(thinlens, arguments, code, message):
    done = thinlens("choose", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line


def test_restore_takes_the_model_that_keeps_the_budget(thinlens, shipped):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", "--budget", "100s@64x48,1GB", "--json")
    assert (done.code, size_of("b.png")) == (0, (14, 10))
    assert done.records[0]["model"] == "worse"
    assert "`worse`: " in done.line
    assert "promised; 30.00 dB on val, the best of 1 that keep 100s@64x48,1GB" in done.line


def test_restore_takes_the_next_larger_scale(thinlens):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", "--budget", "100s@60x60", "--scale", "2.5", "--json")
    assert (done.code, size_of("b.png")) == (0, (18, 12))
    assert done.records[0]["model"].endswith("_x3")


def test_restore_does_nothing_when_nothing_fits(thinlens, shipped, bench):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", "--budget", "0.001ms@64x48")
    assert (done.code, done.out) == (1, "")
    assert "no model keeps 0.001ms@64x48 here" in done.line
    assert not (bench / "b.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "x2.safetensors"), "`--budget` and `--model` both say which model runs"),
        (("--prefer", "speed"), "`--budget` and `--prefer` both say which model runs"),
        (("--size", "60x60"), "`--budget` needs a scale above 1, the same for all images"),
        (("--scale", "0.5"), "`--budget` needs a scale above 1"),
        (("--workers", "2"), "`--budget` is that of one process here"),
    ],
)
def test_restore_refuses_what_contradicts_a_budget(thinlens, arguments, message):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", "--budget", "20ms@1080p", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.line


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_memory_of_the_program_is_that_of_a_fresh_process(tmp_path, monkeypatch):
    monkeypatch.undo()
    write_model(tmp_path / "a.safetensors", template_matching_model())
    assert 10_000_000 < choosing.measure_program(tmp_path / "a.safetensors", 64) < 200_000_000


def test_without_peaks_memory_of_the_program_is_a_figure_of_ours(tmp_path, monkeypatch):
    from thinlens.bench import memory

    monkeypatch.undo()
    monkeypatch.setattr(memory, "Path", lambda text: tmp_path / "nothing")
    assert choosing.measure_program(tmp_path, 64) == choosing.PROGRAM_BYTES
