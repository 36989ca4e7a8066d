"""Segments: runs of frames, encoded on their own and kept as files, that a killed run can go on from.

A segment begins with a key frame and leans on no other, so it comes out the same whether or not the run was broken off
before it. Its file appears when it is whole; what decodes later is in it in the encoder's order:

    8 bytes magic | u32 bytes of extradata, extradata | packets: RECORD, data | RECORD with size END and the count

A work folder beside the output holds the segments, ``00000.segment`` and so on, and ``journal.json``: the settings that
made them. Only the same settings go on with them.
"""

import contextlib
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
import msgspec
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from thinlens.atomic import remove_abandoned, replacing, write_bytes
from thinlens.errors import OutputError, VideoError
from thinlens.video.encode import Encoding
from thinlens.video.source import reason

MAGIC, JOURNAL, SUFFIX = b"TLSEGM01", "journal.json", ".segment"
COUNT = struct.Struct("<I")
RECORD = struct.Struct("<qq?I")  # timestamp, duration, key frame, bytes
END = 0xFFFFFFFF
Settings = dict[str, str | int | float | None]


@dataclass(frozen=True)
class Entry:
    """A packet of a segment: timestamp and duration in the track's time base, whether it is a key frame, its data."""

    pts: int
    duration: int
    key: bool
    data: bytes


class WorkFolder:
    """The work folder of an output.

    Args:
        target: the output.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.work")

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Raise `OutputError` if there is a folder and nothing says what to do with it."""
        if self.path.exists() and not (resume or overwrite):
            raise OutputError(
                f"`{self.path}` holds a run that was broken off; `--resume` goes on with it, `--overwrite` begins anew"
            )

    def begin(self, settings: Settings, *, resume: bool) -> None:
        """Make the folder, or go on with it.

        Args:
            settings: that the frames depend on; ``threads`` of the encoder become those that the run began with.
            resume: go on with what is there, if there is anything; else begin anew.

        Raises:
            VideoError: if other settings made what is there.
            OutputError: if the folder cannot be made.
        """
        known = self._journal() if resume else None
        if known is None:
            try:
                self.remove()
                self.path.mkdir(parents=True)
            except OSError as error:
                raise OutputError(f"`{self.path}`: the work folder cannot be made: {error.strerror}") from error
            write_bytes(self.path / JOURNAL, msgspec.json.encode(settings))
            return
        settings["threads"] = known.get("threads", settings["threads"])
        others = [f"{key} {known.get(key)}, now {settings[key]}" for key in settings if known.get(key) != settings[key]]
        if others:
            raise VideoError(
                f"`{self.path}` was made with {'; '.join(others)}; give the same, or begin anew with `--overwrite`"
            )
        remove_abandoned(self.path)

    def _journal(self) -> Settings | None:
        try:
            return msgspec.json.decode((self.path / JOURNAL).read_bytes(), type=Settings)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise VideoError(f"`{self.path / JOURNAL}` is damaged ({error}); begin anew with `--overwrite`") from error

    def segment(self, number: int) -> Path:
        """Where a segment goes."""
        return self.path / f"{number:05d}{SUFFIX}"

    def finished(self) -> list[Path]:
        """The segments that are there, from the first on without a gap."""
        found = list[Path]()
        while (path := self.segment(len(found))).is_file():
            found.append(path)
        return found

    def remove(self) -> None:
        """Remove the folder, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)


class SegmentEncoder:
    """Encodes frames into segments.

    Args:
        encoding: how.
        folder: where segments go.
        first: the number of the first.
        length: frames of each.
    """

    def __init__(self, encoding: Encoding, folder: WorkFolder, first: int, length: int) -> None:
        self._encoding, self._folder, self._number, self._length = encoding, folder, first, length
        self._open: _OpenSegment | None = None

    def put(self, frame: VideoFrame) -> None:
        """Add a frame; once that makes a segment whole, its file appears.

        Raises:
            VideoError: if the encoder gives up.
            OutputError: if the disk refuses.
        """
        if self._open is None:
            self._open = _OpenSegment(self._folder.segment(self._number), self._encoding)
        self._open.put(frame)
        if len(self._open.durations) == self._length:
            self.finish()

    def finish(self) -> None:
        """End the segment in work, if there is one; raises as `put`."""
        if self._open is not None:
            self._open.finish()
            self._open = None
            self._number += 1

    def stop(self) -> None:
        """Give up the segment in work."""
        if self._open is not None:
            self._open.discard()
            self._open = None


class _OpenSegment:
    """A segment in work."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.durations: dict[int, int] = {}
        self._path, self._encoder, self._written = path, encoding.open(), 0
        with contextlib.ExitStack() as place:
            temporary = place.enter_context(replacing(path, overwrite=True))
            self._file = place.enter_context(temporary.open("wb"))
            extradata = self._encoder.extradata or b""
            self._file.write(MAGIC + COUNT.pack(len(extradata)) + extradata)
            self._place = place.pop_all()

    def put(self, frame: VideoFrame | None) -> None:
        if frame is not None:
            self.durations[frame.pts or 0] = frame.duration
        for packet in _encode(self._encoder, frame):
            if packet.pts not in self.durations:
                raise VideoError(f"the encoder changed a timestamp to {packet.pts}; use another `--codec`")
            data = bytes(packet)
            try:
                self._file.write(RECORD.pack(packet.pts, self.durations[packet.pts], packet.is_keyframe, len(data)))
                self._file.write(data)
            except OSError as error:
                raise OutputError(f"`{self._path}`: cannot be written: {reason(error)}") from error
            self._written += 1

    def finish(self) -> None:
        self.put(None)
        count = len(self.durations)
        if self._written != count:
            raise VideoError(f"the encoder made {self._written} packets of {count} frames; use another `--codec`")
        self._file.write(RECORD.pack(count, 0, False, END))
        self._place.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._place.__exit__(OutputError, OutputError("given up"), None)


def _encode(encoder: VideoCodecContext, frame: VideoFrame | None) -> "list[Packet[Any]]":
    try:
        return encoder.encode(frame)
    except av.FFmpegError as error:
        raise VideoError(f"the encoder `{encoder.name}` gave up: {reason(error)}") from error


def read_head(path: Path) -> bytes:
    """The extradata of a segment's encoder."""
    with path.open("rb") as file:
        return _read_head(file, path)


def read_segment(path: Path, *, data: bool = True) -> Iterator[Entry]:
    """The packets of a segment, in the encoder's order.

    Args:
        path: of the segment.
        data: whether their data is wanted, too.

    Raises:
        VideoError: if the file is damaged.
    """
    with path.open("rb") as file:
        _read_head(file, path)
        count = 0
        while True:
            record = file.read(RECORD.size)
            if len(record) != RECORD.size:
                raise _damaged(path)
            pts, duration, key, size = RECORD.unpack(record)
            if size == END:
                if pts != count:
                    raise _damaged(path)
                return
            content = file.read(size) if data else b""
            if data and len(content) != size:
                raise _damaged(path)
            if not data:
                file.seek(size, 1)
            count += 1
            yield Entry(pts, duration, key, content)


def _read_head(file: BinaryIO, path: Path) -> bytes:
    head = file.read(len(MAGIC) + COUNT.size)
    if len(head) != len(MAGIC) + COUNT.size or not head.startswith(MAGIC):
        raise _damaged(path)
    return file.read(COUNT.unpack_from(head, len(MAGIC))[0])


def _damaged(path: Path) -> VideoError:
    return VideoError(f"`{path}` is damaged; remove it and `--resume`, or begin anew with `--overwrite`")
