"""The picture of a study: everything in it, in its place."""

import xml.etree.ElementTree as ET

from thinlens.report.sensitivity import Line, draw_sensitivity

SVG = "{http://www.w3.org/2000/svg}"
LINES = [Line("body.0", 2, (0.01, 0.1, 1.0)), Line("a<b&c", 1, (-0.2, 0.0, 250.0))]


def test_it_is_sound_svg_with_a_dot_for_each_figure():
    root = ET.fromstring(draw_sensitivity("x & y", (0.25, 0.5, 0.75), LINES))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"x & y", "body.0", "a<b&c", "rank 1", "rank 2", "25% gone", "0.1 dB", "≥ 10 dB"} <= set(texts)
    assert len(list(root.iter(f"{SVG}circle"))) == 3 + 2 * 3


def test_more_loss_stands_farther_right_and_all_inside():
    root = ET.fromstring(draw_sensitivity("t", (0.25, 0.5, 0.75), LINES))
    places = [float(dot.get("cx")) for dot in root.iter(f"{SVG}circle")][3:]
    first, second = places[:3], places[3:]
    assert first[0] < first[1] < first[2]
    assert round(first[1] - first[0], 1) == round(first[2] - first[1], 1)  # a power of ten each
    assert second[0] == second[1] < first[0]
    assert first[2] < second[2] < float(root.get("width"))
