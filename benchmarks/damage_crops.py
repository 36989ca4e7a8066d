"""Draw pieces of photographs with noise and with JPEG damage, restored, side by side.

    python benchmarks/damage_crops.py --denoise NAME=MODEL ... --deblock NAME=MODEL ... --data DIR -o OUT.webp

Both may be given several times, or not at all; NAME is what the panels say. The models are shipped names or model
files; ``--data`` holds the folder ``val``. Each panel says the PSNR of its piece over RGB. The noisy image is an 8-bit
one, as in a file; JPEG is in colour, 4:2:0. NLM needs the extra ``bench``.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from thinlens import restore
from thinlens.degrade.jpeg import jpeg_round_trip
from thinlens.degrade.noise import gaussian_noise
from thinlens.metrics.psnr import psnr_db
from thinlens.train.datasets.images import read_clean

SIGMA, QUALITY = 25, 20
SIDE, SHOWN = 112, 280
# File of val, and the piece's first row and column.
NOISY = (("cid22_1618269.webp", 40, 60), ("cid22_3779828.webp", 130, 200))
BLOCKY = (("cid22_225284.webp", 90, 150), ("clic2025_b939ac34faa9.webp", 596, 560))

Bytes = npt.NDArray[np.uint8]


def nlm(image: Bytes) -> Bytes:
    """OpenCV's non-local means on RGB, at the strength that is best on pieces of val."""
    restored: Bytes = cv2.fastNlMeansDenoising(np.ascontiguousarray(image), None, 0.9 * SIGMA, 3, 21)
    return restored


def row(clean: Bytes, ways: dict[str, Bytes], top: int, left: int) -> Bytes:
    """The clean piece, and what each way makes of it."""
    piece = np.s_[top : top + SIDE, left : left + SIDE]
    panels = [panel("original", clean[piece], None)]
    panels += [panel(name, image[piece], clean[piece]) for name, image in ways.items()]
    return np.hstack(panels)


def panel(name: str, piece: Bytes, hq: Bytes | None) -> Bytes:
    """A piece, enlarged, with its name and PSNR."""
    picture = Image.fromarray(piece).resize((SHOWN, SHOWN), Image.Resampling.NEAREST)
    psnr = "" if hq is None else f" {psnr_db(piece, hq):.2f} dB"
    draw = ImageDraw.Draw(picture)
    draw.text((6, 4), f"{name}{psnr}", fill="white", stroke_width=2, stroke_fill="black", font_size=15)
    return np.asarray(picture)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for task in ("denoise", "deblock"):
        parser.add_argument(f"--{task}", nargs="+", action="extend", default=[], metavar="NAME=MODEL")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    denoisers, deblockers = (
        dict(text.split("=", 1) for text in texts) for texts in (arguments.denoise, arguments.deblock)
    )
    rows = []
    for file, top, left in NOISY if denoisers else ():
        clean = read_clean(arguments.data / "val" / file)
        lq = gaussian_noise(clean, SIGMA, seed=0, rounded=True)
        ways = {f"noise {SIGMA}": lq, "OpenCV NLM": nlm(lq)}
        ways |= {name: restore(lq, task="denoise", model=model) for name, model in denoisers.items()}
        rows.append(row(clean, ways, top, left))
    for file, top, left in BLOCKY if deblockers else ():
        clean = read_clean(arguments.data / "val" / file)
        lq = jpeg_round_trip(clean, QUALITY)
        ways = {f"JPEG {QUALITY}": lq}
        ways |= {name: restore(lq, task="deblock", quality=QUALITY, model=m) for name, m in deblockers.items()}
        rows.append(row(clean, ways, top, left))
    width = max(found.shape[1] for found in rows)
    rows = [np.pad(found, ((0, 0), (0, width - found.shape[1]), (0, 0)), constant_values=255) for found in rows]
    Image.fromarray(np.vstack(rows)).save(arguments.output, quality=90)


if __name__ == "__main__":
    main()
