"""One step of compression: rewrite a model, measure what is lost, and write both into its card.

The images of a folder, in the order of their names, are dealt out in turn: one to calibrate on, the next to measure on.
Of each kind at most `MAX_IMAGES`, spread evenly, are used. A lone image serves for both.

The first and the last convolution see and make pixels, and stay on floats unless the calibration images lose less than
`END_LOSS_DB` by each. All others are rewritten.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace as with_fields

from thinlens.bench.pairs import create_pairs
from thinlens.bench.quality import Quality, evaluate
from thinlens.compress.calibrate import lq_crops, patches_of, quantizers
from thinlens.compress.low_precision import LowWeights, Rounding, eligible, low_weights, rewritten
from thinlens.errors import CompressionError, UnknownNameError
from thinlens.model.card import Compression
from thinlens.model.file import Model, stored_tensors
from thinlens.model.ops import Bfloat16, Conv2d, ConvTranspose2d
from thinlens.model.plan import Node
from thinlens.model.value_range import to_unit_range
from thinlens.runtime.binary import Precision
from thinlens.runtime.fuse import find_one_layer, live_nodes
from thinlens.runtime.session import Session

PRECISIONS = {"int8": Precision.INT8, "bf16": Precision.BFLOAT16}
END_LOSS_DB = {"int8": 0.01, "bf16": 0.0005}
MAX_IMAGES = 16
SIZE = (64, 64)  # on which costs per pixel are counted

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """How to calibrate and measure.

    Args:
        degradation: one of ``scale``, ``sigma`` (with ``seed``) and ``quality``, as `bench.quality.evaluate` takes it.
        max_loss_db: refuse to lose more; None: whatever it costs.
        crop: side of the crops that are calibrated on, in pixels of the degraded image.
        crops: how many of each image.
        seed: of their places.
        threads: of the engine; None: all that the process may use. No influence on the result.
    """

    degradation: dict[str, Any]
    max_loss_db: float | None = None
    crop: int = 96
    crops: int = 2
    seed: int = 0
    threads: int | None = None


def compress(
    model: Model, method: str, paths: Sequence[Path], settings: Settings, progress: Progress | None = None
) -> Model:
    """Rewrite a model in low precision.

    Args:
        model: checked.
        method: ``int8`` or ``bf16``.
        paths: clean images, 8 bits, gray or RGB; at least one.
        settings: how to calibrate and measure.
        progress: called with what is being done, how much of it is done, and how much there is.

    Returns:
        The model, its name extended by the method; the figures of the step end its card's history, and those that were
        measured before are gone. It works on pixels in 0..1, whatever range its card said.

    Raises:
        UnknownNameError: if there is no such method.
        CompressionError: if the model has nothing to rewrite, or would lose more than ``max_loss_db``.
        ImageError, ShapeError: if an image cannot be measured on.
    """
    if method not in PRECISIONS:
        raise UnknownNameError.of("method", method, PRECISIONS, f"accepted: {', '.join(PRECISIONS)}")
    model = to_unit_range(model)
    report: Progress = progress or (lambda _name, _done, _total: None)
    calibration, held_out = deal(paths)
    with np.errstate(over="ignore", invalid="ignore"):  # finite weights may still be absurd, which is told
        convs, roundings = _calibrate(model, method, calibration, settings, report)
    measure = partial(_measure, model.card.colour == "rgb", settings, report)

    def with_low(chosen: Sequence[str]) -> Model:
        return rewritten(model, {name: convs[name] for name in chosen}, roundings)

    def psnr_of(chosen: Sequence[str]) -> float:
        return measure(with_low(chosen), calibration, "choosing").psnr_y_db

    chosen = choose(list(convs), _ends(model), psnr_of, END_LOSS_DB[method])
    if not chosen:
        raise CompressionError(
            f"`{model.card.name}`: `{method}` of its first or its last convolution loses {END_LOSS_DB[method]:g} dB or "
            "more, and there are no others; give a deeper network, or another method"
        )
    before = measure(model, held_out, "measuring").psnr_y_db

    def is_enough(tried: Sequence[str]) -> bool:
        return before - measure(with_low(tried), held_out, "measuring").psnr_y_db <= (settings.max_loss_db or 0.0)

    if settings.max_loss_db is not None and not is_enough(chosen):
        chosen = spare(chosen, psnr_of, is_enough)
    return finish_step(model, with_low(chosen), Change(method, len(chosen)), held_out, settings, report)


@dataclass(frozen=True)
class Change:
    """What a step did to a model, for its card.

    Args:
        method: its name.
        convolutions: how many of the main plan it changed.
        ratio: the share of channels that was to go, where it is asked for one.
        steps: of the training that followed.
    """

    method: str
    convolutions: int
    ratio: float | None = None
    steps: int = 0


def finish_step(
    model: Model, result: Model, change: Change, held_out: Sequence[Path], settings: Settings, report: Progress
) -> Model:
    """Measure what a step costs, and write it into the card of what it made.

    Args:
        model: before the step, on pixels in 0..1.
        result: behind it.
        change: what was done.
        held_out: images that it did not see.
        settings: how to measure, and what may be lost.
        report: as of `compress`.

    Returns:
        The result, its name extended by the method, its figures at the end of the card's history.

    Raises:
        CompressionError: if it lost more than is accepted.
        ImageError, ShapeError: if an image cannot be measured on.
    """
    measure = partial(_measure, model.card.colour == "rgb", settings, report)
    before, after = (measure(m, held_out, "measuring") for m in (model, result))
    step = Compression(
        method=change.method,
        convolutions=change.convolutions,
        bytes_before=_bytes(model),
        bytes_after=_bytes(result),
        data=held_out[0].resolve().parent.name,
        count=after.count,
        psnr_y_db_before=round(before.psnr_y_db, 4),
        psnr_y_db_after=round(after.psnr_y_db, 4),
        protocol=f"{after.protocol['lq']}; {after.protocol['text']}",
        params_before=_params(model),
        params_after=_params(result),
        macs_before=_macs(model),
        macs_after=_macs(result),
        ratio=change.ratio,
        steps=change.steps,
    )
    _check_loss(model.card.name, step, settings.max_loss_db)
    return replace(result, card=_card(model, result, step))


def deal(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images to calibrate on, and images to measure on."""
    return _spread(paths[::2]), _spread(paths[1::2] or paths)


def _spread(paths: Sequence[Path]) -> list[Path]:
    count = min(len(paths), MAX_IMAGES)
    return [paths[i * len(paths) // count] for i in range(count)]


def _convolutions(model: Model, method: str) -> list[Node]:
    """The nodes that can be rewritten; at least one."""
    name = model.card.name
    if find_one_layer(live_nodes(model.plan), model.plan.outputs["image"]) is not None:
        raise CompressionError(
            f"`{name}`: is a one-layer upscaler, which has integer kernels of its own; accepted: deeper networks"
        )
    nodes = eligible(model.plan, PRECISIONS[method])
    if not nodes:
        raise CompressionError(
            f"`{name}`: has no convolution for `{method}`; accepted: stride 1, one group, "
            "two channels or more, not in low precision yet"
        )
    return nodes


def _calibrate(
    model: Model, method: str, paths: Sequence[Path], settings: Settings, report: Progress
) -> tuple[dict[str, LowWeights], dict[str, Rounding]]:
    """The numbers of each convolution that can be rewritten, and what rounds each value that one of them reads."""
    nodes, precision = _convolutions(model, method), PRECISIONS[method]
    names = list(dict.fromkeys(node.inputs[0] for node in nodes))
    pairs = create_pairs(colour=model.card.colour == "rgb", **settings.degradation)
    crops = lq_crops(paths, pairs, side=settings.crop, per_image=settings.crops, seed=settings.seed)
    roundings: dict[str, Rounding] = dict.fromkeys(names, Bfloat16())
    if precision is Precision.INT8:
        roundings.update(quantizers(model, names, crops, partial(report, "ranges")))
    patches = patches_of(model, nodes, roundings, crops, partial(report, "patches"))
    convs = {}
    for done, node in enumerate(nodes, 1):
        convs[node.name] = low_weights(node, model.tensors, precision, patches[node.name])
        report("weights", done, len(nodes))
    return convs, roundings


def _ends(model: Model) -> tuple[str, str]:
    """The first and the last convolution, whether they can be rewritten or not."""
    names = [node.name for node in model.plan.nodes if isinstance(node.op, Conv2d | ConvTranspose2d)]
    return names[0], names[-1]


def choose(
    convs: list[str], ends: Sequence[str], psnr_of: Callable[[Sequence[str]], float], accepted: float
) -> list[str]:
    """Choose what to rewrite: all but the ends, and each end that costs little more.

    Args:
        convs: names of those that can be rewritten.
        ends: names of the first and last convolution, which need not be among them.
        psnr_of: measures the model with some of them rewritten, dB.
        accepted: what an end may cost, dB.
    """
    chosen = [name for name in convs if name not in ends]
    psnr = psnr_of(chosen)
    for end in dict.fromkeys(name for name in convs if name in ends):
        tried = psnr_of([*chosen, end])
        if psnr - tried < accepted:
            chosen, psnr = [*chosen, end], tried
    return chosen


def spare(
    chosen: list[str], psnr_of: Callable[[Sequence[str]], float], is_enough: Callable[[Sequence[str]], bool]
) -> list[str]:
    """Leave convolutions on floats, those first that gain most by it, until little enough is lost.

    Args:
        chosen: names of those that would be rewritten.
        psnr_of: measures the model with some of them rewritten, dB, on the images that choices are made by.
        is_enough: whether what is lost with some of them rewritten is accepted.

    Returns:
        What is left of them. All, if not even one alone would be accepted.
    """
    gain = {name: psnr_of([other for other in chosen if other != name]) for name in chosen}
    left = sorted(chosen, key=lambda name: -gain[name])
    while len(left) > 1:
        left = left[1:]
        if is_enough(left):
            return [name for name in chosen if name in left]
    return chosen


def _measure(
    colour: bool, settings: Settings, report: Progress, model: Model, paths: Sequence[Path], what: str
) -> Quality:
    run = Session(model, threads=settings.threads).run
    found = evaluate(run, paths, colour=colour, **settings.degradation, progress=partial(report, what))
    if not math.isfinite(found.psnr_y_db):
        raise CompressionError(
            f"`{paths[0].parent}`: an image is restored without any error, so no loss can be told; give photographs"
        )
    return found


def _check_loss(name: str, step: Compression, accepted: float | None) -> None:
    if accepted is not None and not step.loss_db <= accepted:  # so that NaN accepts nothing
        raise CompressionError(
            f"`{name}`: `{step.method}` loses {step.loss_db:.3f} dB on {step.count} images of `{step.data}` "
            f"({step.psnr_y_db_before:.3f} to {step.psnr_y_db_after:.3f}), {step.loss_db - accepted:.3f} more than the "
            f"{accepted:g} accepted; nothing was written"
        )


def _bytes(model: Model) -> int:
    return sum(array.nbytes for array in stored_tensors(model).values())


def _params(model: Model) -> int:
    return sum(model.tensors[name].size for name in model.plan.tensor_names())


def _macs(model: Model) -> float:
    """Multiply-accumulates of the main plan for a pixel of its output."""
    height, width = model.plan.sizes(SIZE)[model.plan.outputs["image"]]
    return model.plan.macs(SIZE) / (height * width)


def _card(model: Model, result: Model, step: Compression) -> Any:
    """The card of a rewritten model: another name, other costs, and one more step."""
    return with_fields(
        result.card,
        name=f"{model.card.name}_{step.method.replace('-', '_')}",
        params=_params(result),
        macs_per_pixel=_macs(result),
        quality=(),
        history=(*model.card.history, step),
    )
