"""The steps that train: each makes a smaller model that holds together, and is a function of its arguments."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from tests.compress.models import small_model
from tests.plans import conv, plan_of, tensors_of
from thinlens.errors import CompressionError
from thinlens.model import ops
from thinlens.model.file import Model, from_bytes, to_bytes
from thinlens.model.ops import BinaryConv2d
from thinlens.model.value_range import to_unit_range
from thinlens.train.compress.binarize import binarize, eligible
from thinlens.train.compress.dual_regression.search import candidates
from thinlens.train.compress.steps import STEPS, Options, take_step
from thinlens.train.loop import Watch
from thinlens.train.lower import lower
from thinlens.train.networks.line_dl import LineConfig
from thinlens.train.thaw import thaw

OPTIONS = Options({"scale": 2}, finetune_steps=4, batch=2)


def images(scale=2, channels=(), count=2, side=40):
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        lq = rng.integers(0, 256, (side, side, *channels), np.uint8)
        made.append((lq, lq.repeat(scale, 0).repeat(scale, 1)))
    return made


def trunk_model():
    """A denoiser with a residual trunk, in colour, on pixels of 0..255."""
    plan = plan_of(
        ("head", conv((3, 8), bias=True), "input"),
        ("a", conv((8, 8), bias=True), "head"),
        ("relu", ops.Relu(), "a"),
        ("b", conv((8, 8)), "relu"),
        ("sum", ops.Add(), "b head"),
        ("tail", conv((8, 3)), "sum"),
        ("add", ops.Add(), "tail input"),
        input_channels=3,
    )
    card = small_model().card
    fields = {"name": "trunk", "task": "denoise", "scale": 1, "colour": "rgb", "value_range": (0.0, 255.0)}
    return Model({"main": plan}, tensors_of(plan), msgspec.structs.replace(card, **fields))


def params(model):
    return sum(model.tensors[name].size for name in model.plan.tensor_names())


@pytest.mark.parametrize("method", ["dual-regression", "cp", "thinet", "dcp", "uniform"])
def test_pruning_trains_what_is_left(method):
    model = small_model()
    result = from_bytes(to_bytes(take_step(model, method, images(), OPTIONS, Watch())))
    again = take_step(model, method, images(), OPTIONS, Watch())
    cut = take_step(model, method, images(), replace(OPTIONS, finetune_steps=0), Watch())
    channels = result.plan.channels()
    assert [channels[name] for name in ("head", "sum", "body")] == [3, 5, 4]
    assert params(result) == params(cut) < params(model)
    assert all(np.array_equal(result.tensors[name], again.tensors[name]) for name in result.tensors)
    assert any(not np.array_equal(result.tensors[name], cut.tensors[name]) for name in cut.plan.tensor_names())
    assert [name for name in result.plans if name != "main"] == (["dual"] if method == "dual-regression" else [])
    trunks = take_step(model, method, images(), replace(OPTIONS, finetune_steps=0, trunks=True), Watch())
    assert trunks.plan.channels()["sum"] == 3


@pytest.mark.parametrize("method", ["dcp", "binarize"])
def test_training_imitates_the_model_before_the_step(method):
    """Where the teacher's weight is overwhelming, the result comes nearer to what it makes than without it."""
    model, own = to_unit_range(trunk_model()), Options({"sigma": 10.0, "seed": 0}, finetune_steps=30, batch=2)
    noisy = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))

    def distance(distil):
        student = take_step(model, method, images(1, (3,)), replace(own, distil=distil), Watch())
        with torch.no_grad():
            made = thaw(student.plan, student.tensors).eval()(noisy)
            return (made - thaw(model.plan, model.tensors)(noisy)).square().mean().item()

    assert distance(100.0) < distance(0.0)


def test_widths_are_searched_within_the_table():
    plan = plan_of(
        ("head", conv((1, 16), bias=True), "input"),
        ("relu", ops.Relu(), "head"),
        ("body", conv((16, 12), bias=True), "relu"),
        ("tail", conv((12, 4), bias=True), "body"),
        ("shuffle", ops.PixelShuffle(scale=2), "tail"),
    )
    model = Model({"main": plan}, tensors_of(plan), small_model().card)
    options = replace(OPTIONS, ratio=0.3, search_steps=6, finetune_steps=0)
    result = take_step(model, "dual-regression", images(), options, Watch())
    assert result.plan.channels()["head"] in candidates(16, 0.3)
    assert result.plan.channels()["body"] in candidates(12, 0.3)
    assert take_step(model, "dcp", images(), options, Watch()).plan.channels()["head"] == 12


def test_dual_maps_of_a_file_go_on():
    first = take_step(small_model(), "dual-regression", images(), OPTIONS, Watch())
    again = take_step(first, "dual-regression", images(), replace(OPTIONS, finetune_steps=0), Watch())
    names = first.plans["dual"].tensor_names()
    assert all(np.array_equal(again.tensors[name], first.tensors[name]) for name in names)
    assert params(again) < params(first)


def test_a_denoiser_in_colour_on_other_pixels():
    options = Options({"sigma": 10.0, "seed": 0}, finetune_steps=2, batch=2)
    result = take_step(trunk_model(), "dcp", images(1, (3,)), options, Watch())
    result.check()
    assert result.card.value_range == (0.0, 1.0)
    assert result.plan.channels()["a"] == 4
    with pytest.raises(CompressionError, match="`trunk`: keeps the size, so nothing is brought down again; use `dcp`"):
        take_step(trunk_model(), "dual-regression", images(1, (3,)), options, Watch())


def test_line_networks_lose_channels_then_layers():
    torch.manual_seed(0)
    config = LineConfig(width=4, modules=4, wide=True)
    plan, tensors = lower(config.create(), config.channels)
    card = msgspec.structs.replace(small_model().card, task="denoise", scale=1, colour="rgb")
    options = Options({"sigma": 10.0, "seed": 0}, finetune_steps=2, batch=2)
    result = take_step(Model({"main": plan}, tensors, card), "bidirectional", images(1, (3,)), options, Watch())
    expected = LineConfig(width=4)
    assert [node.op for node in result.plan.nodes] == [node.op for node in lower(expected.create(), 3)[0].nodes]


def test_binary_units_take_the_place_of_fitting_convolutions():
    model = trunk_model()
    assert [node.name for node in eligible(model.plan)] == ["a", "b"]
    options = Options({"sigma": 10.0, "seed": 0}, finetune_steps=3, batch=2)
    result = from_bytes(to_bytes(take_step(model, "binarize", images(1, (3,)), options, Watch())))
    binary = [node for node in result.plan.nodes if isinstance(node.op, BinaryConv2d)]
    assert len(binary) == 2
    assert len(to_bytes(result)) < len(to_bytes(to_unit_range(model))) + 2000
    assert eligible(result.plan) == []
    unit = to_unit_range(model)
    fused = lower(binarize(unit.plan, unit.tensors), 3)
    signs = fused[1][next(node for node in fused[0].nodes if isinstance(node.op, BinaryConv2d)).tensors["weight"]]
    assert np.array_equal(signs > 0, unit.tensors["a.weight"] >= 0)


def test_a_binarised_network_computes_the_same_thawed_and_lowered():
    unit = to_unit_range(trunk_model())
    network = binarize(unit.plan, unit.tensors).eval()
    x = torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert float((network(x) - thaw(*lower(network, 3))(x)).abs().max()) < 1e-4


@pytest.mark.parametrize("method", STEPS)
def test_what_does_not_fit_is_refused(method):
    model = small_model()
    tiny = [(lq[:6], hq[:12]) for lq, hq in images()]
    unshuffled = plan_of(
        ("u", ops.PixelUnshuffle(scale=8), "input"),
        ("c", conv((64, 256)), "u"),
        ("s", ops.PixelShuffle(scale=16), "c"),
    )
    with pytest.raises(CompressionError, match="needs 8 pixels a side, more than any degraded image has"):
        take_step(Model({"main": unshuffled}, tensors_of(unshuffled), model.card), method, tiny, OPTIONS, Watch())
    shared = Model({**model.plans, "other": model.plan}, model.tensors, model.card)
    with pytest.raises(CompressionError, match=r"its plans \['other'\] share tensors with the main one"):
        take_step(shared, method, images(), OPTIONS, Watch())
