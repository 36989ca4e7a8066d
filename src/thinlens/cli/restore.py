"""`thinlens restore`: image files in, restored image files out."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thinlens.cli.budget import HELP, Budget, parse_budget
from thinlens.cli.options import Json, Overwrite, Recursive, Threads, parse_bytes, parse_size
from thinlens.cli.output import clean
from thinlens.cli.progress import Meter
from thinlens.cli.verb import UsageError, is_debug, line_of, print_error, print_trace
from thinlens.cli.video import (
    Codec,
    Crf,
    DropTracks,
    Fps,
    Preset,
    Segment,
    VideoOptions,
    restore_videos,
    wants_video,
)  # fmt: skip
from thinlens.errors import ShapeError

if TYPE_CHECKING:
    from thinlens.cli.checks import Settings, Step
    from thinlens.runtime.certify import Certified
    from thinlens.runtime.restore import AnyImage, Restorer, Route, Wish

Task = Literal["sr", "denoise", "deblock"]
Prefer = Literal["speed", "balanced", "quality"]
Format = Literal["same", "png", "jpeg", "tiff", "webp"]
Certify = Literal["report", "repair"]
Record = dict[str, object]


def restore(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Image files, globs, folders; or videos.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="OUT", readable=False, help="A folder; or, for one input file, an image file."
        ),
    ],
    task: Annotated[Task | None, typer.Option(help="What to do; default: the model's own, else sr.")] = None,
    scale: Annotated[
        float | None,
        typer.Option(metavar="2|3|4|8|2.5", help="A network's, or any decimal; default: the model's own, else 2."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Exactly this size, stretched if need be, instead of a scale.")
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(min=0, max=255, metavar="0..255", help="For denoise: of the noise; default: estimated."),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, metavar="1..100", help="For deblock: of the JPEG; default: read from it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A shipped model's name, or a path to a model file.")
    ] = None,
    prefer: Annotated[
        Prefer | None, typer.Option(help="Which shipped model, if none is named; default: balanced.")
    ] = None,
    budget: Annotated[
        Budget | None,
        typer.Option(metavar="TIME@SIZE,MEMORY", parser=parse_budget, help=f"Choose the model by it. {HELP}"),
    ] = None,
    format: Annotated[Format, typer.Option(help="Of the results.")] = "same",
    jpeg_quality: Annotated[
        int, typer.Option(min=1, max=100, metavar="1..100", help="Of JPEG results, written 4:4:4.")
    ] = 95,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out colour profile and EXIF.")] = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, metavar="N", help="Refuse images whose result would have more pixels.")
    ] = 500_000_000,
    max_memory: Annotated[
        int | None,
        typer.Option(metavar="SIZE", parser=parse_bytes, help="Refuse images that would take more, such as 2GiB."),
    ] = None,
    recursive: Recursive = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out images whose output exists.")
    ] = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be read and written.")] = False,
    certify: Annotated[
        Certify | None,
        typer.Option(help="Bring each result back down: report how far it departs from its image, or repair that."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that share the files, and -j's threads, out.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run into this folder, or the video, that was cut off.")
    ] = False,
    on: Annotated[
        str | None, typer.Option(metavar="ray[://HOST:PORT]", help="Restore on a Ray cluster; or start a local one.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    codec: Codec = None,
    crf: Crf = None,
    preset: Preset = None,
    fps: Fps = None,
    segment: Segment = None,
    drop_tracks: DropTracks = False,
) -> int:
    """Restore images by a network that ships with thinlens, or by your own: enlarge, denoise, or deblock JPEGs.

    A folder's own images are taken, -r goes into subfolders. Nothing is overwritten unless told.

    Videos are named one by one: in.mp4 -o out.mp4, also frames/%05d.png -o out.mp4 and in.mp4 -o out/%05d.png.

    A decimal scale, or a size, is made by the next larger network and bicubic down from there.

    --certify writes OUT_certify.png beside each result: black where it agrees with the image, white 16 levels off.
    """
    from thinlens.cli.batch import Orders, run_batch, threads_of
    from thinlens.cli.checks import Settings
    from thinlens.runtime.restore import Wish

    if skip_existing and overwrite:
        raise UsageError("`--skip-existing` and `--overwrite` contradict each other; give one of them")
    if model is not None and prefer is not None:
        raise UsageError("`--prefer` chooses a model and `--model` names one; give one of them")
    wished = None if size is None else parse_size(size)
    wish = Wish(task, scale, wished, model, prefer, sigma, quality)
    threads = threads_of(threads, workers, on)
    if budget is not None:
        if workers is not None or on is not None:
            raise UsageError("`--budget` is that of one process here; `--workers` and `--on` use more; leave them out")
        wish = _within(budget, wish, threads)
    restorer = _restorer(wish, threads, certify)
    target_format = None if format == "same" else format
    settings = Settings(
        target_format, jpeg_quality, strip, max_pixels, max_memory, skip_existing, overwrite, dry_run, certify
    )
    video = VideoOptions(codec, crf, preset, fps, segment, resume, drop_tracks)
    if wants_video(inputs, video):
        if workers is not None or on is not None:
            raise UsageError(
                "`--workers` and `--on` share out files; a video is restored frame after frame; leave them out"
            )
        return restore_videos(inputs, output, restorer, video, settings, threads=threads, as_json=as_json)
    orders = Orders(wish, threads, settings, workers, resume, on, is_debug())
    return run_batch(inputs, output, orders, restorer, recursive=recursive, as_json=as_json)


def _within(budget: Budget, wish: "Wish", threads: int | None) -> "Wish":
    """The wish with the model that keeps a budget, which stderr tells.

    Raises:
        UsageError: if the wish says otherwise which model runs, or not which scale.
        BudgetError: if no model keeps it.
    """
    from thinlens.cli.choose import choose_within
    from thinlens.models import DEFAULTS

    for name, given in (("model", wish.model), ("prefer", wish.prefer)):
        if given is not None:
            raise UsageError(f"`--budget` and `--{name}` both say which model runs; give one of them")
    task, scale = wish.task or "sr", wish.scale or 2
    if wish.size is not None or (task == "sr" and scale <= 1):
        raise UsageError("`--budget` needs a scale above 1, the same for all images; give `--scale`, or leave it out")
    scales = [s for known, s in DEFAULTS if known == task and s >= scale]
    choice = choose_within(budget, task, min(scales, default=math.ceil(scale)) if task == "sr" else 1, threads=threads)
    print_error(choice.describe())
    return replace(wish, model=choice.best().name)


def _restorer(wish: "Wish", threads: int | None, certify: Certify | None) -> "Restorer":
    """What restores as is wished; wishes that contradict each other are the caller's mistake."""
    from thinlens.runtime.restore import Restorer

    try:
        restorer = Restorer(wish, threads=threads)
    except ShapeError as error:
        raise UsageError(str(error)) from error
    if certify is not None and restorer.task != "sr":
        raise UsageError(
            f"`--certify` brings enlarged images back down; task {restorer.task} keeps the size; leave it out"
        )
    return restorer


def restore_step(step: "Step", restorer: "Restorer", settings: "Settings", meter: Meter) -> Record:
    """Restore one file; what its record says besides the names."""
    error = step.error
    if step.status == "planned":
        try:
            return _restore(step, restorer, settings, meter)
        except Exception as raised:  # noqa: BLE001  # whatever is wrong with one file, the others are done
            print_trace(raised)
            error = raised
    return {"status": step.status} if error is None else {"status": "failed", "error": located(error, step.job.source)}


def located(error: Exception, source: Path) -> str:
    """An error as one line that names the file."""
    line, name = line_of(error), clean(str(source))
    return line if name in line else f"`{name}`: {line}"


def _restore(step: "Step", restorer: "Restorer", settings: "Settings", meter: Meter) -> Record:
    """Restore one file that passed its checks, or tell what that would give.

    Raises:
        ImageError, OutputError, OSError: if the file cannot be read, restored or written.
    """
    from thinlens.cli.checks import heat_map_of
    from thinlens.cli.jobs import make_folder
    from thinlens.image.files import ImageFile, read_image, write_image
    from thinlens.image.formats import count_channels

    job, route = step.job, step.route
    if route is None or settings.dry_run:
        return _facts("planned", route, step.note) | (step.bands.facts() if step.bands else {})
    begun, name = time.monotonic(), clean(job.source.name)
    if step.bands is not None:
        return _restore_bands(step, restorer, settings, meter)
    overwrite = job.overwrites(settings.overwrite)
    image = read_image(job.source, max_pixels=settings.max_pixels)
    strength = restorer.strength(image.pixels, image.table)
    height, width = image.pixels.shape[:2]  # the header's, unless the file has changed since
    route = restorer.route(height, width, strength, gray=count_channels(image.pixels) < 3)
    if strength is not None and route.session is not None:
        meter.say(f"thinlens: `{name}`: {strength.describe(route.session.card)}")
    make_folder(job.target.parent)
    restored = route.run(image.pixels, progress=lambda done, rows: meter.show(name, done, rows))
    certified = _certify(settings, route, image.pixels, restored)
    image = replace(image, pixels=restored if certified is None else certified.image)  # the old pixels may go
    write_image(
        job.target,
        image,
        format=step.format,
        jpeg_quality=settings.jpeg_quality,
        strip=settings.strip,
        overwrite=overwrite,
    )
    facts = _facts("restored", route, step.note)
    if certified is not None:
        path = heat_map_of(job)
        write_image(path, ImageFile(certified.heat, "png"), format="png", overwrite=overwrite)
        facts |= {"certify": certified.facts() | {"heat_map": str(path)}, "consistency": certified.describe()}
    return facts | {"seconds": round(time.monotonic() - begun, 3)}


def _restore_bands(step: "Step", restorer: "Restorer", settings: "Settings", meter: Meter) -> Record:
    """Restore one file in bands; as `_restore`."""
    from thinlens.cli.huge import restore_bands
    from thinlens.cli.jobs import make_folder

    begun = time.monotonic()
    make_folder(step.job.target.parent)
    route, facts = restore_bands(step, restorer, settings, meter)
    return _facts("restored", route) | facts | {"seconds": round(time.monotonic() - begun, 3)}


def _certify(settings: "Settings", route: "Route", lq: "AnyImage", restored: "AnyImage") -> "Certified | None":
    """Bring a result back down, and repair it, if asked for; None: it is not."""
    if route.session is None or settings.certify is None:
        return None
    from thinlens.runtime.certify import certify

    return certify(lq, restored, route.session.model, settings.certify, threads=route.threads)


def _facts(status: str, route: "Route | None", note: str | None = None) -> Record:
    """What a record says of a route: size of the result, model, and what the user should know."""
    if route is None:
        return {"status": status}
    model = None if route.session is None else route.session.card.name
    facts: Record = {"status": status, "width": route.target[1], "height": route.target[0], "model": model}
    if route.strength is not None:
        facts |= route.strength.facts()
    notes = [text for text in (route.note, note) if text is not None]
    return facts | {"note": "; ".join(notes)} if notes else facts
