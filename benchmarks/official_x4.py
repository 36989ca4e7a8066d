"""Import the official x4 weights of IMDN, RFDN and RepRFN, and hold them against what is known of them.

    python benchmarks/official_x4.py --official DIR --data DIR

``--official`` holds the published files; ``--data`` Set5, Set14 and B100. Exit code 1 if a PSNR is more than 0.02 dB
away. The known figures count Set14's gray `bridge` as a colour image; measured on its own values, as here, it is
20 log10(255 / 219) dB lower, and the set's mean by a fourteenth of that.
"""

import argparse
import math
import sys
from pathlib import Path

from thinlens.bench.quality import evaluate, list_images
from thinlens.runtime.session import Session
from thinlens.train.importer import import_weights

TOLERANCE_DB = 0.02
BRIDGE_DB = 20 * math.log10(255 / 219) / 14
# PSNR on Y and over RGB, for each set: Matlab's bicubic, border of 4 cut, mean of the images.
KNOWN = {
    "reprfn_ntire_x4": {"Set5": (32.196, 30.283), "Set14": (28.651, 26.831), "B100": (27.603, 26.260)},
    "RFDN_AIM": {"Set5": (32.161, 30.256), "Set14": (28.650, 26.836), "B100": (27.608, 26.265)},
    "IMDN_x4": {"Set5": (32.211, 30.302), "Set14": (28.587, 26.781), "B100": (27.561, 26.216)},
}


def main() -> int:
    """Print one line a file and set; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    worst = 0.0
    for stem, sets in KNOWN.items():
        session = Session(import_weights(arguments.official / f"{stem}.pth").model, threads=1)
        for name, (known_y, known_rgb) in sets.items():
            quality = evaluate(session.run, list_images(arguments.data / name), scale=4, colour=True)
            bridge = BRIDGE_DB if name == "Set14" else 0.0
            differences = quality.psnr_y_db - (known_y - bridge), (quality.psnr_rgb_db or 0) - known_rgb
            worst = max(worst, *map(abs, differences))
            figures = f"Y {quality.psnr_y_db:.3f} dB ({differences[0]:+.3f}), SSIM {quality.ssim_y:.4f}"
            print(
                f"{stem:16s} {name:6s} {figures}, RGB {quality.psnr_rgb_db:.3f} dB ({differences[1]:+.3f})", flush=True
            )
    print(f"largest difference from the known figures: {worst:.3f} dB; accepted: {TOLERANCE_DB}")
    return int(worst > TOLERANCE_DB)


if __name__ == "__main__":
    sys.exit(main())
