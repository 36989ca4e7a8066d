"""Time of RepRFN, RFDN and IMDN at x4 beside other runtimes: floats, bfloat16, int8; one thread.

    python benchmarks/rep_rfn_speed.py --official DIR --calibrate DIR [--size 480x270] [--rounds 9]

``--official`` holds the published weights, ``--calibrate`` clean images for int8 and bfloat16. Everything runs in turn,
round after round; a ratio is the median over the rounds of its time over that of the engine in the same precision. The
int8 network is the same for all: what `thinlens compress` made, exported; OpenVINO makes bfloat16 itself. Peaks of
memory are those of fresh processes over a bare interpreter with NumPy. Writes ``docs/results/rep_rfn_speed.json`` and
``.md``. Needs the extras ``train`` and ``bench``.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from binary_speed import in_openvino, in_ort, seconds

from thinlens.bench.machine import describe_host, list_versions, probe
from thinlens.bench.memory import measure_fresh
from thinlens.bench.peers import PEERS
from thinlens.bench.quality import list_images
from thinlens.bench.subjects import make_picture
from thinlens.compress.compress import Settings, compress
from thinlens.errors import ThinlensError
from thinlens.export.onnx import to_onnx
from thinlens.model.file import Model, write_model
from thinlens.runtime.session import Session
from thinlens.train.importer import import_weights

RESULTS = Path(__file__).parents[1] / "docs" / "results"
FILES = {"RepRFN": "reprfn_ntire_x4", "RFDN": "RFDN_AIM", "IMDN": "IMDN_x4"}
IMAGES = 8  # half of them to calibrate on
PRECISIONS = ("floats", "bf16", "int8")
Call = Callable[[], Any]


def calls_of(models: dict[str, Model], image: np.ndarray) -> dict[tuple[str, str], Call]:
    """(who, precision) -> what runs it once."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None] / np.float32(255))
    found: dict[tuple[str, str], Call] = {}
    for precision, model in models.items():
        run = Session(model, threads=1).run
        found["engine", precision] = lambda run=run: run(image)
    for peer in ("ort", "openvino"):
        found[peer, "floats"] = PEERS[peer].prepare(models["floats"], image, 1, "avx512").call
    found["ort", "int8"] = in_ort(models["int8"], planes)
    found["openvino", "int8"] = in_openvino(models["int8"], planes)
    found["openvino", "bf16"] = in_openvino(models["floats"], planes, "bf16")
    return found


def memory_of(model: Model, size: tuple[int, int]) -> dict[str, int | None]:
    """Peaks: rows through the engine, the whole image in the engine, and in ONNX Runtime."""
    width, height = size
    with tempfile.TemporaryDirectory() as folder:
        path, onnx = Path(folder) / "a.safetensors", Path(folder) / "a.onnx"
        write_model(path, model)
        onnx.write_bytes(to_onnx(model))
        bare = measure_fresh("bare")["peak"]
        found: dict[str, int | None] = {"ort": measure_fresh("ort", onnx, width, height, 3)["peak"] - bare}
        try:
            found["engine, rows"] = measure_fresh("rows", path, width, height)["peak"] - bare
        except ThinlensError:  # IMDN needs the whole image
            found["engine, rows"] = None
        found["engine, whole"] = Session(model, threads=1).working_bytes(height, width)
    return found


def measure(name: str, arguments: argparse.Namespace, size: tuple[int, int]) -> dict[str, Any]:
    """One network's record."""
    floats = import_weights(arguments.official / f"{FILES[name]}.pth").model
    paths, models = list_images(arguments.calibrate)[:IMAGES], {"floats": floats}
    for method in PRECISIONS[1:]:
        models[method] = compress(floats, method, paths, Settings({"scale": 4}, threads=2))
    losses = {method: round(models[method].card.history[-1].loss_db, 4) for method in PRECISIONS[1:]}
    calls = calls_of(models, make_picture(size[1], size[0], 3))
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for at in range(arguments.rounds + 1):
        for key, call in calls.items():
            taken = seconds(call)
            if at:  # the first round warms up
                times[key].append(taken)
    rows = [
        {
            "who": who,
            "precision": precision,
            "ms": round(statistics.median(own) * 1e3, 1),
            "ratio": round(statistics.median(a / b for a, b in zip(own, times["engine", precision], strict=True)), 3),
        }
        for (who, precision), own in times.items()
    ]
    macs = floats.plan.macs((size[1], size[0]))
    return {"network": name, "gmacs": round(macs / 1e9, 2), "loss_db": losses, "rows": rows}


def to_page(record: dict[str, Any]) -> str:
    """The record as a page."""
    host, size = record["host"]["processor"], record["size"]
    page = (
        "# RepRFN, RFDN and IMDN beside other runtimes\n\n"
        "`python benchmarks/rep_rfn_speed.py` measures and writes this page: official weights, x4, one thread,\n"
        f"{size} in, everything in turn, {record['rounds']} rounds; in brackets the median over them of its time\n"
        "over the engine's of the same precision: above 1 the engine is faster. Loss: of the engine's int8 and bf16,\n"
        f"PSNR of Y on pictures not calibrated on. Host: {host}; {record['probe']}.\n"
        "ncnn is left out: its export has no max pooling, which ESA needs.\n\n"
    )
    columns = [(who, p) for p in PRECISIONS for who in ("engine", "ort", "openvino")]
    known = {(row["who"], row["precision"]) for row in record["networks"][0]["rows"]}
    columns = [key for key in columns if key in known]
    page += f"| | G MACs | {' | '.join(f'{who}, {p}' for who, p in columns)} | loss, bf16 / int8 |\n"
    page += f"|---|--:|{'--:|' * len(columns)}--:|\n"
    for network in record["networks"]:
        found = {(row["who"], row["precision"]): row for row in network["rows"]}
        cells = [f"{found[key]['ms']:.0f} ms ({found[key]['ratio']:.2f})" for key in columns]
        loss = " / ".join(f"{network['loss_db'][p]:.3f} dB" for p in PRECISIONS[1:])
        page += f"| {network['network']} | {network['gmacs']} | {' | '.join(cells)} | {loss} |\n"
    page += "\nPeak memory over a bare interpreter with NumPy; *whole*: told before, with image and result.\n\n"
    page += "| | ONNX Runtime | engine, rows | engine, whole |\n|---|--:|--:|--:|\n"
    for network in record["networks"]:
        peaks = network["memory"]
        cells = [
            "cannot" if peaks[way] is None else f"{peaks[way] / 1e6:.1f} MB"
            for way in ("ort", "engine, rows", "engine, whole")
        ]
        page += f"| {network['network']} | {' | '.join(cells)} |\n"
    return page


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--size", default="480x270")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="+", default=list(FILES))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    found = probe()
    record: dict[str, Any] = {
        "host": msgspec.to_builtins(describe_host()),
        "probe": f"{found.sgemm_gflops:.0f} GFLOP/s by NumPy's sgemm",
        "versions": list_versions(["onnxruntime", "openvino"]),
        "size": arguments.size,
        "rounds": arguments.rounds,
        "networks": [],
    }
    for name in arguments.networks:
        row = measure(name, arguments, (width, height))
        model = import_weights(arguments.official / f"{FILES[name]}.pth").model
        record["networks"].append(row | {"memory": memory_of(model, (width, height))})
        print(json.dumps(record["networks"][-1]), flush=True)
        (arguments.output / "rep_rfn_speed.json").write_text(json.dumps(record, indent=1) + "\n")
        (arguments.output / "rep_rfn_speed.md").write_text(to_page(record))


if __name__ == "__main__":
    main()
