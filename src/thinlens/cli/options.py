"""Options that mean the same in every verb."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from thinlens.cli.verb import UsageError

if TYPE_CHECKING:
    from thinlens.model.card import ModelCard

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped model's name, or a path ending in .safetensors.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
ModelOutput = Annotated[
    Path, typer.Option("-o", "--output", metavar="OUT.safetensors", readable=False, help="The model file to write.")
]
Scale = Annotated[int | None, typer.Option(metavar="N", help="Upscalers: shrink by; default: the model's own.")]
Sigma = Annotated[float | None, typer.Option(min=0, max=255, metavar="0..255", help="Denoisers: white noise to add.")]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of the noise.")]
Quality = Annotated[
    int | None, typer.Option(min=1, max=100, metavar="1..100", help="Deblockers: JPEG quality to encode with.")
]
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


def parse_seconds(text: str) -> float:
    """Read a time such as ``20ms`` or ``1.5s``; return seconds."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*(ms|s)", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None:
        raise typer.BadParameter(f"got '{text}'; accepted: a time such as 20ms or 1.5s")
    return float(found[1]) / (1000 if found[2].lower() == "ms" else 1)


def parse_size(text: str) -> tuple[int, int]:
    """Read width and height such as ``1280x720``; return height and width."""
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None or not int(found[1]) or not int(found[2]):
        raise typer.BadParameter(f"`--size`: got '{text}'; accepted: width x height in pixels, such as 1280x720")
    return int(found[2]), int(found[1])


def check_model_output(path: Path) -> None:
    """Raise UsageError unless a path ends as a model file does."""
    from thinlens.models import SUFFIX

    if path.suffix != SUFFIX:
        raise UsageError(f"`{path}`: a model file ends in `{SUFFIX}`; give it that ending")


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
