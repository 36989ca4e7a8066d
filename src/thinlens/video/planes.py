"""Frames of PyAV as NumPy arrays, plane by plane, without a copy where the layout allows."""

from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter

from thinlens.errors import VideoError
from thinlens.video.formats import BT601, BT709, FULL, LIMITED, UNSPECIFIED, Layout
from thinlens.video.source import Tags

Plane = npt.NDArray[Any]

# The matrix of H.273 -> swscale's number for the same coefficients.
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
HD_HEIGHT, HD_WIDTH = 576, 1280  # above these a video without tags is taken for BT.709, as players do


def planes_of(frame: VideoFrame, layout: Layout) -> list[Plane]:
    """The planes of a frame, ``H W`` each: luma, then Cb and Cr if there are any; uint8 or uint16."""
    planes = [
        _view(plane, layout, frame.format.components[i].width if i < 3 else 0) for i, plane in enumerate(frame.planes)
    ]
    if frame.format.name in ("nv12", "p010le"):
        planes = [planes[0], *_split(frame.planes[1], layout)]
    return [plane >> layout.shift for plane in planes] if layout.shift else planes


def create_frame(layout: Layout, width: int, height: int) -> tuple[VideoFrame, list[Plane]]:
    """An empty frame of the layout's planar format, and its planes to write to."""
    frame = VideoFrame(width, height, layout.planar)
    planar = Layout(layout.planar, layout.bits, layout.down, layout.across)
    return frame, planes_of(frame, planar)


def _rows(plane: VideoPlane, layout: Layout) -> Plane:
    dtype = np.uint8 if layout.bits == 8 else np.dtype("<u2")
    return np.frombuffer(plane, dtype).reshape(plane.height, -1)  # type: ignore[call-overload,no-any-return]  # a buffer


def _view(plane: VideoPlane, layout: Layout, width: int) -> Plane:
    return _rows(plane, layout)[:, :width]


def _split(plane: VideoPlane, layout: Layout) -> list[Plane]:
    """Cb and Cr that alternate in one plane."""
    rows = _rows(plane, layout)
    return [rows[:, i : 2 * plane.width : 2] for i in (0, 1)]


def matrix_of(tags: Tags, width: int, height: int) -> int:
    """The matrix that the tags name, or that players take where they name none."""
    if tags.matrix != UNSPECIFIED:
        return tags.matrix
    return BT709 if width >= HD_WIDTH or height > HD_HEIGHT else BT601


class ToRgb:
    """Turns YUV frames into RGB arrays.

    Args:
        matrix: of the frames, in the numbers of H.273.
        full: whether they are full-range.
        bits: of the frames; above 8, arrays are uint16.

    Raises:
        VideoError: if the matrix is none of those that are known.
    """

    def __init__(self, matrix: int, *, full: bool, bits: int) -> None:
        self._space, self._range = _space(matrix), FULL if full else LIMITED
        self._format = "rgb24" if bits == 8 else "rgb48le"
        self._reformatter = VideoReformatter()

    def run(self, frame: VideoFrame) -> Plane:
        """``H W 3``, full-range uint8 or uint16."""
        if frame.format.name != self._format:
            frame = self._reformatter.reformat(
                frame,
                format=self._format,
                src_colorspace=self._space,
                dst_colorspace=self._space,
                src_color_range=self._range,
                dst_color_range=FULL,
                interpolation=EXACT,
                threads=1,
            )
        return frame.to_ndarray()


class FromRgb:
    """Turns RGB arrays into YUV frames; arguments and errors as `ToRgb`, and the pixel format to make."""

    def __init__(self, matrix: int, *, full: bool, planar: str) -> None:
        self._space, self._range, self._planar = _space(matrix), FULL if full else LIMITED, planar
        self._reformatter = VideoReformatter()

    def run(self, pixels: Plane) -> VideoFrame:
        """A frame of ``H W 3``, uint8 or uint16."""
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(pixels, "rgb24" if pixels.dtype == np.uint8 else "rgb48le"),
            format=self._planar,
            src_colorspace=self._space,
            dst_colorspace=self._space,
            src_color_range=FULL,
            dst_color_range=self._range,
            interpolation=EXACT,
            threads=1,
        )


def _space(matrix: int) -> int:
    if matrix not in MATRICES:
        raise VideoError(
            f"colour matrix {matrix} (ITU-T H.273): accepted here: {', '.join(map(str, MATRICES))}; "
            "a luma network needs no matrix: name one with `--model`"
        )
    return MATRICES[matrix]
