"""Small models for tests, made without torch, and what computes them."""

import os

import msgspec
import numpy as np
import pytest

from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.model.ops import ChannelSlice, Conv2d, PixelShuffle, SoftmaxSum
from thinlens.model.plan import Node, Plan
from thinlens.runtime import library


def template_matching_plan(scale, candidates=2, kernel=5):
    """The plan of an eSR-TM."""
    side, c = kernel // 2, candidates
    conv = Conv2d(
        in_channels=1,
        out_channels=2 * c * scale**2,
        kernel=(kernel, kernel),
        padding=(side, side),
        pad_mode="edge",
    )
    nodes = (
        Node(name="filter", op=conv, inputs=("input",), tensors={"weight": "filter.weight"}),
        Node(name="shuffle", op=PixelShuffle(scale=scale), inputs=("filter",)),
        Node(name="values", op=ChannelSlice(start=0, stop=c), inputs=("shuffle",)),
        Node(name="keys", op=ChannelSlice(start=c, stop=2 * c), inputs=("shuffle",)),
        Node(name="sum", op=SoftmaxSum(), inputs=("values", "keys")),
    )
    return Plan(input_channels=1, nodes=nodes, outputs={"image": "sum"})


def template_matching_model(scale=2, seed=0):
    """An eSR-TM K5C2 whose values are near nearest-neighbour upscaling."""
    plan = template_matching_plan(scale)
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 0.02, plan.nodes[0].op.tensor_shapes()["weight"]).astype(np.float32)
    weight[: len(weight) // 2, 0, 2, 2] += 1
    card = ModelCard(
        name=f"edge_sr_tm_k5_c2_x{scale}",
        task="sr",
        scale=scale,
        colour="luma",
        params=weight.size,
        macs_per_pixel=weight.size / scale**2,
        licence="Apache-2.0",
        training=Training(recipe="none", recipe_sha256="", schedule="none", steps=0, seed=seed),
    )
    return Model({"main": plan}, {"filter.weight": weight}, card)


def same_size_model(name, task, *, colour=1, **ranges):
    """A model of scale 1 that changes nothing; its card says what it was trained on."""
    conv = Conv2d(in_channels=colour, out_channels=colour, kernel=(1, 1), padding=(0, 0))
    node = Node(name="same", op=conv, inputs=("input",), tensors={"weight": "weight"})
    plan = Plan(input_channels=colour, nodes=(node,), outputs={"image": "same"})
    weight = np.eye(colour, dtype=np.float32)[:, :, None, None]
    changes = {"name": name, "task": task, "scale": 1, "params": weight.size, "macs_per_pixel": float(weight.size)}
    changes["colour"] = "luma" if colour == 1 else "rgb"
    card = msgspec.structs.replace(template_matching_model().card, **changes, **ranges)
    return Model({"main": plan}, {"weight": weight}, card)


@pytest.fixture
def model():
    return template_matching_model()


@pytest.fixture
def native(monkeypatch):
    """The native engine runs, which the environment of the tests always has."""
    if os.environ.get(library.VARIABLE) == library.REFERENCE:
        monkeypatch.delenv(library.VARIABLE)
    assert library.why_missing() is None


@pytest.fixture
def reference(monkeypatch):
    """NumPy computes."""
    monkeypatch.setenv(library.VARIABLE, library.REFERENCE)


@pytest.fixture(params=["native", "reference"])
def backend(request):
    """Each of the two in turn."""
    request.getfixturevalue(request.param)
    return request.param
