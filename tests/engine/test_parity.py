"""Every op of the engine against the NumPy reference, and the same bits on every instruction set that is here."""

import itertools

import numpy as np
import pytest

from tests.engine.cases import CASES, CHANNELS, PAD_MODES, SIZES, image_for, single, tensors_for
from tests.engine.images import IMAGE_CASES, TOLERANCES
from tests.engine.machine import load, reference, whole
from tests.plans import conv, plan_of, tensors_of
from thinlens.errors import ModelError
from thinlens.model import ops
from thinlens.runtime import library
from thinlens.runtime.engine import NativePlan

pytestmark = pytest.mark.usefixtures("native")

ISAS = library.isa_names()
IMAGE_SIZES = [*SIZES[:4], (17, 11), (2, 65)]
WIDTHS = list(itertools.product(CHANNELS, PAD_MODES))


def test_the_plainest_instruction_set_is_always_there():
    assert ISAS[-1] == "scalar"
    assert len(set(ISAS)) == len(ISAS)


def test_every_op_has_a_case():
    assert {type(node.op) for plan in CASES.values() for node in plan.nodes} == set(ops.OPS)


def assert_all_agree(plan, tensors, sizes):
    """All instruction sets give the same bits, within 1e-4 of the reference, wherever the plan takes the size."""
    plans, tried = [load(plan, tensors, isa) for isa in ISAS], 0
    for size in sizes:
        image = image_for(plan.input_channels, size)
        expected = reference(plan, tensors, image)
        if expected is None:
            continue
        found = [whole(native, image) for native in plans]
        assert found[0].shape == expected.shape
        assert np.abs(found[0] - expected).max() <= 1e-4, size
        for isa, other in zip(ISAS, found, strict=True):
            assert other.tobytes() == found[0].tobytes(), (isa, size)
        tried += 1
    assert tried


@pytest.mark.parametrize("name", CASES)
def test_floats(name):
    assert_all_agree(CASES[name], tensors_for(name, CASES[name]), SIZES)


@pytest.mark.parametrize(("channels", "mode"), WIDTHS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolutions_of_every_width_and_padding(channels, mode, kernel):
    """To as many channels, to few and from few, and each channel for itself."""
    sizes = ((1, 1), (1, 9), (7, 1), (6, 5), (9, 67))
    for op in (
        conv((channels, channels), kernel, pad_mode=mode, bias=True),
        conv((channels, 4), kernel, pad_mode=mode),
        conv((2, channels), kernel, pad_mode=mode, bias=True),
        conv((channels, channels), kernel, pad_mode=mode, groups=channels),
    ):
        plan = single(op, op.in_channels)
        assert_all_agree(plan, tensors_for("convolution", plan), sizes)


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("mode", PAD_MODES)
def test_convolutions_that_change_the_height(rows, mode):
    """Rows that are made together may reach below the image, which is lower or higher than the input."""
    op = ops.Conv2d(in_channels=9, out_channels=8, kernel=(3, 3), padding=(rows, 1), pad_mode=mode)
    plan = single(op, 9)
    assert_all_agree(
        plan, tensors_for("height", plan), [(height, width) for height in range(1, 10) for width in (7, 65)]
    )


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_images(name):
    """Whole networks between pixels: at most one of 255 levels off, and 1e-4 of the others' range."""
    case = IMAGE_CASES[name]
    data = case.compiled()
    plans = [NativePlan(data, isa) for isa in ISAS]
    for size in IMAGE_SIZES:
        image = case.image(size)
        expected = case.reference(image)
        found = [whole(native, image).reshape(expected.shape) for native in plans]
        off = np.abs(found[0].astype(np.float64) - expected.astype(np.float64)).max()
        assert off <= TOLERANCES[case.kind.dtype], size
        for isa, other in zip(ISAS, found, strict=True):
            assert other.tobytes() == found[0].tobytes(), (isa, size)


@pytest.mark.parametrize("rounding", [ops.Quantize(scale=1.0), ops.Bfloat16()])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2])
def test_values_that_overflow_before_they_are_rounded_are_an_error(rounding, isa, threads):
    """A byte would hide them."""
    rows = ("big", conv((1, 20)), "input"), ("low", rounding, "big"), ("image", conv((20, 1)), "low")
    plan = plan_of(*rows, input_channels=1)
    tensors = tensors_of(plan)
    tensors["big.weight"][:] = 3e38
    with pytest.raises(ModelError, match="not a number"):
        whole(load(plan, tensors, isa), np.ones((5, 70, 1), np.float32), threads)
