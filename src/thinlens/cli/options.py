"""Options that mean the same in every verb."""

import re
from typing import Annotated, Literal

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped model's name, or a path ending in .safetensors.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
Threads = Annotated[
    int | None,
    typer.Option("-j", "--threads", min=1, metavar="N", help="How many to use; default: all that the process may."),
]
RawFormat = Literal["gray8", "gray16", "rgb24", "rgb48"]
RAW_FORMATS: dict[RawFormat, tuple[int, str]] = {  # channels and dtype of a pixel; 16 bits little-endian
    "gray8": (1, "uint8"),
    "gray16": (1, "uint16"),
    "rgb24": (3, "uint8"),
    "rgb48": (3, "uint16"),
}
Overwrite = Annotated[bool, typer.Option("-f", "--overwrite", help="Replace existing outputs.")]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="Go into subfolders and keep their layout.")]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str) -> int:
    """Read a number of bytes such as ``64MB``, ``2GiB``, ``1.5 GB`` or ``1000``."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]i?)?b?", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None:
        raise typer.BadParameter(f"got '{text}'; accepted: a size such as 64MB or 2GiB")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def parse_size(text: str) -> tuple[int, int]:
    """Read width and height such as ``1280x720``; return height and width."""
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None or not int(found[1]) or not int(found[2]):
        raise typer.BadParameter(f"`--size`: got '{text}'; accepted: width x height in pixels, such as 1280x720")
    return int(found[2]), int(found[1])
