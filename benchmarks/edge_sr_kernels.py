"""Speed of the fused one-layer upscalers beside OpenCV's bicubic, one thread, gray 8-bit images.

    python benchmarks/edge_sr_kernels.py [--isa avx512,avx2] [--json FILE]

Compiles the engine's kernels by themselves (a C++17 compiler is needed, and OpenCV as the peer), then times each network and
OpenCV's resize of 960x540 to 1920x1080 alternately: medians of the ratios of at least 9 pairs, in CPU time of the thread.
Networks that are not shipped get random filters of the same size.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "src" / "thinlens" / "models"
FAMILIES = {"max": 0, "tm": 1, "tr": 2}
SIZE = (960, 540)
EDGE = 1  # padding
X86 = {
    "scalar": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
    "avx512vnni": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mfma"],
}
ARM = {"scalar": [], "neon": []}
Array = npt.NDArray[Any]
Case = tuple[str, str, int, int, int, bool, float | None]

# name, family, kernel, candidates, scale, symmetric, goal: times the speed of OpenCV's bicubic
CASES: list[Case] = [
    ("MAX K3 C1 x2", "max", 3, 1, 2, True, 3.0),
    ("MAX K5 C2 x2", "max", 5, 2, 2, True, 2.0),
    ("MAX K7 C4 x2", "max", 7, 4, 2, True, 0.7),
    ("TM K5 C2 x2", "tm", 5, 2, 2, True, 0.6),
    ("TM K7 C4 x2", "tm", 7, 4, 2, True, None),
    ("TR K5 C4 x2", "tr", 5, 4, 2, True, 0.25),
    ("TR K7 C16 x2", "tr", 7, 16, 2, True, None),
    ("MAX K5 C2 x2 unsymmetric", "max", 5, 2, 2, False, 0.8),
    ("TM K7 C4 x2 unsymmetric", "tm", 7, 4, 2, False, None),
    ("MAX K3 C1 x3", "max", 3, 1, 3, True, None),
    ("MAX K5 C2 x3", "max", 5, 2, 3, True, None),
    ("MAX K3 C1 x4", "max", 3, 1, 4, True, None),
    ("MAX K5 C2 x4", "max", 5, 2, 4, True, None),
]


def compile_kernels(folder: Path) -> ctypes.CDLL:
    """The kernels and edge_sr_kernels.cpp as one shared library in ``folder``."""
    arm = os.uname().machine in ("aarch64", "arm64")
    flags = ["-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", *([] if arm else ["-DTHINLENS_X86"])]
    compiler = os.environ.get("CXX", "g++")
    sources = {"edge_sr": [], **{f"edge_sr_{isa}": extra for isa, extra in (ARM if arm else X86).items()}}
    objects = []
    for name, extra in sources.items():
        objects.append(str(folder / f"{name}.o"))
        source = ROOT / "engine" / "src" / f"{name}.cpp"
        subprocess.run([compiler, *flags, *extra, "-w", "-c", str(source), "-o", objects[-1]], check=True)
    library = folder / "edge_sr.so"
    shim = str(ROOT / "benchmarks" / "edge_sr_kernels.cpp")
    subprocess.run([compiler, *flags, "-shared", shim, *objects, "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.upscaler_new.restype = ctypes.c_void_p
    loaded.upscaler_variant.restype = ctypes.c_char_p
    return loaded


def random_weight(groups: int, kernel: int, scale: int, symmetric: bool) -> Array:
    """Filters near the identity: the kernels' speed does not depend on the values."""
    rng = np.random.default_rng(1)
    weight = rng.normal(0, 0.3 / kernel, (groups, scale, scale, kernel, kernel)).astype(np.float32)
    weight[..., kernel // 2, kernel // 2] += 1
    if symmetric:
        for i in range(scale):
            for j in range(scale):
                far_i, far_j = 2 * i > scale - 1, 2 * j > scale - 1
                source = weight[:, scale - 1 - i if far_i else i, scale - 1 - j if far_j else j]
                weight[:, i, j] = source[:, :: -1 if far_i else 1, :: -1 if far_j else 1]
    return weight


def load_weight(case: Case) -> Array:
    """Filters of a shipped model, or else random ones of the same size."""
    _, family, kernel, candidates, scale, symmetric, _ = case
    shipped = MODELS / f"edge_sr_{family}_k{kernel}_c{candidates}_x{scale}.safetensors"
    if symmetric and shipped.exists():
        return load_file(shipped)["filter.weight"].astype(np.float32)
    return random_weight((FAMILIES[family] + 1) * candidates, kernel, scale, symmetric)


class Upscaler:
    """One network on one instruction set."""

    def __init__(self, library: ctypes.CDLL, case: Case, weight: Array, isa: str) -> None:
        _, family, kernel, candidates, self.scale, _, _ = case
        self.library, self.weight = library, np.ascontiguousarray(weight, np.float32)
        pointer = self.weight.ctypes.data_as(ctypes.c_void_p)
        self.handle = ctypes.c_void_p(
            library.upscaler_new(FAMILIES[family], kernel, candidates, self.scale, EDGE, pointer, 1, isa.encode())
        )
        self.variant = library.upscaler_variant(self.handle).decode()

    def run(self, image: Array, out: Array) -> None:
        """``H W`` bytes -> ``sH sW`` bytes."""
        height, width = image.shape
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (image, out)]
        self.library.upscaler_run(
            self.handle, pointers[0], ctypes.c_int64(width), ctypes.c_int64(height), pointers[1], 1
        )


def cpu_seconds(call: Callable[[], None]) -> float:
    """CPU time of one call in this thread."""
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1e9


def compare(call: Callable[[], None], peer: Callable[[], None], pairs: int) -> tuple[float, float, float, float]:
    """Milliseconds of call and peer (medians), and median and minimum of peer over call."""
    for _ in range(3):
        call(), peer()
    times = [(cpu_seconds(call), cpu_seconds(peer)) for _ in range(pairs)]
    ratios = [b / a for a, b in times]
    median = statistics.median
    return 1e3 * median(a for a, _ in times), 1e3 * median(b for _, b in times), median(ratios), min(ratios)


def photo() -> Array:
    """A smooth noisy image: neither kernel looks at the values."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIZE[1], SIZE[0]), dtype=np.uint8)
    return np.ascontiguousarray((noise // 4 + np.linspace(0, 190, SIZE[0]).astype(np.uint8)[None]).astype(np.uint8))


def measure(library: ctypes.CDLL, isas: list[str], pairs: int) -> Iterator[dict[str, Any]]:
    """One record for each network and instruction set."""
    import cv2

    cv2.setNumThreads(1)
    image = photo()
    for case in CASES:
        weight = load_weight(case)
        scale = case[4]
        size = (SIZE[0] * scale, SIZE[1] * scale)
        out, peer_out = np.empty(size[::-1], np.uint8), np.empty(size[::-1], np.uint8)
        for isa in isas:
            upscaler = Upscaler(library, case, weight, isa)
            mine, peer, ratio, least = compare(
                lambda upscaler=upscaler: upscaler.run(image, out),
                lambda: cv2.resize(image, size, dst=peer_out, interpolation=cv2.INTER_CUBIC),
                pairs,
            )
            yield {
                "network": case[0], "variant": upscaler.variant, "isa": isa, "ms": mine, "opencv_ms": peer,
                "ratio": ratio, "ratio_min": least, "goal": case[6],
            }  # fmt: skip


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--isa", default="avx512,avx2", help="comma-separated; avx512_plain: without VNNI")
    parser.add_argument("--pairs", type=int, default=31)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    records = []
    with tempfile.TemporaryDirectory() as folder:
        library = compile_kernels(Path(folder))
        print(f"load {os.getloadavg()[0]:.2f}")
        for r in measure(library, args.isa.split(","), args.pairs):
            records.append(r)
            goal = "" if r["goal"] is None else f"  goal {r['goal']}"
            print(
                f"{r['network']:26} {r['isa']:13} {r['variant']:13} {r['ms']:7.3f} ms  OpenCV {r['opencv_ms']:6.3f} ms  "
                f"{r['ratio']:5.2f} x (least {r['ratio_min']:.2f}){goal}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(records, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
