"""Peak memory of LineDN beside ordinary denoisers: line by line, line-buffered, and on the whole image.

    python benchmarks/line_dl_memory.py [--whole]

LineDN of 64 channels in its two published forms, a stack of 17 convolutions of 64 channels as DnCNN is one, and the
U-shaped network of 32 to 512, all with random weights: memory does not depend on them. The first two stream in the
engine; ``--whole SIZE ...`` also runs the last two on whole images in ONNX Runtime (with onnx), 5 GB and some minutes
for 4K. Every figure is the peak resident memory (VmHWM, so Linux only) of a fresh process over a bare
interpreter with NumPy. Streams push some rows, until every buffer is in use, and `MORE` times as many to show that the
height does not matter. Writes
``docs/results/line_dl_memory.json`` and ``.md``.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from thinlens.bench.memory import measure_fresh
from thinlens.bench.subjects import random_model, stack_plan
from thinlens.errors import UnsupportedOpError
from thinlens.model.file import write_model
from thinlens.model.plan import Plan
from thinlens.train.lower import lower
from thinlens.train.networks.line_dl import LineConfig
from thinlens.train.networks.unet import UnetConfig

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SIZES = {
    "1080p": (1920, 1080),
    "4K": (3840, 2160),
    "8K": (7680, 4320),
    "100 MP": (11_648, 8736),
    "1 GP": (32_768, 32_768),
}
MORE, WIDTH = 8, 1920
PER_PIXEL = (
    524  # bytes a pixel of the two whole-image networks: two maps of 64 channels, or 32 + 32 + 64, and the input
)
STREAMS: dict[str, tuple[Callable[[], Plan], int, int]] = {  # the plan, rows that are pushed, sizes that are tried
    "LineDN": (lambda: lower(LineConfig().create(), 3)[0], 12, 5),
    "LineDN before compression": (lambda: lower(LineConfig(modules=4, wide=True).create(), 3)[0], 12, 2),
    "17 convolutions, line-buffered": (lambda: stack_plan([3, *[64] * 16, 3], residual=True), 96, 4),
}
WHOLE = {
    "17 convolutions": lambda: stack_plan([3, *[64] * 16, 3], residual=True),
    "U-shaped": lambda: lower(UnetConfig(pad_mode="zero").create(), 3)[0],
}


def iter_streams(folder: Path, bare: int) -> Iterator[dict[str, Any]]:
    """The record of each network and width."""
    for name, (plan, rows, sizes) in STREAMS.items():
        path = folder / "network.safetensors"
        write_model(path, random_model("memory", plan(), 0), overwrite=True)
        for size, (width, _) in list(SIZES.items())[:sizes]:
            found = measure_fresh("rows", path, width, rows)
            more = measure_fresh("rows", path, width, MORE * rows)["peak"] - bare if width == WIDTH else None
            yield {
                "network": name,
                "size": size,
                "width": width,
                "rows": rows,
                "buffer_bytes": found["buffer_bytes"],
                "peak_over_bare": found["peak"] - bare,
                "higher": more,
            }


def iter_whole(folder: Path, bare: int, sizes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The record of each network on whole images, in ONNX Runtime."""
    from thinlens.export.onnx import to_onnx

    for name, plan in WHOLE.items():
        path, model = folder / "network.onnx", random_model("memory", plan(), 0)
        path.write_bytes(to_onnx(model))
        for size in sizes:
            width, height = SIZES[size]
            high = -(-height // 16) * 16  # what the pools of the U-shaped network divide
            try:
                peak: int | str = measure_fresh("ort", path, width, high, 3)["peak"] - bare
            except UnsupportedOpError as error:
                peak = str(error)
            yield {"network": name, "size": size, "width": width, "height": high, "peak_over_bare": peak}


def linear_fit(rows: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Bytes of a peak as ``a + b width``; and the largest relative distance from that line."""
    width, peak = (np.array([row[key] for row in rows], float) for key in ("width", "peak_over_bare"))
    slope, offset = np.polyfit(width, peak, 1)
    return offset, slope, float(np.abs((offset + slope * width) / peak - 1).max())


def to_page(record: dict[str, Any]) -> str:
    """The record as a page."""
    page = (
        "# Memory of LineDN\n\n"
        "`python benchmarks/line_dl_memory.py --whole 1080p 4K` measures and writes this page. RGB, 8 bits, a thread.\n"
        f"Peak memory of a fresh process over a bare interpreter with NumPy ({record['bare'] / 1e6:.1f} MB); MB\n"
        "is 10^6. Streams: weights among the peak; *buffers* is what the engine says.\n\n"
        f"| network | size | buffers | peak | of {MORE} times as many rows |\n|---|---|--:|--:|--:|\n"
    )
    for row in record["streams"]:
        higher = "" if row["higher"] is None else f"{row['higher'] / 1e6:.1f} MB"
        page += f"| {row['network']} | {row['size']}, {row['width']} wide | {row['buffer_bytes'] / 1e6:.1f} MB "
        page += f"| {row['peak_over_bare'] / 1e6:.1f} MB | {higher} |\n"
    page += "\nPeaks over the width: "
    fits = []
    for name in STREAMS:
        rows = [row for row in record["streams"] if row["network"] == name]
        if len(rows) > 1:
            offset, slope, off = linear_fit(rows)
            fits.append(f"{name} {offset / 1e6:.1f} MB + {slope / 1e3:.2f} kB a column (at most {off:.1%} off)")
    page += "; ".join(fits) + ".\n"
    if record["whole"]:
        page += "\nWhole images, ONNX Runtime:\n\n| network | size | peak | by maps alone |\n|---|---|--:|--:|\n"
        for row in record["whole"]:
            peak = row["peak_over_bare"]
            told = f"{peak / 1e6:,.0f} MB" if isinstance(peak, int) else peak
            maps = PER_PIXEL * row["width"] * row["height"]
            page += f"| {row['network']} | {row['size']}, {row['width']}x{row['height']} "
            page += f"| {told} | {maps / 1e6:,.0f} MB |\n"
        measured = {row["size"] for row in record["whole"]}
        sizes = {size: w * h for size, (w, h) in SIZES.items() if size not in measured}
        larger = (f"{size} {PER_PIXEL * pixels / 1e9:,.1f} GB" for size, pixels in sizes.items())
        page += f"\nNot measured but computed, by maps alone ({PER_PIXEL} bytes a pixel): {', '.join(larger)}.\n"
    return page


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", nargs="*", choices=list(SIZES), default=[])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    bare = measure_fresh("bare")["peak"]
    record: dict[str, Any] = {
        "bare": bare,
        "host": f"{platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in ("numpy", "onnxruntime")} if arguments.whole else {},
        "streams": [],
        "whole": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        parts = [("streams", iter_streams(Path(folder), bare))]
        parts += [("whole", iter_whole(Path(folder), bare, arguments.whole))] if arguments.whole else []
        for part, rows in parts:
            for row in rows:
                record[part].append(row)
                print(part, row, flush=True)
                (arguments.output / "line_dl_memory.json").write_text(json.dumps(record, indent=1) + "\n")
                (arguments.output / "line_dl_memory.md").write_text(to_page(record))


if __name__ == "__main__":
    main()
