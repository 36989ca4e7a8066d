"""How strong the damage of an image is: as the user says, or as the image tells.

Blind networks cope with any strength that they were trained on. It serves to choose among models, and to warn where an
image lies outside what the model knows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from thinlens.degrade.estimate import estimate_quality, estimate_sigma_of_bands
from thinlens.model.card import ModelCard

AnyImage = npt.NDArray[Any]


@dataclass(frozen=True)
class Strength:
    """Of one image's damage.

    Args:
        name: ``sigma`` of noise, or ``quality`` of a JPEG.
        value: None: it cannot be told.
        estimated: whether the image told it, not the user.
        remark: what the number alone does not say.
    """

    name: str
    value: float | None
    estimated: bool
    remark: str | None = None

    def facts(self) -> dict[str, object]:
        """For a record: the value, and whether it was estimated."""
        return {self.name: self.value, f"{self.name}_estimated": self.estimated}

    def describe(self, card: ModelCard) -> str:
        """For people: the value, where it comes from, and whether a model was trained on the like."""
        parts = [self._origin(), *([self.remark] if self.remark else [])]
        known = known_range(card)
        if known is not None:
            low, high = known
            trained = f"{low:g} to {high:g}, which model `{card.name}` was trained on"
            if self.value is None:
                parts.append(f"taken to lie within {trained}")
            elif not low <= self.value <= high:
                parts.append(f"outside of {trained}: do not expect much")
        return "; ".join(parts)

    def _origin(self) -> str:
        if self.value is None:
            return f"{self.name} not known"
        return f"{self.name} {self.value:g}, {'estimated' if self.estimated else 'as given'}"


def known_range(card: ModelCard) -> tuple[float, float] | None:
    """The strengths that a model was trained on; None: its card does not say."""
    return card.sigma_range if card.task == "denoise" else card.quality_range


def fits(card: ModelCard, strength: Strength) -> bool:
    """Whether a model was trained on such a strength, as far as is known."""
    known = known_range(card)
    return known is None or strength.value is None or known[0] <= strength.value <= known[1]


def sigma_of(bands: Iterable[AnyImage], height: int, width: int, given: float | None) -> Strength:
    """The noise, in 8-bit units, of an image that comes in bands; they are read only where it is not given."""
    if given is not None:
        return Strength("sigma", given, estimated=False)
    return Strength("sigma", round(estimate_sigma_of_bands(bands, height, width), 1), estimated=True)


def quality_of(table: tuple[int, ...] | None, given: int | None) -> Strength:
    """The quality of a JPEG; without being given it is read from the luma table, if there is one."""
    if given is not None:
        return Strength("quality", given, estimated=False)
    if table is None:
        return Strength("quality", None, estimated=False, remark="the input is no JPEG file; `--quality` says it")
    found = estimate_quality(table)
    remark = None if found.standard else "the nearest: the file's quantisation table is not libjpeg's"
    return Strength("quality", found.quality, estimated=True, remark=remark)
