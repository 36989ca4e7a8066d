"""Ten thousand small files, one in a hundred damaged: by one process, by workers, cut off, on a cluster losing a node.

    python benchmarks/fleet.py --images FOLDER --work DIR -o fleet.md
    python benchmarks/fleet.py --images FOLDER --work DIR --only alone workers

What one process gives is the measure of all others: the same files, byte for byte, and the same failures. Everything is
counted, nothing is timed. The cluster is two nodes on this machine (extra `fleet`), of which one is killed half-way.
"""

import argparse
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 48
KINDS = ("truncated", "empty", "wrong content")
COMMAND = [sys.executable, "-m", "thinlens", "restore"]


def cut(images: Path, folder: Path, count: int) -> dict[str, int]:
    """Fill a folder with crops, alternately PNG and JPEG, of which one in a hundred is damaged; count the damages."""
    sources = sorted(p for p in images.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    folder.mkdir(parents=True)
    rng, per_image = np.random.default_rng(0), -(-count // len(sources))
    damages = dict.fromkeys(KINDS, 0)
    for number in range(count):
        if number % per_image == 0:
            pixels = np.asarray(Image.open(sources[number // per_image]).convert("RGB"))
        top, left = (int(rng.integers(0, side - SIDE + 1)) for side in pixels.shape[:2])
        data, format_name = io.BytesIO(), "PNG" if number % 2 else "JPEG"
        Image.fromarray(pixels[top : top + SIDE, left : left + SIDE]).save(data, format_name)
        content = data.getvalue()
        if number % 100 == 50:
            kind = KINDS[number // 100 % len(KINDS)]
            damages[kind] += 1
            content = {"truncated": content[: len(content) * 2 // 3], "empty": b"", "wrong content": b"no image"}[kind]
        (folder / f"{number:05}.{'png' if number % 2 else 'jpg'}").write_bytes(content)
    return damages


def start(work: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a run from ``in`` into a folder; its records go to a file beside that."""
    with (work / f"{name}.jsonl").open("wb") as out, (work / f"{name}.err").open("wb") as err:
        command = [*COMMAND, "in", "-o", name, "--prefer", "speed", "--json", *options]
        return subprocess.Popen(command, cwd=work, stdout=out, stderr=err)


def finished(work: Path, name: str, *options: str) -> int:
    """Run to the end; return the exit code."""
    return start(work, name, *options).wait()


def records(work: Path, name: str) -> Iterator[dict[str, object]]:
    """Records of a run, each of which must be one JSON object a line; the summary last."""
    for line in (work / f"{name}.jsonl").read_text().splitlines():
        yield json.loads(line)


def count_outputs(folder: Path) -> int:
    """Whole files in an output folder."""
    return sum(not entry.name.startswith(".") for entry in os.scandir(folder)) if folder.exists() else 0


def wait_until(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Wait for something that a run must reach before it ends."""
    while not reached():
        if process.poll() is not None:
            raise SystemExit("the run ended before it was to be disturbed")
        time.sleep(0.05)


def compare(work: Path, name: str) -> dict[str, object]:
    """Compare a run with that of one process: files, bytes, failures; decode every output.

    Returns:
        Counts; ``wrong``, ``missing``, ``extra`` and ``twice`` must be 0.
    """
    expected = {path.name: path for path in (work / "alone").iterdir()}
    found = {path.name: path for path in (work / name).iterdir() if path.name != ".thinlens-journal.jsonl"}
    wrong = 0
    for key in expected.keys() & found.keys():
        with Image.open(found[key]) as image:
            image.load()
        wrong += expected[key].read_bytes() != found[key].read_bytes()
    seen = [str(record["input"]) for record in records(work, name) if "input" in record]
    failed = {str(r["input"]): r["error"] for r in records(work, name) if r.get("status") == "failed"}
    alone = {str(r["input"]): r["error"] for r in records(work, "alone") if r.get("status") == "failed"}
    return {
        "restored": len(found),
        "failed": len(failed),
        "other failures": sum(alone.get(key) != error for key, error in failed.items()) + len(alone.keys() - failed),
        "missing": len(expected.keys() - found.keys()),
        "extra": len(found.keys() - expected.keys()),
        "wrong": wrong,
        "twice": len(seen) - len(set(seen)),
    }


def alone(work: Path) -> dict[str, object]:
    """One process."""
    code = finished(work, "alone")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {"exit": code, "peak MiB": peak} | compare(work, "alone")


def workers(work: Path) -> dict[str, object]:
    """Two workers."""
    return {"exit": finished(work, "workers", "--workers", "2")} | compare(work, "workers")


def killed(work: Path) -> dict[str, object]:
    """Two workers, killed with SIGKILL half-way, then `--resume`; no file of before may be touched."""
    half = len(list((work / "in").iterdir())) // 2
    process = start(work, "killed", "--workers", "2")
    wait_until(process, lambda: count_outputs(work / "killed") >= half)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in (work / "killed").iterdir() if not p.name.startswith(".")}
    code = finished(work, "killed", "--workers", "2", "--resume")
    touched = sum((work / "killed" / name).stat().st_mtime_ns != was for name, was in before.items())
    return {"exit": code, "at the kill": len(before), "touched": touched} | compare(work, "killed")


def node(number: int) -> dict[str, Any]:
    """Settings of a node of one processor; ports are given, as Ray does not wait long for parts that choose theirs."""
    ports = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    base = 28_100 + 10 * number
    return {"num_cpus": 1, "object_store_memory": 100_000_000} | {port: base + i for i, port in enumerate(ports)}


def cluster(work: Path) -> dict[str, object]:
    """A cluster of two nodes, of which the second is killed half-way."""
    from ray.cluster_utils import Cluster

    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_raylet_start_wait_time_s="300")
    nodes = Cluster(initialize_head=True, head_node_args=node(0) | {"include_dashboard": False})
    second = nodes.add_node(**node(1))
    half = len(list((work / "in").iterdir())) // 2
    try:
        process = start(work, "cluster", "--on", f"ray://{nodes.address}")
        wait_until(process, lambda: count_outputs(work / "cluster") >= half)
        nodes.remove_node(second, allow_graceful=False)
        at_kill = count_outputs(work / "cluster")
        code = process.wait()
    finally:
        nodes.shutdown()
    return {"exit": code, "at the kill": at_kill} | compare(work, "cluster")


RUNS = {"alone": alone, "workers": workers, "killed": killed, "cluster": cluster}


def table(results: dict[str, dict[str, object]]) -> str:
    """The results as a table in Markdown."""
    columns = list(dict.fromkeys(name for result in results.values() for name in result))
    lines = [" | ".join(["run", *columns]), " | ".join(["---"] * (len(columns) + 1))]
    for name, result in results.items():
        lines.append(" | ".join([str(RUNS[name].__doc__), *(str(result.get(column, "")) for column in columns)]))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Run what is asked for and print it, or write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="a folder of pictures to cut the files from")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    state = options.work / "results.json"
    known = json.loads(state.read_text()) if state.exists() else {"damaged": None, "runs": {}}
    if known["damaged"] is None:
        known["damaged"] = cut(options.images, options.work / "in", options.count)
    for name in options.only:
        shutil.rmtree(options.work / name, ignore_errors=True)
        known["runs"][name] = RUNS[name](options.work)
        state.write_text(json.dumps(known))
        print(name, known["runs"][name], flush=True)
    damaged = ", ".join(f"{count} {kind}" for kind, count in known["damaged"].items())
    text = f"{options.count} files, of which damaged: {damaged}.\n\n{table(known['runs'])}\n"
    if options.output is None:
        print(text)
    else:
        options.output.write_text(f"# Many files\n\n{text}")


if __name__ == "__main__":
    main()
