"""The picture of a sensitivity study: a line a layer, a dot for each share of its filters, PSNR lost to the right."""

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

LOW, HIGH = -3, 1  # powers of ten of the axis, dB; less and more than that stand at its ends
ROW, TOP, BOTTOM, RIGHT, PLOT = 18, 58, 12, 70, 460
LETTER = 6.6  # width of a character of a layer's name
COLOURS = ("#9ecae1", "#3182bd", "#08306b", "#c8553d", "#7d5ba6")


class Line(NamedTuple):
    """One layer: its name, how redundant it is (1: most), and dB lost for each share of its filters."""

    layer: str
    rank: int
    loss_db: Sequence[float]


def draw_sensitivity(title: str, ratios: Sequence[float], lines: Sequence[Line]) -> str:
    """Draw the study as SVG.

    Args:
        title: stands above the plot.
        ratios: shares of filters that were silenced, at most five.
        lines: of the plot, from top to bottom.
    """
    left = 24 + LETTER * max(len(line.layer) for line in lines)
    height, width = TOP + ROW * len(lines) + BOTTOM, left + PLOT + RIGHT

    def x(loss_db: float) -> float:
        share = (math.log10(max(loss_db, 10**LOW)) - LOW) / (HIGH - LOW)
        return round(left + PLOT * min(share, 1.0), 1)

    parts = ['<rect width="100%" height="100%" fill="white"/>', _text(12, 18, title, weight="bold")]
    for at, (ratio, colour) in enumerate(zip(ratios, COLOURS, strict=False)):
        parts.append(f'<circle cx="{left + 90 * at:.0f}" cy="32" r="4" fill="{colour}"/>')
        parts.append(_text(left + 90 * at + 8, 36, f"{ratio:.0%} gone"))
    for power in range(LOW, HIGH + 1):
        place, sign = x(10.0**power), {LOW: "≤ ", HIGH: "≥ "}.get(power, "")
        parts.append(f'<line x1="{place}" y1="{TOP - 4}" x2="{place}" y2="{height - BOTTOM}" stroke="#ddd"/>')
        parts.append(_text(place, TOP - 8, f"{sign}{10.0**power:g} dB", anchor="middle"))
    for row, line in enumerate(lines):
        y = TOP + ROW * (row + 0.5)
        parts.append(_text(left - 12, y + 4, line.layer, anchor="end"))
        places = [x(loss) for loss in line.loss_db]
        parts.append(f'<line x1="{min(places)}" y1="{y}" x2="{max(places)}" y2="{y}" stroke="#999"/>')
        dots = zip(places, COLOURS, strict=False)
        parts += [f'<circle cx="{place}" cy="{y}" r="4" fill="{colour}"/>' for place, colour in dots]
        parts.append(_text(left + PLOT + 14, y + 4, f"rank {line.rank}"))
    size = f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}"'
    style = 'font-family="sans-serif" font-size="11"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
