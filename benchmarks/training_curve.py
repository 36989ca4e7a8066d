"""Draw the loss of trainings over their steps, from the logs that they leave.

    python benchmarks/training_curve.py RUN ... -o docs/results/small_networks_curve.svg

RUN is what `thinlens train -o RUN` made. Each point is one batch, every 200 steps; the line is the mean of nine.
Losses that are a mean squared error are drawn in dB, so that up is better. The numbers are written beside, as JSON.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

from thinlens.model.file import read_model

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 360, 56, 40, 16, 12
COLOURS = ("#1b6ca8", "#c8553d", "#3c8d5a", "#7d5ba6")
WINDOW = 9

Curve = list[tuple[int, float]]


def read_curve(run: Path) -> Curve:
    """Steps and losses in dB of 0..1 data."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["step"], -10 * math.log10(line["loss"])) for line in lines if line.get("loss", 0) > 0]


def smoothed(curve: Curve) -> Curve:
    """Means of nine points in a row."""
    windows = [curve[i : i + WINDOW] for i in range(len(curve) - WINDOW + 1)]
    return [(window[WINDOW // 2][0], sum(value for _, value in window) / WINDOW) for window in windows]


def draw(curves: dict[str, Curve]) -> str:
    """All curves as one SVG picture with axes."""
    points = [point for curve in curves.values() for point in curve]
    steps = max(step for step, _ in points)
    low = math.floor(min(value for _, value in points[WINDOW:]))
    high = math.ceil(max(value for _, value in points))

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + step / steps * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - max(value, low)) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [_axes(place, steps, low, high)]
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        dots = "".join(f'<circle cx="{x}" cy="{y}" r="1.5"/>' for x, y in (place(*point) for point in curve))
        line = " ".join(f"{x},{y}" for x, y in (place(*point) for point in smoothed(curve)))
        parts.append(f'<g fill="{colour}" opacity="0.35">{dots}</g>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = HEIGHT - BOTTOM - 12 - 18 * list(curves).index(name)
        parts.append(f'<text x="{WIDTH - RIGHT - 8}" y="{y}" text-anchor="end" fill="{colour}">{name}</text>')
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    style = 'font-family="sans-serif" font-size="13"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', *parts, "</svg>"]) + "\n"


def _axes(place: Callable[[float, float], tuple[float, float]], steps: int, low: int, high: int) -> str:
    lines = ['<rect width="100%" height="100%" fill="white"/>']
    for value in range(low, high + 1, max(1, (high - low) // 8)):
        (x, y), (right, _) = place(0, value), place(steps, value)
        lines.append(f'<line x1="{x}" y1="{y}" x2="{right}" y2="{y}" stroke="#ddd"/>')
        lines.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{value} dB</text>')
    for step in (0, steps // 2, steps):
        x, y = place(step, low)
        anchor = "end" if step == steps else "middle"
        lines.append(f'<text x="{x}" y="{y + 20}" text-anchor="{anchor}">{step:,} steps</text>')
    return "\n".join(lines)


def main() -> None:
    """Write picture and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    curves = {read_model(run / "model.safetensors").card.name: read_curve(run) for run in arguments.runs}
    arguments.output.write_text(draw(curves))
    table = {name: [[step, round(value, 3)] for step, value in curve] for name, curve in curves.items()}
    arguments.output.with_suffix(".json").write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
