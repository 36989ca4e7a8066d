import xml.etree.ElementTree as ET

import pytest

from tests.report.folder import make_records, member, write
from thinlens.report.memory import Point, read_points
from thinlens.report.plots import DARK, draw_fronts, draw_memory, draw_sets, save
from thinlens.report.records import Pool, Records


@pytest.fixture
def records(tmp_path):
    return Records(make_records(tmp_path))


def texts(figure):
    root = ET.fromstring(save(figure, "svg"))
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_panel_a_scale_and_a_legend_of_the_families_that_are_there(records):
    shown = texts(draw_fronts(records.get("pool.json", Pool), "Set5"))
    assert [text for text in ("x2", "x3", "x4") if text in shown] == ["x2", "x3"]
    assert {"eSR-MAX", "ESPCN", "FSRCNN", "published weights", "PSNR, dB"} <= set(shown)
    assert "eSR-CNN" not in shown


def test_a_panel_a_set(records):
    shown = texts(draw_sets(records.get("pool.json", Pool), 3))
    assert {"Set5, x3", "B100, x3"} <= set(shown)


def test_the_same_figure_makes_the_same_bytes(records):
    pool = records.get("pool.json", Pool)
    first, second = (save(draw_fronts(pool, "Set5", DARK), "svg") for _ in range(2))
    assert first == second
    assert save(draw_sets(pool, 2), "png").startswith(b"\x89PNG")


def test_what_was_not_measured_has_no_panel(tmp_path):
    rows = [member(), member(scale=3, quality={}), member(scale=4, speed={})]
    write(tmp_path, "pool.json", {"members": rows})
    shown = texts(draw_fronts(Records(tmp_path).get("pool.json", Pool), "Set5"))
    assert [text for text in ("x2", "x3", "x4") if text in shown] == ["x2"]


def test_memory_is_a_line_for_what_has_several_sizes(records):
    points = [*read_points(records), Point("LineDN", "ONNX Runtime, whole image", 1, 10**9, "line_dl_memory")]
    shown = texts(draw_memory(points))
    assert "Denoising in RGB" in shown
    assert not {"thinlens restore", "ONNX Runtime, whole image"} & set(shown)
