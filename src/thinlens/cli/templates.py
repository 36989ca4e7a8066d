"""`thinlens analyse templates`: what a one-layer upscaler's filters look for, and which candidate wins where."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thinlens.cli.options import Json, Model, Overwrite
from thinlens.cli.output import print_json, print_line, print_table
from thinlens.cli.verb import UsageError, needing_extra

if TYPE_CHECKING:
    from thinlens.bench.templates import Match, Templates

COLUMNS = (">candidate", ">wins", ">weight", ">contrast", "direction", "filters: band, direction")


def templates(
    model: Model,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", readable=False, help="Folder for two pictures and a record."),
    ],
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="A clean picture; default: random discs, like dead leaves."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show a one-layer upscaler's filters, their frequencies, and which candidate wins where (extra `report`).

    The picture is shrunk by the model's scale, and its middle restored. Beside the result's PSNR stand those of the
    winner of each pixel alone, and of all candidates alike. Directions are degrees, 0 from left to right and 90 from
    top to bottom, and how much they are preferred, 0 to 1.

    DIR gets MODEL_filters.png, MODEL_winners.png and MODEL_templates.json.
    """
    import json

    from thinlens.atomic import write_bytes
    from thinlens.bench.leaves import dead_leaves
    from thinlens.bench.quality import read_hq
    from thinlens.bench.templates import SIDE, find_templates, match
    from thinlens.model.file import read_model
    from thinlens.models import find_model

    with needing_extra("`thinlens analyse templates`", "report"):
        from thinlens.report.templates import draw_filters, draw_match
    loaded = read_model(find_model(model))
    found = find_templates(loaded)
    paths = {kind: output / f"{found.name}_{kind}" for kind in ("filters.png", "winners.png", "templates.json")}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise UsageError(f"`{path}` exists; `--overwrite` replaces it, `-o` names another folder")
    matched = match(loaded, dead_leaves(SIDE * found.scale, 0) if image is None else read_hq(image))
    record = record_of(found, matched) | {"image": "random discs" if image is None else str(image)}
    output.mkdir(parents=True, exist_ok=True)
    contents = draw_filters(found), draw_match(found, matched), f"{json.dumps(record, indent=1)}\n".encode()
    for path, content in zip(paths.values(), contents, strict=True):
        write_bytes(path, content, overwrite=overwrite)
    if as_json:
        print_json(record | {"files": [str(path) for path in paths.values()]})
        return
    print_table(COLUMNS, (_row(candidate) for candidate in record["candidates"]))
    told = ", ".join(f"{name} {psnr_db:.2f} dB" for name, psnr_db in matched.psnr_db.items())
    print_line(f"largest weight {matched.certainty:.2f} on average; {told}; {', '.join(map(str, paths.values()))}")


def record_of(templates: "Templates", match: "Match") -> dict[str, Any]:
    """All figures, for JSON."""
    import msgspec

    candidates = [
        {"candidate": at, **msgspec.to_builtins(wins), "filters": msgspec.to_builtins(answers)}
        for at, (wins, answers) in enumerate(zip(match.wins, templates.answers(), strict=True))
    ]
    told = {"model": templates.name, "family": templates.family, "scale": templates.scale}
    return {**told, "certainty": match.certainty, "psnr_db": match.psnr_db, "candidates": candidates}


def _row(candidate: dict[str, Any]) -> tuple[object, ...]:
    filters = (f"{it['role']} {it['band']}, {_direction_text(it)}" for it in candidate["filters"])
    return (
        candidate["candidate"],
        f"{candidate['share']:.1%}",
        f"{candidate['weight']:.2f}",
        f"{candidate['contrast']:.2f}",
        _direction_text(candidate),
        "; ".join(filters),
    )


def _direction_text(of: dict[str, Any]) -> str:
    return f"{of['direction']:.0f}° ({of['directed']:.2f})"
