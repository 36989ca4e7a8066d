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
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from thinlens.model.file import Model

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


def network() -> "Model":
    """A 16-channel network x2 with random weights."""
    from thinlens.model import ops
    from thinlens.model.card import ModelCard, Training
    from thinlens.model.file import Model
    from thinlens.model.plan import Node, Plan

    nodes, tensors, before = [], {}, "input"
    for index, (inputs, outputs) in enumerate([(1, 16), (16, 16), (16, 16), (16, 4)]):
        op = ops.Conv2d(
            in_channels=inputs, out_channels=outputs, kernel=(3, 3), padding=(1, 1), pad_mode="edge", bias=True
        )
        roles = {role: f"conv{index}.{role}" for role in op.tensor_shapes()}
        for role, shape in op.tensor_shapes().items():
            size = np.sqrt(2 / (9 * inputs)) if role == "weight" else 0.1
            tensors[roles[role]] = np.random.default_rng(index).normal(0, size, shape).astype(np.float32)
        nodes.append(Node(name=f"conv{index}", op=op, inputs=(before,), tensors=roles))
        before = f"conv{index}"
        if index < 3:
            nodes.append(Node(name=f"relu{index}", op=ops.Relu(), inputs=(before,)))
            before = f"relu{index}"
    nodes.append(Node(name="image", op=ops.PixelShuffle(scale=2), inputs=(before,)))
    plan = Plan(input_channels=1, nodes=tuple(nodes), outputs={"image": "image"})
    card = ModelCard(
        name="memory_x2",
        task="sr",
        scale=2,
        colour="luma",
        params=sum(tensor.size for tensor in tensors.values()),
        macs_per_pixel=plan.macs((64, 64)) / 128**2,
        licence="Apache-2.0",
        training=Training(recipe="none", recipe_sha256="", schedule="none", steps=0, seed=0),
    )
    return Model({"main": plan}, tensors, card)


def peak_bytes() -> int:
    """The most memory that this process has held resident."""
    (kib,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kib) * 1024


def stream(width: int, height: int) -> dict[str, int]:
    """Push an image's rows, its height unknown; count what comes out."""
    from thinlens.runtime.session import Session

    rows = Session(network(), threads=1).rows(width, channels=1)
    columns, made = np.arange(width, dtype=np.uint32), 0
    for y in range(height):
        made += len(rows.push(((columns * 7 + columns * y // 64 + 13 * y) & 255).astype(np.uint8)[None]))
    made += len(rows.flush())
    assert made == 2 * height, f"{made} rows came out"  # noqa: S101 - a figure of half an image is none
    return {"buffer_bytes": rows.buffer_bytes}


def run_onnx(path: str, width: int, height: int) -> dict[str, int]:
    """Run the whole image in ONNX Runtime, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    columns, rows = np.arange(width, dtype=np.uint32), np.arange(height, dtype=np.uint32)
    image = (((columns * 7 + 13 * rows[:, None]) & 255).astype(np.uint8) / np.float32(255))[None, None]
    (restored,) = session.run(None, {session.get_inputs()[0].name: image})
    return {"rows": restored.shape[2]}


def measure_here(what: str, arguments: list[str]) -> None:
    """In a fresh process: do one thing, and print the peak."""
    found: dict[str, int] = {}
    if what == "stream":
        found = stream(int(arguments[0]), int(arguments[1]))
    elif what == "onnx":
        found = run_onnx(arguments[0], int(arguments[1]), int(arguments[2]))
    print(json.dumps({"peak_bytes": peak_bytes(), **found}))


def measure(*arguments: object) -> dict[str, int]:
    """Have one thing done in a fresh process."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    found: dict[str, int] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def iter_streams(bare: int, times: int) -> Iterator[dict[str, Any]]:
    """Yield the record of each size."""
    for name, (width, height) in SIZES.items():
        one, high = measure("stream", width, height), measure("stream", width, times * height)
        yield {
            "input": name,
            "width": width,
            "height": height,
            "buffer_bytes": one["buffer_bytes"],
            "peak_over_bare": one["peak_bytes"] - bare,
            "high_peak_over_bare": high["peak_bytes"] - bare,
            "change": round(high["peak_bytes"] / one["peak_bytes"] - 1, 4),
        }


def whole_image(bare: int) -> dict[str, Any] | None:
    """The record of ONNX Runtime; None where it is missing."""
    if not find_spec("onnxruntime") or not find_spec("onnx"):
        return None
    from thinlens.export.onnx import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(to_onnx(network()))
        width, height = SIZES["1080p"]
        found = measure("onnx", path, width, height)
    return {"version": version("onnxruntime"), "peak_over_bare": found["peak_bytes"] - bare}


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heights", type=int, default=8)
    parser.add_argument("--one", nargs="+", help="what a fresh process does; used by the benchmark itself")
    arguments = parser.parse_args()
    if arguments.one:
        measure_here(arguments.one[0], arguments.one[1:])
        return
    bare = measure("bare")["peak_bytes"]
    text, streams = HEAD.format(bare=bare / 1e6, times=arguments.heights), []
    for row in iter_streams(bare, arguments.heights):
        streams.append(row)
        peaks = f"{row['peak_over_bare'] / 1e6:.1f} | {row['high_peak_over_bare'] / 1e6:.1f} | {row['change']:+.2%}"
        line = f"| {row['input']} | {row['width']}x{row['height']} | {row['buffer_bytes'] / 1e6:.2f} | {peaks} |"
        print(line, flush=True)
        text += line + "\n"
    peer = whole_image(bare)
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
        "times": arguments.heights,
        "streams": streams,
        "onnxruntime": peer,
    }
    (RESULTS / "memory.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "memory.md").write_text(text)


if __name__ == "__main__":
    main()
