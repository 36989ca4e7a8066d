"""Reading videos: what a file says of its video track, and its frames one after the other."""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from thinlens.errors import VideoError
from thinlens.video.formats import DEMUXERS, LAYOUTS, Layout

HDR = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "DYNAMIC_HDR_PLUS", "DOVI_RPU_BUFFER", "DOVI_METADATA"
ENDS_EARLY = 0.5  # seconds that the picture may end before its track does, by rounding and edits


@dataclass(frozen=True)
class Tags:
    """What the values of a track mean, in the numbers of ITU-T H.273; 2 (range: 0) is not specified."""

    primaries: int
    transfer: int
    matrix: int
    range: int


@dataclass(frozen=True)
class Track:
    """What a video says of its picture.

    Args:
        width: of a frame as it is stored, before any rotation.
        height: of the same.
        pixels: the name of the pixel format.
        layout: where it keeps its values.
        time_base: what timestamps count.
        rate: average frames a second.
        frames: how many there are, as far as is known; 0: not known.
        tags: the meaning of the values.
        aspect: of a pixel, width over height; None: not specified.
        matrix: the nine numbers by which players turn the picture; None: they do not.
        extra: kinds of HDR metadata in the frames, which are not carried over.
    """

    width: int
    height: int
    pixels: str
    layout: Layout
    time_base: Fraction
    rate: Fraction
    frames: int
    tags: Tags
    aspect: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    extra: tuple[str, ...] = ()

    @property
    def full(self) -> bool:
        """Whether luma is full-range."""
        return self.layout.full or self.tags.range == 2


@contextlib.contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a video file.

    Raises:
        VideoError: if it is missing, or none that can be read.
    """
    if not path.is_file():
        raise VideoError(f"`{path}`: {'is a folder' if path.is_dir() else 'no such file'}; give a video file")
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"`{path}`: no video that can be read ({reason(error)}); accepted: whole MP4, MOV, MKV and WebM files"
        ) from error
    with container:
        yield container


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video track that is no cover picture; `VideoError` if there is none."""
    for stream in container.streams.video:
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails):
            if stream.codec_context is None:
                raise VideoError(f"`{path}`: its video track is of a codec that is not known here")
            return stream
    raise VideoError(f"`{path}`: no video track; give a file that has one")


def read_track(path: Path, *, max_pixels: int = 500_000_000) -> Track:
    """What a file says of its picture, its first frame decoded, which may have so many pixels.

    Raises:
        VideoError: if the file cannot be read, has no frames, or its pixels are of a kind that is not taken.
    """
    with opened(path) as container:
        stream = picture_stream(container, path)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > max_pixels:
            raise VideoError(
                f"`{path}`: {width}x{height}, `--max-pixels` accepts {max_pixels} pixels; raise it if need be"
            )
        frame = next(_decoded(container, stream, path), None)
        if frame is None:
            raise VideoError(f"`{path}`: the video track has no frame; give a file that has one")
        pixels, layout = frame.format.name, LAYOUTS.get(frame.format.name)
        if layout is None:
            raise VideoError(
                f"`{path}`: pixel format {pixels}; accepted: {', '.join(LAYOUTS)}; convert it with ffmpeg's `-pix_fmt`"
            )
        if frame.interlaced_frame:
            raise VideoError(f"`{path}`: the picture is interlaced; deinterlace it first, as with ffmpeg's `-vf bwdif`")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        if stream.time_base is None:
            raise VideoError(f"`{path}`: the video track has no time base; remux the file")
        return Track(
            width=frame.width,
            height=frame.height,
            pixels=pixels,
            layout=layout,
            time_base=stream.time_base,
            rate=rate,
            frames=_count(container, stream, rate),
            tags=Tags(int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace), int(frame.color_range)),
            aspect=stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or None,
            matrix=_display_matrix(frame),
            extra=tuple(name for name in HDR if frame.side_data.get(name) is not None),
        )


def decode(path: Path, track: Track, threads: int) -> Iterator[VideoFrame]:
    """The frames of a video in the order they are shown.

    Raises:
        VideoError: where the file is damaged, ends early, or its picture changes size.
    """
    with opened(path) as container:
        stream = picture_stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        count, last = 0, None
        for frame in _decoded(container, stream, path):
            found = frame.width, frame.height, frame.format.name
            if found != (track.width, track.height, track.pixels):
                raise VideoError(
                    f"`{path}`: frame {count} is {found[0]}x{found[1]} {found[2]}, those before are "
                    f"{track.width}x{track.height} {track.pixels}; cut the file there"
                )
            if frame.pts is None or (last is not None and frame.pts <= last):
                raise VideoError(f"`{path}`: frame {count} has no later timestamp than the one before; remux the file")
            count, last = count + 1, frame.pts
            yield frame
        if last is not None and _ends_early(stream, last, track.rate):
            raise VideoError(f"`{path}`: ends after {count} frames, before its time; the file is damaged")


def _decoded(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    count = 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise VideoError(f"`{path}`: damaged after {count} frames; mend or cut it with ffmpeg")
            for frame in packet.decode():
                count += 1
                yield frame
    except av.FFmpegError as error:
        raise VideoError(f"`{path}`: damaged after {count} frames ({reason(error)})") from error


def _ends_early(stream: VideoStream, last: int, rate: Fraction) -> bool:
    """Whether the last frame stands well before the end that the track announces."""
    if stream.duration is None or stream.time_base is None:
        return False
    left = (stream.start_time or 0) + stream.duration - last
    return left * stream.time_base > 2 / rate + Fraction(ENDS_EARLY)


def _count(container: InputContainer, stream: VideoStream, rate: Fraction) -> int:
    """Frames of a track, as far as the file tells without being read through."""
    if stream.frames:
        return stream.frames
    if stream.duration is not None and stream.time_base is not None:
        return round(stream.duration * stream.time_base * rate)
    return round(container.duration * rate / av.time_base) if container.duration else 0


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else struct.unpack("=9i", memoryview(cast(Buffer, data)))


def reason(error: Exception) -> str:
    """What a library says went wrong, in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
