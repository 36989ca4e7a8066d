"""Numbered picture files as videos: ``frames/%05d.png``, as FFmpeg names them."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from thinlens.errors import VideoError
from thinlens.image.files import ImageFile, read_header, read_image, write_image
from thinlens.image.formats import format_of_suffix
from thinlens.video.formats import BT709, LIMITED, RGB_LAYOUTS, numbered
from thinlens.video.planes import ToRgb
from thinlens.video.source import Tags, Track

FIRST = range(2)  # what a sequence may begin with: 0 or 1


def count_frames(pattern: Path) -> tuple[int, int]:
    """The first number of a sequence, 0 or 1, and how many files follow one another from there.

    Raises:
        VideoError: if there is none.
    """
    first = next((number for number in FIRST if numbered(pattern, number).is_file()), None)
    if first is None:
        names = " nor ".join(f"`{numbered(pattern, number)}`" for number in FIRST)
        raise VideoError(f"`{pattern}`: neither {names} is there; number the pictures from 0 or 1")
    count = 1
    while numbered(pattern, first + count).is_file():
        count += 1
    return first, count


def read_track(pattern: Path, fps: Fraction) -> Track:
    """A sequence as a track: BT.709 of limited range in 4:2:0, of 10 bits where the pictures have 16."""
    first, count = count_frames(pattern)
    header = read_header(numbered(pattern, first))
    pixels = "rgb24" if header.dtype == np.uint8 else "rgb48le"
    return Track(
        width=header.width,
        height=header.height,
        pixels=pixels,
        layout=RGB_LAYOUTS[pixels],
        time_base=1 / fps,
        rate=fps,
        frames=count,
        tags=Tags(BT709, BT709, BT709, LIMITED),
    )


def decode(pattern: Path, track: Track, *, max_pixels: int) -> Iterator[VideoFrame]:
    """The pictures of a sequence as frames of RGB, their number as timestamp.

    Raises:
        ImageError: if one cannot be read.
        VideoError: if one is of another size or depth, or has transparency.
    """
    first, count = count_frames(pattern)
    for number in range(count):
        path = numbered(pattern, first + number)
        pixels = read_image(path, max_pixels=max_pixels).pixels
        if pixels.ndim == 3 and pixels.shape[2] != 3:
            raise VideoError(f"`{path}`: has transparency, which videos have not; flatten the pictures first")
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        name = "rgb24" if pixels.dtype == np.uint8 else "rgb48le"
        if (pixels.shape[1], pixels.shape[0], name) != (track.width, track.height, track.pixels):
            raise VideoError(
                f"`{path}` is {pixels.shape[1]}x{pixels.shape[0]} of {pixels.itemsize * 8} bits, those before are "
                f"{track.width}x{track.height} of {8 if track.pixels == 'rgb24' else 16}; make them alike"
            )
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), name)
        frame.pts, frame.duration, frame.time_base = number, 1, track.time_base
        yield frame


class PictureWriter:
    """Writes frames as numbered picture files, from 1 on, each when it is whole.

    Args:
        pattern: of the files.
        to_rgb: what makes pixels of a frame.
        first: the number of the first frame that comes.
        jpeg_quality: of JPEG files.
    """

    def __init__(self, pattern: Path, to_rgb: ToRgb, first: int, jpeg_quality: int) -> None:
        self._pattern, self._to_rgb, self._number, self._quality = pattern, to_rgb, first, jpeg_quality
        self._format = format_of_suffix(pattern) or "png"

    def put(self, frame: VideoFrame) -> None:
        """Write one frame."""
        pixels: npt.NDArray[np.uint8 | np.uint16] = self._to_rgb.run(frame)
        image = ImageFile(pixels, self._format)
        path = numbered(self._pattern, self._number)
        write_image(path, image, format=self._format, jpeg_quality=self._quality, overwrite=True)
        self._number += 1

    def finish(self) -> None:
        """Nothing is left to do."""

    def stop(self) -> None:
        """Nothing is in work."""
