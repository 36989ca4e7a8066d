"""One video from file to file: what can be told before any work, and the work."""

import contextlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from av.video.frame import VideoFrame

from thinlens.atomic import remove_abandoned
from thinlens.errors import OutputError, VideoError
from thinlens.image.formats import check_format, format_of_suffix
from thinlens.model.file import Tensors
from thinlens.runtime.restore import Restorer, Route
from thinlens.runtime.session import usable_cpus
from thinlens.runtime.strength import Strength
from thinlens.video import sequence, source
from thinlens.video.encode import Encoding, check_pixels, encoder_options
from thinlens.video.formats import UNSPECIFIED, default_codec, is_sequence, numbered
from thinlens.video.frames import create_frame_restorer, find_route
from thinlens.video.levels import Levels
from thinlens.video.mux import check_codec, find_lost_tags, find_misfits, kind_of, mux
from thinlens.video.planes import ToRgb, matrix_of, planes_of
from thinlens.video.segments import SegmentEncoder, Settings, WorkFolder
from thinlens.video.source import Tags, Track
from thinlens.video.worker import Worker

Progress = Callable[[int, int], None]
TELL_ASPECT = "libx264", "libx265"  # encoders whose streams tell the shape of pixels


@dataclass(frozen=True)
class VideoSettings:
    """How videos are read and written.

    Args:
        codec: a key of `ENCODERS`; None: what suits the container.
        crf: quality of the encoder, lower is better.
        preset: of the encoder.
        segment: frames of a segment.
        fps: of picture sequences.
        resume: go on with a run that was broken off.
        overwrite: replace outputs, and runs that were broken off.
        drop_tracks: leave out tracks that the output's container does not take.
        max_pixels: refuse larger frames.
        jpeg_quality: of JPEG frames.
        threads: None: as many as the process may use.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    segment: int = 250
    fps: Fraction = Fraction(25)
    resume: bool = False
    overwrite: bool = False
    drop_tracks: bool = False
    max_pixels: int = 500_000_000
    jpeg_quality: int = 95
    threads: int | None = None


@dataclass(frozen=True)
class Plan:
    """A video after its checks.

    Args:
        source: a video, or the pattern of picture files.
        target: a video, or the pattern of picture files.
        track: the source's picture.
        route: of its frames.
        encoding: of the output; None: picture files.
        notes: what the user should know.
    """

    source: Path
    target: Path
    track: Track
    route: Route
    encoding: Encoding | None
    notes: tuple[str, ...]


class _Sink(Protocol):
    """Where restored frames go."""

    def put(self, frame: VideoFrame) -> None:
        """Take a frame."""
        ...

    def finish(self) -> None:
        """Do what is left."""
        ...

    def stop(self) -> None:
        """Give up what is in work."""
        ...


def check(source_path: Path, target: Path, restorer: Restorer, settings: VideoSettings) -> Plan:
    """Settle how a video is restored, and find what forbids it, before any work.

    Raises:
        VideoError, ImageError: if the source cannot be read, or the output cannot hold it.
        OutputError: if the output exists.
        UnknownNameError: if no network makes a result that large.
    """
    from_pictures, to_pictures = is_sequence(source_path), is_sequence(target)
    _check_output(target, settings)
    if from_pictures:
        track = sequence.read_track(source_path, settings.fps)
    else:
        track = source.read_track(source_path, max_pixels=settings.max_pixels)
    route = find_route(track, restorer, _strength(source_path, track, restorer, settings))
    height, width = route.target
    if max(height * width, track.height * track.width) > settings.max_pixels:
        raise VideoError(
            f"`{source_path}`: {track.width}x{track.height} to {width}x{height}, `--max-pixels` accepts "
            f"{settings.max_pixels} pixels; raise it if the file is to be trusted"
        )
    notes = [] if route.note is None else [route.note]
    if track.extra:
        notes.append(f"HDR metadata is not carried over: {', '.join(track.extra)}")
    encoding = None
    if to_pictures:
        _check_pictures(target, track, route)
        notes += ["sound, subtitles and tags stay behind: picture files have none"] * (not from_pictures)
    else:
        encoding = _encoding(target, track, route, settings)
        notes += [*_tag_note(track, encoding), *_aspect_note(target, encoding)]
        if not from_pictures:
            notes += _track_notes(source_path, target, settings)
    create_frame_restorer(track, route)
    return Plan(source_path, target, track, route, encoding, tuple(notes))


def run(plan: Plan, settings: VideoSettings, progress: Progress) -> dict[str, object]:
    """Restore a video that passed its checks.

    Args:
        plan: of the video.
        settings: as for `check`.
        progress: called with (frames done, frames in all as far as known), from the calling thread.

    Returns:
        For a record: ``frames`` of the output, ``frames_resumed`` that were there already, ``seconds``, ``fps``.

    Raises:
        VideoError, ImageError: if the source is damaged.
        OutputError: if the disk refuses.
    """
    begun = time.monotonic()
    if plan.encoding is None:
        done, count = _to_pictures(plan, settings, progress)
    else:
        done, count = _to_video(plan, settings, progress)
    seconds = time.monotonic() - begun
    made = count - done
    return {
        "frames": count,
        "frames_resumed": done,
        "seconds": round(seconds, 3),
        "fps": round(made / seconds, 2) if seconds else 0.0,
    }


def was_finished(target: Path) -> bool:
    """Whether a video is there, and all of it: no run was begun after it; what such a run left behind goes."""
    folder = WorkFolder(target)
    if not target.is_file() or any(path.stat().st_mtime > target.stat().st_mtime for path in folder.finished()):
        return False
    folder.remove()
    return True


def kept(plan: Plan, settings: VideoSettings) -> str | None:
    """What a run that was broken off leaves, and how to go on; None: nothing."""
    folder = WorkFolder(plan.target)
    if plan.encoding is not None and (count := len(folder.finished())):
        return f"about {count * settings.segment} frames are kept in `{folder.path}`; `--resume` goes on with them"
    if plan.encoding is None and numbered(plan.target, 1).exists():
        return "`--resume` goes on after the pictures that are there"
    return None


def _to_video(plan: Plan, settings: VideoSettings, progress: Progress) -> tuple[int, int]:
    """Frames that were there, and frames of the output."""
    if plan.encoding is None:
        raise VideoError("no encoder was chosen")
    folder = WorkFolder(plan.target)
    journal = _journal(plan, settings)
    folder.begin(journal, resume=settings.resume)
    remove_abandoned(plan.target.parent)
    encoding = replace(plan.encoding, threads=int(journal["threads"] or 1))
    done = len(folder.finished()) * settings.segment
    try:
        encoder = SegmentEncoder(encoding, folder, done // settings.segment, settings.segment)
        _pump(plan, settings, progress, done, encoder)
        segments = folder.finished()
        if not segments:
            raise VideoError(f"`{plan.source}`: no frame was decoded")
        original = None if is_sequence(plan.source) else plan.source
        count = mux(segments, encoding, plan.track, plan.target, source=original, overwrite=settings.overwrite)
    finally:
        if not folder.finished():
            folder.remove()
    folder.remove()
    return min(done, count), count


def _to_pictures(plan: Plan, settings: VideoSettings, progress: Progress) -> tuple[int, int]:
    plan.target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(plan.target.parent)
    done = 0
    while settings.resume and numbered(plan.target, done + 1).is_file():
        done += 1
    to_rgb = _to_rgb(plan.track)
    return done, _pump(
        plan, settings, progress, done, sequence.PictureWriter(plan.target, to_rgb, done + 1, settings.jpeg_quality)
    )


def _pump(plan: Plan, settings: VideoSettings, progress: Progress, done: int, sink: _Sink) -> int:
    """Restore the frames after the first ``done``; how many there are in all."""

    def work(worker: Worker) -> None:
        restorer = create_frame_restorer(plan.track, plan.route)
        try:
            for number, frame in enumerate(_frames(plan.source, plan.track, settings)):
                if number >= done:
                    restored = restorer.run(frame)
                    restored.pts, restored.duration = frame.pts, frame.duration
                    restored.time_base = plan.track.time_base
                    sink.put(restored)
                worker.count()
            sink.finish()
        except BaseException:
            sink.stop()
            raise

    return Worker(work).watch(lambda count: progress(count, max(count, plan.track.frames)))


def _frames(path: Path, track: Track, settings: VideoSettings) -> Iterator[VideoFrame]:
    if is_sequence(path):
        return sequence.decode(path, track, max_pixels=settings.max_pixels)
    return source.decode(path, track, settings.threads or usable_cpus())


def _strength(path: Path, track: Track, restorer: Restorer, settings: VideoSettings) -> Strength | None:
    """Of the damage, by the first frame."""
    if restorer.task == "sr":
        return None
    frame = next(iter(_frames(path, track, settings)))
    if track.layout.rgb:
        return restorer.strength(frame.to_ndarray())
    luma = planes_of(frame, track.layout)[0]
    return restorer.strength(Levels(track.layout.bits, full=track.full).to_full(luma))


def _check_output(target: Path, settings: VideoSettings) -> None:
    if is_sequence(target):
        there = next((p for n in (0, 1) if (p := numbered(target, n)).exists()), None)
    else:
        WorkFolder(target).check(resume=settings.resume, overwrite=settings.overwrite)
        there = target if os.path.lexists(target) else None
    if there is not None and not settings.overwrite and not (settings.resume and is_sequence(target)):
        raise OutputError(f"`{there}` exists; `--overwrite` replaces it, `--skip-existing` leaves it")


def _check_pictures(target: Path, track: Track, route: Route) -> None:
    _to_rgb(track)
    dtype = np.dtype(np.uint8 if track.layout.bits == 8 else np.uint16)
    check_format(format_of_suffix(target) or "png", *route.target, 3, dtype)


def _to_rgb(track: Track) -> ToRgb:
    matrix = matrix_of(track.tags, track.width, track.height)
    return ToRgb(matrix, full=track.full, bits=track.layout.bits)


def _encoding(target: Path, track: Track, route: Route, settings: VideoSettings) -> Encoding:
    codec = settings.codec or default_codec(target)
    encoder, options = encoder_options(codec, settings.crf, settings.preset)
    check_pixels(codec, track.layout.planar)
    encoding = Encoding(
        encoder=encoder,
        options=options,
        width=route.target[1],
        height=route.target[0],
        pixels=track.layout.planar,
        time_base=track.time_base,
        rate=track.rate,
        tags=_tags(track, route),
        aspect=track.aspect,
        threads=settings.threads or usable_cpus(),
    )
    check_codec(encoding, target)
    encoding.open()
    return encoding


def _tags(track: Track, route: Route) -> Tags:
    """The source's; the matrix is named where players would guess another for the larger picture."""
    tags, guess = track.tags, matrix_of(track.tags, track.width, track.height)
    full = 2 if track.layout.full else tags.range
    if tags.matrix == UNSPECIFIED and guess == matrix_of(tags, route.target[1], route.target[0]):
        guess = UNSPECIFIED
    return Tags(tags.primaries, tags.transfer, guess, full)


def _tag_note(track: Track, encoding: Encoding) -> list[str]:
    if encoding.tags.matrix == track.tags.matrix:
        return []
    return ["tagged BT.601, as players take untagged video of the input's size, but not of the output's"]


def _aspect_note(target: Path, encoding: Encoding) -> list[str]:
    """Matroska keeps the shape of pixels beside the stream, where PyAV writes none; some streams tell it themselves."""
    if encoding.aspect is None or encoding.aspect == 1:
        return []
    if kind_of(target) in ("mp4", "mov") or encoding.encoder in TELL_ASPECT:
        return []
    aspect = f"{encoding.aspect.numerator}:{encoding.aspect.denominator}"
    return [f"pixels of {aspect} come out square: {target.suffix} holds no aspect for this codec here"]


def _track_notes(path: Path, target: Path, settings: VideoSettings) -> list[str]:
    """What the container does not take, by name.

    Raises:
        VideoError: if that is more than data, and nothing says that it may be left out.
    """
    tracks, data = find_misfits(path, target)
    if tracks and not settings.drop_tracks:
        raise VideoError(
            f"`{path}`: {target.suffix} does not take {', '.join(tracks)}; give an output in .mkv, or leave them out "
            "with `--drop-tracks`"
        )
    notes = [f"left out: {', '.join([*tracks, *data])}, which {target.suffix} does not take"] if tracks or data else []
    if lost := find_lost_tags(path, target):
        notes.append(f"left out: tags {', '.join(lost)}, which {target.suffix} does not take beside a cover")
    return notes


def _checksum(tensors: Tensors) -> int:
    """Of all weights, by which two models of the same name are told apart."""
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(np.ascontiguousarray(tensors[name]).tobytes(), found)
    return found


def _journal(plan: Plan, settings: VideoSettings) -> Settings:
    """Everything that the frames of the output depend on."""
    encoding, session = plan.encoding, plan.route.session
    if encoding is None:
        return {}
    found: Settings = {
        "source": plan.source.name,
        "model": None if session is None else session.card.name,
        "weights": 0 if session is None else _checksum(session.model.tensors),
        "width": encoding.width,
        "height": encoding.height,
        "encoder": encoding.encoder,
        "pixels": encoding.pixels,
        "segment": settings.segment,
        "threads": encoding.threads,
        **{f"encoder {key}": value for key, value in sorted(encoding.options.items())},
    }
    with contextlib.suppress(OSError):
        stat = plan.source.stat()
        found |= {"source bytes": stat.st_size, "source time": stat.st_mtime_ns}
    return found
