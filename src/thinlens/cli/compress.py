"""`thinlens compress`: a model file made smaller, with the loss measured and written into its card."""

from pathlib import Path
from typing import Annotated

import typer

from thinlens.cli.options import (
    Json,
    Model,
    ModelOutput,
    Overwrite,
    Quality,
    Scale,
    Seed,
    Sigma,
    Threads,
    check_model_output,
    degradation_of,
)
from thinlens.cli.output import print_json, print_line, to_bytes_text
from thinlens.cli.progress import Meter
from thinlens.cli.verb import UsageError


def compress(
    model: Model,
    output: ModelOutput,
    method: Annotated[list[str], typer.Option(metavar="int8|bf16", help="Convolutions on bytes, or on bfloat16.")],
    data: Annotated[
        Path, typer.Option(metavar="DIR", readable=False, help="Folder of clean images, 8 bits, gray or RGB.")
    ],
    max_loss: Annotated[
        float | None, typer.Option(min=0, metavar="DB", help="Refuse to lose more PSNR; default: only tell.")
    ] = None,
    scale: Scale = None,
    sigma: Sigma = None,
    seed: Seed = 0,
    quality: Quality = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a model smaller: convolutions on bytes (int8) or on bfloat16 (bf16).

    Every other image of the folder serves to calibrate on, the rest to measure on, at most 16 of each.
    """
    from thinlens.atomic import replacing
    from thinlens.bench.quality import list_images
    from thinlens.compress.compress import Settings
    from thinlens.compress.compress import compress as compressed
    from thinlens.model.file import read_model, to_bytes
    from thinlens.models import find_model

    check_model_output(output)
    if len(method) > 1:
        raise UsageError(f"`--method` is given {len(method)} times; accepted: one for now; compress the result again")
    path = find_model(model)
    source = read_model(path)
    degradation = degradation_of(source.card, scale, sigma, quality) | ({} if sigma is None else {"seed": seed})
    settings = Settings(degradation, max_loss_db=max_loss, threads=threads)
    with Meter() as meter, replacing(output, overwrite=overwrite) as temporary:
        result = compressed(source, method[0], list_images(data), settings, meter.show)
        written = to_bytes(result)
        temporary.write_bytes(written)
    step = result.card.history[-1]
    record = {"path": str(output), "model": result.card.name, "method": step.method, "convolutions": step.convolutions}
    record |= {"psnr_y_db_before": step.psnr_y_db_before, "psnr_y_db_after": step.psnr_y_db_after}
    record |= {"loss_db": step.loss_db, "count": step.count, "protocol": step.protocol}
    record |= {"bytes_before": path.stat().st_size, "bytes_after": len(written)}
    if as_json:
        print_json(record)
        return
    print_line(f"{output}: {result.card.name}, {step.convolutions} convolutions in {step.method}")
    figures = f"{step.psnr_y_db_before:.3f} -> {step.psnr_y_db_after:.3f} dB"
    print_line(f"PSNR Y {figures}, {step.loss_db:.3f} dB lost on {step.count} images of {data}")
    sizes = to_bytes_text(path.stat().st_size), to_bytes_text(len(written))
    tensors = to_bytes_text(step.bytes_before), to_bytes_text(step.bytes_after)
    print_line(f"file {sizes[0]} -> {sizes[1]}, tensors {tensors[0]} -> {tensors[1]}")
