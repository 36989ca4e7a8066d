"""`thinlens evaluate`: measured quality of a model on a folder of clean images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinlens.cli.options import Json, Model, Threads
from thinlens.cli.output import print_json, print_line, print_table
from thinlens.cli.progress import Meter
from thinlens.cli.verb import UsageError

if TYPE_CHECKING:
    from thinlens.bench.quality import Quality, Run

COLUMNS = ("image", ">PSNR Y", ">bicubic", ">gain", ">SSIM Y", ">bicubic", ">PSNR RGB")


def evaluate(
    model: Model,
    data: Annotated[
        Path, typer.Option(metavar="DIR", readable=False, help="Folder of clean images, 8 bits, gray or RGB.")
    ],
    scale: Annotated[int | None, typer.Option(metavar="N", help="Default: the model's own.")] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure a model on clean images: shrink them, restore them, compare.

    The table sets bicubic, measured alike, beside it.
    """
    from thinlens.bench import quality
    from thinlens.runtime.session import open_model

    session = open_model(model, threads=threads)
    card = session.card
    if scale not in (None, card.scale):
        raise UsageError(f"`--scale {scale}`: model `{card.name}` has scale {card.scale}; leave it out")
    paths, colour = quality.list_images(data), card.colour == "rgb"
    with Meter() as meter:

        def measure(name: str, run: "Run") -> "Quality":
            return quality.evaluate(
                run,
                paths,
                scale=card.scale,
                colour=colour,
                progress=lambda done, total: meter.show(name, done, total),
            )

        found = measure(card.name, session.run)
        bicubic = None if as_json else measure("bicubic", quality.bicubic(card.scale))
    if bicubic is None:
        print_json({"model": card.name, **_record(found)})
    else:
        _print(found, bicubic)


def _record(found: "Quality") -> dict[str, object]:
    import msgspec

    record: dict[str, object] = msgspec.to_builtins(found)
    return record


def _print(found: "Quality", bicubic: "Quality") -> None:
    rows = [
        _row(own.name, own.psnr_y_db, other.psnr_y_db, own.ssim_y, other.ssim_y, own.psnr_rgb_db)
        for own, other in zip(found.images, bicubic.images, strict=True)
    ]
    mean = _row("mean", found.psnr_y_db, bicubic.psnr_y_db, found.ssim_y, bicubic.ssim_y, found.psnr_rgb_db)
    print_table(COLUMNS, [*rows, mean])
    print_line(str(found.protocol["text"]))


def _row(
    name: str, psnr: float, bicubic_psnr: float, ssim: float, bicubic_ssim: float, rgb: float | None
) -> tuple[object, ...]:
    gain = f"{psnr - bicubic_psnr:+.2f}"
    rgb_text = None if rgb is None else f"{rgb:.2f}"
    return name, f"{psnr:.2f}", f"{bicubic_psnr:.2f}", gain, f"{ssim:.4f}", f"{bicubic_ssim:.4f}", rgb_text
