"""Take budgets with `thinlens choose` and measure what it promised: time and memory, in fresh processes.

    python benchmarks/choose.py [--rounds 2] [--case "sr 2 20ms@1080p,64MB rgb24 1"]...

Each case is chosen in a fresh process. The model that it picks then restores an image of that size in another one: two
runs that do not count and 15 that do, `Session.run` from memory to memory, their median; and the most memory that this
process held resident. A case: task, scale, budget, format, threads. Linux only. Writes ``docs/results/choose.json`` and
``choose.md``; ends with 1 unless nine of ten promises of time are between 0.8 and 1.25 of what is measured. About three
minutes for two rounds; meant for a quiet machine, which the probes before and after tell.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parents[1] / "docs" / "results"
WARM_UP, RUNS = 2, 15
LOW, HIGH, SHARE = 0.8, 1.25, 0.9
CASES = (
    "sr 2 5ms@720p rgb24 1",
    "sr 2 20ms@1080p,64MB rgb24 1",
    "sr 2 20ms@1080p,64MB rgb24 2",
    "sr 2 60ms@1080p gray8 1",
    "sr 2 250ms@4k,120MB rgb24 2",
    "sr 3 25ms@1080p rgb24 1",
    "sr 4 10ms@720p gray8 2",
    "sr 4 40ms@1080p,50MB rgb24 1",
    "denoise 1 1.5s@1080p rgb24 2",
    "deblock 1 800ms@720p,80MB rgb24 1",
)
HEAD = """# Budgets and what comes of them

`python benchmarks/choose.py` chooses and measures, and writes this page. Each line: a fresh process of
`thinlens choose` promises, another one restores an image of that size with the model it picked. *Time*: median of
{runs} runs of `Session.run` after {warm_up}, image and result in memory. *Memory*: the most that this process held
resident, all of it. A ratio is what was promised over what was measured. {good} of {count} promises of time
({share:.0%}) lie between {low:g} and {high:g}; {kept} of {count} results kept their budget.

| task | budget | pixels | threads | model | promised, ms | measured, ms | ratio | promised, MB | measured, MB | ratio |
|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|
"""


def work(model: str, width: int, height: int, pixels: str, threads: int) -> dict[str, Any]:
    """Restore an image again and again in this process, which does nothing else."""
    from thinlens.bench.fresh import make_rows, peak_bytes
    from thinlens.runtime.session import open_model

    session = open_model(model, threads=threads)
    image = make_rows(0, height, width, 1 if pixels.startswith("gray") else 3)
    if pixels.endswith("16") or pixels.endswith("48"):
        image = image.astype(np.uint16) * 257
    ms = []
    for _ in range(WARM_UP + RUNS):
        begun = time.perf_counter()
        session.run(image)
        ms.append(round((time.perf_counter() - begun) * 1e3, 4))
    return {"ms": ms[WARM_UP:], "peak": peak_bytes()}


def run(*command: object) -> Any:
    """What a fresh Python process prints as JSON."""
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def iter_rows(cases: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    """One row a case and round."""
    for case in cases * rounds:
        task, scale, budget, pixels, threads = case.split()
        command = ["-m", "thinlens", "choose", "--task", task, "--budget", budget, "--format", pixels, "-j", threads]
        chosen = run(*command, *(["--scale", scale] if task == "sr" else []), "--json")
        row = {"case": case, "choose_seconds": chosen["seconds"], "pick": chosen["pick"]}
        for promised in chosen["candidates"]:
            if promised["model"] == chosen["pick"]:
                image = chosen["image"]
                found = run(__file__, "--worker", chosen["pick"], image["width"], image["height"], pixels, threads)
                ms = statistics.median(found["ms"])
                row |= {"ms": promised["ms"], "measured_ms": ms, "runs_ms": found["ms"], "ratio": promised["ms"] / ms}
                row |= {"bytes": promised["memory_bytes"], "measured_bytes": found["peak"]}
                row["memory_ratio"] = row["bytes"] / row["measured_bytes"]
                limits = chosen["budget"]
                row["kept"] = ms / 1e3 <= (limits["seconds"] or np.inf) and found["peak"] <= (
                    limits["memory_bytes"] or np.inf
                )
        yield row


def to_line(row: dict[str, Any]) -> str:
    """A row of the table."""
    task, scale, budget, pixels, threads = row["case"].split()
    cells = [f"{task} x{scale}" if task == "sr" else task, f"`{budget}`", pixels, threads]
    if row["pick"] is None:
        return f"| {' | '.join(cells)} | none keeps it | | | | | | |"
    cells += [f"`{row['pick']}`", f"{row['ms']:.2f}", f"{row['measured_ms']:.2f}", f"{row['ratio']:.2f}"]
    cells += [f"{row['bytes'] / 1e6:.1f}", f"{row['measured_bytes'] / 1e6:.1f}", f"{row['memory_ratio']:.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Choose, measure, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--case", action="append", help="instead of the script's own; may be repeated")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        model, width, height, pixels, threads = arguments.worker
        print(json.dumps(work(model, int(width), int(height), pixels, int(threads))))
        return 0
    import msgspec

    from thinlens.bench.machine import describe_host, list_versions, probe

    before, rows = probe(), []
    for row in iter_rows(arguments.case or list(CASES), arguments.rounds):
        rows.append(row)
        print(to_line(row), f"chosen in {row['choose_seconds']} s", flush=True)
    measured = [row for row in rows if row["pick"]]
    good = sum(LOW <= row["ratio"] <= HIGH for row in measured)
    record = {
        "what": "time and memory that `thinlens choose` promised, over what a fresh process took",
        "host": msgspec.to_builtins(describe_host()),
        "versions": list_versions([]),
        "before": msgspec.to_builtins(before),
        "after": msgspec.to_builtins(probe()),
        "rows": rows,
    }
    (RESULTS / "choose.json").write_text(json.dumps(record, indent=1) + "\n")
    figures = {"good": good, "count": len(measured), "share": good / max(1, len(measured)), "low": LOW, "high": HIGH}
    kept = sum(row["kept"] for row in measured)
    head = HEAD.format(runs=RUNS, warm_up=WARM_UP, kept=kept, **figures)
    (RESULTS / "choose.md").write_text(head + "".join(f"{to_line(row)}\n" for row in rows))
    print(f"{good} of {len(measured)} within {LOW:g} to {HIGH:g}")
    return 0 if good >= SHARE * len(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
