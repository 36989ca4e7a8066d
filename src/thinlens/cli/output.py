"""Printing results: JSON, tables and figures on stdout."""

import json
import math
import sys
from collections.abc import Iterable, Sequence

UNITS = ("B", "kB", "MB", "GB", "TB")


def clean(text: str) -> str:
    """Make text from outside one printable line: line ends become spaces, other control characters escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


def print_json(value: object) -> None:
    """Print one JSON value on one line; numbers that are not finite become null."""
    sys.stdout.write(json.dumps(_finite(value), allow_nan=False) + "\n")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_line(text: str) -> None:
    """Print one line of text, made printable."""
    sys.stdout.write(clean(text) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: fitted to a terminal, as wide as it needs to be elsewhere.

    Args:
        columns: headings; ``>`` before a heading aligns its column to the right.
        rows: cells; None is an empty one.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        right = heading.startswith(">")
        table.add_column(heading.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        table.add_row(*(Text("" if cell is None else clean(str(cell))) for cell in row))
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, highlight=False).print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, a line each; None is left out."""
    shown = [(name, value) for name, value in fields if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        sys.stdout.write(f"{name:<{width}}  {clean(str(value))}\n")


def to_bytes_text(count: float) -> str:
    """Bytes for people, in powers of 1000: ``12.3 kB``."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def to_count_text(count: float) -> str:
    """Large numbers for people: ``950``, ``12.3 k``, ``4.56 G``."""
    for unit in ("", " k", " M", " G", " T"):
        if count < 1000 or unit == " T":
            break
        count /= 1000
    return f"{count:.0f}" if not unit else f"{count:.3g}{unit}"
