"""What can be told of each image before any work starts: its size, its way to the result, and what forbids it."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thinlens.cli import huge
from thinlens.cli.huge import Bands, check_memory, plan_bands, way
from thinlens.cli.jobs import Job
from thinlens.cli.verb import UsageError, print_trace
from thinlens.errors import ImageError, OutputError, UnsupportedOpError
from thinlens.image.bands import WholeImageOnly
from thinlens.image.files import ImageHeader, check_format, read_header
from thinlens.image.formats import format_of_suffix

if TYPE_CHECKING:
    from thinlens.runtime.restore import Restorer, Route

# Interpreter, NumPy and Pillow, loaded and idle.
PROGRAM_BYTES = 50_000_000

# Bytes a pixel that decoders and encoders hold beside the pixels themselves, as measured.
CODEC_BYTES = {"webp": 24}
OTHER_CODEC_BYTES = 4

# Bytes that certifying holds for each pixel of the input: what departs, what is added, their sum, and the picture.
CERTIFY_BYTES = 3 * 3 * 4 + 3


@dataclass(frozen=True)
class Settings:
    """How results are written, and what may be read; fields as the options of `restore`."""

    format: str | None
    jpeg_quality: int
    strip: bool
    max_pixels: int
    max_memory: int | None
    skip_existing: bool
    overwrite: bool
    dry_run: bool
    certify: Literal["report", "repair"] | None = None


@dataclass(frozen=True)
class Step:
    """A job after its checks.

    Args:
        job: what to read and write.
        status: ``planned``, ``skipped`` because the output exists or an earlier run did it, or ``failed``.
        route: from the image to the result; None unless planned.
        format: the one to write; empty unless planned.
        error: what forbids it.
        bands: how it is restored in bands; None: as a whole.
        note: why it is restored as a whole although it is large.
    """

    job: Job
    status: Literal["planned", "skipped", "failed"]
    route: "Route | None" = None
    format: str = ""
    error: Exception | None = None
    bands: "Bands | None" = None
    note: str | None = None


def check(job: Job, restorer: "Restorer", settings: Settings) -> Step:
    """Check one job; what forbids it is told by the step, so that the others are done."""
    try:
        return _check(job, restorer, settings)
    except Exception as error:  # noqa: BLE001  # whatever is wrong with one file, the others are done
        print_trace(error)
        return Step(job, "failed", error=error)


def _check(job: Job, restorer: "Restorer", settings: Settings) -> Step:
    if job.error is not None:
        raise job.error
    if job.past == "done":
        return Step(job, "skipped")
    if os.path.lexists(job.target) and not job.overwrites(settings.overwrite):
        if settings.skip_existing:
            return Step(job, "skipped")
        raise OutputError(f"`{job.target}` exists; `--overwrite` replaces it, `--skip-existing` leaves it")
    header = read_header(job.source)
    route = restorer.route(header.height, header.width, gray=header.channels < 3)
    format_name = settings.format or format_of_suffix(job.target) or header.format
    _check_pixels(job, route, settings.max_pixels)
    if settings.certify is not None:
        _check_certify(job, route, settings)
    check_format(format_name, *route.target, header.channels, header.dtype)
    needed = _count_bytes(header, route, format_name)
    if settings.certify is not None:
        needed += _certify_bytes(header, route)
    limit, bands, note, least = settings.max_memory, None, None, needed
    if needed > min(huge.WHOLE_BYTES, needed if limit is None else limit):
        bands, note = _bands(job, route, format_name, settings)
    if bands is not None:
        least = min(needed, bands.memory_bytes)
        if limit is not None and bands.memory_bytes > limit:
            bands = None
    check_memory(job, route, least, limit, note)
    return Step(job, "planned", route, format_name, bands=bands, note=note)


def _bands(job: Job, route: "Route", format_name: str, settings: Settings) -> "tuple[Bands | None, str | None]":
    """How an image is restored in bands, or why it cannot be."""
    if settings.certify is not None:
        return None, "restored as a whole: `--certify` compares whole images"
    try:
        return plan_bands(job.source, route, format_name), None
    except (WholeImageOnly, UnsupportedOpError) as error:
        return None, f"restored as a whole: {str(error).removeprefix(f'`{job.source}`: ')}"


def heat_map_of(job: Job) -> Path:
    """Where the picture of a result's departure goes: beside it."""
    return job.target.with_name(f"{job.target.stem}_certify.png")


def check_heat_maps(jobs: Sequence[Job]) -> None:
    """Raise UsageError if the picture of one result would replace another result, or an input."""
    taken = {path.absolute() for job in jobs for path in (job.source, job.target)}
    seen: set[Path] = set()
    for job in jobs:
        path = heat_map_of(job).absolute()
        if path in taken | seen:
            raise UsageError(f"`{heat_map_of(job)}` would be written twice, or over an input; give other outputs")
        seen.add(path)


def _check_certify(job: Job, route: "Route", settings: Settings) -> None:
    if route.session is None:
        raise ImageError(
            f"`{job.source}`: `--certify` brings enlarged images back down; {way(route)} is not larger; leave it out"
        )
    if os.path.lexists(heat_map_of(job)) and not job.overwrites(settings.overwrite):
        raise OutputError(f"`{heat_map_of(job)}` exists; `--overwrite` replaces it")


def _check_pixels(job: Job, route: "Route", limit: int) -> None:
    pixels = max(math.prod(route.source), math.prod(route.target))
    if pixels > limit:
        raise ImageError(
            f"`{job.source}`: {way(route)} is {pixels} pixels, `--max-pixels` accepts {limit}; "
            "raise it if the file is to be trusted"
        )


def _count_bytes(header: ImageHeader, route: "Route", format_name: str) -> int:
    """Estimated peak of reading, restoring and writing one image, the program itself included."""
    pixel = header.channels * header.dtype.itemsize
    reading = math.prod(route.source) * (2 * pixel + CODEC_BYTES.get(header.format, OTHER_CODEC_BYTES))
    writing = math.prod(route.target) * (pixel + CODEC_BYTES.get(format_name, OTHER_CODEC_BYTES))
    working = route.working_bytes(channels=header.channels, itemsize=header.dtype.itemsize)
    return max(reading, working, writing) + PROGRAM_BYTES


def _certify_bytes(header: ImageHeader, route: "Route") -> int:
    """What certifying takes beside: a copy of the result, what lies at the input's size, and a band a thread."""
    from thinlens.runtime.restore import band_bytes

    copy = math.prod(route.target) * header.channels * header.dtype.itemsize
    bands = route.threads * band_bytes(route.source, route.target, header.channels)
    return copy + CERTIFY_BYTES * math.prod(route.source) + bands
