"""Images too large to be held: `thinlens restore` reads, restores and writes them band by band.

That is done where the whole image would take more than `WHOLE_BYTES`, or more than `--max-memory` accepts. Whole or in
bands, the pixels are the same.
"""

import ctypes
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thinlens.cli.output import clean, to_bytes_text
from thinlens.errors import ImageError
from thinlens.image.bands import BandReader, BandWriter, WholeImageOnly
from thinlens.image.encode import WRITERS
from thinlens.image.files import open_bands, stripped, write_bands
from thinlens.image.formats import ImageFile, count_channels

if TYPE_CHECKING:
    from thinlens.cli.checks import Settings, Step
    from thinlens.cli.jobs import Job
    from thinlens.cli.progress import Meter
    from thinlens.runtime.flow import Flow
    from thinlens.runtime.restore import Restorer, Route
    from thinlens.runtime.strength import Strength

WHOLE_BYTES = 2_000_000_000
BAND_BYTES = 1 << 22  # of a band, before or after, whichever is larger
PROGRAM_BYTES = 75_000_000  # interpreter, NumPy, Pillow and libvips, loaded and at work on a small image
REHEARSAL_SECONDS = 2.0
BLOCK_BYTES = 1 << 18  # from which size on memory goes back to the system as soon as it is free
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


@dataclass(frozen=True)
class Bands:
    """How an image is restored in bands.

    Args:
        rows: of the image, that are read at a time.
        memory_bytes: the most that the process will take.
    """

    rows: int
    memory_bytes: int

    def facts(self) -> dict[str, object]:
        """For a record."""
        return {"memory_bytes": self.memory_bytes}


def check_memory(job: "Job", route: "Route", needed: int, limit: int | None, note: str | None = None) -> None:
    """Raise ImageError where restoring would take more than ``--max-memory`` accepts."""
    if limit is not None and needed > limit:
        advice = "use fewer threads (`-j 1`), or raise it" if route.threads > 1 else "raise it"
        raise ImageError(
            f"`{job.source}`: {way(route)} takes about {to_bytes_text(needed)}, `--max-memory` accepts "
            f"{to_bytes_text(limit)}{f' ({note})' if note else ''}; {advice}"
        )


def way(route: "Route") -> str:
    """A route in words: ``640x480 to 1280x960``."""
    (height, width), (rows, columns) = route.source, route.target
    return f"{width}x{height} to {columns}x{rows}"


def plan_bands(source: Path, route: "Route", format_name: str) -> Bands:
    """How large the bands are, and what they take.

    Raises:
        WholeImageOnly, UnsupportedOpError: saying why the image must be restored as a whole.
        ImageError: if it cannot be read.
    """
    if format_name not in WRITERS:
        raise WholeImageOnly(f"a {format_name} file is written as a whole")
    with open_bands(source) as reader, _flow(route, reader) as flow:
        made = _made(reader.image, route)
        out_bytes = math.prod(made.pixels.shape[1:]) * made.pixels.itemsize
        ratio = max(1, math.ceil(route.target[0] / route.source[0]))
        rows = min(reader.height, max(1, BAND_BYTES // max(reader.row_bytes, ratio * out_bytes)))
        held = [
            PROGRAM_BYTES,
            reader.bytes_for(rows) + 2 * rows * reader.row_bytes,  # one is being read while another is restored
            flow.bytes_for(rows),
            3 * (rows * ratio + 1) * out_bytes,  # made, joined to what fills no strip yet
            WRITERS[format_name].bytes_for(out_bytes, route.threads),
        ]
    return Bands(rows, sum(held))


def _flow(route: "Route", reader: BandReader) -> "Flow":
    from thinlens.runtime.flow import Flow

    if (reader.height, reader.width) != route.source:
        raise ImageError("the file has changed while it was being looked at; run again")
    return Flow(route, count_channels(reader.image.pixels), reader.image.pixels.dtype)


def _made(image: ImageFile, route: "Route") -> ImageFile:
    """What goes with the result; its pixels are no rows of the result's width."""
    shape = (0, route.target[1], *image.pixels.shape[2:])
    return replace(image, pixels=np.empty(shape, image.pixels.dtype))


def restore_bands(
    step: "Step", restorer: "Restorer", settings: "Settings", meter: "Meter"
) -> tuple["Route", dict[str, object]]:
    """Restore one file; say first what that takes.

    Returns:
        The route that was taken, which depends on the image's damage, and what a record says of bands.

    Raises:
        ImageError, OutputError, OSError: if the file cannot be read, restored or written.
    """
    source, route, bands = step.job.source, step.route, step.bands
    if route is None or bands is None:
        raise ValueError("the step has no bands")
    return_memory()
    name = clean(source.name)
    rehearsed = rehearse(source, route, step.format, bands.rows)
    seconds = rehearsed.seconds + (rehearsed.reading if restorer.estimates else 0)
    _announce(meter, name, route, bands, seconds)
    strength = _strength(source, restorer, bands.rows, lambda *at: meter.show(f"{name}: noise", *at))
    meter.drop(f"{name}: noise")
    with open_bands(source) as reader:
        height, width = route.source
        chosen = restorer.route(height, width, strength, gray=count_channels(reader.image.pixels) < 3)
        if strength is not None and chosen.session is not None:
            meter.say(f"thinlens: `{name}`: {strength.describe(chosen.session.card)}")
        if chosen.session is not route.session:
            bands = plan_bands(source, chosen, step.format)
            check_memory(step.job, chosen, bands.memory_bytes, settings.max_memory)
            _announce(meter, name, chosen, bands, seconds)
        with (
            _flow(chosen, reader) as flow,
            write_bands(
                step.job.target,
                _made(stripped(reader.image) if settings.strip else reader.image, chosen),
                chosen.target[0],
                format=step.format,
                jpeg_quality=settings.jpeg_quality,
                overwrite=step.job.overwrites(settings.overwrite),
                threads=chosen.threads,
            ) as writer,
        ):
            for done in _steps(reader, flow, writer, bands.rows):
                meter.show(name, done, height)
    return chosen, bands.facts() | {"eta_seconds": round(seconds, 1)}


def _announce(meter: "Meter", name: str, route: "Route", bands: Bands, seconds: float) -> None:
    meter.say(
        f"thinlens: `{name}`: {way(route)} in bands, "
        f"at most {to_bytes_text(bands.memory_bytes)}, about {to_time_text(seconds)}"
    )


def _steps(reader: BandReader, flow: "Flow", writer: BandWriter, rows: int) -> Iterator[int]:
    """Restore an image, and tell after each band how many of its rows were read.

    One thread reads ahead, this one restores, those of the writer pack.
    """
    with ThreadPoolExecutor(1) as ahead:
        done, coming = 0, ahead.submit(reader.read, rows)
        while len(band := coming.result()):
            coming = ahead.submit(reader.read, rows)
            writer.write(flow.push(band))
            done += len(band)
            yield done
    writer.write(flow.flush())


def _strength(source: Path, restorer: "Restorer", rows: int, tell: Callable[[int, int], None]) -> "Strength | None":
    """How strong the image's damage is; a pass over its pixels where they must tell."""

    def bands(reader: BandReader) -> Iterator[npt.NDArray[Any]]:
        done = 0
        while len(band := reader.read(rows)):
            yield band
            done += len(band)
            tell(done, reader.height)

    with open_bands(source) as reader:
        return restorer.strength_of_bands(bands(reader), reader.height, reader.width, reader.image.table)


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal tells of the whole.

    Args:
        seconds: that restoring will take.
        reading: that reading alone will take.
    """

    seconds: float
    reading: float


class _Enough(Exception):  # noqa: N818  # no error: it lets the writer give up
    pass


def rehearse(source: Path, route: "Route", format_name: str, rows: int) -> Rehearsal:
    """Restore the image's first rows for about two seconds, into nothing, to tell how long all will take."""
    with open_bands(source) as reader:
        begun, read = time.monotonic(), 0
        while read < reader.height and time.monotonic() - begun < REHEARSAL_SECONDS / 8:
            read += len(reader.read(rows))
        reading = (time.monotonic() - begun) * reader.height / read
    ticks = [(0.0, 0)]
    begun = time.monotonic()
    with (
        suppress(_Enough),
        open_bands(source) as reader,
        _flow(route, reader) as flow,
        Path(os.devnull).open("wb") as nothing,
        WRITERS[format_name](nothing, _made(reader.image, route), route.target[0], route.threads) as writer,
    ):
        for done in _steps(reader, flow, writer, rows):
            ticks.append((time.monotonic() - begun, done))
            if len(ticks) > 2 and ticks[-1][0] > REHEARSAL_SECONDS:
                raise _Enough
    (first, rows_before), (last, rows_then) = ticks[len(ticks) // 4], ticks[-1]  # the first bands only fill buffers
    return Rehearsal((last - first) / (rows_then - rows_before) * route.source[0], reading)


def return_memory() -> None:
    """Let freed memory go back to the system at once.

    By itself glibc keeps more and more of large blocks once they have been freed, which bands do all the time.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES)


def to_time_text(seconds: float) -> str:
    """Seconds for people: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
