"""A route as a flow of rows: rows of the image go in, rows of the result come out, in memory that grows with the width.

What comes out equals what `Route.run` makes of the whole image, bit for bit.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from thinlens.image.colour import BAND_ROWS, REACH, bleed, from_float32, to_float32
from thinlens.image.resample import Resampler
from thinlens.runtime.restore import Route, band_bytes, band_rows, bleed_reach
from thinlens.runtime.row_session import RowSession

Rows = npt.NDArray[Any]
Size = tuple[int, int]  # height, width

TAP_BYTES = 8 + 8 + 8  # of one weight: where it reads, its value, and copies of it while they are made


class Step(Protocol):
    """One step of a flow, for one image."""

    def push(self, rows: Rows) -> Rows:
        """Take the next rows, and give those that are ready, maybe none."""

    def flush(self) -> Rows:
        """End the image, and give its last rows."""

    def bytes_for(self, count: int) -> int:
        """The most that is held while ``count`` rows are pushed, beside them and those that come out."""


class Flow:
    """Steps, one behind the other.

    Args:
        route: of the image.
        channels: of the image, 1 to 4.
        dtype: uint8 or uint16.

    Raises:
        UnsupportedOpError: if the network needs the whole image, or there is no native engine.
    """

    def __init__(self, route: Route, channels: int, dtype: npt.DTypeLike) -> None:
        (height, width), restored = route.source, route.restored
        shape = (width,) if channels == 1 else (width, channels)
        self._steps: list[Step] = []
        if channels in (2, 4):
            reach = bleed_reach(route.source, route.target) if route.session is None else REACH
            self._steps.append(BleedStep(shape, np.dtype(dtype), reach))
        if route.session is not None:
            rows = route.session.bled_rows(width, height, channels=channels, dtype=dtype, threads=route.threads)
            self._steps.append(NetworkStep(rows, shape, np.dtype(dtype)))
        if route.session is None or restored != route.target:
            self._steps.append(ResampleStep(restored, route.target, channels, np.dtype(dtype), route.threads))
        self._ratio = route.target[0] / height

    def __enter__(self) -> "Flow":
        return self

    def __exit__(self, *_: object) -> None:
        for step in self._steps:
            if isinstance(step, ResampleStep):
                step.close()

    def push(self, rows: Rows) -> Rows:
        """Take the next rows of the image, and give those of the result that are ready, maybe none."""
        return self._through(rows, self._steps)

    def flush(self) -> Rows:
        """End the image, and give the last rows of the result."""
        parts = []
        for at, step in enumerate(self._steps):
            parts.append(self._through(step.flush(), self._steps[at + 1 :]))
        return np.concatenate(parts)

    def _through(self, rows: Rows, steps: Sequence[Step]) -> Rows:
        for step in steps:
            rows = step.push(rows)
        return rows

    def bytes_for(self, count: int) -> int:
        """The most that is held while ``count`` rows are pushed, without them and those that come out."""
        scales = [step.scale if isinstance(step, NetworkStep) else 1 for step in self._steps]
        counts = [count * math.prod(scales[:at]) for at in range(len(scales))]
        return sum(step.bytes_for(rows) for step, rows in zip(self._steps, counts, strict=True))


class NetworkStep:
    """The network."""

    def __init__(self, rows: RowSession, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._rows = rows
        self._row_bytes = math.prod(shape) * dtype.itemsize
        self.scale = rows.out_width // shape[0]

    def push(self, rows: Rows) -> Rows:
        """See `Step`."""
        return self._rows.push(rows)

    def flush(self) -> Rows:
        """See `Step`."""
        return self._rows.flush()

    def bytes_for(self, count: int) -> int:
        """See `Step`: the engine's buffers, and rows that wait for it and come from it at the end."""
        late = self._rows.latency_rows
        return self._rows.buffer_bytes + (count + late * self.scale**2) * self._row_bytes


class BleedStep:
    """Colour under transparent pixels."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], reach: int) -> None:
        self._reach, self._row_bytes, self._width = reach, math.prod(shape) * dtype.itemsize, shape[0]
        self._window = np.empty((0, *shape), dtype)  # rows that later ones look at, and those that wait for some below
        self._waiting = 0

    def push(self, rows: Rows) -> Rows:
        """See `Step`."""
        self._window = np.concatenate([self._window, rows])
        self._waiting += len(rows)
        return self._filled(max(0, self._waiting - self._reach))

    def flush(self) -> Rows:
        """See `Step`."""
        return self._filled(self._waiting)

    def _filled(self, count: int) -> Rows:
        first = len(self._window) - self._waiting
        if count == 0:
            return self._window[:0]
        around = self._window[max(0, first - self._reach) : first + count + self._reach]
        at = min(first, self._reach)
        filled = self._window[first : first + count].copy()
        filled[..., :-1] = bleed(around[..., :-1], around[..., -1], reach=self._reach)[at : at + count]
        self._waiting -= count
        self._window = self._window[max(0, first + count - self._reach) :].copy()
        return filled

    def bytes_for(self, count: int) -> int:
        """See `Step`: windows, and for a band floats of its colour, what is known, and rings of neighbours."""
        window = count + 3 * self._reach
        return 4 * window * self._row_bytes + 60 * min(window, BAND_ROWS + 2 * self._reach) * self._row_bytes


class ResampleStep:
    """Antialiased bicubic to another size."""

    def __init__(self, source: Size, target: Size, channels: int, dtype: np.dtype[Any], threads: int) -> None:
        self._source, self._target, self._channels, self._threads = source, target, channels, threads
        self._resampler = Resampler(*source, *target)
        self._step = band_rows(source, target, channels)
        shape = (source[1],) if channels == 1 else (source[1], channels)
        self._window, self._first, self._made = np.empty((0, *shape), dtype), 0, 0
        self._empty = np.empty((0, target[1], *shape[1:]), dtype)
        self._pool = ThreadPoolExecutor(threads)

    def push(self, rows: Rows) -> Rows:
        """See `Step`."""
        self._window = np.concatenate([self._window, rows])
        stop, have = self._made, self._first + len(self._window)
        while stop < self._target[0] and self._resampler.input_rows(stop, stop + 1)[1] <= have:
            stop += 1
        made = self._rows(stop)
        if stop < self._target[0]:
            needed = self._resampler.input_rows(stop, stop + 1)[0] - self._first
            self._window, self._first = self._window[needed:].copy(), self._first + needed
        return made

    def flush(self) -> Rows:
        """See `Step`."""
        return self._rows(self._target[0])

    def _rows(self, stop: int) -> Rows:
        """Rows of the result from those that were made on."""
        starts = range(self._made, stop, self._step)
        self._made = stop
        return np.concatenate([self._empty, *self._pool.map(lambda at: self._band(at, stop), starts)])

    def _band(self, start: int, stop: int) -> Rows:
        stop = min(start + self._step, stop)
        first, last = self._resampler.input_rows(start, stop)
        band = to_float32(self._window[first - self._first : last - self._first])
        return from_float32(self._resampler.rows(band, first, start, stop), self._window.dtype)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def bytes_for(self, count: int) -> int:
        """See `Step`: the window and copies of it, bands of floats, what they make twice, and the weights."""
        shrink = max(1.0, self._source[0] / self._target[0])
        row = self._window.itemsize * self._channels
        window = 3 * (count + math.ceil(5 * shrink) + 4) * self._source[1] * row
        made = 2 * (math.ceil(count / shrink * max(1.0, self._target[0] / self._source[0])) + 2) * self._target[1] * row
        taps = (math.ceil(4 * shrink) + 2) * (2 * sum(self._target)) * TAP_BYTES
        return window + made + taps + self._threads * band_bytes(self._source, self._target, self._channels)
