"""`thinlens analyse sensitivity`: what each layer's filters are worth, as a table and a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinlens.cli.options import Json, Model, Overwrite, Quality, Sigma, degradation_of
from thinlens.cli.output import print_json, print_line, print_table
from thinlens.cli.progress import Meter
from thinlens.cli.verb import UsageError, needing_extra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from thinlens.model.card import ModelCard

    Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

SIDE, PICTURES = 48, 4  # of the degraded pieces, pixels; pictures that are made where none are given


def sensitivity(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PLOT.svg", readable=False, help="The picture; default: MODEL_sensitivity.svg."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", readable=False, help="Folder of clean images; default: random discs, like dead leaves."
        ),
    ] = None,
    sigma: Sigma = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Study a model layer by layer: silence its smallest filters and measure what that costs (needs the extra `train`).

    A quarter, a half, three quarters of each convolution's filters are set to zero, nothing is retrained, and the PSNR
    is taken again on a piece from the middle of each image. Rank 1 is the layer that misses half of them least.
    """
    import msgspec

    from thinlens.atomic import write_bytes
    from thinlens.model.file import read_model
    from thinlens.models import find_model
    from thinlens.report.sensitivity import Line, draw_sensitivity

    with needing_extra("`thinlens analyse sensitivity`", "train"):
        from thinlens.train.compress.sensitivity import measure_sensitivity
    loaded = read_model(find_model(model))
    card = loaded.card
    target = output or Path(f"{card.name}_sensitivity.svg")
    if target.suffix != ".svg":
        raise UsageError(f"`{target}`: the picture is SVG; give it the ending `.svg`")
    if target.exists() and not overwrite:
        raise UsageError(f"`{target}` exists; `--overwrite` replaces it, `-o` names another")
    pairs = _pairs(card, data, degradation_of(card, None, sigma, quality))
    with Meter() as meter:
        found = measure_sensitivity(loaded, pairs, progress=lambda done, total: meter.show(card.name, done, total))
    lines = [Line(layer.layer, layer.rank, layer.loss_db) for layer in found.layers]
    title = f"{card.name}: PSNR lost when the smallest filters of one layer are silenced"
    write_bytes(target, draw_sensitivity(title, found.ratios, lines).encode(), overwrite=overwrite)
    source = "random discs" if data is None else str(data)
    record = {"model": card.name, "data": source, "images": len(pairs), **msgspec.to_builtins(found)}
    if as_json:
        print_json({**record, "plot": str(target)})
        return
    columns = ("layer", ">filters", ">parameters", *(f">{ratio:.0%} gone" for ratio in found.ratios), ">rank")
    rows = (
        (layer.layer, layer.channels, layer.params, *(f"{loss:.3f} dB" for loss in layer.loss_db), layer.rank)
        for layer in found.layers
    )
    print_table(columns, rows)
    print_line(f"{found.psnr_db:.2f} dB whole, on {len(pairs)} pieces of {source}; {target}")


def _pairs(card: "ModelCard", data: Path | None, degradation: dict[str, Any]) -> "list[Pair]":
    """Pieces of the same size from the middle of the images, degraded and clean."""
    from thinlens.bench.leaves import dead_leaves
    from thinlens.bench.pairs import create_pairs
    from thinlens.bench.quality import list_images
    from thinlens.image.colour import to_float32
    from thinlens.train.datasets.images import read_clean

    way = create_pairs(colour=card.colour == "rgb", **degradation)
    if data is None:
        pictures = [dead_leaves(SIDE * card.scale, seed) for seed in range(PICTURES)]
    else:
        pictures = [read_clean(path) for path in list_images(data)]
    pairs = []
    for clean in pictures:
        hq, lq = way.make(clean)
        top, left = (max(0, side - SIDE) // 2 for side in lq.shape[:2])
        piece = lq[top : top + SIDE, left : left + SIDE]
        first, begin = top * card.scale, left * card.scale
        below, right = first + piece.shape[0] * card.scale, begin + piece.shape[1] * card.scale
        pairs.append((to_float32(piece), to_float32(hq[first:below, begin:right])))
    return pairs
