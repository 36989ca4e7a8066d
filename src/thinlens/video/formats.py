"""What videos may be: containers, encoders, and pixel formats with where they keep luma and chroma."""

import re
from dataclasses import dataclass
from pathlib import Path

from thinlens.image.formats import format_of_suffix

# Suffix -> the muxer's name.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".webm": "webm"}
# What a video file may be, whatever its name: other demuxers could be made to open further files.
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"

# The number in the name of a picture of a sequence, as FFmpeg writes it.
NUMBER = re.compile(r"%(?:0(\d{1,2}))?d")

# AVColorSpace and AVColorRange, as ITU-T H.273 and FFmpeg number them.
BT709, UNSPECIFIED, BT470BG, BT601 = 1, 2, 5, 6
LIMITED, FULL = 1, 2


@dataclass(frozen=True)
class Encoder:
    """One way to encode.

    Args:
        name: of FFmpeg's encoder.
        crf: the quality where none is asked for; None: lossless.
        preset: the option that trades speed for size; None: there is none.
        presets: what it accepts.
        options: further options.
    """

    name: str
    crf: int | None
    preset: str | None
    presets: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()


_X26 = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
ENCODERS = {
    "h264": Encoder("libx264", 18, "preset", _X26),
    "hevc": Encoder("libx265", 20, "preset", _X26, (("x265-params", "log-level=error"),)),
    "av1": Encoder("libsvtav1", 28, "preset", tuple(map(str, range(14)))),
    "vp9": Encoder("libvpx-vp9", 28, "cpu-used", tuple(map(str, range(9))), (("row-mt", "1"),)),
    "ffv1": Encoder("ffv1", None, None, (), (("level", "3"),)),
}


@dataclass(frozen=True)
class Layout:
    """Where a pixel format keeps its values.

    Args:
        planar: the planar format that results are encoded in.
        bits: of a value.
        down: luma rows of one chroma row; 0: no chroma.
        across: luma columns of one chroma column.
        shift: bits that are unused below the value.
        full: whether values are full-range by the format's name.
        rgb: whether the frames are RGB, from picture files.
    """

    planar: str
    bits: int = 8
    down: int = 0
    across: int = 0
    shift: int = 0
    full: bool = False
    rgb: bool = False

    @property
    def peak(self) -> int:
        """The largest value."""
        return (1 << self.bits) - 1


def _layouts() -> dict[str, Layout]:
    chroma = {"yuv420p": (2, 2), "yuv422p": (1, 2), "yuv444p": (1, 1)}
    found = {"gray": Layout("gray"), "gray10le": Layout("gray10le", 10), "gray12le": Layout("gray12le", 12)}
    for name, sides in chroma.items():
        found[name] = Layout(name, 8, *sides)
        found[name.replace("yuv", "yuvj")] = Layout(name, 8, *sides, full=True)
        for bits in (10, 12):
            found[f"{name}{bits}le"] = Layout(f"{name}{bits}le", bits, *sides)
    found["nv12"] = Layout("yuv420p", 8, 2, 2)
    found["p010le"] = Layout("yuv420p10le", 10, 2, 2, shift=6)
    return found


# By the name of the pixel format that a decoder gives.
LAYOUTS = _layouts()
RGB_LAYOUTS = {"rgb24": Layout("yuv420p", 8, 2, 2, rgb=True), "rgb48le": Layout("yuv420p10le", 10, 2, 2, rgb=True)}


def is_video(path: Path) -> bool:
    """Whether a file is a video by its name."""
    return path.suffix.lower() in CONTAINERS


def is_sequence(path: Path) -> bool:
    """Whether a path names numbered picture files: one ``%d`` or ``%05d`` in its name, and a picture's suffix."""
    return len(NUMBER.findall(path.name)) == 1 and format_of_suffix(path) is not None


def numbered(pattern: Path, number: int) -> Path:
    """The file of a number."""
    return pattern.with_name(NUMBER.sub(lambda found: f"{number:0{found[1] or 1}d}", pattern.name))


def default_codec(target: Path) -> str:
    """The codec where none is asked for: H.264, but in WebM, which takes none, VP9."""
    return "vp9" if target.suffix.lower() == ".webm" else "h264"
