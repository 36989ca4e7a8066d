"""What the filters of a one-layer upscaler look for, and where in a picture each of them wins.

The candidates of an output pixel compete by the softmax of their logits: in eSR-TM the key's answer at that place, in
eSR-TR the product of query's and key's; in eSR-MAX the largest value wins. Read as template matching, a key is a
template that is held against the picture around the pixel, and the value that goes with it makes the pixel where the
template fits best. What all keys share moves no weight, so keys of eSR-TM are shown less their mean.

Source: Navarrete Michelini, Lu, Jiang, edge-SR: Super-Resolution For The Masses, WACV 2022, section 3 (the reading).
The figures are our own.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from thinlens.bench.pairs import create_pairs
from thinlens.bench.quality import protocol_of
from thinlens.errors import ShapeError, UnsupportedOpError
from thinlens.image.colour import from_float32, to_float32
from thinlens.model.file import Model
from thinlens.runtime.fuse import OneLayer, find_one_layer, live_nodes
from thinlens.runtime.reference.rows import iter_values

Array = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]

ROLES = (("value",), ("value", "key"), ("value", "query", "key"))  # of the groups, by family
FFT = 64  # samples of a frequency response on each axis
BANDS = {"low": (1 / FFT, 1 / 8), "mid": (1 / 8, 1 / 4), "high": (1 / 4, 1.0)}  # cycles a pixel of the input
SIDE, LEAST_SIDE = 192, 16  # of the picture that goes in, pixels


class Answer(msgspec.Struct, frozen=True):
    """What a filter of the first phase answers to.

    Args:
        role: ``value``, ``query`` or ``key``.
        mean_gain: answer to a plane of ones.
        gains: root mean square of the frequency response in the bands ``low``, ``mid`` and ``high``, see `BANDS`.
        band: in which its answer to photographs, whose power falls with the square of the frequency, is largest.
        direction: in which that answer varies most, degrees: 0 from left to right, 90 from top to bottom, 45 to the
            lower right.
        directed: 0: no direction is preferred; 1: it answers to that alone.
    """

    role: str
    mean_gain: float
    gains: dict[str, float]
    band: str
    direction: float
    directed: float


class Wins(msgspec.Struct, frozen=True):
    """How often a candidate wins in a picture, and where.

    Args:
        share: of the output's pixels.
        weight: its mean weight over all of them; eSR-MAX: the share again.
        contrast: deviation of the patches where it wins over that of all.
        direction: in which the picture varies there, degrees as in `Answer`.
        directed: 0: in all alike; 1: in that alone.
        key_match: of eSR-TM: cosine between the mean patch where it wins, less its mean, and what its key makes of
            noise with the picture's covariance: 1 says that the mean patch is the template. None where there is none.
        query_key: of eSR-TR: correlation of query's and key's answers in the picture: 1: whatever they see speaks for
            the candidate, -1: against it. None for others.
    """

    share: float
    weight: float
    contrast: float
    direction: float
    directed: float
    key_match: float | None
    query_key: float | None


@dataclass(frozen=True)
class Templates:
    """The filters of a one-layer upscaler.

    Args:
        name: of the model.
        family: ``max``, ``tm`` or ``tr``.
        scale: of the upscaler.
        filters: roles, candidates, phase rows, phase columns, K, K; see `shown` for what stands for a key.
    """

    name: str
    family: str
    scale: int
    filters: Array

    @property
    def roles(self) -> tuple[str, ...]:
        """Of the first axis of the filters."""
        return ROLES[len(self.filters) - 1]

    @property
    def shown(self) -> Array:
        """Filters of the first phase: roles, candidates, K, K; keys of eSR-TM less their mean."""
        first = self.filters[:, :, 0, 0].copy()
        if self.family == "tm":
            first[1] -= first[1].mean(0)
        return first

    def answers(self) -> list[list[Answer]]:
        """By candidate and role."""
        return [
            [read_filter(role, taps) for role, taps in zip(self.roles, own, strict=True)]
            for own in self.shown.swapaxes(0, 1)
        ]


@dataclass(frozen=True)
class Match:
    """A picture through a one-layer upscaler.

    Args:
        picture: that went in, ``H W`` float32 in 0..1.
        weights: of the candidates: ``C sH sW``, of eSR-MAX 1 for the largest value.
        patches: the mean patch where each wins, less its own mean: ``C K K``; zeros where it never does.
        wins: by candidate.
        certainty: mean of the largest weight.
        psnr_db: of the result on this picture, and of what other weights would make of the same values: ``network``;
            ``winner``, the largest value of each pixel alone; ``equal``, all alike.
    """

    picture: Plane
    weights: Plane
    patches: Array
    wins: list[Wins]
    certainty: float
    psnr_db: dict[str, float]

    @property
    def winner(self) -> npt.NDArray[np.intp]:
        """The candidate of the largest weight at each output pixel: ``sH sW``."""
        return np.asarray(self.weights.argmax(axis=0))


def find_templates(model: Model) -> Templates:
    """The filters of a model.

    Raises:
        UnsupportedOpError: if it is no one-layer upscaler.
    """
    layer = _find_layer(model)
    s, side = layer.scale, layer.op.kernel[0]
    filters = model.tensors[layer.weight].astype(np.float64).reshape(-1, layer.candidates, s, s, side, side)
    return Templates(model.card.name, ("max", "tm", "tr")[layer.family], s, filters)


def _find_layer(model: Model) -> OneLayer:
    layer = find_one_layer(live_nodes(model.plan), model.plan.outputs["image"])
    if layer is None:
        raise UnsupportedOpError(
            f"model `{model.card.name}` is no one-layer upscaler; accepted: eSR-MAX, eSR-TM and eSR-TR, such as "
            "`edge_sr_tm_k7_c4_x2`"
        )
    return layer


def response(taps: Array) -> Array:
    """Magnitude of a filter's frequency response: ``K K`` -> ``FFT FFT``, frequency 0 in the middle."""
    return np.abs(np.fft.fftshift(np.fft.fft2(taps, (FFT, FFT))))


def read_filter(role: str, taps: Array) -> Answer:
    """What a filter answers to; see `Answer`."""
    y, x = (np.mgrid[:FFT, :FFT] - FFT // 2) / FFT
    radius, magnitude = np.hypot(y, x), response(taps)
    inside = {name: (radius >= low) & (radius < high) for name, (low, high) in BANDS.items()}
    power = np.zeros_like(magnitude)
    seen = radius > 0
    power[seen] = magnitude[seen] ** 2 / radius[seen] ** 2
    direction, directed = _direction(power * x**2, power * x * y, power * y**2)
    return Answer(
        role=role,
        mean_gain=round(float(taps.sum()), 4),
        gains={name: round(float(np.sqrt((magnitude[band] ** 2).mean())), 4) for name, band in inside.items()},
        band=max(inside, key=lambda name: float(power[inside[name]].sum())),
        direction=direction,
        directed=directed,
    )


def _direction(xx: Array, xy: Array, yy: Array) -> tuple[float, float]:
    """Degrees of the direction in which something varies most, and how much it is alone, from its second moments."""
    a, b, c = float(xx.sum()), float(xy.sum()), float(yy.sum())
    angle = np.degrees(0.5 * np.arctan2(2 * b, a - c)) % 180
    return round(float(angle), 1), round(float(np.hypot(a - c, 2 * b) / max(a + c, 1e-12)), 3)


def match(model: Model, clean: npt.NDArray[np.uint8]) -> Match:
    """Shrink a picture, send its middle through a one-layer upscaler, and tell which candidate wins where.

    Args:
        model: a one-layer upscaler.
        clean: the picture: ``H W`` or ``H W 3``, shrunk by the model's scale as for training.

    Raises:
        UnsupportedOpError: if the model is none.
        ShapeError: if less than 16 pixels a side are left.
    """
    templates = find_templates(model)
    hq, picture = _middle(clean, templates.scale)
    values, weights = _compete(model, templates, picture)
    winner, s, side = weights.argmax(axis=0), templates.scale, templates.filters.shape[-1]
    patches = sliding_window_view(np.pad(picture.astype(np.float64), side // 2, "edge"), (side, side))
    patches = patches - patches.mean(axis=(2, 3), keepdims=True)
    deviation = np.sqrt((patches**2).mean(axis=(2, 3)))
    gy, gx = np.gradient(picture.astype(np.float64))
    covariance = np.tensordot(patches, patches, ((0, 1), (0, 1))) / deviation.size
    means, wins = np.zeros((len(weights), side, side)), []
    for candidate, weight in enumerate(weights):
        won = winner == candidate
        here = won.reshape(len(picture), s, -1, s).mean(axis=(1, 3))  # of the output pixels over each input pixel
        first = won[::s, ::s]  # the first phase, whose filters are shown
        if first.any():
            means[candidate] = patches[first].mean(axis=0)
        direction, directed = _direction(here * gx**2, here * gx * gy, here * gy**2)
        wins.append(
            Wins(
                share=round(float(won.mean()), 4),
                weight=round(float(weight.mean()), 4),
                contrast=round(float((here * deviation).sum() / max(here.sum(), 1e-12) / deviation.mean()), 3),
                direction=direction,
                directed=directed,
                key_match=_key_match(templates, candidate, covariance, means[candidate]),
                query_key=_query_key(templates, candidate, covariance),
            )
        )
    mixtures = {
        "network": (values * weights).sum(axis=0),
        "winner": np.take_along_axis(values, winner[None], 0)[0],
        "equal": values.mean(axis=0),
    }
    protocol = protocol_of(s, colour=False)
    psnr_db = {name: round(protocol.psnr_db(from_float32(made, np.uint8), hq), 3) for name, made in mixtures.items()}
    return Match(picture, weights, means, wins, round(float(weights.max(axis=0).mean()), 4), psnr_db)


def _middle(clean: npt.NDArray[np.uint8], scale: int) -> tuple[npt.NDArray[np.uint8], Plane]:
    """The middle of a picture, and of what it is shrunk to, as a luma network takes it."""
    hq, lq = create_pairs(scale=scale, colour=False).make(clean)
    if min(lq.shape) < LEAST_SIDE:
        height, width = lq.shape
        raise ShapeError(
            f"image: shrunk by {scale} it is {width}x{height}; accepted: {LEAST_SIDE} pixels a side, or more"
        )
    top, left = (max(0, side - SIDE) // 2 for side in lq.shape)
    picture = lq[top : top + SIDE, left : left + SIDE]
    rows, columns = (
        slice(first * scale, (first + size) * scale) for first, size in zip((top, left), picture.shape, strict=True)
    )
    return hq[rows, columns], to_float32(picture)


def _compete(model: Model, templates: Templates, picture: Plane) -> tuple[Plane, Plane]:
    """The values and the weights of all candidates: ``C sH sW`` each; by the ops' NumPy reference."""
    layer = _find_layer(model)
    values = dict(iter_values(model.plan, model.tensors, picture[None]))
    shuffled = values[next(node.name for node in model.plan.nodes if node.inputs == (layer.name,))]
    groups = shuffled.reshape(len(templates.roles), -1, *shuffled.shape[1:])
    if templates.family == "max":
        return groups[0], np.asarray(groups[0] == groups[0].max(axis=0), np.float32)
    logits = groups[1] if templates.family == "tm" else groups[1] * groups[2]
    powers = np.exp(logits - logits.max(axis=0))
    return groups[0], np.asarray(powers / powers.sum(axis=0), np.float32)


def _query_key(templates: Templates, candidate: int, covariance: Array) -> float | None:
    if templates.family != "tr":
        return None
    both = templates.shown[1:, candidate].reshape(2, -1)
    (qq, qk), (_, kk) = both @ covariance.reshape(both.shape[1], -1) @ both.T
    return _ratio(qk, np.sqrt(qq * kk))


def _key_match(templates: Templates, candidate: int, covariance: Array, patch: Array) -> float | None:
    if templates.family != "tm":
        return None
    expected = np.tensordot(covariance, templates.shown[1, candidate], 2)
    return _ratio((expected * patch).sum(), np.linalg.norm(expected) * np.linalg.norm(patch))


def _ratio(product: np.floating[Any], of: np.floating[Any]) -> float | None:
    """A cosine; None where one side is nothing."""
    return round(float(product / of), 3) if of > 0 else None
