"""Options that mean the same in every verb."""

from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped model's name, or a path ending in .safetensors.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
Threads = Annotated[
    int | None,
    typer.Option("-j", "--threads", min=1, metavar="N", help="How many to use; default: all that the process may."),
]
Overwrite = Annotated[bool, typer.Option("-f", "--overwrite", help="Replace existing outputs.")]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="Go into subfolders and keep their layout.")]
