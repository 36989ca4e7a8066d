"""The machine that measures: what it is, and how it does right now."""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import thinlens
from thinlens.bench.records import Host, Probe

STEPS = 4096  # of the chain of additions: its values stay in the fastest cache
PROBES = 25
PRODUCTS, SIDE = 25, 768  # matrix products, and their rows and columns
MEMSET_BYTES = 2 << 20
NOISY = 1.3  # spread of the clock probe above which a measurement should be repeated


def describe_host() -> Host:
    """What the machine is."""
    system = f"{platform.system()} {platform.machine()}"
    return Host(
        processor=_processor(),
        cpus=os.cpu_count() or 1,
        system=system,
        python=platform.python_version(),
        commit=_commit(),
    )


def list_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of thinlens, NumPy and some more packages."""
    return {name: version(name) for name in ("thinlens", "numpy", *packages)}


def probe() -> Probe:
    """Measure clock, memory and arithmetic, in about half a second."""
    chain, sums = np.full(STEPS, 1e-3), np.empty(STEPS)
    block = np.empty(MEMSET_BYTES, np.uint8)
    square = np.full((SIDE, SIDE), 0.5, np.float32)
    adds = _times(lambda: np.cumsum(chain, out=sums), PROBES)
    with threadpool_limits(1):
        product = min(_times(lambda: square @ square, PRODUCTS))
    low, high = np.percentile(adds, (10, 90))
    return Probe(
        add_ns=round(float(np.median(adds)) / STEPS * 1e9, 3),
        add_spread=round(float(high / low), 3),
        memset_us=round(float(np.median(_times(lambda: block.fill(1), PROBES))) * 1e6, 1),
        sgemm_gflops=round(2 * SIDE**3 / product / 1e9, 1),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _times(call: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of some calls, after two that are not counted."""
    seconds = []
    for _ in range(count + 2):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return seconds[2:]


def _processor() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the checkout that thinlens runs from, ``-dirty`` if its sources have changed since.

    None where thinlens was installed, or there is no git.
    """
    root = Path(thinlens.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    sources = ["status", "--porcelain", "--untracked-files=no", "--", "src", "engine"]
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], sources)
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changes else commit
