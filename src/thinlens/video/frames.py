"""One frame of a video, restored."""

import math
from dataclasses import replace
from typing import Protocol

from av.video.frame import VideoFrame

from thinlens.runtime.restore import Restorer, Route
from thinlens.runtime.session import Session
from thinlens.runtime.strength import Strength
from thinlens.video.chroma import CENTRE, LEFT, PlaneScaler
from thinlens.video.formats import Layout
from thinlens.video.levels import Levels
from thinlens.video.planes import FromRgb, ToRgb, create_frame, matrix_of, planes_of
from thinlens.video.source import Track

Size = tuple[int, int]

LIGHT_MACS = 5e8  # of one frame: some milliseconds of one processor


class FrameRestorer(Protocol):
    """Restores the frames of one video, one after the other."""

    def run(self, frame: VideoFrame) -> VideoFrame:
        """A frame of the result's size and planar format, without a timestamp."""
        ...


def find_route(track: Track, restorer: Restorer, strength: Strength | None) -> Route:
    """The route of a video's frames: for gray ones as of gray picture files, for others as of colour ones."""
    return restorer.route(track.height, track.width, strength, gray=track.layout.down == 0)


def create_frame_restorer(track: Track, route: Route) -> FrameRestorer:
    """What restores the frames of a video by a route: on its planes, or through RGB where the network takes that.

    Raises:
        VideoError: if that needs RGB and the video's matrix is not known.
    """
    by_rgb = route.session is not None and route.session.card.colour == "rgb" and track.layout.down > 0
    return RgbRestorer(track, route) if by_rgb or track.layout.rgb else PlaneRestorer(track, route)


class PlaneRestorer:
    """Luma through the network, stretched to full range for it; chroma by bicubic on its own grid.

    Args:
        track: of the frames.
        route: from the luma plane to the result's.
    """

    def __init__(self, track: Track, route: Route) -> None:
        layout = self._layout = track.layout
        self._route = _single(route)
        self.levels = Levels(layout.bits, full=track.full)
        self.chroma: PlaneScaler | None = None
        if layout.down:
            origins = CENTRE, CENTRE if layout.across == 1 else LEFT
            sizes = _chroma_size(route.source, layout), _chroma_size(route.target, layout)
            self.chroma = PlaneScaler(*sizes, origins, layout.peak, 1)

    def run(self, frame: VideoFrame) -> VideoFrame:
        """See `FrameRestorer`."""
        luma, *chroma = planes_of(frame, self._layout)
        result, (out, *others) = create_frame(self._layout, self._route.target[1], self._route.target[0])
        self.levels.from_full(self._route.run(self.levels.to_full(luma)), out)
        if self.chroma is not None:
            for plane, other in zip(chroma, others, strict=True):
                self.chroma.run(plane, other)
        return result


class RgbRestorer:
    """Frames as RGB through the network, and back to what they were.

    Args:
        track: of the frames.
        route: from a frame to the result's.
    """

    def __init__(self, track: Track, route: Route) -> None:
        self._route = route
        matrix = matrix_of(track.tags, track.width, track.height)
        self._to_rgb = ToRgb(matrix, full=track.full, bits=track.layout.bits)
        self._from_rgb = FromRgb(matrix, full=track.full, planar=track.layout.planar)

    def run(self, frame: VideoFrame) -> VideoFrame:
        """See `FrameRestorer`."""
        return self._from_rgb.run(self._route.run(self._to_rgb.run(frame)))


def _single(route: Route) -> Route:
    """The route with one thread where the network is light: the encoder's threads have more use for the processors."""
    if route.session is None or route.session.card.macs_per_pixel * math.prod(route.target) > LIGHT_MACS:
        return route
    return replace(route, session=Session(route.session.model, threads=1), threads=1)


def _chroma_size(size: Size, layout: Layout) -> Size:
    return -(-size[0] // layout.down), -(-size[1] // layout.across)
