"""Time and bytes of binary networks beside their full-precision twins, here and in other runtimes; one thread.

    python benchmarks/binary_speed.py [--size 320x180] [--rounds 9] [--networks bbcu_m_x4 bbcu_l_x4]

Weights are random: time does not depend on them. Everything runs in turn, round after round; a ratio is the median over
the rounds of (its time / the binary network's time in the engine). Beside it the arithmetic ceiling of the host, taken
between the rounds by ``peak.cpp``, which needs a C++ compiler: products that registers allow, without memory. Writes
``docs/results/binary_speed.json`` and ``.md``. Needs the extras ``train`` and ``bench``.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image

from thinlens.bench.machine import describe_host, list_versions, probe
from thinlens.bench.ort import open_onnx
from thinlens.bench.subjects import make_picture
from thinlens.compress.compress import Settings, compress
from thinlens.export.onnx import to_onnx
from thinlens.export.openvino import to_network
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model, to_bytes
from thinlens.runtime.compile import ImageKind, compile_plan
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import isa_names
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration

RESULTS = Path(__file__).parents[1] / "docs" / "results"
TWINS = {"bbcu_m_x4": "srresnet_x4", "bbcu_l_x4": "srresnet_x4", "bbcu_denoise": "dncnn_d20_w64_denoise"}
Call = Callable[[], Any]


def random_model(name: str) -> Model:
    """A network as it is before training."""
    torch.manual_seed(0)
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), configuration.channels)
    training = Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0)
    task = "sr" if configuration.scale > 1 else "denoise"
    facts = {"scale": configuration.scale, "colour": "rgb", "params": 1, "macs_per_pixel": 1.0, "licence": "Apache-2.0"}
    return Model({"main": plan}, tensors, ModelCard(name=name, task=task, training=training, **facts))


def in_engine(model: Model, image: np.ndarray, isa: str | None = None) -> Call:
    """The engine on 8-bit pixels."""
    scale = model.card.scale
    compiled = compile_plan(model.plan, model.tensors, ImageKind(3, "uint8"), scale)
    plan = NativePlan(compiled.data, isa or isa_names()[0])
    out = np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), np.uint8)
    return lambda: plan.call(image, out, 1)


def in_ort(model: Model, planes: np.ndarray) -> Call:
    """ONNX Runtime on float planes."""
    session = open_onnx(to_onnx(model), 1)
    return lambda: session.run(["image"], {"input": planes})


def in_openvino(model: Model, planes: np.ndarray, precision: str = "f32") -> Call:
    """OpenVINO on float planes of a size that it knows."""
    import openvino

    network = to_network(model)
    network.reshape(list(planes.shape))
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()
    return lambda: request.infer([planes], share_inputs=True, share_outputs=True)


def as_int8(model: Model) -> Model:
    """The twin in int8, calibrated on a few pictures."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.png" for i in range(4)]
        for i, path in enumerate(paths):
            Image.fromarray(make_picture(96 + 8 * i, 96, 3)).save(path)
        degradation = {"scale": model.card.scale} if model.card.task == "sr" else {"sigma": 25.0, "seed": 0}
        return compress(model, "int8", paths, Settings(degradation, crop=24, threads=1))


def subjects(binary: Model, twin: Model, int8: Model, image: np.ndarray) -> dict[str, Call]:
    """What is measured, the binary network in the engine first."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None] / np.float32(255))
    found: dict[str, Call] = {"engine, binary": in_engine(binary, image)}
    if "avx2" in isa_names():
        found["engine, binary, held to AVX2"] = in_engine(binary, image, "avx2")
        found["engine, twin, held to AVX2"] = in_engine(twin, image, "avx2")
    found["engine, twin"] = in_engine(twin, image)
    found["engine, twin in int8"] = in_engine(int8, image)
    found["ONNX Runtime, twin"] = in_ort(twin, planes)
    found["ONNX Runtime, twin in int8"] = in_ort(int8, planes)
    found["OpenVINO, twin"] = in_openvino(twin, planes)
    found["OpenVINO, twin in bf16"] = in_openvino(twin, planes, "bf16")
    found["OpenVINO, twin in int8"] = in_openvino(int8, planes)
    found["OpenVINO, BinaryConvolution"] = in_openvino(binary, planes)
    return found


def seconds(call: Call) -> float:
    """Of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def compiled_peak() -> Any:
    """What the registers of this host allow, from ``peak.cpp``."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        source = Path(__file__).with_name("peak.cpp")
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        subprocess.run(["c++", *flags, str(source), "-o", str(library)], check=True)
        peak = ctypes.CDLL(str(library))
    peak.sign_products.restype = peak.float_products.restype = ctypes.c_double
    return peak


def measure(name: str, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """One network's record."""
    image, binary, twin = make_picture(*size, 3), random_model(name), random_model(TWINS[name])
    int8 = as_int8(twin)
    calls, peak = subjects(binary, twin, int8, image), compiled_peak()
    times: dict[str, list[float]] = {what: [] for what in calls}
    floats, signs = [], []
    for at in range(rounds + 1):
        for what, call in calls.items():
            taken = seconds(call)
            if at:  # the first round warms up
                times[what].append(taken)
        floats.append(peak.float_products())
        signs.append(peak.sign_products())
    ours, rate = times["engine, binary"], statistics.median(floats)
    ceiling = binary.plan.macs(size) / rate + binary.plan.binary_macs(size) / statistics.median(signs)
    return {
        "network": name,
        "twin": TWINS[name],
        "size": size,
        "ms": {what: round(statistics.median(own) * 1e3, 2) for what, own in times.items()},
        "ratio": {what: round(_median_ratio(own, ours), 2) for what, own in times.items()},
        "macs": binary.plan.macs(size),
        "binary_macs": binary.plan.binary_macs(size),
        "twin_macs": twin.plan.macs(size),
        "float_gmacs": round(rate / 1e9, 1),
        "binary_gmacs": round(statistics.median(signs) / 1e9, 1),
        "share_of_ceiling": round(ceiling / statistics.median(ours), 3),
        "ceiling_ratio": round(twin.plan.macs(size) / rate / ceiling, 2),
        "bytes": {what: len(to_bytes(m)) for what, m in (("binary", binary), ("twin", twin), ("twin in int8", int8))},
    }


def _median_ratio(times: list[float], ours: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(times, ours, strict=True))


def to_page(record: dict[str, Any]) -> str:
    """The record as a page."""
    page = (
        "# Binary networks beside their twins\n\n"
        "`python benchmarks/binary_speed.py` measures and writes this page. One thread, everything in turn; ratio:\n"
        f"median over {record['rounds']} rounds of its time over that of the binary network in the engine, so above 1\n"
        f"the binary network is faster. Host: {record['host']['processor']}, instruction set {record['isa']}.\n"
        "A share of the ceiling above 100 % is Winograd's, which takes fewer products of floats than are counted.\n"
    )
    for row in record["networks"]:
        height, width = row["size"]
        page += f"\n## {row['network']}, {width}x{height}; the twin is {row['twin']}\n\n"
        page += "| | ms | ratio |\n|---|--:|--:|\n"
        page += "".join(f"| {what} | {row['ms'][what]:.1f} | {row['ratio'][what]:.2f} |\n" for what in row["ms"])
        smaller = row["bytes"]["twin"] / row["bytes"]["binary"]
        sizes = ", ".join(f"{what} {count:,}" for what, count in row["bytes"].items())
        page += (
            f"\n{row['macs'] / 1e9:.2f} G products of floats and {row['binary_macs'] / 1e9:.2f} G of signs; the twin\n"
            f"has {row['twin_macs'] / 1e9:.2f} G of floats. The host's registers do {row['float_gmacs']} G products\n"
            f"of floats a second and {row['binary_gmacs']} G of signs (medians between the rounds): at these rates\n"
            f"the binary network could be {row['ceiling_ratio']} times as fast as the twin; it reaches\n"
            f"{row['share_of_ceiling']:.0%} of its own ceiling. Bytes on disk: {sizes}\n"
            f"({smaller:.1f} times smaller than the twin).\n"
        )
    return page


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="+", default=list(TWINS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    record: dict[str, Any] = {
        "host": msgspec.to_builtins(describe_host()),
        "probe": msgspec.to_builtins(probe()),
        "versions": list_versions(["onnxruntime", "openvino"]),
        "isa": isa_names()[0],
        "rounds": arguments.rounds,
        "networks": [],
    }
    for name in arguments.networks:
        record["networks"].append(measure(name, (height, width), arguments.rounds))
        print(json.dumps(record["networks"][-1]["ms"]), json.dumps(record["networks"][-1]["ratio"]), flush=True)
        (arguments.output / "binary_speed.json").write_text(json.dumps(record, indent=1) + "\n")
        (arguments.output / "binary_speed.md").write_text(to_page(record))


if __name__ == "__main__":
    main()
