"""`thinlens stream`: raw rows from stdin to stdout, in memory that grows with the width alone."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, Protocol

import typer

from thinlens.cli.options import RAW_FORMATS, Model
from thinlens.cli.verb import UsageError
from thinlens.errors import ImageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from thinlens.runtime.row_session import RowSession
    from thinlens.runtime.session import Session

    Rows = npt.NDArray[Any]

CHUNK_BYTES = 1 << 18  # read at most at a time, unless a row is longer
PLANAR = "yuv420p"

Format = Literal["gray8", "gray16", "rgb24", "rgb48", "yuv420p"]
Range = Literal["limited", "full"]


class Sink(Protocol):
    """What takes rows and gives others: a `RowSession`, say."""

    def push(self, rows: "Rows", /) -> "Rows":
        """Take rows; give those that are ready."""

    def flush(self) -> "Rows":
        """End the image; give its last rows."""


def stream(
    model: Model,
    width: Annotated[int, typer.Option(min=1, max=1 << 20, metavar="N", help="Of the rows that come in, in pixels.")],
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="Of the rows that come in and go out; 16 bits little-endian; yuv420p: whole planes, Y, U, V.",
        ),
    ],
    height: Annotated[
        int | None,
        typer.Option(
            min=1, max=1 << 20, metavar="N", help="Rows of a frame; default: one frame, of as many as there are."
        ),
    ] = None,
    range_: Annotated[
        Range | None,
        typer.Option("--range", help="For yuv420p: Y of 16 to 235, as cameras write it (default), or of 0 to 255."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Say on stderr what a pipeline must provide for.")] = False,
) -> None:
    """Restore images row by row: raw rows from stdin, raw rows to stdout as soon as they are ready.

    With --height, frame after frame may come, until stdin ends; each is restored on its own.

    yuv420p needs --height and a luma network. U and V have half of Y's size, rounded up, in and out; they are enlarged
    by bicubic, each on its own grid.

    Nothing is kept but what later rows need; `thinlens inspect MODEL --width N` says how much that is, and so does
    `--report`: rows of latency, bytes of state between two rows, and bytes of all buffers.
    """
    from thinlens.runtime.session import open_model

    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal, which cannot show raw rows; redirect it to a file or a pipe")
    _check(format_, height, range_)
    session = open_model(model, threads=1)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    if format_ == PLANAR and height is not None:
        _copy_planes(session, Input(source, sum(_plane_bytes(height, width))), target, height, width, range_, report)
        return
    channels, dtype = RAW_FORMATS[format_]  # type: ignore[index]  # all others
    shape = (-1, width) if channels == 1 else (-1, width, channels)

    def rows() -> "RowSession":
        return session.rows(width, height, channels=channels, dtype=dtype)

    if report:
        _report(rows())
    if height is None:
        _copy(rows(), Input(source, None), target, shape, dtype)
        return
    frames = Input(source, height * _row_bytes(shape, dtype))
    while frames.begin():
        _copy(rows(), frames, target, shape, dtype, height)


def _check(format_: Format, height: int | None, range_: Range | None) -> None:
    if format_ == PLANAR and height is None:
        raise UsageError("`--format yuv420p`: a plane follows a plane; `--height` must say where they end")
    if format_ != PLANAR and range_ is not None:
        raise UsageError(f"`--range` goes with `--format yuv420p`; `{format_}` has full range; leave it out")


class Input:
    """What comes in, frame by frame.

    Args:
        source: binary.
        frame_bytes: of a frame; None: one frame, to the end.
    """

    def __init__(self, source: BinaryIO, frame_bytes: int | None) -> None:
        self._read = getattr(source, "read1", source.read)  # what there is, without waiting for more
        self._frame_bytes, self._left, self._frame = frame_bytes, 0, 0
        self._ahead = b""

    def begin(self) -> bool:
        """Whether another frame comes; the first one must."""
        self._frame, self._left = self._frame + 1, self._frame_bytes or 0
        self._ahead = self._read(1)
        return self._frame == 1 or bool(self._ahead)

    def take(self, most: int) -> bytes:
        """Read up to so many bytes; none at the end of what comes in.

        Raises:
            ImageError: if it ends within a frame.
        """
        ahead, self._ahead = self._ahead, b""
        chunk: bytes = ahead or self._read(most)
        self._left -= len(chunk)
        if not chunk and self._frame_bytes is not None:
            raise ImageError(
                f"stdin ends within frame {self._frame}: {self._left} of its {self._frame_bytes} bytes are missing; "
                "check `--width`, `--height` and `--format`"
            )
        return chunk


def _report(rows: "RowSession") -> None:
    needs = f"latency {rows.latency_rows} rows, state {rows.state_bytes} bytes, buffers {rows.buffer_bytes} bytes"
    sys.stderr.write(f"thinlens: {needs}\n")
    sys.stderr.flush()


def _row_bytes(shape: tuple[int, ...], dtype: str) -> int:
    import numpy as np

    return int(np.dtype(dtype).itemsize * -np.prod(shape, dtype=int))


def _copy(
    rows: Sink, source: Input, target: BinaryIO, shape: tuple[int, ...], dtype: str, height: int | None = None
) -> None:
    """Push whatever whole rows there are, ``height`` in all if it is given, and write what comes out.

    Args:
        rows: takes them.
        source: where they come from.
        target: where results go.
        shape: of rows, -1 for their number.
        dtype: of their values.
        height: how many come; None: as many as there are.

    Raises:
        ImageError: if the source ends within a row, or before its frame does.
    """
    import numpy as np

    stored = np.dtype(dtype).newbyteorder("<")
    row_bytes = _row_bytes(shape, dtype)
    left, room = b"", None if height is None else height * row_bytes
    while room is None or room > 0:
        most = max(CHUNK_BYTES, row_bytes)
        chunk = source.take(most if room is None else min(most, room))
        if not chunk:
            break
        room = None if room is None else room - len(chunk)
        left += chunk
        whole = len(left) - len(left) % row_bytes
        if whole:
            pixels = np.frombuffer(left, stored, whole // stored.itemsize).reshape(shape)
            _write(target, rows.push(pixels.astype(dtype, copy=False)))
            left = left[whole:]
    if left:
        raise ImageError(f"stdin ends {len(left)} bytes into a row of {row_bytes}; check `--width` and `--format`")
    _write(target, rows.flush())


def _write(target: BinaryIO, rows: "Rows") -> None:
    """Write rows at once, so that a reader at the other end of a pipe need not wait."""
    if len(rows):
        target.write(rows.astype(rows.dtype.newbyteorder("<"), copy=False).data)
        target.flush()


def _plane_bytes(height: int, width: int) -> tuple[int, int, int]:
    """Bytes of Y, U and V."""
    chroma = -(-height // 2) * -(-width // 2)
    return height * width, chroma, chroma


def _copy_planes(
    session: "Session",
    source: Input,
    target: BinaryIO,
    height: int,
    width: int,
    range_: Range | None,
    report: bool,
) -> None:
    """Restore frames of yuv420p.

    Raises:
        UsageError: if the network is not one for luma.
    """
    if session.card.colour != "luma":
        raise UsageError(
            f"`--format yuv420p`: model `{session.card.name}` is one for RGB; "
            "take a luma network (`thinlens models`), or convert frames to rgb24"
        )
    scale, size = session.card.scale, (-(-height // 2), -(-width // 2))
    limited = range_ != "full"

    def luma() -> "RowSession":
        return session.rows(width, height, channels=1, dtype="float32" if limited else "uint8")

    if report:
        _report(luma())
    while source.begin():
        rows = luma()
        _copy(Limited(rows) if limited else rows, source, target, (-1, width), "uint8", height)
        for _ in "UV":
            plane = Chroma(size, scale, (-(-scale * height // 2), -(-scale * width // 2)))
            _copy(plane, source, target, (-1, size[1]), "uint8", size[0])


class Limited:
    """Luma of 16 to 235 for a network that knows 0 to 255, as floats in between; what lies outside is clipped.

    Args:
        rows: of the network, float32.
    """

    def __init__(self, rows: "RowSession") -> None:
        self._rows = rows

    def push(self, rows: "Rows") -> "Rows":
        """Take rows, uint8; give those that are ready, uint8."""
        import numpy as np

        return self._back(self._rows.push(np.clip((rows.astype(np.float32) - 16) / np.float32(219), 0, 1)))

    def flush(self) -> "Rows":
        """End the plane; give its last rows."""
        return self._back(self._rows.flush())

    def _back(self, rows: "Rows") -> "Rows":
        import numpy as np

        return np.rint(rows * np.float32(219) + 16).astype(np.uint8)


class Chroma:
    """A chroma plane, enlarged by bicubic on its own grid: its samples are taken to lie in the middle of four of luma.

    Where luma has an odd side, the plane reaches half a sample beyond it, and what is made of that is cut off.

    Args:
        source: height and width of the plane.
        scale: of luma.
        target: height and width of the result.
    """

    def __init__(self, source: tuple[int, int], scale: int, target: tuple[int, int]) -> None:
        import numpy as np

        from thinlens.runtime.flow import ResampleStep

        self._target, self._made = target, 0
        self._step = ResampleStep(source, (scale * source[0], scale * source[1]), 1, np.dtype(np.uint8), 1)

    def push(self, rows: "Rows") -> "Rows":
        """Take rows; give those that are ready."""
        return self._inside(self._step.push(rows))

    def flush(self) -> "Rows":
        """End the plane; give its last rows."""
        rows = self._inside(self._step.flush())
        self._step.close()
        return rows

    def _inside(self, rows: "Rows") -> "Rows":
        import numpy as np

        inside = np.ascontiguousarray(rows[: self._target[0] - self._made, : self._target[1]])
        self._made += len(inside)
        return inside
