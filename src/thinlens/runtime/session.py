"""A model, loaded and ready: whole images in and out, or row by row.

The native engine runs it where there is one; else the NumPy reference does, in bands so that memory stays bounded.
`Session.describe` says which, and why.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from thinlens.errors import PlanError, ShapeError
from thinlens.model.card import ModelCard
from thinlens.model.file import Model, read_model
from thinlens.model.graph import ENDLESS, depends_on_height, fitting_size, receptive_rows, remembers
from thinlens.model.ops import Size
from thinlens.model.plan import Plan
from thinlens.model.value_range import to_unit_range
from thinlens.models import find_model
from thinlens.runtime.bands import NOISY, UNIT, BandRestorer, check_image, enlarged
from thinlens.runtime.compile import ImageKind
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import Request
from thinlens.runtime.native import NativeModel, kind_of_image, prepared
from thinlens.runtime.row_session import RowSession, open_rows

BAND_BYTES = 48 << 20  # of intermediate values a thread: some megabytes more than the last-level cache pays nothing
DTYPES = {1: "uint8", 2: "uint16", 4: "float32"}  # by bytes of a value
Progress = Callable[[int, int], None]


def open_model(name_or_path: str | Path, *, threads: int | None = None) -> "Session":
    """Load a model.

    Args:
        name_or_path: a shipped model's name, or the path of a model file.
        threads: how many to use; None: as many as the process may.

    Raises:
        UnknownNameError: if no shipped model has that name, or `THINLENS_ISA` names no instruction set that is here.
        ModelError: if the file is missing, damaged or does not match its plan.
    """
    return Session(read_model(find_model(name_or_path)), threads=threads)


class Session:
    """A model, loaded and ready. Results do not depend on the number of threads.

    Args:
        model: checked by whoever read or made it.
        threads: at least 1; None: as many as the process may use.

    Raises:
        ShapeError: if ``threads`` is below 1.
        UnknownNameError: if `THINLENS_ISA` names no instruction set that is here.
    """

    def __init__(self, model: Model, *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ShapeError(f"threads: got {threads}; accepted: 1 or more")
        self.card: ModelCard = model.card
        self.plan: Plan = model.plan
        self.threads = threads or usable_cpus()
        self._network = to_unit_range(model)
        self._native = NativeModel(self._network.plan, self._network.tensors, model.card.scale)

    @property
    def model(self) -> Model:
        """What runs: the model on pixels in 0..1, with all its plans."""
        return self._network

    def run(self, image: npt.NDArray[Any], *, progress: Progress | None = None) -> npt.NDArray[Any]:
        """Restore an image.

        One that is smaller than the network can take (15 pixels a side where it has spatial attention), or no multiple
        of what it needs, is mirrored at the bottom and on the right for it.

        Args:
            image: ``H W``, ``H W 2`` (gray, alpha), ``H W 3`` or ``H W 4``; uint8, uint16, or float32 in 0..1.
                Denoisers also take float32 with noise that leaves this range.
            progress: called with (output rows done, output rows in all), from the calling thread.

        Returns:
            ``scale`` times the height and width; kind and dtype as in ``image``.

        Raises:
            ShapeError: on another shape, dtype or value range, or if the network takes no image of about that size.
            ModelError: if the network's weights are so large that its result is not a number.
        """
        check_image(image, self._floats)
        height, width = image.shape[:2]
        restored = self._run(enlarged(image, self._fitting(height, width)), progress)
        if restored.shape[:2] == (height * self.card.scale, width * self.card.scale):
            return restored
        return np.ascontiguousarray(restored[: height * self.card.scale, : width * self.card.scale])

    def _run(self, image: npt.NDArray[Any], progress: Progress | None) -> npt.NDArray[Any]:
        """Restore an image of a size that the network takes."""
        native = self._native.find(kind_of_image(image))
        if native is None:
            return self._run_reference(image, progress)
        height, width = self.plan.sizes((image.shape[0], image.shape[1]))[self.plan.outputs["image"]]
        restored = np.empty((height, width, *image.shape[2:]), image.dtype)
        native.run(prepared(image), restored, self.threads, progress)
        return restored

    def _fitting(self, height: int, width: int) -> Size:
        """The size to which an image is mirrored before it is restored."""
        try:
            return fitting_size(self.plan, (height, width))
        except PlanError as error:
            raise ShapeError(f"image: the network takes none of {width}x{height}: {error}") from error

    def _fitting_rows(self, height: int | None, width: int) -> tuple[int | None, int]:
        """The same where the height may not be known."""
        if height is None:
            return None, self._fitting(ENDLESS, width)[1]
        return self._fitting(height, width)

    def rows(
        self,
        width: int,
        height: int | None = None,
        *,
        channels: int = 3,
        dtype: npt.DTypeLike = "uint8",
        threads: int = 1,
    ) -> RowSession:
        """A session that takes an image row by row, in memory that grows with the width alone.

        What comes out equals the rows that `run` makes, bit for bit.

        Args:
            width: of the image.
            height: of the image; None: not known before its end.
            channels: 1 (gray) or 3 (RGB).
            dtype: uint8, uint16, or float32 in 0..1.
            threads: that share the large convolutions of each row, which pays from some hundred columns on; each has
                a little memory of its own.

        Raises:
            ShapeError: if one of these is not as above, or the network must know the height and it is not given.
            UnsupportedOpError: if the network needs the whole image, or there is no native engine.
        """
        return self._open_rows(width, height, channels, dtype, threads)

    def bled_rows(
        self, width: int, height: int, *, channels: int, dtype: npt.DTypeLike, threads: int = 1
    ) -> RowSession:
        """The same for images with alpha too, 2 or 4 channels, whose rows `thinlens.image.colour.bleed` has filled."""
        return self._open_rows(width, height, channels, dtype, threads, bled=True)

    def _open_rows(
        self, width: int, height: int | None, channels: int, dtype: npt.DTypeLike, threads: int, *, bled: bool = False
    ) -> RowSession:
        kind, size = ImageKind(channels, np.dtype(dtype).name), (width, height)
        return open_rows(self._native, size, kind, self._floats, self._fitting_rows, bled=bled, threads=threads)

    @property
    def _floats(self) -> tuple[float, float]:
        """The range of float32 pixels."""
        return NOISY if self.card.task == "denoise" else UNIT

    def _run_reference(self, image: npt.NDArray[Any], progress: Progress | None) -> npt.NDArray[Any]:
        bands = BandRestorer(self._network.plan, self._network.tensors, self.card.scale, image)
        restored = np.empty(bands.shape, image.dtype)
        step = self.band_rows(bands.width)
        starts = range(0, bands.out_height, step)

        def work(start: int) -> int:
            stop = min(start + step, bands.out_height)
            restored[start:stop] = bands.rows(start, stop)
            return stop - start

        done = 0
        with threadpool_limits(1), ThreadPoolExecutor(self.threads) as pool:
            try:
                for rows in pool.map(work, starts):
                    done += rows
                    if progress is not None:
                        progress(done, bands.out_height)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return restored

    def band_rows(self, width: int) -> int:
        """Output rows that the reference works on at a time, for an input of ``width``; all where it remembers rows."""
        if remembers(self.plan):
            return ENDLESS
        return max(1, BAND_BYTES // self._row_bytes(width)) * self.card.scale

    def working_bytes(self, height: int, width: int, *, channels: int = 3, itemsize: int = 1) -> int:
        """Peak of a run: input, output, and what lies between, exactly for the native engine, else estimated.

        Raises:
            ShapeError: if the network takes no image of that size.
        """
        height, width = self._fitting(height, width)
        pixels = height * width * channels * itemsize
        images = pixels * (3 if channels in (2, 4) else 1)  # colour is filled in under transparent pixels, in a copy
        native = self._native.find(ImageKind(channels, DTYPES[itemsize]))
        if native is not None:
            between = native.weight_bytes + native.run_bytes(Request(width, height, 0, 0), self.threads)
        else:
            rows = min(self.band_rows(width), height * self.card.scale) // self.card.scale
            between = self.threads * rows * self._row_bytes(width)
        return images + pixels * self.card.scale**2 + between

    def describe(self) -> dict[str, object]:
        """What runs, and how: for people and records.

        Halo rows are None where they depend on the image's height; above also where they are all rows.
        """
        above, below = (None, None) if depends_on_height(self.plan) else receptive_rows(self.plan, self.card.scale)
        above = None if remembers(self.plan) else above
        return {
            "model": self.card.name,
            "backend": self._backend(),
            "threads": self.threads,
            "halo_rows_above": above,
            "halo_rows_below": below,
        }

    def _backend(self) -> str:
        native: NativePlan | None = self._native.find(ImageKind(3, "uint8"))
        return f"NumPy reference ({self._native.reason})" if native is None else f"native engine, {native.isa}"

    def _row_bytes(self, width: int) -> int:
        """Bytes of all values behind one input row; each is held about twice, as a copy for the next op."""
        size = (64, 64)
        channels, sizes = self.plan.channels(), self.plan.sizes(size)
        values = sum(channels[name] * sizes[name][0] * sizes[name][1] for name in channels) // (size[0] * size[1])
        return 2 * 4 * width * values


def usable_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
