"""The last step: the encoded picture and everything else of the source into one file.

All other tracks are copied packet by packet, never encoded anew. Decoding times of the picture are worked out here from
the timestamps alone: packet ``i`` is due at timestamp ``i - D``, ``D`` being how far the encoder reorders. So segments
join whatever the spacing of their frames.
"""

import heapq
import io
import itertools
from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from thinlens.atomic import replacing
from thinlens.errors import OutputError, VideoError
from thinlens.video.encode import Encoding
from thinlens.video.formats import CONTAINERS
from thinlens.video.segments import read_head, read_segment
from thinlens.video.source import Track, opened, picture_stream, reason

OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder"}  # not of what is in it
NO_TEXT = b"\0\0"  # between two subtitles of MP4; its muxer makes them anew
# What MP4 has places for; other keys go into a list that fewer players show.
COMMON_TAGS = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping",
    "location", "location-eng", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords",
    "creation_time", "language",
}  # fmt: skip


def describe(stream: Stream) -> str:
    """A track by name: ``subtitle track 3 (subrip)``."""
    return f"{stream.type} track {stream.index} ({stream.name or 'of no known codec'})"


def other_streams(container: InputContainer, picture: VideoStream) -> list[Stream]:
    """All tracks but the picture and what muxers make anew from chapters and tags: names of chapters, time code."""
    return [
        stream
        for stream in container.streams
        if stream.index != picture.index
        and not (stream.type == "data" and (stream.discard == Discard.all or "timecode" in stream.metadata))
    ]


def kind_of(target: Path) -> str:
    """The muxer of an output, by its suffix."""
    return CONTAINERS[target.suffix.lower()]


def find_misfits(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Tracks that the target's container does not take, by name: those that matter, and those of raw data."""
    tracks, data = list[str](), list[str]()
    with opened(source) as container:
        for stream in other_streams(container, picture_stream(container, source)):
            if not _fits(stream, kind_of(target)):
                (data if stream.type == "data" else tracks).append(describe(stream))
    return tracks, data


def check_codec(encoding: Encoding, target: Path) -> None:
    """Raise `VideoError` if the target's container does not take the encoder's codec."""
    with av.open(io.BytesIO(), "w", format=kind_of(target)) as trial:
        try:
            trial.add_stream(encoding.encoder, rate=encoding.rate)
        except ValueError as error:
            raise VideoError(f"`{target}`: {reason(error)}; give another `--codec`, or an output in .mkv") from error


def _fits(stream: Stream, kind: str) -> bool:
    """Whether the container takes a track, by the muxer's own word."""
    trial = av.open(io.BytesIO(), "w", format=kind)
    try:
        _copied(trial, stream)
        trial.start_encoding()
        trial.close()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _copied(output: OutputContainer, stream: Stream) -> Stream:
    """A track of the output that takes another's packets as they are."""
    copy = output.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def mux(
    segments: Sequence[Path], encoding: Encoding, track: Track, target: Path, *, source: Path | None, overwrite: bool
) -> int:
    """Write the output, atomically.

    Args:
        segments: in order.
        encoding: that made them.
        track: the source's picture.
        target: the file to write.
        source: whose other tracks, tags and chapters are copied; None: there are none.
        overwrite: replace an existing file.

    Returns:
        How many frames there are.

    Raises:
        OutputError: if the file exists, or the disk refuses.
        VideoError: if segments are damaged, or do not belong together.
    """
    if len({read_head(path) for path in segments}) != 1:
        raise VideoError(
            f"`{segments[0].parent}`: its segments are of different encoders; begin anew with `--overwrite`"
        )
    with replacing(target, overwrite=overwrite) as temporary:
        try:
            if source is None:
                count = _write(temporary, segments, encoding, track, target, None)
            else:
                with opened(source) as container:
                    count = _write(temporary, segments, encoding, track, target, (container, source))
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, VideoError | OutputError):
                raise
            raise OutputError(f"`{target}`: cannot be written: {reason(error)}") from error
        if _count_packets(temporary) != count:
            raise OutputError(f"`{target}`: the file came out short; is the disk full?")
    return count


def _write(
    temporary: Path,
    segments: Sequence[Path],
    encoding: Encoding,
    track: Track,
    target: Path,
    copied: tuple[InputContainer, Path] | None,
) -> int:
    kind = kind_of(target)
    tags = _tags(copied[0].metadata) if copied else {}
    rare = copied is not None and bool(_rare_tags(copied[0])) and not _has_cover(copied[0])
    with av.open(f"file:{temporary}", "w", format=kind, container_options=_muxer_options(kind, track, rare)) as output:
        others: Iterator[Packet[Any]] = iter(())
        if copied is None:
            stream = _add_picture(output, encoding, track)
        else:
            stream, others = _add_all(output, encoding, track, *copied)
        output.metadata.update(tags)
        count = 0
        for packet in heapq.merge(_picture_packets(segments, stream, track.time_base), others, key=_seconds):
            count += packet.stream is stream
            output.mux(packet)
    return count


def _add_picture(output: OutputContainer, encoding: Encoding, track: Track) -> VideoStream:
    stream = cast(VideoStream, output.add_stream(encoding.encoder, rate=encoding.rate))
    encoding.apply(stream.codec_context)
    stream.time_base = track.time_base
    if encoding.encoder == "libx265" and output.format.name in ("mp4", "mov"):
        stream.codec_context.codec_tag = "hvc1"  # or Apple's players do not show it
    if track.matrix is not None:
        stream.set_display_matrix(track.matrix)
    return stream


def _add_all(
    output: OutputContainer, encoding: Encoding, track: Track, container: InputContainer, source: Path
) -> tuple[VideoStream, "Iterator[Packet[Any]]"]:
    """Add the picture in the source's place among all other tracks; return it, and the packets to copy."""
    original, copies, picture = picture_stream(container, source), dict[int, Stream](), None
    others = {stream.index for stream in other_streams(container, original) if _fits(stream, output.format.name)}
    for stream in container.streams:
        if stream.index == original.index:
            picture = _add_picture(output, encoding, track)
            picture.metadata.update(_tags(stream.metadata))
            picture.disposition = stream.disposition
        elif stream.index in others:
            copies[stream.index] = _copied(output, stream)
    if picture is None:
        raise VideoError(f"`{source}`: no video track")
    output.set_chapters(container.chapters())
    original.discard = Discard.all
    return picture, _other_packets(container, copies)


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in OF_THE_FILE}


def _rare_tags(container: InputContainer) -> list[str]:
    """Tags that MP4 keeps in a list of its own, beside which it keeps no cover."""
    return sorted(set(_tags(container.metadata)) - COMMON_TAGS)


def _has_cover(container: InputContainer) -> bool:
    return any(stream.disposition & Disposition.attached_pic for stream in container.streams.video)


def find_lost_tags(source: Path, target: Path) -> list[str]:
    """Tags that the output cannot hold."""
    with opened(source) as container:
        return _rare_tags(container) if kind_of(target) in ("mp4", "mov") and _has_cover(container) else []


def _muxer_options(kind: str, track: Track, rare: bool) -> dict[str, str]:  # one of its kind
    if kind not in ("mp4", "mov"):
        return {}
    flags = "+faststart" + ("+use_metadata_tags" if rare else "")
    clock = {"video_track_timescale": str(track.time_base.denominator)} if track.time_base.numerator == 1 else {}
    return {"movflags": flags, **clock}


def _picture_packets(segments: Sequence[Path], stream: Stream, time_base: Fraction) -> "Iterator[Packet[Any]]":
    depth, shown = max(map(_depth, segments)), array("q")
    for path in segments:
        shown.extend(sorted(entry.pts for entry in read_segment(path, data=False)))
    lead = shown[depth] - shown[0] if depth < len(shown) else shown[-1] - shown[0] + 1
    count = itertools.count()
    for path in segments:
        for entry in read_segment(path):
            number, packet = next(count), Packet(entry.data)
            packet.pts, packet.duration, packet.is_keyframe = entry.pts, entry.duration, entry.key
            packet.dts = shown[number] - lead if number < depth else shown[number - depth]
            packet.time_base, packet.stream = time_base, stream
            yield packet


def _depth(path: Path) -> int:
    """How many packets later than it is shown a frame may come."""
    order = [entry.pts for entry in read_segment(path, data=False)]
    place = {pts: index for index, pts in enumerate(sorted(order))}
    return max((index - place[pts] for index, pts in enumerate(order)), default=0)


def _other_packets(container: InputContainer, streams: dict[int, Stream]) -> "Iterator[Packet[Any]]":
    wanted = [stream for stream in container.streams if stream.index in streams]
    for packet in container.demux(wanted) if wanted else ():
        if packet.size == 0 and packet.dts is None:  # the demuxer's sign that a track has ended
            continue
        if packet.stream.name == "mov_text" and bytes(packet) == NO_TEXT:
            continue
        if packet.dts is None and packet.pts is None:  # a cover, which has no time
            packet.dts = packet.pts = 0
        packet.stream = streams[packet.stream_index]
        yield packet


def _seconds(packet: "Packet[Any]") -> float:
    when = packet.dts if packet.dts is not None else packet.pts
    return float((when or 0) * packet.time_base)


def _count_packets(path: Path) -> int:
    with opened(path) as container:
        return sum(packet.size > 0 for packet in container.demux(picture_stream(container, path)))
