"""`thinlens restore` for videos: which inputs they are, where results go, and what is printed."""

import glob
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thinlens.cli.output import clean, print_json, print_line
from thinlens.cli.progress import Meter
from thinlens.cli.verb import FAILED, UsageError, line_of, needing_extra, print_error, print_trace

if TYPE_CHECKING:
    from thinlens.cli.checks import Settings
    from thinlens.runtime.restore import Restorer
    from thinlens.video.restore import Plan, VideoSettings

Record = dict[str, object]
PANEL = "Videos"


def parse_rate(text: str) -> Fraction:
    """Read frames a second such as ``25``, ``29.97`` or ``30000/1001``."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:  # no camera is faster than clocks of containers count
        raise typer.BadParameter(f"`--fps`: got '{text}'; accepted: frames a second such as 25, 29.97 or 30000/1001")
    return rate


Codec = Annotated[
    Literal["h264", "hevc", "av1", "vp9", "ffv1"] | None,
    typer.Option(help="Of the picture; default: h264, in WebM vp9.", rich_help_panel=PANEL),
]
Crf = Annotated[
    float | None,
    typer.Option(
        min=0, max=63, metavar="N", help="Quality, lower is better; default: h264 18, hevc 20, av1, vp9 28.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The encoder's: ultrafast to placebo for h264 and hevc, 0 to 13 for av1, 0 to 8 for vp9.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Fps = Annotated[
    Fraction | None,
    typer.Option(metavar="RATE", parser=parse_rate, help="Of numbered pictures; default: 25.", rich_help_panel=PANEL),
]
Segment = Annotated[
    int | None,
    typer.Option(
        min=1, max=100_000, metavar="N", help="Frames that are kept at a time for `--resume`; default: 250.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
DropTracks = Annotated[
    bool,
    typer.Option("--drop-tracks", help="Leave out tracks that OUT's container does not take.", rich_help_panel=PANEL),
]


@dataclass(frozen=True)
class VideoOptions:
    """The options above, as given; None or False: not given."""

    codec: str | None
    crf: float | None
    preset: str | None
    fps: Fraction | None
    segment: int | None
    resume: bool
    drop_tracks: bool

    def given(self) -> list[str]:
        """Those that were given and go with videos alone, as they are written."""
        own = {name: value for name, value in vars(self).items() if name != "resume"}
        return [f"--{name.replace('_', '-')}" for name, value in own.items() if value not in (None, False)]


def wants_video(inputs: Sequence[str], options: VideoOptions) -> bool:
    """Whether the inputs are videos or numbered pictures.

    Raises:
        UsageError: if some are and some are not, or none is and an option of videos was given.
    """
    paths = _expanded(inputs)
    found = [_is_video(path) for path in paths]
    if any(found) and not all(found):
        others = clean(str(paths[found.index(False)]))
        raise UsageError(f"videos and pictures in one list (`{others}` is no video); restore them one after the other")
    if not any(found) and options.given():
        raise UsageError(f"`{options.given()[0]}` goes with videos, and no input is one; leave it out")
    return any(found)


def restore_videos(
    inputs: Sequence[str],
    output: Path,
    restorer: "Restorer",
    options: VideoOptions,
    settings: "Settings",
    *,
    threads: int | None,
    as_json: bool,
) -> int:
    """Check all videos, then restore one after the other; failures are listed at the end."""
    with needing_extra("restoring videos", "video"):
        import av as _  # noqa: F401  # before anything else fails for want of it
    _refuse(settings)
    jobs = _plan_jobs(_expanded(inputs), output)
    chosen = _settings(options, settings, threads)
    begun, records = time.monotonic(), list[Record]()
    with Meter() as meter:
        plans = [_checked(source, target, restorer, chosen, settings) for source, target in jobs]
        for number, ((source, target), plan) in enumerate(zip(jobs, plans, strict=True)):
            if len(jobs) > 1:
                meter.show("videos", number, len(jobs))
            record: Record = {"input": str(source), "output": str(target)}
            record |= _record(plan, source, chosen, meter, dry_run=settings.dry_run)
            records.append(record)
            meter.drop(clean(source.name))
            _print_record(record, as_json=as_json)
    errors = [str(record["error"]) for record in records if "error" in record]
    for line in errors:
        print_error(line)
    _print_summary(records, restorer.task, time.monotonic() - begun, as_json=as_json)
    return FAILED if errors else 0


def _expanded(inputs: Sequence[str]) -> list[Path]:
    """The paths that globs match, sorted; anything else as it is."""
    found = list[Path]()
    for text in inputs:
        matches = sorted(glob.glob(text)) if glob.has_magic(text) and not Path(text).exists() else []  # noqa: PTH207  # takes absolute ones
        found += [Path(match) for match in matches or [text]]
    return found


def _is_video(path: Path) -> bool:
    from thinlens.video.formats import is_sequence, is_video

    return not path.is_dir() and (is_video(path) or (is_sequence(path) and not path.exists()))


def _refuse(settings: "Settings") -> None:
    """Raise UsageError for options that videos have no use for."""
    given = {
        "--format": settings.format is not None,
        "--strip": settings.strip,
        "--max-memory": settings.max_memory is not None,
        "--certify": settings.certify is not None,
    }
    for name, is_given in given.items():
        if is_given:
            raise UsageError(f"`{name}` goes with pictures, not with videos; leave it out")


def _plan_jobs(sources: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Each video and where its result goes: OUT if there is one video and OUT is one, else into the folder OUT."""
    from thinlens.video.formats import CONTAINERS, is_sequence, is_video

    sources = list(dict.fromkeys(sources))
    to_file = is_video(output) or is_sequence(output)
    if to_file and not output.is_dir():
        if len(sources) > 1:
            raise UsageError(f"`{output}` is one file for {len(sources)} videos; give a folder")
        if is_sequence(sources[0]) and is_sequence(output):
            raise UsageError("numbered pictures to numbered pictures is what a folder does: `restore FOLDER -o OUT`")
        jobs = [(sources[0], output)]
    else:
        pattern = next((path for path in sources if is_sequence(path)), None)
        if pattern is not None or output.suffix or (output.exists() and not output.is_dir()):
            kinds = ", ".join(CONTAINERS)
            raise UsageError(
                f"`{output}`: a video's output is a file in {kinds}, pictures such as out/%05d.png, or a folder"
            )
        jobs = [(path, output / path.name) for path in sources]
    seen = dict[Path, Path]()
    for source, target in jobs:
        place = target.resolve()
        if place in seen or place in {path.resolve() for path in sources}:
            other = seen.get(place, source)
            raise UsageError(f"`{source}`: its output `{target}` would replace `{other}`; give another output")
        seen[place] = source
    return jobs


def _settings(options: VideoOptions, settings: "Settings", threads: int | None) -> "VideoSettings":
    from thinlens.video.restore import VideoSettings

    return VideoSettings(
        codec=options.codec,
        crf=options.crf,
        preset=options.preset,
        segment=options.segment or VideoSettings.segment,
        fps=options.fps or VideoSettings.fps,
        resume=options.resume,
        overwrite=settings.overwrite,
        drop_tracks=options.drop_tracks,
        max_pixels=settings.max_pixels,
        jpeg_quality=settings.jpeg_quality,
        threads=threads,
    )


def _checked(
    source: Path, target: Path, restorer: "Restorer", chosen: "VideoSettings", settings: "Settings"
) -> "Plan | Exception | None":
    """The plan of a video; what forbids it; or None if its output is there and may stay."""
    from thinlens.cli.jobs import make_folder
    from thinlens.video.restore import check, was_finished

    if settings.skip_existing and os.path.lexists(target):
        return None
    try:
        if chosen.resume and not chosen.overwrite and was_finished(target):
            return None
        plan = check(source, target, restorer, chosen)
        if not settings.dry_run:
            make_folder(target.parent)
    except Exception as error:  # noqa: BLE001  # whatever is wrong with one video, the others are done
        print_trace(error)
        return error
    return plan


def _record(
    plan: "Plan | Exception | None", source: Path, chosen: "VideoSettings", meter: Meter, *, dry_run: bool
) -> Record:
    """Restore one video; what its record says besides the names."""
    if plan is None:
        return {"status": "skipped"}
    if isinstance(plan, Exception):
        return _failed(plan, source)
    facts = _facts(plan)
    if dry_run:
        return {"status": "planned", **facts}
    from thinlens.video.restore import kept, run

    _say(plan, source, meter)
    begun, name = time.monotonic(), clean(source.name)

    def progress(done: int, total: int) -> None:
        meter.show(name, done, total, note=f"{done / max(time.monotonic() - begun, 1e-3):.1f} frames/s")

    try:
        return {"status": "restored", **facts, **run(plan, chosen, progress)}
    except KeyboardInterrupt:
        if line := kept(plan, chosen):
            meter.say(f"thinlens: {line}")
        raise
    except Exception as error:  # noqa: BLE001  # as above
        print_trace(error)
        return _failed(error, source, kept(plan, chosen))


def _failed(error: Exception, source: Path, advice: str | None = None) -> Record:
    line, name = line_of(error), clean(str(source))
    line = line if name in line else f"`{name}`: {line}"
    return {"status": "failed", "error": f"{line}; {advice}" if advice else line}


def _say(plan: "Plan", source: Path, meter: Meter) -> None:
    """Tell, before work begins, what the user should know."""
    strength, session = plan.route.strength, plan.route.session
    lines = [*plan.notes]
    if strength is not None and session is not None:
        lines.append(f"first frame: {strength.describe(session.card)}")
    for line in lines:
        meter.say(f"thinlens: `{clean(source.name)}`: {line}")


def _facts(plan: "Plan") -> Record:
    session, (height, width) = plan.route.session, plan.route.target
    facts: Record = {"width": width, "height": height, "model": None if session is None else session.card.name}
    if plan.encoding is not None:
        facts["encoder"] = plan.encoding.encoder
    if plan.route.strength is not None:
        facts |= plan.route.strength.facts()
    return facts | ({"notes": list(plan.notes)} if plan.notes else {})


def _print_record(record: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    elif record["status"] != "failed":
        words = [] if record["status"] == "restored" else [str(record["status"])]
        words += [f"{record['width']}x{record['height']}"] if "width" in record else []
        if "fps" in record:
            words.append(f"{record['frames']} frames, {record['seconds']:.1f} s, {record['fps']} frames/s")
        print_line(f"{record['input']} -> {record['output']} ({', '.join(words)})")


def _print_summary(records: list[Record], task: str, seconds: float, *, as_json: bool) -> None:
    counts = {
        status: sum(record["status"] == status for record in records)
        for status in ("restored", "planned", "skipped", "failed")
    }
    models = sorted({str(record["model"]) for record in records if record.get("model")})
    if as_json:
        print_json({"summary": {"task": task, "models": models, **counts, "seconds": round(seconds, 3)}})
    elif len(records) > 1:
        done = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        print_line("; ".join([done, *models, f"{seconds:.1f} s"]))
