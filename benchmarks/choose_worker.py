"""What `benchmarks/choose.py` runs in a fresh process: restore one image again and again, and nothing else.

    python benchmarks/choose_worker.py MODEL WIDTH HEIGHT FORMAT THREADS RUNS

Prints JSON: milliseconds of each run after two that do not count, and the most bytes held resident (Linux only), after
the first run and after the last.
"""

import json
import sys
import time

import numpy as np

from thinlens.bench.fresh import make_rows, peak_bytes
from thinlens.runtime.session import open_model

WARM_UP = 2


def work(model: str, width: int, height: int, pixels: str, threads: int, runs: int) -> dict[str, object]:
    """Restore an image of a format that `thinlens choose` knows."""
    session = open_model(model, threads=threads)
    image = make_rows(0, height, width, 1 if pixels.startswith("gray") else 3)
    if pixels in ("gray16", "rgb48"):
        image = image.astype(np.uint16) * 257
    ms, peaks = [], []
    for _ in range(WARM_UP + runs):
        begun = time.perf_counter()
        session.run(image)
        ms.append(round((time.perf_counter() - begun) * 1e3, 4))
        peaks.append(peak_bytes())
    return {"ms": ms[WARM_UP:], "peak": peaks[0], "last_peak": peaks[-1]}


if __name__ == "__main__":
    name, wide, high, kind, count, times = sys.argv[1:]
    print(json.dumps(work(name, int(wide), int(high), kind, int(count), int(times))))
