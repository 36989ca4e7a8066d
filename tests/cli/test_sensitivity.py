import sys
import xml.etree.ElementTree as ET

import pytest

from tests.cli.fixtures import files, picture


def test_a_table_and_a_picture(thinlens, bench):
    done = thinlens("analyse", "sensitivity", "x2.safetensors")
    assert (done.code, done.err) == (0, "")
    head, row, last = (line.split() for line in done.out.splitlines())
    assert head[:3] == ["layer", "filters", "parameters"]
    assert (row[:3], row[-1]) == (["filter", "16", "400"], "1")
    assert last[-1] == "edge_sr_tm_k5_c2_x2_sensitivity.svg"
    assert ET.parse(last[-1]).getroot().tag.endswith("svg")


def test_json_and_images_of_ones_own(thinlens, bench):
    for name in "ab":
        picture(f"clean/{name}.png", 60, 40 + 80 * (name == "b"))
    done = thinlens("analyse", "sensitivity", "x2.safetensors", "-o", "s.svg", "--data", "clean", "--json")
    (record,) = done.records
    assert (done.code, record["model"], record["images"], record["plot"]) == (0, "edge_sr_tm_k5_c2_x2", 2, "s.svg")
    assert record["ratios"] == [0.25, 0.5, 0.75]
    assert [sorted(layer) for layer in record["layers"]] == [["channels", "layer", "loss_db", "params", "rank"]]
    assert "s.svg" in files()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("x2.safetensors", "-o", "s.png"), 2, "`s.png`: the picture is SVG"),
        (("x2.safetensors", "-o", "old.svg"), 2, "`old.svg` exists; `--overwrite` replaces it"),
        (("x2.safetensors", "--sigma", "5"), 2, "`--sigma 5`: model `edge_sr_tm_k5_c2_x2` does sr"),
        (("x2.safetensors", "--data", "nowhere"), 1, "`nowhere`: not a folder"),
        (("nothing",), 2, "unknown model `nothing`"),
    ],
)
def test_bad_arguments(thinlens, bench, arguments, code, message):
    (bench / "old.svg").write_text("old")
    done = thinlens("analyse", "sensitivity", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line
    assert (bench / "old.svg").read_text() == "old"


def test_an_old_picture_is_replaced_when_told(thinlens, bench):
    (bench / "old.svg").write_text("old")
    assert thinlens("analyse", "sensitivity", "x2.safetensors", "-o", "old.svg", "--overwrite").code == 0
    assert (bench / "old.svg").read_text() != "old"


def test_without_the_extra(thinlens, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("thinlens.train")]:
        monkeypatch.delitem(sys.modules, name)
    done = thinlens("analyse", "sensitivity", "x2.safetensors")
    assert (done.code, done.out) == (2, "")
    assert "`thinlens analyse sensitivity` needs the extra `train`" in done.line
