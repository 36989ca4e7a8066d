"""Processor time of a fresh process that imports thinlens and restores one small image.

    python benchmarks/cold_start.py [MODEL ...] [--size 480x270]

Medians of 9 processes, one thread: of one that only starts Python and imports NumPy, and of one that imports thinlens,
opens the model and restores one RGB image with 8 bits.
"""

import argparse
import statistics
import subprocess
import sys

from thinlens.cli.options import parse_size

MODELS = ("edge_sr_tm_k7_c4_x2", "edge_sr_max_k5_c2_x2", "espcn_d16_s32_x2")
PROCESSES = 9
START = "import numpy"
RESTORE = """
import numpy, thinlens
image = numpy.arange({height} * {width} * 3, dtype=numpy.uint32).astype(numpy.uint8).reshape({height}, {width}, 3)
restored = thinlens.open_model({model!r}, threads=1).run(image)
assert restored.shape[0] > {height}
"""
TELL = "\nimport time\nprint(time.process_time())"


def seconds(program: str) -> float:
    """Processor time of a program in a fresh interpreter, its start included: the median."""
    command = [sys.executable, "-c", program + TELL]
    found = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(PROCESSES)]
    return statistics.median(map(float, found))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--size", default="480x270", help="width and height of the image")
    arguments = parser.parse_args()
    height, width = parse_size(arguments.size)
    print(f"{'Python and NumPy alone':28} {seconds(START):.3f} s")
    for model in arguments.models:
        print(f"{model:28} {seconds(RESTORE.format(model=model, width=width, height=height)):.3f} s", flush=True)


if __name__ == "__main__":
    main()
