"""`thinlens stream`: raw rows from stdin to stdout, in memory that grows with the width alone."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from thinlens.cli.options import RAW_FORMATS, Model, RawFormat
from thinlens.cli.verb import UsageError
from thinlens.errors import ImageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from thinlens.runtime.row_session import RowSession

CHUNK_BYTES = 1 << 18  # read at most at a time, unless a row is longer


def stream(
    model: Model,
    width: Annotated[int, typer.Option(min=1, max=1 << 20, metavar="N", help="Of the rows that come in, in pixels.")],
    format_: Annotated[
        RawFormat, typer.Option("--format", help="Of the rows that come in and go out; 16 bits little-endian.")
    ],
    height: Annotated[
        int | None,
        typer.Option(min=1, max=1 << 20, metavar="N", help="Rows that come in; default: as many as there are."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Say on stderr what a pipeline must provide for.")] = False,
) -> None:
    """Restore one image row by row: raw rows from stdin, raw rows to stdout as soon as they are ready.

    Nothing is kept but what later rows need; `thinlens inspect MODEL --width N` says how much that is, and so does
    `--report`: rows of latency, bytes of state between two rows, and bytes of all buffers.
    """
    from thinlens.runtime.session import open_model

    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal, which cannot show raw rows; redirect it to a file or a pipe")
    channels, dtype = RAW_FORMATS[format_]
    rows = open_model(model, threads=1).rows(width, height, channels=channels, dtype=dtype)
    shape = (-1, width) if channels == 1 else (-1, width, channels)
    if report:
        needs = f"latency {rows.latency_rows} rows, state {rows.state_bytes} bytes, buffers {rows.buffer_bytes} bytes"
        sys.stderr.write(f"thinlens: {needs}\n")
        sys.stderr.flush()
    _copy(rows, sys.stdin.buffer, sys.stdout.buffer, shape, dtype)


def _copy(rows: "RowSession", source: BinaryIO, target: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
    """Push whatever whole rows there are, and write what comes out.

    Raises:
        ImageError: if the source ends within a row.
        ShapeError: if it has not as many rows as were promised.
    """
    import numpy as np

    stored = np.dtype(dtype).newbyteorder("<")
    row_bytes = stored.itemsize * -np.prod(shape, dtype=int)
    read = getattr(source, "read1", source.read)  # what there is, without waiting for more
    left = b""
    while chunk := read(max(CHUNK_BYTES, row_bytes)):
        left += chunk
        whole = len(left) - len(left) % row_bytes
        if whole:
            pixels = np.frombuffer(left, stored, whole // stored.itemsize).reshape(shape)
            _write(target, rows.push(pixels.astype(dtype, copy=False)))
            left = left[whole:]
    if left:
        raise ImageError(f"stdin ends {len(left)} bytes into a row of {row_bytes}; check `--width` and `--format`")
    _write(target, rows.flush())


def _write(target: BinaryIO, rows: "npt.NDArray[Any]") -> None:
    """Write rows at once, so that a reader at the other end of a pipe need not wait."""
    if len(rows):
        target.write(rows.astype(rows.dtype.newbyteorder("<"), copy=False).data)
        target.flush()
