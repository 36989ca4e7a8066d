"""Import every official weight file, measure it by protocol P1, and hold it against the published measurements.

    python benchmarks/official_weights.py --official DIR --data DIR

``--official`` holds the published files and ``tests.json``, their authors' own figures; ``--data`` Set5 and Set14. Exit
code 1 if a file is more than 0.25 dB away on either set (the authors' image region is not quite P1's).
"""

import argparse
import json
import sys
from pathlib import Path

from thinlens.bench.quality import evaluate, list_images
from thinlens.runtime.session import Session
from thinlens.train.importer import import_weights

TOLERANCE_DB = 0.25


def main() -> int:
    """Print one line a file; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    published = json.loads((arguments.official / "tests.json").read_text())
    worst = 0.0
    for path in sorted(arguments.official.glob("*.model")):
        session = Session(import_weights(path).model)
        cells = []
        for data in ("Set5", "Set14"):
            images = list_images(arguments.data / data)
            psnr_db = evaluate(session.run, images, scale=session.card.scale, colour=False).psnr_y_db
            difference = psnr_db - published[path.stem][f"psnr_{data}"]
            worst = max(worst, abs(difference))
            cells.append(f"{data} {psnr_db:.3f} dB ({difference:+.3f})")
        print(f"{path.stem:26s} {'  '.join(cells)}", flush=True)
    print(f"largest difference from the published figures: {worst:.3f} dB; accepted: {TOLERANCE_DB}")
    return int(worst > TOLERANCE_DB)


if __name__ == "__main__":
    sys.exit(main())
