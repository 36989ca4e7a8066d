"""`thinlens inspect`: the plan of a model as a table, its card, and what it needs at a given width."""

from typing import TYPE_CHECKING, Annotated

import typer

from thinlens.cli.options import RAW_FORMATS, Json, Model, RawFormat
from thinlens.cli.output import print_fields, print_json, print_line, print_table, to_bytes_text
from thinlens.cli.verb import UsageError, line_of
from thinlens.errors import ShapeError, UnsupportedOpError

if TYPE_CHECKING:
    from pathlib import Path

    from thinlens.model.card import Compression, ModelCard
    from thinlens.model.plan import Plan
    from thinlens.runtime.session import Session

Width = Annotated[int | None, typer.Option(min=1, max=1 << 20, metavar="N", help="Of the image to restore, in pixels.")]
Height = Annotated[
    int | None,
    typer.Option(min=1, max=1 << 20, metavar="N", help="Of the same image; default: its width, unknown for rows."),
]
Format = Annotated[
    RawFormat | None,
    typer.Option("--format", help="Of the same image; default: rows as the network takes them, 8 bits; else RGB."),
]
COLUMNS = ("node", "op", "inputs", ">channels", "tensors")


def inspect(
    model: Model, width: Width = None, height: Height = None, format_: Format = None, as_json: Json = False
) -> None:
    """Show the ops of a model, its card and its size; with --width also context rows, delay and memory.

    Halo, latency and buffers are those of the image row by row (`thinlens stream`), or the reason why that cannot be;
    working bytes are those of a whole image.
    """
    from thinlens.models import find_model
    from thinlens.runtime.session import open_model

    if height is not None and width is None:
        raise UsageError("`--height` goes with `--width`; give both, or the width alone")
    path = find_model(model)
    session = open_model(path)
    needs = None if width is None else _needs(session, width, height, format_)
    if as_json:
        print_json(_record(session, path, needs))
    else:
        _print_plan(session.plan)
        _print_card(session.card, path)
        told = {name: "all" if value is None else value for name, value in (needs or {}).items()}
        print_fields((name.replace("_", " "), value) for name, value in told.items())


def _needs(session: "Session", width: int, height: int | None, format_: RawFormat | None) -> dict[str, object]:
    """What restoring an image of that size takes; the delay is in rows of the image before."""
    of_rows: RawFormat = format_ or ("gray8" if session.card.colour == "luma" else "rgb24")
    channels, dtype = RAW_FORMATS[format_ or "rgb24"]
    itemsize = 1 if dtype == "uint8" else 2
    square = height or width
    return {
        "width": width,
        "height": square,
        "row_format": of_rows,
        **_rows(session, width, height, of_rows),
        "working_bytes": session.working_bytes(square, width, channels=channels, itemsize=itemsize),
        "threads": session.threads,
    }


def _rows(session: "Session", width: int, height: int | None, format_: RawFormat) -> dict[str, object]:
    """What the image needs row by row, or why that cannot be."""
    channels, dtype = RAW_FORMATS[format_]
    try:
        rows = session.rows(width, height, channels=channels, dtype=dtype)
    except (ShapeError, UnsupportedOpError) as error:
        return {"row_by_row": f"no: {line_of(error)}"}
    return {
        "row_by_row": "yes",
        "halo_rows_above": rows.halo_rows_above,
        "halo_rows_below": rows.halo_rows_below,
        "latency_rows": rows.latency_rows,
        "state_bytes": rows.state_bytes,
        "buffer_bytes": rows.buffer_bytes,
    }


def _record(session: "Session", path: "Path", needs: dict[str, object] | None) -> dict[str, object]:
    import msgspec

    record: dict[str, object] = {
        "path": str(path),
        "bytes": path.stat().st_size,
        "card": msgspec.to_builtins(session.card),
        "plan": msgspec.to_builtins(session.plan),
        "channels": session.plan.channels(),
    }
    return record if needs is None else {**record, "needs": needs}


def _print_plan(plan: "Plan") -> None:
    from thinlens.model.ops import kind_of

    channels = plan.channels()
    rows = []
    for node in plan.nodes:
        shapes = node.op.tensor_shapes()
        tensors = " ".join(f"{node.tensors[role]} {'x'.join(map(str, shapes[role]))}" for role in node.tensors)
        rows.append((node.name, kind_of(node.op), ", ".join(node.inputs), channels[node.name], tensors))
    print_table(COLUMNS, rows)
    print_line(", ".join(f"{output}: {value}" for output, value in plan.outputs.items()))


def _step_text(step: "Compression") -> str:
    loss = f"{step.loss_db:.3f} dB lost on {step.count} images of {step.data}"
    sizes = f"{to_bytes_text(step.bytes_before)} -> {to_bytes_text(step.bytes_after)}"
    return f"{step.method}: {step.convolutions} convolutions, {loss}, tensors {sizes}"


def _print_card(card: "ModelCard", path: "Path") -> None:
    from thinlens.model.value_range import UNIT

    training = card.training
    data = "; ".join(f"{source.name} ({source.images} images, {source.licence})" for source in training.data)
    print_fields(
        (
            ("name", card.name),
            ("file", f"{path} ({to_bytes_text(path.stat().st_size)})"),
            ("task", f"{card.task} x{card.scale}, {card.colour}"),
            ("value range", None if card.value_range == UNIT else "{:g} to {:g}".format(*card.value_range)),
            ("parameters", card.params),
            ("MACs", f"{card.macs_per_pixel:.1f} per output pixel"),
            ("licence", card.licence),
            ("training", f"{training.schedule} schedule, {training.steps} steps, recipe {training.recipe}"),
            ("data", data or None),
            *(("compressed", _step_text(step)) for step in card.history),
        )
    )
    columns = ("measured on", ">images", ">PSNR Y", ">SSIM Y", "protocol")
    rows = [(m.data, m.count, f"{m.psnr_y_db:.2f} dB", f"{m.ssim_y:.4f}", m.protocol) for m in card.quality]
    if rows:
        print_table(columns, rows)
