import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.cli.fixtures import picture
from tests.conftest import template_matching_model
from thinlens.bench.quality import bicubic, evaluate, list_images, unchanged
from thinlens.model.file import Model, write_model
from thinlens.runtime.session import open_model


@pytest.fixture
def data(bench):
    picture("data/a.png", 40, 36)
    picture("data/b.png", 36, 41, "L")
    return bench / "data"


def test_json_holds_the_figures_of_the_benchmark(thinlens, data):
    (record,) = thinlens("evaluate", "x2.safetensors", "--data", "data", "--json").records
    session = open_model("x2.safetensors")
    expected = evaluate(session.run, list_images(data), scale=2, colour=False)
    assert record.keys() == {"model", "count", "psnr_y_db", "ssim_y", "psnr_rgb_db", "protocol", "images"}
    assert (record["model"], record["count"]) == ("edge_sr_tm_k5_c2_x2", 2)
    assert (record["psnr_y_db"], record["ssim_y"]) == (expected.psnr_y_db, expected.ssim_y)
    assert (record["psnr_rgb_db"], record["protocol"]["border"]) == (None, 2)
    assert [image["name"] for image in record["images"]] == ["a.png", "b.png"]


def test_table_sets_bicubic_beside_the_model(thinlens, data):
    done = thinlens("evaluate", "x2.safetensors", "--data", "data", "--scale", "2")
    assert (done.code, done.err) == (0, "")
    rows = {row[0]: row[1:] for row in (line.split() for line in done.out.splitlines())}
    own = evaluate(open_model("x2.safetensors").run, list_images(data), scale=2, colour=False)
    other = evaluate(bicubic(2), list_images(data), scale=2, colour=False)
    gain = f"{own.psnr_y_db - other.psnr_y_db:+.2f}"
    assert rows["mean"][:3] == [f"{own.psnr_y_db:.2f}", f"{other.psnr_y_db:.2f}", gain]
    assert {"a.png", "b.png"} <= rows.keys()
    assert "border 2 cut" in done.out


def test_a_perfect_result_is_null_in_json(thinlens, bench):
    (bench / "data").mkdir()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save("data/black.png")
    (record,) = thinlens("evaluate", "x2.safetensors", "--data", "data", "--json").records
    assert record["psnr_y_db"] is None


@pytest.fixture
def same_size(bench):
    """A model of scale 1 for a task; it changes nothing but rounding."""

    def write(task):
        model = template_matching_model(1)
        weight = np.zeros_like(model.tensors["filter.weight"])
        weight[:, 0, 2, 2] = 1
        card = msgspec.structs.replace(model.card, name=task, task=task)
        write_model(bench / f"{task}.safetensors", Model(model.plans, {"filter.weight": weight}, card))

    return write


@pytest.mark.parametrize(
    ("task", "options"), [("denoise", {"sigma": 60.0, "seed": 5}), ("deblock", {"quality": 20})], ids=str
)
def test_other_tasks_degrade_otherwise(thinlens, bench, same_size, task, options):
    same_size(task)
    (bench / "data").mkdir()
    pixels = np.random.default_rng(0).integers(60, 190, (32, 40), np.uint8)
    Image.fromarray(pixels).save("data/a.png")
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = thinlens("evaluate", f"{task}.safetensors", "--data", "data", *arguments, "--json")
    expected = evaluate(unchanged, list_images(bench / "data"), colour=False, **options)
    (record,) = done.records
    assert record["psnr_y_db"] == pytest.approx(expected.psnr_y_db, abs=1e-6)
    assert options.items() <= record["protocol"].items()
    assert "brought to 16..235" not in record["protocol"]["lq"]
    table = thinlens("evaluate", f"{task}.safetensors", "--data", "data", *arguments).out
    assert "degraded" in table
    assert "+0.00" in table
    studio = thinlens("evaluate", f"{task}.safetensors", "--data", "data", *arguments, "--studio-gray", "--json")
    if task == "deblock":
        assert "brought to 16..235" in studio.records[0]["protocol"]["lq"]
    else:
        assert "`studio_gray`: accepted only for luma networks" in studio.line


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("denoise", (), "model `denoise` does denoise; say with `--sigma` how to degrade"),
        ("deblock", (), "say with `--quality`"),
        ("denoise", ("--quality", 5), "`--quality 5`: model `denoise` does denoise"),
        ("deblock", ("--scale", 1), "`--scale 1`: model `deblock` does deblock"),
    ],
)
def test_degradations_that_do_not_fit_the_task(thinlens, data, same_size, task, arguments, message):
    same_size(task)
    done = thinlens("evaluate", f"{task}.safetensors", "--data", "data", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.line


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--data", "data", "--scale", "3"), 2, "`--scale 3`: model `edge_sr_tm_k5_c2_x2` has scale 2"),
        (("--data", "data", "--sigma", "3"), 2, "`--sigma 3`: model `edge_sr_tm_k5_c2_x2` does sr; leave it out"),
        ((), 2, "Missing option '--data'"),
        (("--data", "missing"), 1, "`missing`: not a folder"),
        (("--data", "."), 1, "`.`: holds no images"),
    ],
)
def test_bad_arguments(thinlens, data, arguments, code, message):
    done = thinlens("evaluate", "x2.safetensors", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line


def test_a_damaged_image_is_named(thinlens, data):
    (data / "c.png").write_bytes(b"")
    done = thinlens("evaluate", "x2.safetensors", "--data", "data")
    assert (done.code, done.out) == (1, "")
    assert "`data/c.png`" in done.line
