"""Time and peak memory of DRN x4, whole and compressed, in the engine, ONNX Runtime and OpenVINO; one thread.

    python benchmarks/drn_speed.py [--networks drn_s_x4 ...] [--sizes 96x96 480x270] [--pairs 9] [--what speed memory]

Weights are random: time does not depend on them. The engine and a runtime take turns, pair after pair; a ratio is the
median over the pairs. Memory is the peak of a fresh process over a bare interpreter with NumPy. All run the part of the
network that the image depends on, without the outputs for training. Writes ``docs/results/drn_speed.json`` and ``.md``
after each network; what they hold of other networks and sizes stays. Needs the extras ``train`` and ``bench``.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import torch

from thinlens.bench.memory import measure_memory
from thinlens.bench.records import MemorySettings, SpeedSettings
from thinlens.bench.speed import measure_speed
from thinlens.bench.subjects import Opened
from thinlens.cli.options import parse_size
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.model.outputs import plan_of_output
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration

RESULTS = Path(__file__).parents[1] / "docs" / "results"
NETWORKS = ("drn_s70_x4", "drn_s50_x4", "drn_s30_x4", "drn_s_x4", "drn_l_x4")
SIZES = ("96x96", "480x270")
RUNTIMES = ("ort", "openvino")
HEAD = """# DRN x4: whole and compressed, time and memory

`python benchmarks/drn_speed.py` measures and writes this page. One thread; weights are random. Ratios are medians over
alternating pairs of the runtime's time over the engine's: above 1 the engine is faster. Memory: peak of a fresh process
over a bare interpreter with NumPy. DRN needs the whole image, so nothing streams. *ORT*: ONNX Runtime.

| network | input | engine, ms | ORT, ms | ratio | OpenVINO, ms | ratio | engine, MB | ORT, MB | OpenVINO, MB |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
"""
TAIL = "\n{processor}, {cpus} processors; {versions}; commit {commit}; pairs: {pairs}.\n"


def untrained(name: str) -> Model:
    """The part of a network that its image depends on, as it is before training."""
    torch.manual_seed(0)
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), configuration.channels)
    plan = plan_of_output(plan, "image")
    tensors = {tensor: tensors[tensor] for tensor in sorted(plan.tensor_names())}
    training = Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0)
    facts = {"params": 1, "macs_per_pixel": 1.0, "licence": "Apache-2.0", "training": training}
    return Model(
        {"main": plan}, tensors, ModelCard(name=name, task="sr", scale=configuration.scale, colour="rgb", **facts)
    )


def measure_times(opened: Opened, width: int, height: int, pairs: int) -> dict[str, Any]:
    """Milliseconds and ratios against each runtime, and what they were taken with."""
    settings = SpeedSettings(width=width, height=height, against=RUNTIMES, threads=1, pairs=pairs, isa=None)
    record = measure_speed([opened], settings)
    found: dict[str, Any] = {"engine_ms": round(min(median(r.ms) for r in record.results), 3), "pairs": pairs}
    for result in record.results:
        times = {"ms": round(median(result.peer_ms), 3), "ratio": round(result.ratio, 3)}
        found[result.peer] = times | {"min_ratio": round(result.min_ratio, 3), "pair_ms": [*result.ms, *result.peer_ms]}
    found["failures"] = [failure.error for failure in record.failures]
    found["host"] = {"processor": record.host.processor, "cpus": record.host.cpus, "isa": record.isa}
    found["host"] |= {"versions": record.versions, "commit": record.host.commit, "date": record.date}
    found["probes"] = [
        [round(p.add_ns, 3), round(p.add_spread, 3), p.sgemm_gflops] for p in (record.before, record.after)
    ]
    return found


def measure_peaks(opened: Opened, width: int, height: int) -> dict[str, int]:
    """Peak bytes over bare by runtime."""
    record = measure_memory([opened], MemorySettings(width=width, height=height, against=RUNTIMES))
    return {"engine" if result.way == "whole" else result.way: result.peak for result in record.results}


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    speed, memory = row.get("speed", {}), row.get("memory", {})
    cells = [f"`{row['network']}`", row["size"], f"{speed['engine_ms']:.0f}" if speed else ""]
    for name in RUNTIMES:
        found = speed.get(name)
        cells += [f"{found['ms']:.0f}", f"{found['ratio']:.2f}"] if found else ["", ""]
    cells += [f"{memory[name] / 1e6:.0f}" if name in memory else "" for name in ("engine", *RUNTIMES)]
    return f"| {' | '.join(cells)} |"


def page(rows: list[dict[str, Any]]) -> str:
    """The whole page."""
    text = HEAD + "".join(f"{line_of(row)}\n" for row in rows)
    measured = [row["speed"] for row in rows if "speed" in row]
    if not measured:
        return text
    host = measured[-1]["host"]
    facts = {name: host[name] for name in ("processor", "cpus", "commit")}
    versions = ", ".join(f"{name} {version}" for name, version in host["versions"].items())
    return text + TAIL.format(**facts, versions=versions, pairs=sorted({found["pairs"] for found in measured}))


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--what", nargs="+", choices=("speed", "memory"), default=("speed", "memory"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = arguments.output / "drn_speed.json"
    known = json.loads(record.read_text()) if record.exists() else []
    rows: dict[tuple[str, str], dict[str, Any]] = {(row["network"], row["size"]): row for row in known}
    for size in arguments.sizes:
        height, width = parse_size(size)
        for name in arguments.networks:
            opened = Opened(name, untrained(name), 0)
            row = rows.setdefault((name, size), {"network": name, "size": size})
            row["macs"] = opened.model.plan.macs((height, width))
            if "speed" in arguments.what:
                row["speed"] = measure_times(opened, width, height, arguments.pairs)
            if "memory" in arguments.what:
                row["memory"] = measure_peaks(opened, width, height)
            print(line_of(row), flush=True)
            ordered = sorted(rows.values(), key=lambda row: row["macs"])
            record.write_text(json.dumps(ordered, indent=1) + "\n")
            record.with_suffix(".md").write_text(page(ordered))


if __name__ == "__main__":
    main()
