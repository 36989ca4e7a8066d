"""What models take on this machine, told beforehand: seconds and memory of one image, measured in about a second.

Time is linear in the rows that are made, so a model whose image takes long is timed on a strip of the image's whole
width. Rows that threads make twice, where their parts of the image meet, are as many for the strip as for the image.
Memory is the peak of a process that does nothing but restore one such image as a whole: a fresh one that has loaded a
model, as it is measured here, and what the engine's plan says of the image beside it.
"""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.bench.fresh import make_rows
from thinlens.bench.memory import measure_fresh
from thinlens.errors import UnknownNameError, UnsupportedOpError
from thinlens.model.card import ModelCard
from thinlens.models import default_model, list_models
from thinlens.runtime.compile import ImageKind
from thinlens.runtime.session import Session, open_model

SECONDS = 0.8  # that all models are timed in, beside the fresh process
ROUNDS, LEAST_ROUNDS = 7, 3  # runs of a strip that are aimed at, and in any case
LEAST_ROWS = 64  # of a strip, a thread: what each run takes beside its rows is little then
CONTEXT = 4  # times the rows around a thread's own that it makes again: shorter strips are divided otherwise
MOST_PIXELS = 16_000_000  # that are made of an image, beside the rows that a strip has at least
PROGRAM_BYTES = 50_000_000  # interpreter, NumPy and a model, where the system does not tell
AnyImage = npt.NDArray[Any]


@dataclass(frozen=True)
class Promise:
    """What a model is said to take and to give.

    Args:
        name: the model, as it was asked for.
        psnr_db: mean over its card's figures on validation images; None: it has none.
        seconds: of one image, memory to memory, once the process has warmed up.
        memory_bytes: the most that a process holds resident which restores one such image and does nothing else.
    """

    name: str
    psnr_db: float | None
    seconds: float
    memory_bytes: int

    def excess(self, seconds: float | None, memory_bytes: int | None) -> str | None:
        """Why it may not be chosen within these limits: ``too slow``, ``too large``, ``no figure``; None: it may."""
        if seconds is not None and self.seconds > seconds:
            return "too slow"
        if memory_bytes is not None and self.memory_bytes > memory_bytes:
            return "too large"
        return "no figure" if self.psnr_db is None else None


def validated_db(card: ModelCard) -> float | None:
    """PSNR on validation images, the mean over kinds of damage: over RGB where that was measured, else on luma."""
    figures = [m.psnr_y_db if m.psnr_rgb_db is None else m.psnr_rgb_db for m in card.quality if _on_val(m.data)]
    return statistics.fmean(figures) if figures else None


def _on_val(data: str) -> bool:
    return data.partition(",")[0] == "val"


def find_candidates(
    task: str, scale: int, named: Sequence[str], *, gray: bool, threads: int | None
) -> dict[str, Session]:
    """The models to choose among, opened: those that ship for a task and scale, and some of the user's.

    Of denoisers and deblockers those for the image's colours, if there are any, as `restore` takes them.

    Args:
        task: ``sr``, ``denoise`` or ``deblock``.
        scale: 1 unless the task is ``sr``.
        named: further names or paths of models.
        gray: whether the image is gray.
        threads: of each; None: as many as the process may use.

    Raises:
        UnknownNameError: if none ships for task and scale, or a named one is of another, or is not there.
    """
    shipped = [card for card in list_models() if (card.task, card.scale) == (task, scale)]
    fitting = [card for card in shipped if task == "sr" or (card.colour == "luma") == gray] or shipped
    if not fitting and not named:
        default_model(task, scale)  # says what there is
    sessions = {name: open_model(name, threads=threads) for name in [*(card.name for card in fitting), *named]}
    for name in named:
        card = sessions[name].card
        if (card.task, card.scale) != (task, scale):
            raise UnknownNameError(
                f"model `{name}` does {card.task} x{card.scale}; to choose is among models that do {task} x{scale}"
            )
    return sessions


def measure_promises(
    models: Mapping[str, Session], path: Path, height: int, width: int, kind: ImageKind
) -> Iterator[Promise]:
    """Tell what models take for one image, the cheapest first; about a second in all.

    Args:
        models: the models, ready, by name.
        path: a model file, for the fresh process to load.
        height: of the image that goes in.
        width: likewise.
        kind: of the image, without alpha; uint8 or uint16.

    Raises:
        ShapeError: if a model takes no image of that size.
    """
    program = measure_program(path, width)
    share = SECONDS / len(models)
    rows = max(MOST_PIXELS // width, *(least_rows(session) for session in models.values()))
    image = make_image(min(height, rows), width, kind)
    for name, session in sorted(models.items(), key=lambda model: model[1].card.macs_per_pixel):
        working = session.working_bytes(height, width, channels=kind.channels, itemsize=image.itemsize)
        yield Promise(
            name, validated_db(session.card), measure_seconds(session, image, share, height), program + working
        )


def make_image(height: int, width: int, kind: ImageKind) -> AnyImage:
    """A synthetic image: how long it takes does not depend on its pixels."""
    rows = make_rows(0, height, width, kind.channels)
    return rows if kind.dtype == "uint8" else rows.astype(np.uint16) * 257


def measure_program(path: Path, width: int) -> int:
    """Peak of a process that has loaded a model and does nothing with it."""
    try:
        return measure_fresh("whole", path, width, 0)["peak"]
    except UnsupportedOpError:
        return PROGRAM_BYTES


def measure_seconds(session: Session, image: AnyImage, share: float, height: int | None = None) -> float:
    """Seconds of `Session.run` on an image, told by runs on a strip of it that take about ``share`` seconds in all.

    Args:
        session: of the model.
        image: the image, or its first rows.
        share: seconds.
        height: of the whole image; None: ``image`` is that.
    """
    height = len(image) if height is None else height
    least = min(len(image), least_rows(session))
    warm = _time(session, image[:least], share / 10)
    rows = min(len(image), max(least, int(least * share / ROUNDS / warm)))
    twice = (session.threads - 1) * _context(session)
    return _time(session, image[:rows], share) * (height + twice) / (rows + twice)


def least_rows(session: Session) -> int:
    """Rows of the shortest strip that stands for an image."""
    return session.threads * max(LEAST_ROWS, CONTEXT * _context(session))


def _context(session: Session) -> int:
    """Input rows above and below an output row's own that it depends on, where they are counted."""
    told = session.describe()
    return sum(rows for rows in (told["halo_rows_above"], told["halo_rows_below"]) if isinstance(rows, int))


def _time(session: Session, image: AnyImage, seconds: float) -> float:
    """Seconds of a run, of which there are as many as fit into so many seconds.

    The lower quartile: what comes between only ever adds.
    """
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < LEAST_ROUNDS or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        session.run(image)
        found.append(time.perf_counter() - before)
    return sorted(found)[len(found) // 4]


def choose(promises: Sequence[Promise], seconds: float | None, memory_bytes: int | None) -> Promise | None:
    """The best of those that keep the limits, the quicker of two that are as good; None: none does."""
    fitting = [promise for promise in promises if promise.excess(seconds, memory_bytes) is None]
    return max(fitting, key=lambda promise: (promise.psnr_db, -promise.seconds), default=None)
