"""`thinlens evaluate`: measured quality of a model on a folder of clean images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thinlens.cli.options import Json, Model, Quality, Scale, Seed, Sigma, Threads, degradation_of
from thinlens.cli.output import print_json, print_line, print_table
from thinlens.cli.progress import Meter

if TYPE_CHECKING:
    from thinlens.bench.quality import Quality as Figures
    from thinlens.bench.quality import Run


def evaluate(
    model: Model,
    data: Annotated[
        Path, typer.Option(metavar="DIR", readable=False, help="Folder of clean images, 8 bits, gray or RGB.")
    ],
    scale: Scale = None,
    sigma: Sigma = None,
    seed: Seed = 0,
    quality: Quality = None,
    studio_gray: Annotated[
        bool, typer.Option("--studio-gray", help="With --quality: bring gray files to 16..235 first, as BBCU does.")
    ] = False,
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

        def measure(name: str, run: "Run") -> "Figures":
            return bench.evaluate(
                run,
                paths,
                colour=colour,
                seed=seed,
                studio_gray=studio_gray,
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


def _record(found: "Figures") -> dict[str, object]:
    import msgspec

    record: dict[str, object] = msgspec.to_builtins(found)
    return record


def _print(found: "Figures", beside: "Figures", name: str) -> None:
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
