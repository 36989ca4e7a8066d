"""Make the pieces that `thinlens report` shows side by side: `docs/results/crops.json` and `docs/results/crops/`.

    python benchmarks/report_crops.py

Run in the repository. The example photo is shrunk by MATLAB's bicubic, or gets noise or JPEG damage as a file has it,
and is restored by bicubic and by shipped models. PSNR is that of the piece, over RGB.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from thinlens import restore
from thinlens.degrade.bicubic import bicubic_down
from thinlens.degrade.jpeg import jpeg_round_trip
from thinlens.degrade.noise import gaussian_noise
from thinlens.image.files import read_image
from thinlens.image.resample import resize_uint8
from thinlens.metrics.psnr import psnr_db
from thinlens.models import default_model

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
HEIGHT, WIDTH = 192, 256
SIGMA, QUALITY = 25, 15
SOURCE = "Pieces of the example photograph by Gianni Rosato (CC0); PSNR of the piece, over RGB."
Pixels = npt.NDArray[np.uint8]


class Piece(NamedTuple):
    """What is shown, its first row and column, and how it is made: pixels by label, the original last."""

    name: str
    top: int
    left: int
    ways: dict[str, Pixels]


def iter_pieces(photo: Pixels) -> Iterator[Piece]:
    """All pieces."""
    for scale, name, top, left in ((2, "Muzzle", 250, 110), (3, "Eyes", 130, 130), (4, "Collar", 342, 320)):
        small = bicubic_down(photo, scale)
        ways = {"bicubic": resize_uint8(small, *photo.shape[:2])}
        for model in (f"edge_sr_max_k5_c2_x{scale}", default_model("sr", scale), default_model("sr", scale, "quality")):
            ways[model] = restore(small, scale=scale, model=model)
        yield Piece(f"{name}, enlarged x{scale}", top, left, ways)
    noisy = gaussian_noise(photo, SIGMA, seed=0, rounded=True)
    model = default_model("denoise", 1)
    yield Piece(f"Noise of sigma {SIGMA}", 130, 130, {"noisy": noisy, model: restore(noisy, task="denoise")})
    blocky = jpeg_round_trip(photo, QUALITY)
    model = default_model("deblock", 1)
    restored = restore(blocky, task="deblock", quality=QUALITY)
    yield Piece(f"JPEG of quality {QUALITY}", 250, 110, {"JPEG": blocky, model: restored})


def main() -> None:
    """Write the record and its pictures."""
    photo = read_image(ROOT / "examples" / "dog.webp", max_pixels=10**6).pixels
    folder = RESULTS / "crops"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    scenes = []
    for at, piece in enumerate(iter_pieces(photo)):
        inside = np.s_[piece.top : piece.top + HEIGHT, piece.left : piece.left + WIDTH]
        pictures = []
        for label, pixels in {**piece.ways, "original": photo}.items():
            file = f"{at}_{label}.webp"
            Image.fromarray(pixels[inside]).save(folder / file, quality=92, method=6)
            psnr = None if label == "original" else round(psnr_db(pixels[inside], photo[inside]), 2)
            pictures.append({"label": label, "file": file, "psnr_db": psnr})
        scenes.append({"name": piece.name, "pictures": pictures})
    record = {"command": "python benchmarks/report_crops.py", "source": SOURCE, "scenes": scenes}
    (RESULTS / "crops.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
