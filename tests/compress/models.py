"""A small network to compress, and pictures to do it on."""

from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from tests.conftest import template_matching_model
from tests.plans import conv, plan_of
from thinlens.model import ops
from thinlens.model.file import Model


def small_plan():
    """Three convolutions x2, each kind of activation, and two that read one value."""
    return plan_of(
        ("head", conv((1, 6), bias=True, pad_mode="edge"), "input"),
        ("tanh", ops.Tanh(), "head"),
        ("left", conv((6, 5), bias=True), "tanh"),
        ("right", conv((6, 5), kernel=1), "tanh"),
        ("sum", ops.Add(), "left right"),
        ("relu", ops.Relu(), "sum"),
        ("body", conv((5, 8), bias=True, pad_mode="edge"), "relu"),
        ("slope", ops.LeakyRelu(slope=0.1), "body"),
        ("tail", conv((8, 4), bias=True), "slope"),
        ("shuffle", ops.PixelShuffle(scale=2), "tail"),
    )


def small_model(seed=1):
    """Random weights around nearest-neighbour upscaling."""
    plan, rng = small_plan(), np.random.default_rng(seed)
    tensors = {}
    for node in plan.nodes:
        for role, shape in node.op.tensor_shapes().items():
            tensors[node.tensors[role]] = rng.normal(0, 0.01, shape).astype(np.float32)
    for name, gain in (("head", 0.5), ("left", 1), ("body", 1), ("tail", 2)):
        tensors[f"{name}.weight"][:, 0, 1, 1] += gain
    card = msgspec.structs.replace(template_matching_model().card, name="small")
    return Model({"main": plan}, tensors, card)


def sensitive_model():
    """Nearly the same, but the picture comes through one channel of a tiny range, and few levels fall there."""
    model = small_model()
    head, left = model.tensors["head.weight"], model.tensors["left.weight"]
    model.tensors["head.bias"][:] = head[:] = left[:, 0] = 0
    head[0, 0, 1, 1], left[:, 0, 1, 1] = 0.005, 100
    head[5, 0, 1] = -5, 0, 5
    return model


def write_pictures(folder, count=4, side=64):
    """Smooth colour pictures, as ``0.png`` and so on; returns their paths."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    rng, paths = np.random.default_rng(1), []
    for i in range(count):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        path = Path(folder) / f"{i}.png"
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths
