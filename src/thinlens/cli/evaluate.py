"""`thinlens evaluate`: measured quality of a model on a folder of clean images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinlens.cli.options import Json, Model, Threads
from thinlens.cli.output import print_json, print_line, print_table
from thinlens.cli.progress import Meter
from thinlens.cli.verb import UsageError

if TYPE_CHECKING:
    from thinlens.bench.quality import Quality, Run
    from thinlens.model.card import ModelCard


def evaluate(
    model: Model,
    data: Annotated[
        Path, typer.Option(metavar="DIR", readable=False, help="Folder of clean images, 8 bits, gray or RGB.")
    ],
    scale: Annotated[
        int | None, typer.Option(metavar="N", help="Upscalers: shrink by; default: the model's own.")
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(min=0, max=255, metavar="0..255", help="Denoisers: white noise to add.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the noise.")] = 0,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, metavar="1..100", help="Deblockers: JPEG quality to encode with.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure a model on clean images: degrade them, restore them, compare.

    The table sets bicubic, or the degraded image as it is, measured alike, beside it.
    """
    from thinlens.bench import quality as bench
    from thinlens.runtime.session import open_model

    session = open_model(model, threads=threads)
    card = session.card
    degradation = degradation_of(card, scale, sigma, quality)
    paths, colour = bench.list_images(data), card.colour == "rgb"
    with Meter() as meter:

        def measure(name: str, run: "Run") -> "Quality":
            return bench.evaluate(
                run,
                paths,
                colour=colour,
                seed=seed,
                **degradation,
                progress=lambda done, total: meter.show(name, done, total),
            )

        found = measure(card.name, session.run)
        if as_json:
            print_json({"model": card.name, **_record(found)})
            return
        plain = bench.bicubic(card.scale) if card.task == "sr" else bench.unchanged
        beside = measure("bicubic" if card.task == "sr" else "degraded", plain)
    _print(found, beside, "bicubic" if card.task == "sr" else "degraded")


def degradation_of(card: "ModelCard", scale: int | None, sigma: float | None, quality: int | None) -> dict[str, Any]:
    """The one degradation that a model of this task undoes, as a keyword of the benchmark.

    Raises:
        UsageError: if another one is asked for, or none where the model does not settle it.
    """
    given = {"scale": scale, "sigma": sigma, "quality": quality}
    name = {"sr": "scale", "denoise": "sigma", "deblock": "quality"}[card.task]
    for other, value in given.items():
        if other != name and value is not None:
            raise UsageError(f"`--{other} {value:g}`: model `{card.name}` does {card.task}; leave it out")
    if card.task != "sr" and given[name] is None:
        raise UsageError(f"model `{card.name}` does {card.task}; say with `--{name}` how to degrade the images")
    if scale not in (None, card.scale):
        raise UsageError(f"`--scale {scale}`: model `{card.name}` has scale {card.scale}; leave it out")
    return {name: card.scale if card.task == "sr" else given[name]}


def _record(found: "Quality") -> dict[str, object]:
    import msgspec

    record: dict[str, object] = msgspec.to_builtins(found)
    return record


def _print(found: "Quality", beside: "Quality", name: str) -> None:
    rows = [
        _row(own.name, own.psnr_y_db, other.psnr_y_db, own.ssim_y, other.ssim_y, own.psnr_rgb_db)
        for own, other in zip(found.images, beside.images, strict=True)
    ]
    mean = _row("mean", found.psnr_y_db, beside.psnr_y_db, found.ssim_y, beside.ssim_y, found.psnr_rgb_db)
    columns = ("image", ">PSNR Y", f">{name}", ">gain", ">SSIM Y", f">{name}", ">PSNR RGB")
    print_table(columns, [*rows, mean])
    print_line(f"{found.protocol['lq']}; {found.protocol['text']}")


def _row(
    name: str, psnr: float, other_psnr: float, ssim: float, other_ssim: float, rgb: float | None
) -> tuple[object, ...]:
    gain = f"{psnr - other_psnr:+.2f}"
    rgb_text = None if rgb is None else f"{rgb:.2f}"
    return name, f"{psnr:.2f}", f"{other_psnr:.2f}", gain, f"{ssim:.4f}", f"{other_ssim:.4f}", rgb_text
