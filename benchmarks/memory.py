"""Peak memory of a 16-channel network x2 that streams images row by row, beside ONNX Runtime on the whole image.

    python benchmarks/memory.py [--heights 8]

Every figure is the peak resident memory (VmHWM, so Linux only) of a fresh process, less that of an interpreter that
has imported NumPy and nothing else. Rows are synthesised, pushed one by one, and what comes out is discarded.
``--heights``: how many times as high the second image of each width is. ONNX Runtime, where it is installed (with
onnx), runs the same network on a whole image of 1920x1080. Writes
``docs/results/memory.json`` and ``memory.md``; takes some ten minutes.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from thinlens.bench.memory import measure_fresh
from thinlens.bench.subjects import random_model, stack_plan
from thinlens.model.file import Model, write_model

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SIZES = {"1080p": (1920, 1080), "8K": (7680, 4320), "100 MP": (10_000, 10_000)}
HEAD = """# Memory: row by row beside the whole image

`python benchmarks/memory.py` measures and writes this page. A network of four 3x3 convolutions (1, 16, 16, 16, 4
channels) and a pixel shuffle, x2, 8-bit luma in and out, one thread. Peak resident memory of a fresh process over a
bare interpreter with NumPy ({bare:.1f} MB); *buffers*: what `thinlens inspect --width` prints, the
engine's own part of it.

| input | size | buffers, MB | peak over bare, MB | {times} times as high, MB | change of the peak |
|---|--:|--:|--:|--:|--:|
"""


def network() -> Model:
    """A 16-channel network x2 with random weights."""
    return random_model("memory_x2", stack_plan([1, 16, 16, 16, 4], scale=2, pad_mode="edge"), 0)


def iter_streams(path: Path, bare: int, times: int) -> Iterator[dict[str, Any]]:
    """Yield the record of each size."""
    for name, (width, height) in SIZES.items():
        one, high = (measure_fresh("rows", path, width, h) for h in (height, times * height))
        yield {
            "input": name,
            "width": width,
            "height": height,
            "buffer_bytes": one["buffer_bytes"],
            "peak_over_bare": one["peak"] - bare,
            "high_peak_over_bare": high["peak"] - bare,
            "change": round(high["peak"] / one["peak"] - 1, 4),
        }


def whole_image(model: Model, folder: Path, bare: int) -> dict[str, Any] | None:
    """The record of ONNX Runtime; None where it is missing."""
    if not find_spec("onnxruntime") or not find_spec("onnx"):
        return None
    from thinlens.export.onnx import to_onnx

    path = folder / "network.onnx"
    path.write_bytes(to_onnx(model))
    found = measure_fresh("ort", path, *SIZES["1080p"], 1)
    return {"version": version("onnxruntime"), "peak_over_bare": found["peak"] - bare}


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heights", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.heights)


def measure(folder: Path, heights: int) -> None:
    """Measure with files in a folder, and write the page and its record."""
    model, path = network(), folder / "network.safetensors"
    write_model(path, model)
    bare = measure_fresh("bare")["peak"]
    text, streams = HEAD.format(bare=bare / 1e6, times=heights), []
    for row in iter_streams(path, bare, heights):
        streams.append(row)
        peaks = f"{row['peak_over_bare'] / 1e6:.1f} | {row['high_peak_over_bare'] / 1e6:.1f} | {row['change']:+.2%}"
        line = f"| {row['input']} | {row['width']}x{row['height']} | {row['buffer_bytes'] / 1e6:.2f} | {peaks} |"
        print(line, flush=True)
        text += line + "\n"
    peer = whole_image(model, folder, bare)
    if peer is not None:
        ratio = peer["peak_over_bare"] / streams[0]["peak_over_bare"]
        held = f"{peer['peak_over_bare'] / 1e6:.0f} MB over bare, {ratio:.0f} times as much"
        text += f"\nONNX Runtime {peer['version']} on the whole image, 1920x1080: {held}.\n"
    host = {"machine": platform.machine(), "system": platform.system(), "threads": 1}
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    record = {
        "what": "peak resident memory of fresh processes, bytes over a bare interpreter with NumPy",
        "host": host,
        "versions": versions,
        "bare_peak_bytes": bare,
        "times": heights,
        "streams": streams,
        "onnxruntime": peer,
    }
    (RESULTS / "memory.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "memory.md").write_text(text)


if __name__ == "__main__":
    main()
