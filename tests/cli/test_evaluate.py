import numpy as np
import pytest
from PIL import Image

from tests.cli.fixtures import picture
from thinlens.bench.quality import bicubic, evaluate, list_images
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


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--data", "data", "--scale", "3"), 2, "`--scale 3`: model `edge_sr_tm_k5_c2_x2` has scale 2"),
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
