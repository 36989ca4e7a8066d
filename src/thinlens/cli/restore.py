"""`thinlens restore`: image files in, restored image files out."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thinlens.cli.options import Json, Overwrite, Recursive, Threads
from thinlens.cli.output import clean, print_json, print_line
from thinlens.cli.progress import Meter
from thinlens.cli.verb import FAILED, UsageError, line_of, print_error, print_trace
from thinlens.errors import ImageError, OutputError

if TYPE_CHECKING:
    from thinlens.cli.jobs import Job
    from thinlens.image.formats import ImageFile
    from thinlens.runtime.session import Session

Task = Literal["sr", "denoise", "deblock"]
Prefer = Literal["speed", "balanced", "quality"]
Format = Literal["same", "png", "jpeg", "tiff", "webp"]
Record = dict[str, object]


@dataclass(frozen=True)
class Settings:
    """How results are written, and what may be read; fields as the options of `restore`."""

    format: str | None
    jpeg_quality: int
    strip: bool
    max_pixels: int
    skip_existing: bool
    overwrite: bool
    dry_run: bool


def restore(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Image files, globs, folders.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="OUT", readable=False, help="A folder; or, for one input file, an image file."
        ),
    ],
    task: Annotated[Task | None, typer.Option(help="What to do; default: the model's own, else sr.")] = None,
    scale: Annotated[int | None, typer.Option(metavar="2|3|4|8", help="Default: the model's own, else 2.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A shipped model's name, or a path to a model file.")
    ] = None,
    prefer: Annotated[
        Prefer | None, typer.Option(help="Which shipped model, if none is named; default: balanced.")
    ] = None,
    format: Annotated[Format, typer.Option(help="Of the results.")] = "same",
    jpeg_quality: Annotated[
        int, typer.Option(min=1, max=100, metavar="1..100", help="Of JPEG results, written 4:4:4.")
    ] = 95,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out colour profile and EXIF.")] = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, metavar="N", help="Refuse images whose result would have more pixels.")
    ] = 500_000_000,
    recursive: Recursive = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out images whose output exists.")
    ] = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be read and written.")] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Restore images: enlarge them by a network that ships with thinlens, or by your own.

    A folder's own images are taken, -r goes into subfolders. Nothing is overwritten unless told.
    """
    from thinlens.cli.jobs import plan_jobs

    if skip_existing and overwrite:
        raise UsageError("`--skip-existing` and `--overwrite` contradict each other; give one of them")
    target_format = None if format == "same" else format
    settings = Settings(target_format, jpeg_quality, strip, max_pixels, skip_existing, overwrite, dry_run)
    session = _open(task, scale, model, prefer, threads)
    jobs = plan_jobs(inputs, output, recursive=recursive, format=target_format, overwrite=overwrite)
    return _run(jobs, session, settings, as_json=as_json)


def _open(
    task: Task | None, scale: int | None, model: str | None, prefer: Prefer | None, threads: int | None
) -> "Session":
    """Open the model that the options name or imply; refuse options that contradict it."""
    from thinlens.models import default_model
    from thinlens.runtime.session import open_model

    if model is None:
        task = task or "sr"
        own_scale = 2 if task == "sr" else 1
        name = default_model(task, own_scale if scale is None else scale, prefer or "balanced")
        return open_model(name, threads=threads)
    if prefer is not None:
        raise UsageError("`--prefer` chooses a model and `--model` names one; give one of them")
    session = open_model(model, threads=threads)
    card = session.card
    if task not in (None, card.task):
        raise UsageError(f"`--task {task}`: model `{card.name}` does {card.task}; leave out one of them")
    if scale not in (None, card.scale):
        raise UsageError(f"`--scale {scale}`: model `{card.name}` has scale {card.scale}; leave out one of them")
    return session


def _run(jobs: "list[Job]", session: "Session", settings: Settings, *, as_json: bool) -> int:
    """Restore one file after the other; failures are listed at the end."""
    begun, records = time.monotonic(), list[Record]()
    with Meter() as meter:
        for number, job in enumerate(jobs):
            record: Record = {"input": str(job.source), "output": str(job.target)}
            if len(jobs) > 1:
                meter.show("files", number, len(jobs))
            try:
                record |= _restore(job, session, settings, meter)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with one file, the others are done
                print_trace(error)
                record |= {"status": "failed", "error": _located(error, job.source)}
            records.append(record)
            meter.drop(clean(job.source.name))
            _print_record(record, as_json=as_json)
    errors = [str(record["error"]) for record in records if "error" in record]
    for line in errors:
        print_error(line)
    _print_summary(records, session, time.monotonic() - begun, as_json=as_json)
    return FAILED if errors else 0


def _located(error: Exception, source: Path) -> str:
    """An error as one line that names the file."""
    line, name = line_of(error), clean(str(source))
    return line if name in line else f"`{name}`: {line}"


def _restore(job: "Job", session: "Session", settings: Settings, meter: Meter) -> Record:
    """Restore one file.

    Returns:
        What the record says besides the names.

    Raises:
        ImageError, OutputError, OSError: if the file cannot be read, restored or written.
    """
    from thinlens.image.files import write_image

    if job.error is not None:
        raise job.error
    if os.path.lexists(job.target) and not settings.overwrite:
        if settings.skip_existing:
            return {"status": "skipped"}
        raise OutputError(f"`{job.target}` exists; `--overwrite` replaces it, `--skip-existing` leaves it")
    if settings.dry_run:
        return {"status": "planned"}
    begun = time.monotonic()
    image, format_name = _read(job, session.card.scale, settings)
    _make_folder(job.target.parent)
    name = clean(job.source.name)
    restored = session.run(image.pixels, progress=lambda done, rows: meter.show(name, done, rows))
    image = replace(image, pixels=restored)
    write_image(
        job.target,
        image,
        format=format_name,
        jpeg_quality=settings.jpeg_quality,
        strip=settings.strip,
        overwrite=settings.overwrite,
    )
    size = {"width": restored.shape[1], "height": restored.shape[0]}
    return {"status": "restored", **size, "seconds": round(time.monotonic() - begun, 3)}


def _read(job: "Job", scale: int, settings: Settings) -> "tuple[ImageFile, str]":
    """Read the image, and name the format to write, which must be able to hold the result."""
    from thinlens.image.files import check_format, read_image
    from thinlens.image.formats import count_channels, format_of_suffix

    try:
        image = read_image(job.source, max_pixels=settings.max_pixels // scale**2)
    except ImageError as error:
        if "--max-pixels" not in str(error) or scale == 1:
            raise
        raise ImageError(f"{error}; it counts pixels of the result, {scale**2} for each of these") from error
    height, width = image.pixels.shape[:2]
    channels = count_channels(image.pixels)
    format_name = settings.format or format_of_suffix(job.target) or image.format
    check_format(format_name, height * scale, width * scale, channels, image.pixels.dtype)
    return image, format_name


def _make_folder(folder: Path) -> None:
    """Make the output folder, before the work whose result it is to take."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"`{folder}`: the folder cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"`{folder}`: the folder cannot be written to; give another output")


def _print_record(record: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    elif record["status"] == "restored":
        size = f"{record['width']}x{record['height']}"
        print_line(f"{record['input']} -> {record['output']} ({size}, {record['seconds']:.1f} s)")
    elif record["status"] != "failed":
        print_line(f"{record['input']} -> {record['output']} ({record['status']})")


def _print_summary(records: list[Record], session: "Session", seconds: float, *, as_json: bool) -> None:
    counts = {
        status: sum(record["status"] == status for record in records)
        for status in ("restored", "planned", "skipped", "failed")
    }
    card = session.card
    if as_json:
        model = {"model": card.name, "task": card.task, "scale": card.scale}
        print_json({"summary": {**model, **counts, "seconds": round(seconds, 3)}})
    elif len(records) > 1:
        done = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        print_line(f"{done}; {card.name}, {seconds:.1f} s")
