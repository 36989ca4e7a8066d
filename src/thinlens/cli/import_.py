"""`thinlens import`: other people's weights become a model file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from thinlens.cli.options import Json, ModelOutput, Overwrite, check_model_output
from thinlens.cli.output import print_json, print_line
from thinlens.cli.verb import needing_extra, print_error

Family = Literal["bicubic", "edge_sr", "espcn", "fsrcnn", "imdn", "rfdn", "rep_rfn", "bbcu", "drn"]


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="An official weight file.")],
    output: ModelOutput,
    family: Annotated[Family | None, typer.Option(help="Consider only networks of this family.")] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="The network it holds; default: told from shapes and file name."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Turn an official weight file into a model file (needs the extra `train`).

    Known: edge-SR, ESPCN, FSRCNN and bicubic of the edge-SR pool, IMDN, RFDN, RepRFN, BBCU and DRN.
    """
    from thinlens.model.file import write_model

    check_model_output(output)
    with needing_extra("`thinlens import`", "train"):
        from thinlens.train.importer import import_weights
    imported = import_weights(file, family=family, name=name)
    write_model(output, imported.model, overwrite=overwrite)
    card = imported.model.card
    for note in imported.notes:
        print_error(f"note: {note}")
    if as_json:
        record = {"path": str(output), "model": card.name, "scale": card.scale, "params": card.params}
        print_json({**record, "notes": imported.notes})
    else:
        print_line(f"{output}: {card.name}, {card.params} parameters")
