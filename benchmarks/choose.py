"""Take budgets with `thinlens choose` and measure what it promised: time and memory, in fresh processes.

    python benchmarks/choose.py [--rounds 2] [--case "sr 2 20ms@1080p,64MB rgb24 1"]...

Each case is chosen in a fresh process. The model that it picks then restores an image of that size in another one: two
runs that do not count and 15 that do, `Session.run` from memory to memory, their median; and the most memory that this
process held resident for the first of them. A case: task, scale, budget, format, threads. Linux only. Writes
``docs/results/choose.json`` and ``choose.md``; ends with 1 unless nine of ten promises of time are between 0.8 and 1.25
of what is measured. About three minutes for two rounds; meant for a quiet machine, which the probes before and after
tell.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from thinlens.bench.machine import describe_host, list_versions, probe

RESULTS = Path(__file__).parents[1] / "docs" / "results"
WORKER = Path(__file__).with_name("choose_worker.py")
RUNS = 15
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
{runs} runs of `Session.run` after two that do not count, image and result in memory. *Memory*: the most that this
process held resident for the first run, all of it. A ratio is what was promised over what was measured. {good} of
{count} promises of time ({share:.0%}) lie between {low:g} and {high:g}; {kept} of {count} results kept their budget.

| task | budget | pixels | threads | model | promised, ms | measured, ms | ratio | promised, MB | measured, MB | ratio |
|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|
"""


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
                found = run(WORKER, chosen["pick"], image["width"], image["height"], pixels, threads, RUNS)
                ms = statistics.median(found["ms"])
                row |= {"ms": promised["ms"], "measured_ms": ms, "runs_ms": found["ms"], "ratio": promised["ms"] / ms}
                row |= {"bytes": promised["memory_bytes"], "measured_bytes": found["peak"]}
                row["bytes_after_all"] = found["last_peak"]
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
    arguments = parser.parse_args()
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
    head = HEAD.format(runs=RUNS, kept=kept, **figures)
    (RESULTS / "choose.md").write_text(head + "".join(f"{to_line(row)}\n" for row in rows))
    print(f"{good} of {len(measured)} within {LOW:g} to {HIGH:g}")
    return 0 if good >= SHARE * len(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
