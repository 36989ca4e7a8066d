"""One-layer upscalers in the engine against bicubic and against general runtimes: u8 luma in, u8 luma out, one thread.

    python benchmarks/engine_speed.py MODEL... [--mirrored MODEL...] [--size 960x540] [--runtimes]

MODEL: shipped names or model files; a `--mirrored` one gets the filters of its first phase in all four, flipped (what
training shared by symmetry gives), so that any network can be timed in that form. Needs opencv-python-headless; with
`--runtimes` also onnx, onnxruntime and openvino, which run the same network in float. Each pair of runs alternates; the
ratio is the median of the pairs' ratios. Writes `docs/results/engine_speed.json` and `.md`.
"""

import argparse
import ctypes
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from thinlens.cli.options import parse_size
from thinlens.model.file import Model, read_model
from thinlens.models import find_model
from thinlens.runtime.compile import ImageKind, compile_plan
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import Request, check, engine, isa_names

Run = Callable[[], object]
RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAIRS, WARM_UP = 15, 3
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


def engine_run(model: Model, image: npt.NDArray[np.uint8], isa: str | None) -> tuple[Run, npt.NDArray[np.uint8]]:
    """A call of the engine's C function, without what Python puts around it."""
    height, width = image.shape
    compiled = compile_plan(model.plan, model.tensors, ImageKind(1, "uint8"), model.card.scale)
    plan = NativePlan(compiled.data, isa)
    out = np.empty((height * model.card.scale, width * model.card.scale), np.uint8)
    request, call, handle = Request(width, height, 0, 0), engine().tl_run, plan._handle

    def run() -> NativePlan:
        check(
            call(
                handle,
                ctypes.byref(request),
                image.ctypes.data,
                width,
                out.ctypes.data,
                out.shape[1],
                1,
                NO_PROGRESS,
                None,
            )
        )
        return plan  # kept as long as its handle is in use

    return run, out


def onnx_run(model: Model, image: npt.NDArray[np.uint8]) -> dict[str, Run]:
    """ONNX Runtime and OpenVINO on the exported network."""
    import onnxruntime
    import openvino

    from thinlens.export.onnx import to_onnx

    data = to_onnx(model)
    floats = (image[None, None] / np.float32(255)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: floats}
    core = openvino.Core()
    network = core.read_model(data)
    network.reshape(list(floats.shape))
    compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return {"ort": lambda: session.run(None, feed), "openvino": lambda: request.infer([floats])}


def compare(ours: Run, peer: Run, pairs: int) -> dict[str, float]:
    """Milliseconds of both, and how many times faster ours is: medians over alternating pairs."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs + WARM_UP):
        for run, kept in zip((ours, peer), times, strict=True):
            begun = time.perf_counter()
            run()
            kept.append((time.perf_counter() - begun) * 1e3)
    mine, its = times[0][WARM_UP:], times[1][WARM_UP:]
    ratios = [b / a for a, b in zip(mine, its, strict=True)]
    return {
        "ms": round(statistics.median(mine), 3),
        "peer_ms": round(statistics.median(its), 3),
        "ratio": round(statistics.median(ratios), 3),
        "min_ratio": round(min(its) / min(mine), 3),
    }


def photograph(width: int, height: int) -> npt.NDArray[np.uint8]:
    """The example photo as gray, at that size."""
    photo = Image.open(Path(__file__).parents[1] / "examples" / "dog.webp").convert("L")
    return np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC))


def measure(model: Model, image: npt.NDArray[np.uint8], isa: str | None, *, runtimes: bool) -> dict[str, Any]:
    """One network against all peers."""
    height, width = image.shape
    ours, out = engine_run(model, image, isa)
    ours()
    pillow = Image.fromarray(image)
    peers: dict[str, Run] = {
        "opencv_bicubic": lambda: cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC),
        "pillow_bicubic": lambda: pillow.resize((2 * width, 2 * height), Image.Resampling.BICUBIC),
    }
    if runtimes:
        peers |= onnx_run(model, image)
    figures = {name: compare(ours, peer, PAIRS if "bicubic" in name else 9) for name, peer in peers.items()}
    return {"sum": int(out.sum(dtype=np.int64)), **figures}


def table(records: list[dict[str, Any]]) -> str:
    """Markdown."""
    peers = ["opencv_bicubic", "pillow_bicubic", "ort", "openvino"]
    lines = [
        "| network | weights | instruction set | ms | OpenCV bicubic | Pillow bicubic | ONNX Runtime | OpenVINO |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for record in records:
        ratios = " | ".join(f"{record[peer]['ratio']:.2f}" if peer in record else "" for peer in peers)
        ms = record["opencv_bicubic"]["ms"]
        lines.append(f"| `{record['model']}` | {record['kind']} | {record['isa']} | {ms:.2f} | {ratios} |")
    return "\n".join(lines) + "\n"


NO_PROGRESS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)()


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
    cv2.setNumThreads(1)
    image, records = photograph(width, height), []
    for name, mirror in [*((m, False) for m in arguments.models), *((m, True) for m in arguments.mirrored)]:
        model = read_model(find_model(name))
        for isa in arguments.isa:
            figures = measure(mirrored(model) if mirror else model, image, isa, runtimes=arguments.runtimes)
            kind = "mirrored" if mirror else model.card.training.schedule
            records.append({"model": model.card.name, "kind": kind, "isa": isa or isa_names()[0], **figures})
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
