"""Quality guarded without any image set: each shipped model on pieces of the example photograph, by the usual protocol.

`golden.npz` holds two 96 x 96 pieces (gray, 8 bit) and, for each model, what it makes of the first piece shrunk, with
noise, or encoded as JPEG; `quality.json` the PSNR of both pieces. Both are written by
`python -m tests.golden.test_quality`, and only then.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from thinlens.degrade.bicubic import bicubic_down
from thinlens.degrade.jpeg import jpeg_round_trip
from thinlens.degrade.noise import gaussian_noise
from thinlens.image.colour import from_float32, gray_uint8, to_float32
from thinlens.image.files import read_image
from thinlens.image.resample import resize
from thinlens.metrics.protocol import Protocol
from thinlens.models import list_models
from thinlens.runtime.session import open_model

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "dog.webp"
PIECES = ((160, 250), (440, 415))  # an eye, the collar's ring
SIDE = 96
CARDS = list_models()


def pieces():
    with np.load(HERE / "golden.npz") as stored:
        return [stored["piece_0"], stored["piece_1"]]


def damaged(card, piece):
    """What a model is to restore, and what it has to beat."""
    if card.task == "denoise":
        lq = gaussian_noise(piece, 25, seed=0)
        return lq, from_float32(lq, np.uint8)
    if card.task == "deblock":
        lq = jpeg_round_trip(piece, 20)
        return lq, lq
    lq = bicubic_down(piece, card.scale)
    return lq, from_float32(resize(to_float32(lq), *piece.shape), np.uint8)


def measured(model, piece):
    """What a model makes of a damaged piece, its PSNR, and that of what it has to beat."""
    scale = model.card.scale
    protocol = Protocol(channel="y", border=scale, luma="gray")
    lq, plain = damaged(model.card, piece)
    restored = from_float32(to_float32(model.run(lq)), np.uint8)
    return restored, protocol.psnr_db(restored, piece), protocol.psnr_db(plain, piece)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_each_model_restores_as_it_did(card, backend):
    stored = json.loads((HERE / "quality.json").read_text())[card.name]
    model = open_model(card.name, threads=1)
    with np.load(HERE / "golden.npz") as golden:
        expected = golden[card.name]
    for i, piece in enumerate(pieces()):
        restored, psnr_db, plain_db = measured(model, piece)
        assert psnr_db == pytest.approx(stored[i], abs=0.005)
        assert psnr_db > plain_db
        if i == 0:
            difference = np.abs(restored.astype(int) - expected)
            assert difference.max() <= 1  # another machine may round a tie otherwise; integer kernels round more often
            assert (difference > 0).mean() < (0.001 if backend == "reference" else 0.03)


def write():
    os.environ["THINLENS_ISA"] = "reference"
    gray = gray_uint8(read_image(EXAMPLE, max_pixels=10**6).pixels)
    arrays = {f"piece_{i}": gray[y : y + SIDE, x : x + SIDE] for i, (y, x) in enumerate(PIECES)}
    quality = {}
    for card in CARDS:
        model = open_model(card.name, threads=1)
        results = [measured(model, arrays[f"piece_{i}"]) for i in range(len(PIECES))]
        arrays[card.name] = results[0][0]
        quality[card.name] = [round(psnr, 4) for _, psnr, _ in results]
    np.savez_compressed(HERE / "golden.npz", **arrays)
    (HERE / "quality.json").write_text(json.dumps(quality, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()
