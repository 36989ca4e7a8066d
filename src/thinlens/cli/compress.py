"""`thinlens compress`: a model file made smaller, step by step, the loss measured and written into its card."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinlens.cli.options import (
    Json,
    Model,
    ModelOutput,
    Overwrite,
    Quality,
    Scale,
    Sigma,
    Threads,
    check_model_output,
    degradation_of,
)
from thinlens.cli.output import print_json, print_line, to_bytes_text
from thinlens.cli.progress import Meter
from thinlens.cli.verb import UsageError, needing_extra, print_error

if TYPE_CHECKING:
    from thinlens.compress.chain import Step
    from thinlens.model.card import Compression, ModelCard

# The share of channels that goes; steps of training, and of the search; weight of the loss of imitation
RATIO, STEPS, SEARCH, DISTIL = 0.5, 2000, 300, 1.0


def compress(
    model: Model,
    output: ModelOutput,
    method: Annotated[
        list[str],
        typer.Option(
            metavar="METHOD",
            help="May be repeated, in order: dual-regression, cp, thinet, dcp or uniform (fewer channels),"
            " bidirectional (LineDL: channels, then layers), binarize (a bit a weight), int8 or bf16 (last).",
        ),
    ],
    data: Annotated[
        Path, typer.Option(metavar="DIR", readable=False, help="Folder of clean images, 8 bits, gray or RGB.")
    ],
    ratio: Annotated[
        float | None, typer.Option(min=0, max=0.99, metavar="0..0.99", help="Share of the channels that goes [0.5].")
    ] = None,
    finetune_steps: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Training after each step that needs it [2000]; 0: none.")
    ] = None,
    search_steps: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Of dual-regression's search for each layer's share [300]; 0: equal ones."
        ),
    ] = None,
    distil: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1000,
            metavar="WEIGHT",
            help="Training imitates the model before the step, too [1]; 0: it does not.",
        ),
    ] = None,
    trunks: Annotated[bool, typer.Option("--trunks", help="Prune the channels of residual trunks too.")] = False,
    max_loss: Annotated[
        float | None,
        typer.Option(min=0, metavar="DB", help="Refuse a step that loses more PSNR than this; default: only tell."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the work of a killed call.")] = False,
    scale: Scale = None,
    sigma: Sigma = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the noise, and of all that training draws.")] = 0,
    quality: Quality = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a model smaller: fewer channels or layers, a bit a weight, or convolutions in int8 or bf16.

    Methods are chained in the order given. Every other image serves to train and calibrate on, the rest to measure on.
    All but int8 and bf16 need the extra `train`. A killed call leaves OUT.safetensors.work: `--resume` goes on there.
    """
    from thinlens.bench.quality import list_images, usable_images
    from thinlens.compress.chain import TRAINED, WITH_RATIO, Chain, run_chain
    from thinlens.compress.compress import Settings
    from thinlens.model.file import from_bytes, read_model
    from thinlens.models import find_model

    check_model_output(output)
    _check_methods(method)
    _check_unused(method, WITH_RATIO, {"ratio": ratio, "trunks": trunks or None})
    _check_unused(method, ["dual-regression"], {"search-steps": search_steps})
    _check_unused(method, TRAINED, {"finetune-steps": finetune_steps, "distil": distil, "resume": resume or None})
    path = find_model(model)
    source = read_model(path)
    degradation = degradation_of(source.card, scale, sigma, quality) | ({} if sigma is None else {"seed": seed})
    options = {
        "ratio": RATIO if ratio is None else ratio,
        "finetune_steps": STEPS if finetune_steps is None else finetune_steps,
        "search_steps": SEARCH if search_steps is None else search_steps,
        "trunks": trunks,
        "distil": DISTIL if distil is None else distil,
        "seed": seed,
        "threads": threads or 1,
    }
    trained = next((name for name in method if name in TRAINED), None)
    step = None if trained is None else _step(trained, degradation, options)
    images, notes = usable_images(list_images(data))
    for note in notes:
        print_error(note)
    settings = Settings(degradation, max_loss_db=max_loss, threads=threads)
    chain = Chain(method, images, settings, step, options if trained else None)
    with Meter() as meter:
        written = run_chain(source, chain, output, overwrite=overwrite, resume=resume, report=meter.show)
    card = from_bytes(written).card
    taken = card.history[len(source.card.history) :]
    sizes = path.stat().st_size, len(written)
    if as_json:
        print_json({**_record(output, card, taken, sizes), "left_out": len(notes)})
        return
    for part in taken:
        _print_step(part, data)
    print_line(f"{output}: {card.name}, file {to_bytes_text(sizes[0])} -> {to_bytes_text(sizes[1])}")


def _check_methods(methods: Sequence[str]) -> None:
    """Refuse an order that cannot work as the caller's mistake."""
    from thinlens.compress.chain import check_methods
    from thinlens.errors import CompressionError

    try:
        check_methods(methods)
    except CompressionError as error:
        raise UsageError(str(error)) from error


def _check_unused(methods: Sequence[str], users: Sequence[str], given: dict[str, Any]) -> None:
    """Refuse options that no method looks at."""
    unused = [name for name, value in given.items() if value is not None]
    if unused and not set(methods) & set(users):
        raise UsageError(f"`--{unused[0]}`: no effect on {', '.join(methods)}; it goes with {', '.join(users)}")


def _step(method: str, degradation: dict[str, Any], options: dict[str, Any]) -> "Step":
    """What takes the steps that train."""
    with needing_extra(f"`thinlens compress --method {method}`", "train"):
        from thinlens.train.compress.steps import Options, take_step
        from thinlens.train.loop import Watch
    wanted = Options(degradation, **options)
    return lambda model, name, images, folder, report: take_step(
        model, name, images, wanted, Watch(name, folder, lambda part, done, total: report(part, int(done), int(total)))
    )


def _record(
    output: Path, card: "ModelCard", steps: "Sequence[Compression]", sizes: tuple[int, int]
) -> dict[str, object]:
    import msgspec

    first, last = steps[0], steps[-1]
    return {
        "path": str(output),
        "model": card.name,
        "method": "+".join(step.method for step in steps),
        "convolutions": last.convolutions,
        "psnr_y_db_before": first.psnr_y_db_before,
        "psnr_y_db_after": last.psnr_y_db_after,
        "loss_db": first.psnr_y_db_before - last.psnr_y_db_after,
        "count": last.count,
        "protocol": last.protocol,
        "bytes_before": sizes[0],
        "bytes_after": sizes[1],
        "steps": [{**msgspec.to_builtins(step), "loss_db": step.loss_db} for step in steps],
    }


def _print_step(step: "Compression", data: Path) -> None:
    """What one step did, and what it cost."""
    trained = f", {step.steps} steps of training" if step.steps else ""
    print_line(f"{step.method}: {step.convolutions} convolutions{trained}")
    figures = f"{step.psnr_y_db_before:.3f} -> {step.psnr_y_db_after:.3f} dB"
    print_line(f"PSNR Y {figures}, {step.loss_db:.3f} dB lost on {step.count} images of {data}")
    if step.params_before is not None and step.macs_before is not None:
        params = f"parameters {step.params_before} -> {step.params_after}"
        print_line(f"{params}, MACs a pixel {step.macs_before:.0f} -> {step.macs_after:.0f}")
    print_line(f"tensors {to_bytes_text(step.bytes_before)} -> {to_bytes_text(step.bytes_after)}")
