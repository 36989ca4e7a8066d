"""The models that are measured: shipped ones, files, and untrained networks with random weights.

How long a network takes does not depend on its weights, so that published ones need not be trained to be measured.
Besides the configurations of `thinlens networks` there are plain stacks of 3x3 convolutions, on luma:
``plain_d8_w48`` has 8 layers of 48 channels between a first and a last one; ``dncnn_d17_w64`` is DnCNN in its
inference form, 17 layers in all, its result subtracted from the image. ``plain_d8_w48_int8`` and ``..._bf16`` have all
but the first layer in low precision.

Source: Zhang et al., Beyond a Gaussian Denoiser, TIP 2017, section III.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.bench.records import Subject
from thinlens.errors import ModelError, PlanError, RecordError, ShapeError
from thinlens.image.resample import resize
from thinlens.model import ops
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model, Tensors, content_hash, read_model
from thinlens.model.graph import fitting_size
from thinlens.model.plan import INPUT, Node, Plan
from thinlens.model.value_range import to_unit_range
from thinlens.models import find_model
from thinlens.runtime.session import Session

STACK = re.compile(r"(plain|dncnn)_d([1-9]\d?)_w([1-9]\d{0,2})(?:_(int8|bf16))?", re.ASCII)
SEEDS = 64  # that are tried
SAMPLE = (48, 48)
PLAIN_SHARE = 0.5  # of a result that must lie inside 0..1
ROUNDINGS: dict[str, ops.Op] = {"int8": ops.Quantize(scale=1 / 64), "bf16": ops.Bfloat16()}  # bytes reach to 4
ByteImage = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Opened:
    """A model to measure.

    Args:
        name: as it was asked for.
        model: the model.
        seed: of its random weights; None: they are its own.
    """

    name: str
    model: Model
    seed: int | None = None

    def describe(self, width: int, height: int) -> Subject:
        """What a record says of it, for images of a size; raises `ShapeError` if it takes none of that size."""
        try:
            macs = self.model.plan.macs((height, width))
        except PlanError as error:
            text = f"`--size`: model `{self.name}` takes no image of {width}x{height}: {error}"
            raise ShapeError(text) from error
        return Subject(
            name=self.name,
            seed=self.seed,
            sha256=content_hash(msgspec.json.encode(self.model.plans), self.model.tensors),
            params=self.model.card.params,
            macs=macs,
        )


def open_subject(name: str, seed: int | None = None) -> Opened:
    """The model of a name.

    Args:
        name: a shipped model's name or a file; with a seed, a network's name.
        seed: of random weights, see `random_model`; None: the model's own.

    Raises:
        UnknownNameError: if there is none of that name.
        ModelError: if the file cannot be read, or no seed gives usable weights.
        ImportError: if the network's configuration needs torch, and it is not installed.
    """
    if seed is None:
        return Opened(name, to_unit_range(read_model(find_model(name))))
    model = random_model(name, plan_of(name), seed)
    return Opened(name, model, model.card.training.seed)


def reopen(subject: Subject, width: int, height: int) -> Opened:
    """The model that a record speaks of.

    Raises:
        RecordError: if the model of that name has another plan or other weights than then.
    """
    opened = open_subject(subject.name, subject.seed)
    now = opened.describe(width, height)
    if now.sha256 != subject.sha256:
        found = f"plan or weights have sha256 {now.sha256[:12]}; the record is of {subject.sha256[:12]}"
        raise RecordError(f"model `{subject.name}`: {found}; give the same model, or measure anew")
    return opened


def plan_of(name: str) -> Plan:
    """The plan of a stack, or of a configuration, which needs torch."""
    stack = STACK.fullmatch(name)
    if stack is None:
        from thinlens.train.lower import lower
        from thinlens.train.networks import find_configuration

        configuration = find_configuration(name)
        return lower(configuration.create(), configuration.channels)[0]
    depth, width = int(stack[2]), int(stack[3])
    residual = stack[1] == "dncnn"
    channels = [1, *[width] * (max(depth - 1, 1) if residual else depth + 1), 1]
    return stack_plan(channels, residual=residual, rounding=ROUNDINGS.get(stack[4]))


def stack_plan(
    channels: list[int],
    *,
    residual: bool = False,
    scale: int = 1,
    pad_mode: ops.PadMode = "zero",
    rounding: ops.Op | None = None,
) -> Plan:
    """3x3 convolutions with ReLU between them.

    Args:
        channels: of the input and of each convolution.
        residual: whether the result is subtracted from the input.
        scale: of a pixel shuffle at the end; 1: there is none.
        pad_mode: of the convolutions.
        rounding: of what convolutions other than the first read; None: they read floats.
    """
    nodes: list[Node] = []

    def add(name: str, op: Any, *inputs: str) -> str:
        roles = {role: f"{name}.{role}" for role in op.tensor_shapes()}
        nodes.append(Node(name=name, op=op, inputs=inputs, tensors=roles))
        return name

    value = INPUT
    for index, (before, after) in enumerate(itertools.pairwise(channels)):
        if index:
            value = add(f"relu{index}", ops.Relu(), value)
        sums = bool(index) and isinstance(rounding, ops.Quantize)
        if index and rounding is not None:
            value = add(f"rounded{index}", rounding, value)
        conv = ops.Conv2d(
            in_channels=before, out_channels=after, kernel=(3, 3), padding=(1, 1), pad_mode=pad_mode, bias=not sums
        )
        value = add(f"conv{index}", conv, value)
        if sums:
            value = add(f"values{index}", ops.Affine(channels=after), value)
    if residual:
        value = add("difference", ops.Add(b=-1.0), INPUT, value)
    if scale > 1:
        value = add("shuffle", ops.PixelShuffle(scale=scale), value)
    return Plan(input_channels=channels[0], nodes=tuple(nodes), outputs={"image": value})


def random_model(name: str, plan: Plan, seed: int) -> Model:
    """A plan with random weights.

    The engine's results are cut to 0..1, which would hide from a comparison what lies outside: of the seeds from
    ``seed`` on, the first is taken whose result on a small picture lies inside for the most part.

    Raises:
        ModelError: if there is none among 64.
    """
    picture = make_picture(*SAMPLE, plan.input_channels).astype(np.float32) / 255
    for used in range(seed, seed + SEEDS):
        model = Model({"main": plan}, _random_tensors(plan, used), _card(name, plan, used))
        restored = Session(model, threads=1).run(picture)
        if ((restored > 0) & (restored < 1)).mean() > PLAIN_SHARE:
            return model
    raise ModelError(f"network `{name}`: no seed of {seed} to {used} gives results inside 0..1; give another seed")


def make_picture(height: int, width: int, channels: int) -> ByteImage:
    """A smooth picture with some noise, the same each time: ``H W`` or ``H W 3``."""
    rng = np.random.default_rng(0)
    coarse = rng.random((height // 8 + 2, width // 8 + 2, channels), np.float32)
    smooth = resize(coarse, height, width)
    picture: ByteImage = np.rint((smooth + rng.normal(0, 0.01, smooth.shape)).clip(0, 1) * 255).astype(np.uint8)
    return picture[:, :, 0] if channels == 1 else picture


def _random_tensors(plan: Plan, seed: int) -> Tensors:
    """Weights of convolutions as He et al. (2015) draw them, or signs; small biases; slopes between 0.1 and 0.5.

    Sums of many branches grow with such weights: the second 16 seeds have half of them, the next a quarter, an eighth.
    """
    rng, tensors = np.random.default_rng(seed), {}
    gain = 0.5 ** (seed // 16 % 4)
    for node in plan.nodes:
        for role, shape in node.op.tensor_shapes().items():
            if role in ("bias", "threshold"):
                values = rng.normal(0, 0.05, shape)
            elif isinstance(node.op, ops.BinaryConv2d):  # signs; sums of n of them are about the root of n
                signs, size = rng.choice([-1.0, 1.0], shape), gain / (2 * node.op.in_channels)
                values = signs if role == "weight" else size * rng.uniform(0.1, 0.5, shape)
            elif isinstance(node.op, ops.Conv2d | ops.ConvTranspose2d | ops.LineMemory):
                values = rng.normal(0, gain * np.sqrt(2 / _fan_in(node.op)), shape)
            else:
                values = rng.uniform(0.1, 0.5, shape)
            tensors[node.tensors[role]] = values.astype(np.float32)
    for index, node in enumerate(plan.nodes):
        if isinstance(node.op, ops.Quantize | ops.Bfloat16):
            _round_weights(node.op, plan.nodes[index + 1 :], tensors)
    return tensors


def _round_weights(rounding: ops.Quantize | ops.Bfloat16, behind: Sequence[Node], tensors: Tensors) -> None:
    """Round the weights of the convolution behind a rounding; in place."""
    weight = tensors[behind[0].tensors["weight"]]
    if isinstance(rounding, ops.Bfloat16):
        weight.view(np.uint32)[...] &= 0xFFFF0000
    else:  # whole numbers; the affine op behind them holds what one is worth
        step = np.abs(weight).max(axis=(1, 2, 3)) / 127
        np.rint(weight / step[:, None, None, None], out=weight)
        tensors[behind[1].tensors["weight"]] = step * np.float32(rounding.scale)


def _fan_in(op: ops.Conv2d | ops.ConvTranspose2d | ops.LineMemory) -> float:
    """Products that one value of the result adds up."""
    if isinstance(op, ops.LineMemory):
        return op.channels * prod(op.kernel)
    taps = op.in_channels * prod(op.kernel)
    return taps / op.groups if isinstance(op, ops.Conv2d) else taps / op.stride**2


def _card(name: str, plan: Plan, seed: int) -> ModelCard:
    size = fitting_size(plan, (60, 60))
    height, width = plan.sizes(size)[plan.outputs["image"]]
    shapes = {node.tensors[role]: shape for node in plan.nodes for role, shape in node.op.tensor_shapes().items()}
    return ModelCard(
        name=name,
        task="sr" if height > size[0] else "denoise",
        scale=height // size[0],
        colour="luma" if plan.input_channels == 1 else "rgb",
        params=sum(prod(shape) for shape in shapes.values()),
        macs_per_pixel=plan.macs(size) / (height * width),
        licence="Apache-2.0",
        training=Training(recipe="none", recipe_sha256="", schedule="none", steps=0, seed=seed),
    )
