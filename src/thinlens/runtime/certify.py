"""Is a result consistent with the image it was made of? Brought back down it should be that image again.

    report   the result, brought down, against the image: PSNR, the largest departure, and where it departs (a picture)
    repair   what is missing is enlarged by bicubic and added, a few times: back-projection onto the images that shrink
             to the given one

For a report the model's trained dual maps lead down, where its file holds some and the result has the network's own
scale; else antialiased bicubic does, the camera that the models are trained for. An image that another camera shrank is
consistent with neither: then the figure tells of the camera as much as of the network. Repairs go by bicubic: to be
consistent with a learnt map, which is never exact, takes a result away from the truth (docs/results/certify.md).

Only colour is looked at, not alpha. Images are worked on in bands; what is added lies at the size of the input until
the end, so that repairing takes little more memory than restoring.

Source of the repair: Irani and Peleg, Improving Resolution by Image Registration, 1991. The dual map: Guo et al.,
Closed-loop Matters, CVPR 2020.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from thinlens.errors import ModelError
from thinlens.image.colour import from_float32, luma, to_float32
from thinlens.image.resample import Resampler
from thinlens.model.dual import downward
from thinlens.model.file import Model
from thinlens.model.plan import Plan
from thinlens.runtime.reference.rows import input_rows, run_rows
from thinlens.runtime.restore import Size, band_rows

AnyImage = npt.NDArray[Any]
Float = npt.NDArray[np.float32]
Certify = Literal["report", "repair"]
By = Literal["dual", "bicubic"]

STEPS = 5  # of back-projection: more bring less than 0.005 dB (docs/results/certify.md)
FULL_LEVELS = 16.0  # departure, in 8-bit levels, that is drawn white


class Down(Protocol):
    """What brings a result down: antialiased bicubic or a dual map, by rows."""

    def input_rows(self, start: int, stop: int) -> tuple[int, int]:
        """Rows of the large image behind rows ``[start, stop)`` of the small one."""

    def rows(self, band: Any, first: int, start: int, stop: int) -> Any:
        """Those rows, ``H W C`` float32, of rows of the large image from ``first`` on."""


class DualDown:
    """A model's dual maps, one after the other.

    Args:
        model: holds them.
        size: height and width of the large image.
        small: of the small one.

    Raises:
        ModelError: if they do not lead from one to the other.
    """

    def __init__(self, model: Model, size: Size, small: Size) -> None:
        self._steps: list[tuple[Plan, Size]] = []
        self._tensors = model.tensors
        channels = model.plan.input_channels
        for name in downward(model.plans):
            plan = model.plans[name]
            self._steps.append((plan, size))
            size = plan.sizes(size)[plan.outputs["image"]]
            if (plan.input_channels, plan.channels()[plan.outputs["image"]]) != (channels, channels):
                raise ModelError(f"`{model.card.name}`: `{name}` does not map {channels} channels to as many")
        if size != small:
            raise ModelError(f"`{model.card.name}`: its dual maps end at {size}; accepted: {small}, as the image has")

    def input_rows(self, start: int, stop: int) -> tuple[int, int]:
        """As `Down`."""
        return self._needed((start, stop))[0]

    def rows(self, band: Float, first: int, start: int, stop: int) -> Float:
        """As `Down`; as many channels as the maps take."""
        needed = [*self._needed((start, stop))[1:], (start, stop)]
        planes = band.transpose(2, 0, 1)
        for (plan, size), rows in zip(self._steps, needed, strict=True):
            planes = run_rows(plan, self._tensors, (first, planes), size, rows)
            first = rows[0]
        return planes.transpose(1, 2, 0)

    def _needed(self, rows: tuple[int, int]) -> list[tuple[int, int]]:
        """Rows of the large image, and of each smaller one but the last."""
        needed = [rows]
        for plan, size in reversed(self._steps):
            needed.insert(0, input_rows(plan, size, needed[0]))
        return needed[:-1]


@dataclass(frozen=True)
class Consistency:
    """How far a result departs from the image it was made of.

    Args:
        by: what brought it down.
        psnr_db: of the departure over all pixels and colours, against white; infinite if there is none.
        max_abs: the largest departure, in 8-bit levels.
    """

    by: By
    psnr_db: float
    max_abs: float

    def facts(self) -> dict[str, object]:
        """For a record; ``psnr_db`` is None where it is infinite."""
        psnr = round(self.psnr_db, 3) if math.isfinite(self.psnr_db) else None
        return {"by": self.by, "psnr_db": psnr, "max_abs": round(self.max_abs, 3)}


@dataclass(frozen=True)
class Certified:
    """A result and what was found.

    Args:
        image: the result, repaired or as it was.
        after: how consistent it is.
        before: how consistent it was before it was repaired; None: it was not.
        heat: the departure of ``image``, drawn: ``H W 3`` uint8 at the size of the input.
    """

    image: AnyImage
    after: Consistency
    before: Consistency | None
    heat: npt.NDArray[np.uint8]

    def facts(self) -> dict[str, object]:
        """For a record."""
        found = self.after.facts()
        return found if self.before is None else found | {"before": self.before.facts()}

    def describe(self) -> str:
        """For people, in one line."""
        found = f"{_text(self.after)}, at most {self.after.max_abs:.1f} levels off, by {self.after.by}"
        return f"consistent to {found}" if self.before is None else f"consistency {_text(self.before)} -> {found}"


def _text(found: Consistency) -> str:
    return f"{found.psnr_db:.1f} dB" if math.isfinite(found.psnr_db) else "the last level"


def certify(
    lq: AnyImage,
    restored: AnyImage,
    model: Model,
    how: Certify,
    *,
    threads: int = 1,
    steps: int = STEPS,
    by: By | None = None,
) -> Certified:
    """Measure, and if asked for repair, a result's consistency with the image it was made of.

    Args:
        lq: ``H W``, ``H W 2`` (gray, alpha), ``H W 3`` or ``H W 4``; uint8, uint16, or float32 in 0..1.
        restored: of the same kind and dtype, larger; it stays as it is.
        model: on pixels in 0..1.
        how: ``report`` or ``repair``.
        threads: at least 1; no influence on the result.
        steps: of back-projection, at least 1.
        by: what leads down, ``dual`` where that can be; None: that for reports, ``bicubic`` for repairs.

    Returns:
        The result, figures and a picture.

    Raises:
        ModelError: if the model's dual maps do not lead from the result's size to that of the image.
    """
    work = _Work(lq, restored, model, threads, by or ("dual" if how == "report" else "bicubic"))
    found = work.departure(restored)
    before = work.consistency(found)
    if how == "report":
        return Certified(restored, before, None, heat_of(found))
    for _ in range(steps - 1):
        found += work.departure(restored, found)
    repaired = work.corrected(restored, found)
    left = work.departure(repaired)
    return Certified(repaired, work.consistency(left), before, heat_of(left))


class _Work:
    """One image and its result: sizes, and what leads from one to the other."""

    def __init__(self, lq: AnyImage, restored: AnyImage, model: Model, threads: int, by: By) -> None:
        self._small: Size = (lq.shape[0], lq.shape[1])
        self._large: Size = (restored.shape[0], restored.shape[1])
        scale, names = model.card.scale, downward(model.plans)
        dual = by == "dual" and bool(names) and self._large == (self._small[0] * scale, self._small[1] * scale)
        self._by: By = "dual" if dual else "bicubic"
        self._down: Down = DualDown(model, self._large, self._small) if dual else Resampler(*self._large, *self._small)
        self._up = Resampler(*self._small, *self._large)
        self._channels = model.plan.input_channels if dual else _colours(lq)
        self._lq, self._threads = lq, threads
        self._step = band_rows(self._large, self._small, self._channels)

    def departure(self, restored: AnyImage, correction: Float | None = None) -> Float:
        """``H W C``: the image, less the result brought down; with the enlarged ``correction`` added to it before."""
        found = np.empty((*self._small, self._channels), np.float32)

        def work(start: int, stop: int) -> None:
            first, last = self._down.input_rows(start, stop)
            large = _planes(restored[first:last], self._channels)
            if correction is not None:
                large = large + self._enlarged(correction, first, last)
            found[start:stop] = _planes(self._lq[start:stop], self._channels)
            found[start:stop] -= self._down.rows(large, first, start, stop)

        self._in_bands(work, self._small[0], self._step)
        return found

    def corrected(self, restored: AnyImage, correction: Float) -> AnyImage:
        """The result with the enlarged correction added to its colours."""
        repaired, colours = restored.copy(), _colours(restored)
        if correction.shape[2] > colours:  # a dual map of RGB, on gray
            correction = luma(correction)[..., None].astype(np.float32, copy=False)
        view = repaired if repaired.ndim == 3 else repaired[..., None]

        def work(start: int, stop: int) -> None:
            colour = to_float32(view[start:stop, :, :colours]) + self._enlarged(correction, start, stop)
            view[start:stop, :, :colours] = from_float32(colour, restored.dtype)

        self._in_bands(work, self._large[0], band_rows(self._small, self._large, colours))
        return repaired

    def consistency(self, found: Float) -> Consistency:
        """Figures of a departure."""
        mse = sum(float(np.square(row, dtype=np.float64).sum()) for row in found) / found.size
        psnr = math.inf if mse == 0 else -10 * math.log10(mse)
        return Consistency(self._by, psnr, 255 * max(float(found.max()), -float(found.min())))

    def _enlarged(self, correction: Float, start: int, stop: int) -> Float:
        first, last = self._up.input_rows(start, stop)
        rows: Float = self._up.rows(correction[first:last], first, start, stop).astype(np.float32, copy=False)
        return rows

    def _in_bands(self, work: Callable[[int, int], None], height: int, step: int) -> None:
        starts = range(0, height, step)
        with threadpool_limits(1), ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(lambda start: work(start, min(start + step, height)), starts))


def _colours(image: AnyImage) -> int:
    return 3 if image.ndim == 3 and image.shape[2] > 2 else 1


def _planes(image: AnyImage, channels: int) -> Float:
    """Colours as ``H W channels`` float32: RGB's luma, or gray repeated, where the numbers differ."""
    colours = _colours(image)
    pixels = to_float32(np.atleast_3d(image)[..., :colours])
    if colours == channels:
        return pixels
    if channels == 1:
        return luma(pixels)[..., None].astype(np.float32, copy=False)
    return np.repeat(pixels, 3, axis=2)


def heat_of(departure: Float) -> npt.NDArray[np.uint8]:
    """Draw a departure: black where there is none, over red and yellow to white from 16 levels on.

    Args:
        departure: ``H W C`` float, in 0..1 a level of 255 being one; the largest of the colours counts.

    Returns:
        ``H W 3`` uint8.
    """
    picture = np.empty((*departure.shape[:2], 3), np.uint8)
    for row, drawn in zip(departure, picture, strict=True):
        heat = np.abs(row).max(axis=1, keepdims=True) * np.float32(255 / FULL_LEVELS)
        drawn[:] = from_float32(3 * np.minimum(heat, 1) - np.arange(3, dtype=np.float32), np.uint8)
    return picture
