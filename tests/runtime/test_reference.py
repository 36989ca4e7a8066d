"""The NumPy truth: rows equal the whole bit for bit, bands are images of their own, bodies do what their page says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import plans
from thinlens.image.resample import resize
from thinlens.model import ops
from thinlens.model.graph import iter_pieces
from thinlens.model.plan import Extent
from thinlens.runtime import reference
from thinlens.runtime.reference.rows import input_rows, iter_values, run_rows

PLANS = {  # name -> plan
    "attention": plans.attention_plan(),
    "bands": plans.bands_plan(),
    "bands_of_one_row": plans.bands_plan(rows=1, warm_up=2, scale=3),
    "branches": plans.branches_plan(),
    "whole_image": plans.whole_image_plan(),
}


def picture(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).random((channels, height, width), np.float32)


def run(plan, image, rows=None):
    """All rows, or some."""
    size = image.shape[1:]
    tensors = plans.tensors_of(plan)
    return run_rows(plan, tensors, (0, image), size, rows or (0, plan.sizes(size)[plan.outputs["image"]][0]))


def run_one(op, *inputs):
    """One op on whole inputs."""
    extents = tuple(Extent(*x.shape[1:]) for x in inputs)
    size = op.out_size(tuple(extent.size for extent in extents))
    (piece,) = iter_pieces(op, (0, size[0]), extents, Extent(*size))
    bands = tuple((first, x[:, first:last]) for x, (first, last) in zip(inputs, piece.reads, strict=True))
    return reference.BODIES[type(op)](op, bands, {}, piece.rows, piece.sizes)


@pytest.mark.parametrize("width", [15, 29])
@pytest.mark.parametrize("height", [15, 16, 37])
@pytest.mark.parametrize("name", PLANS)
def test_rows_from_the_rows_they_need_equal_the_whole_bit_for_bit(name, height, width):
    plan = PLANS[name]
    image = picture(height, width)
    whole = run(plan, image)
    tensors = plans.tensors_of(plan)
    for start, stop in [(0, 1), (1, 4), (len(whole[0]) - 3, len(whole[0])), (5, len(whole[0])), (11, 12)]:
        first, last = input_rows(plan, (height, width), (start, stop))
        part = run_rows(plan, tensors, (first, image[:, first:last]), (height, width), (start, stop))
        assert np.array_equal(part, whole[:, start:stop])


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 9),
    rows=st.integers(1, 7),
    warm_up=st.integers(0, 3),
    scale=st.integers(1, 3),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_bands_and_any_rows_of_them_equal_the_whole(height, width, rows, warm_up, scale, data):
    plan = plans.bands_plan(rows, warm_up, scale)
    image = picture(height, width)
    whole = run(plan, image)
    assert whole.shape == (1, scale * height, scale * width)
    start = data.draw(st.integers(0, scale * height - 1))
    stop = data.draw(st.integers(start + 1, scale * height))
    first, last = input_rows(plan, (height, width), (start, stop))
    part = run_rows(plan, plans.tensors_of(plan), (first, image[:, first:last]), (height, width), (start, stop))
    assert np.array_equal(part, whole[:, start:stop])


@pytest.mark.parametrize("pad_mode", ["zero", "edge", "mirror"])
@pytest.mark.parametrize("warm_up", [0, 2])
@pytest.mark.parametrize("height", [1, 3, 4, 8, 11])
def test_between_bands_a_convolution_sees_each_band_alone(height, warm_up, pad_mode):
    rows, scale = 4, 2
    conv = plans.conv((1, scale**2), pad_mode=pad_mode)
    plan = plans.plan_of(
        ("bands", ops.Bands(rows=rows, warm_up=warm_up), "input"),
        ("conv", conv, "bands"),
        ("shuffle", ops.PixelShuffle(scale=scale), "conv"),
        ("image", ops.Unbands(rows=rows, warm_up=warm_up, scale=scale), "shuffle input"),
    )
    image = picture(height, 7)
    weight = plans.tensors_of(plan)["conv.weight"]
    bands = []
    for band in range(warm_up + -(-height // rows)):
        wanted = [mirrored((band - warm_up) * rows + y, height) for y in range(rows)]
        bands.append(shuffled(correlated(image[0, wanted], weight, pad_mode), scale))
    by_hand = np.concatenate(bands)[warm_up * rows * scale :][: height * scale]
    assert np.abs(run(plan, image)[0] - by_hand).max() < 1e-5


def mirrored(y, height):
    while not 0 <= y < height:
        y = 0 if height == 1 else -y if y < 0 else 2 * (height - 1) - y
    return y


def correlated(band, weight, pad_mode):
    """``H W`` with each of the 3x3 kernels: ``C H W``."""
    numpy_mode = {"zero": "constant", "edge": "edge", "mirror": "reflect"}[pad_mode]
    padded = np.pad(band, 1, numpy_mode)
    height, width = band.shape
    return np.array(
        [
            sum(kernel[0, i, j] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
            for kernel in weight
        ]
    )


def shuffled(phases, scale):
    out = np.empty((phases.shape[1] * scale, phases.shape[2] * scale), np.float32)
    for i in range(scale):
        for j in range(scale):
            out[i::scale, j::scale] = phases[i * scale + j]
    return out


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 7)], ids=str)
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_bicubic_with_a_symmetric_border_is_what_matlab_does(size, factor):
    image = picture(*size)
    op = ops.Resize(mode="bicubic", factor=factor, coefficient=-0.5, border="symmetric")
    expected = resize(image[0], size[0] * factor, size[1] * factor)
    assert np.abs(run_one(op, image)[0] - expected).max() < 1e-5


def test_resizing_to_a_size_by_hand():
    line = np.array([[[0.0, 4.0, 8.0]]], np.float32)
    like = np.zeros((5, 1, 4), np.float32)
    assert run_one(ops.Resize(mode="nearest"), line, like).tolist() == [[[0, 0, 4, 8]]]  # floor of 0, 0.75, 1.5, 2.25
    assert run_one(ops.Resize(mode="bilinear"), line, like).tolist() == [[[0, 2.5, 5.5, 8]]]  # at -0.125, 0.625, ...


@pytest.mark.parametrize("amount", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("mode", "numpy_mode"), [("edge", "edge"), ("mirror", "reflect"), ("zero", "constant")])
def test_padding_is_that_of_numpy_at_any_size(size, amount, mode, numpy_mode):
    image = picture(size, 3)
    op = ops.Pad(top=amount, bottom=amount + 1, left=amount, right=1, mode=mode)
    expected = np.pad(image, ((0, 0), (amount, amount + 1), (amount, 1)), numpy_mode)
    assert np.array_equal(run_one(op, image), expected)


def test_an_endless_padding_needs_no_rows_of_the_image():
    plan = plans.plan_of(
        ("conv", plans.conv((1, 2)), "input"),
        ("pad", ops.Pad(top=5), "conv"),
        ("tail", plans.conv((2, 1)), "pad"),
    )
    image = picture(4, 4)
    assert input_rows(plan, (4, 4), (0, 3)) == (0, 0)
    part = run_rows(plan, plans.tensors_of(plan), (0, image[:, :0]), (4, 4), (0, 3))
    assert np.array_equal(part, run(plan, image)[:, :3])


def test_pooling_ignores_what_lies_outside():
    image = -1 - picture(4, 4)
    pooled = run_one(ops.MaxPool(kernel=(3, 3), padding=(1, 1)), image)
    assert pooled[0, 0, 0] == image[0, :2, :2].max()


def test_softmax_is_summed_in_one_order_whatever_the_shape():
    values, logits = picture(7, 1, 64), 9 * picture(7, 1, 64, seed=1)
    whole = run_one(ops.SoftmaxSum(), values, logits)
    for y in range(7):
        row = run_one(ops.SoftmaxSum(), values[:, y : y + 1].copy(), logits[:, y : y + 1].copy())
        assert np.array_equal(row, whole[:, y : y + 1])


def test_statistics_of_a_channel():
    image = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)
    assert run_one(ops.GlobalMean(), image).tolist() == [[[2.5]]]
    assert run_one(ops.GlobalStd(), image)[0, 0, 0] == np.float32(1.25**0.5)


def test_all_values_of_a_whole_image_come_in_order():
    plan = plans.bands_plan()
    tensors, image = plans.tensors_of(plan), np.random.default_rng(0).random((1, 9, 7), np.float32)
    values = dict(iter_values(plan, tensors, image))
    assert list(values) == ["input", *(node.name for node in plan.nodes)]
    assert {name: value.shape[1:] for name, value in values.items()} == plan.sizes((9, 7))
    restored = run_rows(plan, tensors, (0, image), (9, 7), (0, 18))
    assert np.array_equal(values[plan.outputs["image"]], restored)
