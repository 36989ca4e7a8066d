"""Networks between pixels: one-layer upscalers with and without mirrored filters, luma and RGB networks, all depths."""

import itertools
from typing import NamedTuple

import numpy as np

from tests.engine.cases import tensors_for
from tests.plans import conv, plan_of
from thinlens.model import ops
from thinlens.model.plan import Plan
from thinlens.runtime.bands import BandRestorer
from thinlens.runtime.compile import ImageKind, compile_plan
from thinlens.runtime.native import prepared

# Levels that a result may be off: one of 255; 1e-4 of 65535 and of 1.
TOLERANCES = {"uint8": 1, "uint16": 7, "float32": 1e-4}


class ImageCase(NamedTuple):
    plan: Plan
    tensors: dict
    scale: int
    kind: ImageKind

    def compiled(self):
        return compile_plan(self.plan, self.tensors, self.kind, self.scale).data

    def image(self, size, seed=0):
        """A random image whose neighbours differ a little here and a lot there, as the engine takes it."""
        rng = np.random.default_rng(seed)
        shape = (*size, self.kind.channels) if self.kind.channels > 1 else size
        unit = np.clip(0.5 + 0.4 * rng.standard_normal(shape) * rng.choice([0.05, 1.2], shape), 0, 1)
        top = {"uint8": 255, "uint16": 65535, "float32": 1}[self.kind.dtype]
        image = unit * top if self.kind.dtype == "float32" else np.rint(unit * top)
        return prepared(image.astype(self.kind.dtype))

    def reference(self, image):
        """What NumPy makes of it, in the image's own dtype."""
        bands = BandRestorer(self.plan, self.tensors, self.scale, image)
        return bands.rows(0, bands.out_height)


def one_layer(family, kernel, candidates, scale, pad_mode="edge"):
    """The plan of a one-layer upscaler: ``max``, ``tm`` or ``tr``."""
    groups, c = ("max", "tm", "tr").index(family) + 1, candidates
    filters = ("filter", conv((1, groups * c * scale**2), kernel, pad_mode=pad_mode), "input")
    shuffle = ("shuffle", ops.PixelShuffle(scale=scale), "filter")
    names = ("values", "queries", "keys")[:groups]
    slices = [
        (name, ops.ChannelSlice(start=i * c, stop=(i + 1) * c), "shuffle") for i, name in enumerate(names) if groups > 1
    ]
    last = {
        "max": [("image", ops.ChannelMax(), "shuffle")],
        "tm": [("image", ops.SoftmaxSum(), "values queries")],
        "tr": [("logits", ops.Multiply(), "queries keys"), ("image", ops.SoftmaxSum(), "values logits")],
    }[family]
    return plan_of(filters, shuffle, *slices, *last)


def filters(plan, scale, *, mirrored, size=0.6):
    """Filters near nearest-neighbour upscaling; ``mirrored``: those of mirrored output phases are mirrored copies."""
    (name,) = plan.tensor_names()
    channels, _, k, _ = plan.nodes[0].op.tensor_shapes()["weight"]
    groups = channels // scale**2
    rng = np.random.default_rng(channels + k)
    weight = rng.uniform(-size, size, (groups, scale, scale, k, k)) / k
    families = groups // max(1, sum(isinstance(n.op, ops.ChannelSlice) for n in plan.nodes))
    weight[:families, :, :, k // 2, k // 2] += 1
    if mirrored:
        for i, j in itertools.product(range(scale), repeat=2):
            row, column = min(i, scale - 1 - i), min(j, scale - 1 - j)
            taps = weight[:, row, column]
            taps = taps[:, ::-1] if row != i else taps
            weight[:, i, j] = taps[:, :, ::-1] if column != j else taps
    return {name: weight.reshape(channels, 1, k, k).astype(np.float32)}


def _one_layers():
    shapes = (("max", 3, 1, 2), ("max", 5, 2, 2), ("max", 7, 4, 3), ("tm", 5, 2, 2), ("tm", 3, 3, 4), ("tr", 5, 4, 2))
    rare = (("max", 1, 16, 1), ("tr", 7, 2, 3), ("tm", 9, 1, 8), ("tr", 1, 1, 2))
    for i, (shape, mirrored) in enumerate(itertools.product((*shapes, *rare), (False, True))):
        for mode in ("zero", "edge", "mirror") if shape in shapes[1:5:3] else (("zero", "edge", "mirror")[i % 3],):
            plan = one_layer(*shape, mode)
            size = 4.0 if i % 5 == 4 else 0.6  # such weights leave the range of exact integers
            tensors = filters(plan, shape[3], mirrored=mirrored, size=size)
            name = "_".join(map(str, (*shape, mode, "mirrored" if mirrored else "free")))
            yield name, ImageCase(plan, tensors, shape[3], ImageKind(1, "uint8"))
    plan = one_layer("tm", 5, 2, 2)
    for channels, dtype in itertools.product((1, 2, 3, 4), ("uint8", "uint16", "float32")):
        tensors = filters(plan, 2, mirrored=True)
        yield f"luma_{channels}_{dtype}", ImageCase(plan, tensors, 2, ImageKind(channels, dtype))
    many = one_layer("max", 3, 17, 2)  # more candidates than fused kernels take
    yield "many_candidates", ImageCase(many, filters(many, 2, mirrored=False), 2, ImageKind(1, "uint8"))


def deep(channels, features, scale):
    """A network of three layers that keeps the image's range."""
    return plan_of(
        ("head", conv((channels, features), pad_mode="edge", bias=True), "input"),
        ("relu", ops.PRelu(slopes=features), "head"),
        ("body", conv((features, channels * scale**2), bias=True), "relu"),
        ("up", ops.PixelShuffle(scale=scale), "body"),
        ("image", ops.Sigmoid(), "up"),
        input_channels=channels,
    )


def _deep():
    for channels, dtype in itertools.product((1, 2, 3, 4), ("uint8", "uint16")):
        plan = deep(3, 5, 2)
        yield f"rgb_{channels}_{dtype}", ImageCase(plan, tensors_for("rgb", plan), 2, ImageKind(channels, dtype))
    plan = deep(1, 16, 3)
    yield "deep_gray", ImageCase(plan, tensors_for("gray", plan), 3, ImageKind(1, "uint8"))
    plan = deep(3, 4, 1)
    yield "same_size_rgb", ImageCase(plan, tensors_for("same", plan), 1, ImageKind(4, "uint8"))


IMAGE_CASES = {name: case for part in (_one_layers, _deep) for name, case in part()}
