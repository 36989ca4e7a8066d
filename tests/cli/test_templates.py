import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.fixtures import files, picture
from tests.conftest import same_size_model
from thinlens.model.file import write_model

NAMES = [f"edge_sr_tm_k5_c2_x2_{kind}" for kind in ("filters.png", "templates.json", "winners.png")]


def test_two_pictures_a_record_and_a_table(thinlens):
    picture("photo.png", 80, 70)
    done = thinlens("analyse", "templates", "x2.safetensors", "--image", "photo.png", "-o", "study")
    assert (done.code, done.err) == (0, "")
    assert files("study") == NAMES
    for name in (NAMES[0], NAMES[2]):
        with Image.open(f"study/{name}") as image:
            assert min(image.size) > 200
            assert len(image.convert("L").getcolors(1 << 20)) > 50  # more than an empty page
    record = json.loads(Path("study", NAMES[1]).read_text())
    assert (record["model"], record["family"], record["image"]) == ("edge_sr_tm_k5_c2_x2", "tm", "photo.png")
    assert [candidate["candidate"] for candidate in record["candidates"]] == [0, 1]
    assert [it["role"] for it in record["candidates"][0]["filters"]] == ["value", "key"]
    head, first, second, last = done.out.splitlines()
    assert head.split()[:3] == ["candidate", "wins", "weight"]
    assert (first.split()[0], second.split()[0]) == ("0", "1")
    assert "largest weight 0.5" in last
    assert "study/edge_sr_tm_k5_c2_x2_winners.png" in last


def test_json_and_a_picture_that_is_made(thinlens):
    (record,) = thinlens("analyse", "templates", "edge_sr_max_k3_c1_x2", "-o", "study", "--json").records
    assert (record["family"], record["image"]) == ("max", "random discs")
    assert record["candidates"][0]["share"] == 1
    assert record["files"][0] == "study/edge_sr_max_k3_c1_x2_filters.png"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("x2.safetensors", "-o", "old"), 2, "exists; `--overwrite` replaces it"),
        (("x2.safetensors",), 2, "Missing option '-o'"),
        (("same.safetensors", "-o", "new"), 1, "model `same` is no one-layer upscaler"),
        (("x2.safetensors", "-o", "new", "--image", "nothing.png"), 1, "nothing.png"),
        (("nothing", "-o", "new"), 2, "unknown model `nothing`"),
    ],
)
def test_bad_arguments(thinlens, bench, arguments, code, message):
    (bench / "old").mkdir()
    (bench / "old" / NAMES[1]).write_text("old")
    write_model(bench / "same.safetensors", same_size_model("same", "denoise"))
    done = thinlens("analyse", "templates", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line
    assert (bench / "old" / NAMES[1]).read_text() == "old"
    assert not (bench / "new").exists()


def test_without_the_extra(thinlens, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "thinlens.report.templates", raising=False)
    done = thinlens("analyse", "templates", "x2.safetensors", "-o", "study")
    assert (done.code, done.out) == (2, "")
    assert "`thinlens analyse templates` needs the extra `report`: pip install 'thinlens[report]'" in done.line
