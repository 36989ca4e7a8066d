"""One-layer upscalers in the engine against bicubic and against general runtimes: u8 luma in, u8 luma out, one thread.

    python benchmarks/engine_speed.py MODEL... [--mirrored MODEL...] [--size 960x540] [--runtimes]

MODEL: shipped names or model files; a `--mirrored` one gets the filters of its first phase in all four, flipped (what
training shared by symmetry gives), so that any network can be timed in that form. Needs opencv-python-headless; with
`--runtimes` also onnx, onnxruntime and openvino, which run the same network in float. Each pair of runs alternates; the
ratio is the median of the pairs' ratios. Writes `docs/results/engine_speed.json` and `.md`.
"""

import argparse
import json
import os
import platform
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from thinlens.bench.peers import find_peer
from thinlens.bench.speed import Engine, choose_isa, time_pairs
from thinlens.cli.options import parse_size
from thinlens.model.file import Model, read_model
from thinlens.models import find_model

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAIRS = 15
BICUBIC = {"opencv": "opencv_bicubic", "pillow": "pillow_bicubic"}
RUNTIMES = {"ort": "ort", "openvino": "openvino"}
HEAD = """# One-layer upscalers in the engine, beside bicubic and general runtimes

`python benchmarks/engine_speed.py` measures and writes this page. {width}x{height} -> twice the size, luma, 8 bits in
and out, one thread; medians over {pairs} alternating pairs in one process. A ratio above 1: the engine is faster.
*Mirrored*: the four phases share one set of filters, flipped, as shipped models do; *imported* ones do not. ONNX
Runtime and OpenVINO run the same network on floats.
"""


def mirrored(model: Model) -> Model:
    """The same network with the first phase's filters, flipped, in all four phases (x2)."""
    (name, weight), *rest = model.tensors.items()
    if rest or model.card.scale != 2:
        raise SystemExit(f"{model.card.name}: only one-layer networks x2 can be mirrored")
    first = weight.reshape(-1, 2, 2, *weight.shape[1:])[:, 0, 0]
    phases = [first, first[..., ::-1], first[..., ::-1, :], first[..., ::-1, ::-1]]
    return replace(model, tensors={name: np.ascontiguousarray(np.stack(phases, 1).reshape(weight.shape))})


def photograph(width: int, height: int) -> npt.NDArray[np.uint8]:
    """The example photo as gray, at that size."""
    photo = Image.open(Path(__file__).parents[1] / "examples" / "dog.webp").convert("L")
    return np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC))


def measure(model: Model, image: npt.NDArray[np.uint8], isa: str, *, runtimes: bool) -> dict[str, Any]:
    """One network against all peers: medians of milliseconds, and how many times faster ours is."""
    ours, figures = Engine(model, image, 1, isa), {}
    for peer, key in (BICUBIC | RUNTIMES if runtimes else BICUBIC).items():
        run = find_peer(peer).prepare(model, image, 1, isa)
        times = time_pairs(ours.call, run.call, PAIRS if peer in BICUBIC else 9)
        figures[key] = {
            "ms": round(statistics.median(times.ours) * 1e3, 3),
            "peer_ms": round(statistics.median(times.peer) * 1e3, 3),
            "ratio": round(times.ratio, 3),
            "min_ratio": round(times.min_ratio, 3),
        }
    return {"sum": int(ours.out.sum(dtype=np.int64)), **figures}


def table(records: list[dict[str, Any]]) -> str:
    """Markdown."""
    peers = (BICUBIC | RUNTIMES).values()
    lines = [
        "| network | weights | instruction set | ms | OpenCV bicubic | Pillow bicubic | ONNX Runtime | OpenVINO |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for record in records:
        ratios = " | ".join(f"{record[peer]['ratio']:.2f}" if peer in record else "" for peer in peers)
        ms = record["opencv_bicubic"]["ms"]
        lines.append(f"| `{record['model']}` | {record['kind']} | {record['isa']} | {ms:.2f} | {ratios} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print records, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--mirrored", nargs="*", default=[])
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--isa", nargs="*", default=[None])
    parser.add_argument("--runtimes", action="store_true")
    arguments = parser.parse_args()
    height, width = parse_size(arguments.size)
    image, records = photograph(width, height), []
    for name, mirror in [*((m, False) for m in arguments.models), *((m, True) for m in arguments.mirrored)]:
        model = read_model(find_model(name))
        for isa in map(choose_isa, arguments.isa):
            figures = measure(mirrored(model) if mirror else model, image, isa, runtimes=arguments.runtimes)
            kind = "mirrored" if mirror else model.card.training.schedule
            records.append({"model": model.card.name, "kind": kind, "isa": isa, **figures})
            print(json.dumps(records[-1]), flush=True)
    host = {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "opencv": cv2.__version__}
    RESULTS.joinpath("engine_speed.json").write_text(
        json.dumps({"host": host, "size": [width, height], "records": records}, indent=1) + "\n"
    )
    RESULTS.joinpath("engine_speed.md").write_text(
        HEAD.format(width=width, height=height, pairs=PAIRS) + "\n" + table(records)
    )


if __name__ == "__main__":
    main()
