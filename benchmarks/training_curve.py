"""Train by a recipe as `thinlens train` does, and draw how the network does on validation images meanwhile.

    python benchmarks/training_curve.py recipes/NAME.toml --data DIR --official DIR --model OUT.safetensors \
        -o docs/results/NAME_curve.svg

For networks that are trained on crops. Every 400 steps the network as it is, not yet averaged, restores the middles (at
most 256 x 256 of `lq`) of the validation images; PSNR is that of the usual protocol. The last point is the averaged
network's, the dashed line the official one's. The numbers are written beside, as JSON.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thinlens.metrics.protocol import Protocol
from thinlens.model.file import write_model
from thinlens.train.datasets.images import find_images
from thinlens.train.datasets.pairs import Pair, iter_pairs
from thinlens.train.importer import import_weights, official_name
from thinlens.train.loop import Watch
from thinlens.train.narrow import narrow
from thinlens.train.networks import create_network, find_configuration
from thinlens.train.networks.edge_sr import EdgeSRCNN
from thinlens.train.pipeline import to_model
from thinlens.train.plain import fit_plain
from thinlens.train.recipe import Narrowed, Plain, read_recipe
from thinlens.train.thaw import thaw

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 360, 64, 40, 16, 12
SIDE, EVERY = 256, 400

Place = Callable[[float, float], tuple[float, float]]


def piece(pair: Pair, scale: int) -> Pair:
    """The middle of a validation pair."""
    (y, height), (x, width) = ((max(0, n - SIDE) // 2, min(n, SIDE)) for n in pair.lq.shape)
    hq = pair.hq[scale * y : scale * (y + height), scale * x : scale * (x + width)]
    return Pair(pair.lq[y : y + height, x : x + width], hq)


def on_val(network: nn.Module, pairs: Sequence[Pair], scale: int) -> float:
    """Mean PSNR, dB."""
    protocol = Protocol(channel="y", border=scale, luma="gray")
    total = 0.0
    for pair in pairs:
        lq = torch.from_numpy(pair.lq.astype(np.float32) / 255)[None, None]
        with torch.no_grad():
            restored = (network(lq)[0, 0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        total += protocol.psnr_db(restored, pair.hq)
    return total / len(pairs)


def draw(curve: list[tuple[int, float]], official: float, name: str) -> str:
    """One SVG picture with axes."""
    steps = curve[-1][0]
    values = [value for _, value in curve[2:]] + [official]
    low, high = np.floor(min(values) * 5) / 5, np.ceil(max(values) * 5) / 5

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + step / steps * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(TOP + (high - max(value, low)) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    points = " ".join(f"{x},{y}" for x, y in (place(*point) for point in curve))
    (left, level), (right, _) = place(0, official), place(steps, official)
    dashes = f'stroke="#c8553d" stroke-dasharray="6 4" d="M{left} {level}H{right}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="13" viewBox="0 0 {WIDTH} {HEIGHT}">',
        _axes(place, steps, float(low), float(high)),
        f'<path {dashes}/><text x="{right - 8}" y="{level - 6}" text-anchor="end" fill="#c8553d">official</text>',
        f'<polyline points="{points}" fill="none" stroke="#1b6ca8" stroke-width="2"/>',
        f'<text x="{right - 8}" y="{HEIGHT - BOTTOM - 12}" text-anchor="end" fill="#1b6ca8">{name}, validation</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes(place: Place, steps: int, low: float, high: float) -> str:
    lines = ['<rect width="100%" height="100%" fill="white"/>']
    for value in np.linspace(low, high, 6):
        (x, y), (right, _) = place(0, value), place(steps, value)
        lines.append(f'<path stroke="#ddd" d="M{x} {y}H{right}"/>')
        lines.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{value:.2f} dB</text>')
    for step in (0, steps // 2, steps):
        x, y = place(step, low)
        anchor = "end" if step == steps else "middle"
        lines.append(f'<text x="{x}" y="{y + 20}" text-anchor="{anchor}">{step:,} steps</text>')
    return "\n".join(lines)


def main() -> None:
    """Train, and write model, picture and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    for option in ("--data", "--official", "--model"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    if not isinstance(recipe.loop, Plain):
        parser.error(f"`{options.recipe}`: its loop does not train on crops")
    configuration = find_configuration(recipe.network)
    scale, begun = configuration.scale, time.monotonic()
    folders = find_images(options.data, recipe.data.train, permissive=True)
    train, held_out = (
        list(iter_pairs([path for folder in found for path in folder.files], scale))
        for found in (folders, find_images(options.data, recipe.data.val))
    )
    pieces = [piece(pair, scale) for pair in held_out]
    torch.manual_seed(recipe.seed)
    network = create_network(recipe.network)
    if isinstance(recipe.loop, Narrowed) and isinstance(network, EdgeSRCNN):
        narrow(network, train, recipe.loop, recipe.seed)
    curve: list[tuple[int, float]] = []

    def progress(_: str, done: float, total: float) -> None:
        if done % EVERY == 0 and done < total:
            curve.append((int(done), on_val(network, pieces, scale)))

    fit_plain(network, train, recipe.loop, recipe.seed, Watch(progress=progress))
    curve.append((recipe.loop.steps, on_val(network, pieces, scale)))
    minutes = round((time.monotonic() - begun) / 60, 2)
    write_model(options.model, to_model(network, recipe, tuple(folder.source() for folder in folders), minutes))
    official = import_weights(options.official / f"{official_name(configuration)}.model", name=recipe.network).model
    theirs = on_val(thaw(official.plan, official.tensors), pieces, scale)
    options.output.write_text(draw(curve, theirs, recipe.network))
    table = {"network": recipe.network, "official_db": round(theirs, 4), "curve": [[n, round(v, 4)] for n, v in curve]}
    options.output.with_suffix(".json").write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
