"""Row by row: rows of an image go in, restored rows come out as soon as they can, and nothing else is kept.

The native engine does it; there is no other way to it, since the NumPy reference works on parts of whole images.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError, UnsupportedOpError
from thinlens.model.ops import border_index
from thinlens.runtime.bands import enlarged
from thinlens.runtime.compile import ImageKind
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import Request
from thinlens.runtime.native import NativeModel

Rows = npt.NDArray[Any]
Size = tuple[int, int | None]  # width, height if it is known

MAX_SIDE = 1 << 30
DTYPES = ("uint8", "uint16", "float32")
STATE = struct.Struct("<8s16sQQ?7x")  # magic, what it belongs to, rows in, rows out, ended
MAGIC = b"TLROWS01"


class RowSession:
    """One image on its way through a network. For one thread at a time; `Session.rows` opens it.

    Args:
        plan: the network, loaded.
        size: width and height of the image; height None: not known before `flush`.
        fitting: the size to which it is mirrored for the network, neither side smaller.
        kind: of the image, 1 or 3 channels.
        floats: the range of float32 pixels.
        identity: what tells this network from others, 16 bytes.
        threads: that work.

    Raises:
        ShapeError: if the network takes no image of that size.
        MemoryError: if the buffers cannot be had.
    """

    def __init__(  # all that one image and one network are
        self,
        plan: NativePlan,
        size: Size,
        fitting: Size,
        kind: ImageKind,
        floats: tuple[float, float],
        identity: bytes,
        threads: int,
    ) -> None:
        self._size, self._fitting, self._kind, self._floats = size, fitting, kind, floats
        self._identity = hashlib.sha256(identity + repr((size, kind)).encode()).digest()[:16]
        request = Request(fitting[0], fitting[1] or 0, 0, 0)
        missing = (fitting[1] or 0) - (size[1] or 0)
        self._kept = missing + 1 if missing else 0  # last rows that the mirrored ones below the image are made of
        self._last = np.empty(self._shape(0, size[0]), kind.dtype)
        self._schedule = plan.schedule(request, threads)
        self._native = plan.open(request, threads)
        self._pushed = self._made = 0
        self._ended = False

    @property
    def halo_rows(self) -> int | None:
        """Rows above or below an output row's own, the farther of the two, that it depends on; None: all above."""
        return None if self.halo_rows_above is None else max(self.halo_rows_above, self.halo_rows_below)

    @property
    def halo_rows_above(self) -> int | None:
        """Input rows above an output row's own that it depends on; None: all, a memory carries them on."""
        return None if self._schedule.halo_above < 0 else self._schedule.halo_above

    @property
    def halo_rows_below(self) -> int:
        """Input rows below an output row's own that it depends on."""
        return self._schedule.halo_below

    @property
    def latency_rows(self) -> int:
        """Input rows that must be pushed beyond an output row's own before it comes out."""
        return self._schedule.latency_rows

    @property
    def buffer_bytes(self) -> int:
        """Bytes of all buffers, whatever the height."""
        return self._schedule.buffer_bytes

    @property
    def state_bytes(self) -> int:
        """Bytes of what is kept between two rows, about what `save` returns: all values that later rows read."""
        return self._native.state_bytes

    @property
    def out_width(self) -> int:
        """Width of the rows that come out."""
        return self._schedule.out_width * self._size[0] // self._fitting[0]

    def push(self, rows: Rows) -> Rows:
        """Push the image's next rows.

        Args:
            rows: ``n W`` or ``n W 3``, of the session's dtype; as many as there are, none too.

        Returns:
            The output rows that are ready, ``m W'`` or ``m W' 3``; often more or fewer than ``scale n``, maybe none.

        Raises:
            ShapeError: on another shape, dtype or value range, on more rows than the height, and after `flush`.
            ModelError: if the network's result is not a number.
        """
        self._check_open()
        self._check(rows)
        out = self._inside(self._advance(rows))
        self._pushed += len(rows)
        if self._kept:
            self._last = np.concatenate([self._last, rows])[-self._kept :]
        return out

    def flush(self) -> Rows:
        """End the image and return its last rows; as `push`.

        Raises:
            ShapeError: if fewer rows than the height were pushed, or none, and after another `flush`.
            ModelError: if the network's result is not a number.
        """
        self._check_open()
        height = self._size[1] or max(1, self._pushed)
        if self._pushed != height:
            raise ShapeError(f"flush: got {self._pushed} rows; accepted: {height}, or more if no height was given")
        below = self._advance(self._below(height)) if self._kept else None
        out = self._room(self._native.ready(0, flush=True))
        self._native.flush(out)
        self._ended = True
        return self._inside(out if below is None else np.concatenate([below, out]))

    def save(self) -> bytes:
        """Everything between two pushes: `load` of a session opened alike goes on from here."""
        head = STATE.pack(MAGIC, self._identity, self._pushed, self._made, self._ended)
        return head + self._last.tobytes() + self._native.save()

    def load(self, state: bytes) -> None:
        """Go on where another session was.

        Args:
            state: from `save` of a session of the same model, size, channels, dtype and instruction set.

        Raises:
            ShapeError: if it is from another, or damaged.
        """
        if len(state) < STATE.size or not state.startswith(MAGIC):
            raise ShapeError(f"load: got {len(state)} bytes that are no saved state; accepted: what `save` returned")
        _, identity, pushed, made, ended = STATE.unpack_from(state)
        if identity != self._identity:
            raise ShapeError(
                "load: the state is of another session; accepted: one of the same model, size, channels and dtype"
            )
        last = np.empty(self._shape(min(pushed, self._kept), self._size[0]), self._kind.dtype)
        begin = STATE.size + last.nbytes
        self._native.load(state[begin:])
        self._last = np.frombuffer(state[STATE.size : begin], last.dtype).reshape(last.shape)
        self._pushed, self._made, self._ended = pushed, made, ended

    def _advance(self, rows: Rows) -> Rows:
        """Give the network rows, mirrored on the right as far as it needs, and take what is ready."""
        wide = np.ascontiguousarray(enlarged(rows, (len(rows), self._fitting[0])))
        out = self._room(self._native.ready(len(wide)))
        if len(wide):
            self._native.push(wide, out)
        return out

    def _below(self, height: int) -> Rows:
        """The rows below the image that the network needs, mirrored."""
        mirrored = border_index(np.arange(height, height + self._kept - 1), height, "mirror")
        return self._last[mirrored - (height - len(self._last))]

    def _inside(self, out: Rows) -> Rows:
        """What of the network's rows belongs to the image; count it."""
        if self._fitting != self._size:
            scale = self._schedule.out_width // self._fitting[0]
            rows = len(out) if self._size[1] is None else scale * self._size[1] - self._made
            out = np.ascontiguousarray(out[:rows, : self.out_width])
        self._made += len(out)
        return out

    def _room(self, count: int) -> Rows:
        """An empty array for so many rows of the network's output."""
        return np.empty(self._shape(count, self._schedule.out_width), self._kind.dtype)

    def _shape(self, count: int, width: int) -> tuple[int, ...]:
        return (count, width) if self._kind.channels == 1 else (count, width, self._kind.channels)

    def _check_open(self) -> None:
        if self._ended:
            raise ShapeError("the image has ended with `flush`; open new rows for another image")

    def _check(self, rows: Rows) -> None:
        shape = self._shape(len(rows) if rows.ndim else 0, self._size[0])
        if rows.shape != shape or rows.dtype != np.dtype(self._kind.dtype):
            wanted = " x ".join(map(str, ("n", *shape[1:])))
            raise ShapeError(f"rows: got shape {rows.shape}, {rows.dtype}; accepted {wanted}, {self._kind.dtype}")
        height = self._size[1]
        if height is not None and self._pushed + len(rows) > height:
            raise ShapeError(f"rows: got {len(rows)} after {self._pushed}; accepted: {height} in all, the height")
        low, high = self._floats
        if rows.dtype == np.float32 and rows.size and not (rows.min() >= low and rows.max() <= high):  # NaN fails both
            raise ShapeError(f"rows: value range: float32 pixels must be finite and within {low:g}..{high:g}")


def open_rows(
    model: NativeModel,
    size: Size,
    kind: ImageKind,
    floats: tuple[float, float],
    fit: Callable[[int | None, int], tuple[int | None, int]],
    *,
    bled: bool = False,
    threads: int = 1,
) -> RowSession:
    """Open a row session; see `Session.rows`.

    ``fit`` gives the height and width that the network takes. ``bled``: rows may have alpha, and colour has been filled
    in under their transparent pixels.
    """
    width, height = size
    if threads < 1:
        raise ShapeError(f"threads: got {threads}; accepted: 1 and more")
    for name, side in (("width", width), ("height", 1 if height is None else height)):
        if not 1 <= side <= MAX_SIDE:
            raise ShapeError(f"{name}: got {side}; accepted: 1 to {MAX_SIDE}")
    if kind.channels not in ((1, 2, 3, 4) if bled else (1, 3)) or kind.dtype not in DTYPES:
        found = f"{kind.channels} channels of {kind.dtype}"
        raise ShapeError(
            f"rows: got {found}; accepted: 1 or 3 channels of {', '.join(DTYPES)}; alpha needs whole images, `run`"
        )
    if (whole := model.whole_image_op()) is not None:
        raise UnsupportedOpError(f"{whole} needs the whole image before its first row; use `run`, or another model")
    if height is None and (resize := model.height_op()) is not None:
        raise ShapeError(f"height: not given; {resize} must know it before its first row; give the image's height")
    if model.reason is not None:
        raise UnsupportedOpError(f"rows one by one need the native engine: {model.reason}")
    plan, compiled = model.load(kind)
    fitting_height, fitting_width = fit(height, width)
    identity = hashlib.sha256(compiled.data + plan.isa.encode()).digest()
    return RowSession(plan, size, (fitting_width, fitting_height), kind, floats, identity, threads)
