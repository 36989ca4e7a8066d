"""Records of the ops between which every op sees bands of rows, each as an image of its own.

`Bands` repeats the first rows, mirrored, as ``warm_up`` bands, fills the last band by mirroring, and from then on
padding is made at the borders of each band; `Unbands` puts the image together again.

Source: LineDL, whose networks read an image line by line.
"""

from typing import Annotated, ClassVar

import msgspec

from thinlens.errors import PlanError
from thinlens.model.ops.border import NO_ROWS, PadMode, Rows
from thinlens.model.ops.record import Fresh, Op, Scale, Size, Union

BandRows = Annotated[int, msgspec.Meta(ge=1, le=1024)]
WarmUp = Annotated[int, msgspec.Meta(ge=0, le=64)]


class Bands(Op, frozen=True, kw_only=True, tag="bands"):
    """``H`` rows -> ``warm_up + ceil(H / rows)`` bands of ``rows``; row ``Y`` is row ``mirror(Y - warm_up rows)``."""

    reframes: ClassVar[bool] = True

    rows: BandRows
    warm_up: WarmUp = 0

    @property
    def row_step(self) -> int:
        """Rows of a band."""
        return self.rows

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """Rows of all bands together."""
        height, width = sizes[0]
        return band_count(self.rows, self.warm_up, height) * self.rows, width

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The same rows, counted from the first after the warm-up."""
        begin = self.warm_up * self.rows
        return ((rows[0] - begin, rows[1] - begin),)

    def row_padding(self) -> PadMode:
        """Mirrored."""
        return "mirror"


class Unbands(Op, frozen=True, kw_only=True, tag="unbands"):
    """Bands -> ``scale H`` rows: the warm-up and what filled the last band are cut off.

    Inputs: bands of ``scale rows`` rows, and the value that `Bands` read, which gives ``H`` and nothing else.
    """

    reframes: ClassVar[bool] = True

    rows: BandRows
    warm_up: WarmUp = 0
    scale: Scale = 1

    @property
    def arity(self) -> int:
        """Two, the second for its height alone."""
        return 2

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """Those of the bands."""
        return channels[0]

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """Scale times the height, and the bands' width."""
        (total, width), (height, _) = sizes
        wanted = band_count(self.rows, self.warm_up, height) * self.rows * self.scale
        if total != wanted:
            raise PlanError(f"`unbands`: bands of {total} rows in all; {height} rows give {wanted}, x{self.scale}")
        return height * self.scale, width

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """The same rows, counted from the warm-up's first."""
        begin = self.warm_up * self.rows * self.scale
        return (rows[0] + begin, rows[1] + begin), NO_ROWS

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """Those of the bands."""
        return ties[0]


def band_count(rows: int, warm_up: int, height: int) -> int:
    """Bands that an image of ``height`` rows becomes."""
    return warm_up + -(-height // rows)
