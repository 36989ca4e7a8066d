"""Where in a band a LineDL denoiser errs, and what its warm-up is worth: on a trained model.

    python benchmarks/line_dl_seams.py MODEL ... --data DIR [--sigma 25] [--json FILE]

For each model the mean absolute error (8-bit units) of the rows at each place in a band, over all images of a folder,
and the PSNR of the first band and of all others with 0, 1 and 2 bands of warm-up. The warm-up is a field of two ops:
any model can be run with another one.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.bench.quality import list_images
from thinlens.degrade.noise import gaussian_noise
from thinlens.model.file import Model, read_model
from thinlens.model.ops import Bands, Unbands
from thinlens.runtime.session import Session
from thinlens.train.datasets.images import read_clean

WARM_UPS = (0, 1, 2)
Float = npt.NDArray[np.float32]


def with_warm_up(model: Model, bands: int) -> Model:
    """The model with another warm-up."""
    nodes = tuple(
        msgspec.structs.replace(node, op=node.op.with_fields(warm_up=bands))
        if isinstance(node.op, Bands | Unbands)
        else node
        for node in model.plan.nodes
    )
    return Model({"main": msgspec.structs.replace(model.plan, nodes=nodes)}, model.tensors, model.card)


def rows_of_band(model: Model) -> int:
    """Rows of a band."""
    return next(node.op.rows for node in model.plan.nodes if isinstance(node.op, Bands))


def errors(model: Model, images: list[Float], sigma: float) -> list[Float]:
    """What the model leaves of the noise, image by image: ``H W 3`` in 8-bit units."""
    session = Session(model, threads=1)
    return [255 * (session.run(gaussian_noise(image, sigma, seed=0)) - image) for image in images]


def psnr(error: Float) -> float:
    """Of errors in 8-bit units."""
    return float(20 * np.log10(255) - 10 * np.log10(np.square(error, dtype=np.float64).mean()))


def measure(model: Model, images: list[Float], sigma: float) -> dict[str, Any]:
    """The record of one model."""
    rows, found = rows_of_band(model), {}
    for bands in WARM_UPS:
        left = errors(with_warm_up(model, bands), images, sigma)
        inside = [error[rows : len(error) // rows * rows] for error in left]
        found[str(bands)] = {
            "by_row": [
                round(float(np.mean([np.abs(error[place::rows]).mean() for error in inside])), 4)
                for place in range(rows)
            ],
            "first_band_db": round(float(np.mean([psnr(error[:rows]) for error in left])), 4),
            "others_db": round(float(np.mean([psnr(error) for error in inside])), 4),
        }
    return {"network": model.card.name, "rows": rows, "sigma": sigma, "warm_up": found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    images = [read_clean(path).astype(np.float32) / np.float32(255) for path in list_images(arguments.data)]
    records = []
    for path in arguments.models:
        records.append(
            {"model": str(path), "images": len(images), **measure(read_model(path), images, arguments.sigma)}
        )
        print(json.dumps(records[-1]), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
