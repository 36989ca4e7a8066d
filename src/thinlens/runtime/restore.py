"""From an image and a wish to pixels: which network runs, and what bicubic does where no network fits exactly.

A scale or a size that no network makes is reached by the next larger one and antialiased bicubic down from there. What
is not larger than the image needs no network: bicubic alone makes it.
"""

import logging
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from thinlens.errors import ShapeError, UnknownNameError
from thinlens.image.colour import bleed, from_float32, to_float32
from thinlens.image.resample import Resampler
from thinlens.model.card import ModelCard
from thinlens.models import DEFAULTS, default_model, list_models
from thinlens.runtime.bands import NOISY, check_image
from thinlens.runtime.session import Progress, Session, open_model, usable_cpus
from thinlens.runtime.strength import Strength, fits, quality_of, sigma_of

AnyImage = npt.NDArray[Any]
Size = tuple[int, int]  # height, width

BAND_VALUES = 1 << 20  # of the wider side of one band that is resampled


@dataclass(frozen=True)
class Wish:
    """What is wanted of each image; None: the model's own, or the default.

    Args:
        task: ``sr``, ``denoise`` or ``deblock``.
        scale: of the result, above 0; any number for ``sr``.
        size: height and width of the result, instead of ``scale``; whether that stretches is the caller's affair.
        model: a shipped model's name or a path.
        prefer: ``speed``, ``balanced`` or ``quality``: which default.
        sigma: for ``denoise``: standard deviation of the noise, 0..255; None: estimated.
        quality: for ``deblock``: of the JPEG that the image came from, 1..100; None: read from the file.
    """

    task: str | None = None
    scale: float | None = None
    size: Size | None = None
    model: str | None = None
    prefer: str | None = None
    sigma: float | None = None
    quality: int | None = None


@dataclass(frozen=True)
class Route:
    """How an image gets from its size to another.

    Args:
        session: of the network; None: bicubic alone.
        source: height and width of the image.
        target: height and width of the result.
        threads: for the resampling.
        strength: of the image's damage, where that was asked for.
    """

    session: Session | None
    source: Size
    target: Size
    threads: int
    strength: Strength | None = None

    @property
    def note(self) -> str | None:
        """What the user should know, if the network does not do it alone."""
        if self.session is None:
            return "not larger than the image: bicubic alone, no network"
        scale = self.session.card.scale
        return None if self.restored == self.target else f"x{scale} by the network, then down by bicubic"

    def run(self, image: AnyImage, *, progress: Progress | None = None) -> AnyImage:
        """Restore an image of the size that this route begins with; else as `Session.run`."""
        if self.session is None:
            check_image(image)
            return resample(visible(image, self.target), self.target, self.threads, progress)
        if self.restored == self.target:
            return self.session.run(image, progress=progress)
        first, second = _halves(progress, self.restored[0], self.target[0])
        return resample(self.session.run(image, progress=first), self.target, self.threads, second)

    def working_bytes(self, *, channels: int = 3, itemsize: int = 1) -> int:
        """Estimated peak of `run`: pixels that are held at the same time, and the values of one band a thread."""
        pixel = channels * itemsize
        target = math.prod(self.target) * pixel
        before = math.prod(self.source) * pixel
        network = 0
        if self.session is not None:
            network = self.session.working_bytes(*self.source, channels=channels, itemsize=itemsize)
            if self.restored == self.target:
                return network
            before += math.prod(self.restored) * pixel
        elif channels in (2, 4):
            before *= 3  # colour is filled in under transparent pixels, in a copy
        return max(network, before + target + self.threads * band_bytes(self.source, self.target, channels))

    @property
    def restored(self) -> Size:
        """Size that the network makes; without one, the image's."""
        scale = 1 if self.session is None else self.session.card.scale
        return self.source[0] * scale, self.source[1] * scale


class Restorer:
    """Finds the route for images of any size; networks are opened once.

    Args:
        wish: what is wanted.
        threads: at least 1; None: as many as the process may use.

    Raises:
        UnknownNameError: if no model fits the wish, or a part of it fits no other.
        ShapeError: if a number is out of range.
        ModelError: if the model's file is damaged.
    """

    def __init__(self, wish: Wish, *, threads: int | None = None) -> None:
        _check_ranges(wish)
        self._wish, self._threads = wish, threads
        self._sessions: dict[str, Session] = {}
        self._cards: list[ModelCard] | None = None  # of the shipped models of the task
        named = None if wish.model is None else self._open(wish.model)
        self.task = wish.task or (named.card.task if named else "sr")
        own_scale = named.card.scale if named else 2 if self.task == "sr" else 1
        self._scale = own_scale if wish.scale is None else wish.scale
        self._named = named
        self._check_task()
        if wish.size is None and not self._shrinks(self._scale):
            self._session(self._scale)

    def strength(self, image: AnyImage, table: tuple[int, ...] | None = None) -> Strength | None:
        """How strong an image's damage is, as the wish or the image says; None: the task is ``sr``.

        Args:
            image: its pixels.
            table: the luma table of its JPEG file, see `thinlens.image.formats.ImageFile`.
        """
        return self.strength_of_bands([image], image.shape[0], image.shape[1], table)

    @property
    def estimates(self) -> bool:
        """Whether `strength` looks at pixels."""
        return self.task == "denoise" and self._wish.sigma is None

    def strength_of_bands(
        self, bands: Iterable[AnyImage], height: int, width: int, table: tuple[int, ...] | None = None
    ) -> Strength | None:
        """As `strength`, for an image of that size that comes in bands of rows, in order."""
        if self.task == "denoise":
            return sigma_of(bands, height, width, self._wish.sigma)
        return quality_of(table, self._wish.quality) if self.task == "deblock" else None

    def route(self, height: int, width: int, strength: Strength | None = None, *, gray: bool = False) -> Route:
        """The route for an image of that size.

        Args:
            height: of the image.
            width: of the image.
            strength: of its damage: the default model gives way to one that was trained on it.
            gray: whether it is gray: the default model gives way to one for luma. (For a denoiser of RGB the noise of
                a gray image, the same in all channels, is texture.)

        Raises:
            UnknownNameError: if no network makes results that large.
        """
        scale, target = self._scale, self._wish.size
        if target is None:
            target = max(1, round(height * scale)), max(1, round(width * scale))
        else:
            scale = max(target[0] / height, target[1] / width)
        session = None if self._shrinks(scale) else self._session(scale, strength, gray=gray)
        return Route(session, (height, width), target, self._threads or usable_cpus(), strength)

    def _shrinks(self, scale: float) -> bool:
        return self.task == "sr" and scale <= 1

    def _session(self, scale: float, strength: Strength | None = None, *, gray: bool = False) -> Session:
        """The network of the smallest scale that is not below ``scale``; for other tasks, the one that fits best."""
        if self._named is not None:
            card = self._named.card
            if scale > card.scale:
                raise UnknownNameError(
                    f"scale {scale:.4g}: model `{card.name}` has scale {card.scale}; use one of a larger scale"
                )
            return self._named
        prefer = self._wish.prefer or "balanced"
        known = [s for (task, s), choice in DEFAULTS.items() if task == self.task and s >= scale and prefer in choice]
        name = default_model(self.task, min(known, default=math.ceil(scale)), prefer)
        return self._open(name if self.task == "sr" else self._fitting(name, strength, gray=gray))

    def _fitting(self, default: str, strength: Strength | None, *, gray: bool) -> str:
        """The shipped model for an image: of its colours, if there is one, then trained on its damage, then default."""

        def merit(card: ModelCard) -> tuple[bool, bool, bool, float]:
            knows = strength is None or fits(card, strength)
            return (card.colour == "luma") == gray, knows, card.name == default, card.macs_per_pixel

        if self._cards is None:
            self._cards = [card for card in list_models() if card.task == self.task]
        return max(self._cards, key=merit).name

    def _open(self, name: str) -> Session:
        if name not in self._sessions:
            self._sessions[name] = open_model(name, threads=self._threads)
        return self._sessions[name]

    def _check_task(self) -> None:
        """Refuse what does not go with the task, or with the model."""
        wish = self._wish
        if self._named is not None and self._named.card.task != self.task:
            card = self._named.card
            raise UnknownNameError(f"task {self.task}: model `{card.name}` does {card.task}; leave out one of them")
        if self.task != "sr" and (wish.size is not None or self._scale != 1):
            raise UnknownNameError(f"task `{self.task}` keeps the size; scale and size go with task `sr`")
        for name, value, task in (("sigma", wish.sigma, "denoise"), ("quality", wish.quality, "deblock")):
            if value is not None and self.task != task:
                raise UnknownNameError(f"`{name}` goes with task `{task}`; the task is `{self.task}`")


def _check_ranges(wish: Wish) -> None:
    if wish.scale is not None and not (math.isfinite(wish.scale) and wish.scale > 0):
        raise ShapeError(f"scale: got {wish.scale}; accepted: a number above 0")
    if wish.size is not None and min(wish.size) < 1:
        raise ShapeError(f"size: got {wish.size[1]}x{wish.size[0]}; accepted: sides of 1 pixel or more")
    if wish.scale is not None and wish.size is not None:
        raise UnknownNameError("scale and size both say how large the result is; give one of them")
    if wish.sigma is not None and not 0 <= wish.sigma <= 255:
        raise ShapeError(f"sigma: got {wish.sigma}; accepted: 0 to 255")
    if wish.quality is not None and not 1 <= wish.quality <= 100:
        raise ShapeError(f"quality: got {wish.quality}; accepted: 1 to 100")


def restore(
    image: AnyImage,
    *,
    task: str = "sr",
    scale: float | None = None,
    model: str | None = None,
    sigma: float | None = None,
    quality: int | None = None,
    threads: int | None = None,
) -> AnyImage:
    """Restore an image with a shipped model or one of your own.

    Args:
        image: ``H W``, ``H W 2`` (gray, alpha), ``H W 3`` or ``H W 4``; uint8, uint16, or float32 in 0..1.
        task: ``sr``, ``denoise`` or ``deblock``.
        scale: for ``sr``; where no network has it, the next larger one and antialiased bicubic make it; None: the
            model's own, else 2.
        model: a shipped model's name or a path; None: the default of task and scale.
        sigma: for ``denoise``: standard deviation of the noise, 0..255; None: estimated. Like ``quality`` it chooses
            among models and tells, in the log, where an image lies outside what they were trained on.
        quality: for ``deblock``: of the JPEG that the image came from, 1..100; None: not known, as pixels do not tell.
        threads: how many; None: as many as the process may use.

    Returns:
        The restored image, ``round(scale * H)`` x ``round(scale * W)``; kind and dtype as in ``image``.

    Raises:
        UnknownNameError: if there is no such model, or none for this task and scale.
        ShapeError: if the image is not as above, or a number out of range.
    """
    check_image(image, NOISY)  # the route needs a sound shape; the session knows which values its network takes
    wish = Wish(task=task, scale=scale, model=model, sigma=sigma, quality=quality)
    restorer = Restorer(wish, threads=threads)
    strength = restorer.strength(image)
    gray = image.ndim == 2 or image.shape[2] == 2
    route = restorer.route(image.shape[0], image.shape[1], strength, gray=gray)
    if strength is not None and route.session is not None:
        known = fits(route.session.card, strength)
        level = logging.INFO if known else logging.WARNING
        logging.getLogger(__name__).log(level, "thinlens: %s", strength.describe(route.session.card))
    return route.run(image)


def resample(image: AnyImage, size: Size, threads: int, progress: Progress | None = None) -> AnyImage:
    """Antialiased bicubic to another size, in bands, so that memory beside the pixels stays bounded.

    Args:
        image: as `check_image` accepts; all channels alike.
        size: height and width of the result.
        threads: at least 1; no influence on the result.
        progress: called with (rows done, rows in all), from the calling thread.
    """
    (height, width), channels = size, image.shape[2:]
    resampler = Resampler(image.shape[0], image.shape[1], height, width)
    result = np.empty((height, width, *channels), image.dtype)
    step = band_rows((image.shape[0], image.shape[1]), size, math.prod(channels))

    def work(start: int) -> int:
        stop = min(start + step, height)
        first, last = resampler.input_rows(start, stop)
        rows = resampler.rows(to_float32(image[first:last]), first, start, stop)
        result[start:stop] = from_float32(rows, image.dtype)
        return stop

    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        try:
            for done in pool.map(work, range(0, height, step)):
                if progress is not None:
                    progress(done, height)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return result


def band_rows(source: Size, target: Size, channels: int) -> int:
    """Rows of the result that one band of `resample` makes."""
    wider = max(target[1], source[1] * math.ceil(source[0] / target[0])) * channels
    return max(1, BAND_VALUES // wider)


def band_bytes(source: Size, target: Size, channels: int) -> int:
    """Bytes of the float values behind one band: its input with the kernel's reach, three of each row of the result."""
    ratio, rows = source[0] / target[0], min(target[0], band_rows(source, target, channels))
    read = min(source[0], (rows + 4) * max(ratio, 1) + 4)
    return round(4 * channels * (read * source[1] + 3 * rows * target[1]))


def visible(image: AnyImage, size: Size) -> AnyImage:
    """Fill the colour under fully transparent pixels, as far as shrinking to ``size`` mixes it into visible ones."""
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    filled = image.copy()
    reach = bleed_reach((image.shape[0], image.shape[1]), size)
    filled[..., :-1] = bleed(image[..., :-1], image[..., -1], reach=reach)
    return filled


def bleed_reach(source: Size, target: Size) -> int:
    """How far from a visible pixel shrinking mixes the colour of others into it."""
    return math.ceil(2 * max(source[0] / target[0], source[1] / target[1], 1)) + 1


def _halves(progress: Progress | None, first: int, second: int) -> tuple[Progress | None, Progress | None]:
    """Progress of two steps of that many rows, told as one."""
    if progress is None:
        return None, None
    tell: Callable[[int, int], None] = progress
    return lambda done, _: tell(done, first + second), lambda done, _: tell(first + done, first + second)
