"""Plans in low precision: the same sums, up to rounding, with weights that fit their files."""

import numpy as np
import pytest

from tests.compress.models import small_model, small_plan
from tests.plans import conv, plan_of
from thinlens.compress.low_precision import (
    LowWeights,
    Patches,
    bfloat16_weights,
    compensated,
    eligible,
    low_weights,
    rewritten,
)
from thinlens.model import ops
from thinlens.model.file import from_bytes, to_bytes
from thinlens.runtime.binary import Precision
from thinlens.runtime.compile import ACTIVATIONS
from thinlens.runtime.low import find_low


def flat(n):
    """Patches that say nothing: weights are rounded one by one."""
    return Patches(np.zeros(n), np.eye(n), 0.0)


def all_low(model, precision, rounding):
    nodes = eligible(model.plan, precision)
    convs = {
        node.name: low_weights(node, model.tensors, precision, flat(model.tensors[f"{node.name}.weight"][0].size))
        for node in nodes
    }
    return rewritten(model, convs, {node.inputs[0]: rounding for node in nodes})


def test_eligible_are_dense_convolutions_of_some_channels_on_floats():
    assert [node.name for node in eligible(small_plan(), Precision.INT8)] == ["left", "right", "body", "tail"]
    rows = [
        ("grouped", conv((2, 4), groups=2), "wide"),
        ("strided", conv((2, 4), stride=2), "wide"),
        ("rounded", ops.Quantize(scale=0.1), "wide"),
        ("low", conv((2, 4)), "rounded"),
    ]
    plan = plan_of(("wide", conv((1, 2)), "input"), *rows)
    assert eligible(plan, Precision.INT8) == []
    assert eligible(plan, Precision.BFLOAT16) == []


@pytest.mark.parametrize(
    ("precision", "rounding", "dtype"),
    [(Precision.INT8, ops.Quantize(scale=0.02, zero=128), "int8"), (Precision.BFLOAT16, ops.Bfloat16(), "float16")],
    ids=["int8", "bf16"],
)
def test_the_engine_runs_every_rewritten_convolution_low_and_the_file_is_small(precision, rounding, dtype):
    model = small_model()
    low = all_low(model, precision, rounding)
    low.check()
    assert model.plan == small_plan()
    assert [node.op for node in low.plan.nodes].count(rounding) == 3  # left and right share one
    found = find_low(low.plan.nodes, low.plan.outputs["image"], low.tensors, tuple(ACTIVATIONS))
    assert len(found.convs) == 4
    assert all(conv.precision is precision for conv in found.convs.values())
    back = from_bytes(to_bytes(low))
    assert all(np.array_equal(back.tensors[name], low.tensors[name]) for name in low.tensors)
    import safetensors.numpy

    stored = safetensors.numpy.load(to_bytes(low))
    assert {stored[f"{name}:weight"].dtype.name for name in ("left", "right", "body", "tail")} == {dtype}


def test_levels_and_steps_give_the_weights_back():
    model = small_model()
    node = model.plan.nodes[2]
    weight = model.tensors["left.weight"].copy()
    weight[1] = 0  # a silent channel
    low = low_weights(node, {**model.tensors, "left.weight": weight}, Precision.INT8, flat(54))
    assert isinstance(low, LowWeights)
    assert np.abs(low.weight).max() <= 127
    assert np.array_equal(low.weight, np.rint(low.weight))
    assert (low.steps > 0).all()
    assert not low.weight[1].any()
    error = np.abs(low.weight * low.steps[:, None, None, None] - weight).max(axis=(1, 2, 3))
    assert (error <= 0.51 * low.steps).all()
    assert np.array_equal(low.bias, model.tensors["left.bias"])


def test_weights_still_to_come_make_up_for_the_error():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 12)) + 0.05 * rng.normal(size=(2000, 12))
    metric, rows = mixed.T @ mixed / len(mixed), rng.normal(size=(4, 12)) * 3
    factor = np.linalg.cholesky(np.linalg.inv(metric)).T

    def error(made):
        return ((made - rows) @ metric * (made - rows)).sum()

    made = compensated(rows, factor, np.rint)
    assert np.array_equal(made, np.rint(made))
    assert error(made) < 0.3 * error(np.rint(rows))


def test_the_bias_makes_up_for_the_mean():
    model = small_model()
    node, mean = model.plan.nodes[2], np.full(54, 0.7)
    low = low_weights(node, model.tensors, Precision.INT8, Patches(mean, np.eye(54), 0.0))
    weight = model.tensors["left.weight"].reshape(5, -1).astype(np.float64)
    rounded = (low.weight * low.steps[:, None, None, None]).reshape(5, -1)
    np.testing.assert_allclose(rounded @ mean + low.bias, weight @ mean + model.tensors["left.bias"], atol=1e-5)


def test_bfloat16_weights_fit_float16_unless_they_are_beyond_it():
    numbers = np.array([1.2345, -3e-5, 7.3e-7, 1e-9, 0.0, 60000.0, 1e6, -3e38], np.float32)
    rounded = bfloat16_weights(numbers)
    assert not (rounded.view(np.uint32) & 0xFFFF).any()
    assert np.array_equal(rounded[:6].astype(np.float16).astype(np.float32), rounded[:6])
    np.testing.assert_allclose(rounded, numbers, rtol=2**-8, atol=2**-25)
