"""Check the ruler: bicubic on Set5, Set14 and B100 against the figures that papers print for it.

    python benchmarks/bicubic.py --data DIR

``DIR`` holds the folders ``Set5``, ``Set14`` and ``B100``; those that are missing are left out. Ends with 1 if a figure
is off by more than 0.01 dB or 0.0005 SSIM, or if there is none of the folders.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from thinlens.bench.quality import bicubic, evaluate, list_images

SCALES = (2, 3, 4, 8)

# (set, colour, what) -> figures at the first scales; colour: the RGB image resized in 8 bits, luma: protocol P1.
EXPECTED = {
    ("Set5", True, "psnr_y_db"): (33.682, 30.405, 28.431, 24.398),
    ("Set14", True, "psnr_y_db"): (30.236, 27.540, 25.997, 23.092),
    ("B100", True, "psnr_y_db"): (29.565, 27.211, 25.963, 23.669),
    ("Set5", True, "ssim_y"): (0.9305, 0.8690, 0.8113),
    ("Set5", False, "psnr_y_db"): (33.665, 30.397, 28.425),
    ("Set14", False, "psnr_y_db"): (30.226, 27.534, 25.993),
}
TOLERANCES = {"psnr_y_db": 0.01, "ssim_y": 0.0005}


def iter_checks(data: Path) -> Iterator[tuple[str, bool]]:
    """Yield one line of text for each figure, and whether it is as expected."""
    for (name, colour, figure), expected in EXPECTED.items():
        if not (data / name).is_dir():
            continue
        paths = list_images(data / name)
        for scale, want in zip(SCALES, expected, strict=False):
            got = getattr(evaluate(bicubic(scale), paths, scale=scale, colour=colour), figure)
            good = abs(got - want) <= TOLERANCES[figure]
            kind = "colour" if colour else "luma"
            yield (
                f"{name:6} x{scale} {kind:6} {figure:9} {got:8.4f}  expected {want:<8} {'ok' if good else 'OFF'}",
                good,
            )


def main() -> int:
    """Print each figure as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds Set5, Set14, B100")
    results = []
    for line, good in iter_checks(parser.parse_args().data):
        print(line, flush=True)
        results.append(good)
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
