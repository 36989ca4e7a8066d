"""One call from pixels to pixels: pick the model, run it."""

from typing import Any

import numpy.typing as npt

from thinlens.errors import UnknownNameError
from thinlens.models import default_model
from thinlens.runtime.session import open_model


def restore(
    image: npt.NDArray[Any],
    *,
    task: str = "sr",
    scale: int | None = None,
    model: str | None = None,
    sigma: float | None = None,
    quality: int | None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]:
    """Restore an image with a shipped model or one of your own.

    Args:
        image: ``H W``, ``H W 2`` (gray, alpha), ``H W 3`` or ``H W 4``; uint8, uint16, or float32 in 0..1.
        task: ``sr``, ``denoise`` or ``deblock``.
        scale: 2, 3, 4 or 8 for ``sr``; None: the model's own, else 2.
        model: a shipped model's name or a path; None: the default of task and scale.
        sigma: for ``denoise``: standard deviation of the noise, 0..255.
        quality: for ``deblock``: of the JPEG that the image came from, 1..100.
        threads: how many; None: as many as the process may use.

    Returns:
        The restored image; kind and dtype as in ``image``.

    Raises:
        UnknownNameError: if there is no such model, or none for this task and scale.
        ShapeError: if the image is not as above.
    """
    if task == "sr" and (sigma is not None or quality is not None):
        raise UnknownNameError("`sigma` goes with task `denoise` and `quality` with task `deblock`; task is `sr`")
    name = model or default_model(task, (scale or 2) if task == "sr" else 1)
    session = open_model(name, threads=threads)
    card = session.card
    if card.task != task or scale not in (None, card.scale):
        raise UnknownNameError(f"model `{card.name}` does {card.task} x{card.scale}; asked for {task} x{scale or 2}")
    return session.run(image)
