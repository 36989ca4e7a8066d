"""Draw pieces with lines and letters, shrunk four times and restored, side by side.

    python benchmarks/crops.py --official DIR --data DIR -o docs/images/rep_rfn_crops.webp
    python benchmarks/crops.py --model NAME=MODEL ... --data DIR -o OUT.webp

``--official`` holds the published x4 weights of IMDN, RFDN and RepRFN; a model is an x4 one for colour, a shipped name
or a file; ``--data`` holds the folder ``val``. Bicubic comes first. Each panel says the PSNR of its piece on Y.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from thinlens.bench.pairs import create_pairs
from thinlens.bench.quality import bicubic
from thinlens.image.colour import from_float32, to_float32
from thinlens.metrics.protocol import Protocol
from thinlens.runtime.session import Session, open_model
from thinlens.train.datasets.images import read_clean
from thinlens.train.importer import import_weights

SCALE, SIDE, SHOWN = 4, 112, 224
# File of val, and the piece's first row and column.
PIECES = (("cid22_3779828.webp", 130, 200), ("clic2025_b939ac34faa9.webp", 596, 560), ("cid22_2291004.webp", 60, 60))
OFFICIAL = {"IMDN": "IMDN_x4.pth", "RFDN": "RFDN_AIM.pth", "RepRFN": "reprfn_ntire_x4.pth"}

Bytes = npt.NDArray[np.uint8]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME=MODEL")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    ways = {"bicubic": bicubic(SCALE)}
    for name, file in OFFICIAL.items() if arguments.official is not None else ():
        ways[name] = Session(import_weights(arguments.official / file).model).run
    for name, model in (text.split("=", 1) for text in arguments.model):
        ways[name] = open_model(model).run
    pairs, rows = create_pairs(colour=True, scale=SCALE), []
    for file, top, left in PIECES:
        hq, lq = pairs.make(read_clean(arguments.data / "val" / file))
        piece = np.s_[top : top + SIDE, left : left + SIDE]
        panels = [panel("original", hq[piece], None)]
        for name, run in ways.items():
            panels.append(panel(name, from_float32(run(to_float32(lq)), np.uint8)[piece], hq[piece]))
        rows.append(np.hstack(panels))
    Image.fromarray(np.vstack(rows)).save(arguments.output, quality=90)


def panel(name: str, piece: Bytes, hq: Bytes | None) -> Bytes:
    """A piece, twice as large, with its name and PSNR."""
    picture = Image.fromarray(piece).resize((SHOWN, SHOWN), Image.Resampling.NEAREST)
    psnr = "" if hq is None else f" {Protocol(channel='y', border=0).psnr_db(piece, hq):.2f} dB"
    draw = ImageDraw.Draw(picture)
    draw.text((6, 4), f"{name}{psnr}", fill="white", stroke_width=2, stroke_fill="black", font_size=14)
    return np.asarray(picture)


if __name__ == "__main__":
    main()
