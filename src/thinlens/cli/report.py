"""`thinlens report`: records become a page and plots."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from thinlens.cli.options import Json, Overwrite
from thinlens.cli.output import print_fields, print_json, print_line, to_bytes_text
from thinlens.cli.verb import UsageError, needing_extra

RECORDS = Path("docs/results")


def report(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", readable=False, help="Folder for `index.html` and the plots."),
    ],
    records: Annotated[
        Path, typer.Argument(metavar="[RECORDS]", readable=False, help="Folder of records.", show_default=True)
    ] = RECORDS,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a page of what was measured: quality against speed, crops, memory, every record (needs the extra `report`).

    `DIR/index.html` needs no network and no other file; plots lie beside it as SVG and PNG. Nothing is measured: what
    has no record is left out, and told.
    """
    from thinlens.atomic import write_bytes
    from thinlens.cli.jobs import make_folder
    from thinlens.report.records import Records

    with needing_extra("`thinlens report`", "report"):
        from thinlens.report.page import build_report
    if not records.is_dir():
        raise UsageError(f"`{records}`: not a folder; accepted: a folder of records, such as `{RECORDS}` in a checkout")
    made = build_report(Records(records), version("thinlens"))
    old = [name for name in made.files if (output / name).exists()]
    if old and not overwrite:
        raise UsageError(f"`{output / old[-1]}` exists; `--overwrite` replaces it, `-o` names another folder")
    make_folder(output)
    for name, data in made.files.items():
        write_bytes(output / name, data, overwrite=overwrite)
    page = output / "index.html"
    if as_json:
        paths = [str(output / name) for name in made.files]
        print_json({"page": str(page), "files": paths, "sections": made.sections, "missing": made.missing})
        return
    print_line(f"{page}: {to_bytes_text(len(made.files['index.html']))}, and {len(made.files) - 1} plots beside it")
    print_fields([("sections", "; ".join(made.sections)), ("left out", "; ".join(made.missing) or None)])
