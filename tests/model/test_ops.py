"""The records: what they know before any pixel moves."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinlens.errors import PlanError
from thinlens.model import ops
from thinlens.model.ops import OPS, ChannelSlice, Conv2d, Multiply, PixelShuffle, SoftmaxSum, kind_of


def conv(**fields):
    return Conv2d(**{"in_channels": 2, "out_channels": 4, "kernel": (3, 3), **fields})


def test_kinds_are_unique():
    assert len({kind_of(op) for op in map(_example, OPS)}) == len(OPS)


def _example(kind):
    conv = {"in_channels": 1, "out_channels": 1, "kernel": (1, 1)}
    fields = {
        "Affine": {"channels": 1},
        "BinaryConv2d": conv,
        "Bands": {"rows": 2},
        "ChannelGather": {"channels": (0,)},
        "ChannelSlice": {"start": 0, "stop": 1},
        "Clamp": {"low": 0.0, "high": 1.0},
        "Concat": {"count": 2},
        "Conv2d": conv,
        "ConvTranspose2d": conv,
        "LeakyRelu": {"slope": 0.1},
        "LineMemory": {"channels": 1},
        "MaxPool": {"kernel": (2, 2)},
        "PixelShuffle": {"scale": 2},
        "PixelUnshuffle": {"scale": 2},
        "Quantize": {"scale": 0.5},
        "Resize": {"mode": "nearest", "factor": 2},
        "Unbands": {"rows": 2},
    }
    return kind(**fields.get(kind.__name__, {}))


@given(
    rows=st.integers(1, 40),
    kernel=st.integers(1, 7),
    padding=st.integers(0, 6),
    stride=st.integers(1, 3),
)
def test_conv_rows_cover_the_padded_input_and_nothing_else(rows, kernel, padding, stride):
    padding = min(padding, kernel - 1)
    op = conv(kernel=(kernel, 1), padding=(padding, 0), stride=stride)
    if rows + 2 * padding < kernel:
        with pytest.raises(PlanError, match="smaller than the kernel"):
            op.out_size(((rows, 5),))
        return
    out = op.out_size(((rows, 5),))[0]
    ((first, last),) = op.in_rows((0, out), ((rows, 5),))
    assert first == -padding
    assert rows + padding - stride < last <= rows + padding


def test_conv_counts():
    op = conv(groups=2, bias=True)
    assert op.tensor_shapes() == {"weight": (4, 1, 3, 3), "bias": (4,)}
    assert op.macs((2,), (5, 7)) == 4 * 1 * 9 * 35


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"groups": 3}, "3 groups do not divide"), ({"padding": (3, 1)}, "must be smaller than the kernel")],
)
def test_conv_refuses_contradictions(fields, message):
    with pytest.raises(PlanError, match=message):
        conv(**fields)


def test_conv_checks_its_input():
    with pytest.raises(PlanError, match="input has 3 channels; accepted: 2"):
        conv().channels_out((3,))


@given(st.integers(1, 4), st.integers(0, 50), st.integers(1, 50))
def test_shuffle_rows(scale, start, count):
    op = PixelShuffle(scale=scale)
    ((first, last),) = op.in_rows((start, start + count), ((100, 5),))
    assert first * scale <= start < (first + 1) * scale
    assert last * scale >= start + count
    assert (last - 1) * scale < start + count


def test_shuffle_needs_a_multiple_of_its_phases():
    with pytest.raises(PlanError, match="6 channels; accepted: a multiple of 4"):
        PixelShuffle(scale=2).channels_out((6,))


def test_two_inputs_must_agree():
    with pytest.raises(PlanError, match="accepted: equal numbers"):
        Multiply().channels_out((2, 3))
    with pytest.raises(PlanError, match="accepted: equal numbers"):
        SoftmaxSum().channels_out((1, 3))


def test_slice_stays_inside():
    with pytest.raises(PlanError, match="empty or outside"):
        ChannelSlice(start=2, stop=9).channels_out((4,))


@pytest.mark.parametrize(
    "fields", [{"kernel": [0, 3]}, {"stride": 0}, {"kernel": [300, 1]}, {"pad_mode": "wrap"}, {"unknown": 1}]
)
def test_decoding_is_strict(fields):
    record = {"kind": "conv2d", "in_channels": 1, "out_channels": 1, "kernel": [3, 3], **fields}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(record), type=Conv2d)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv(stride=0), "`conv2d`: `stride` is 0: Expected `int` >= 1"),
        (lambda: conv(pad_mode="wrap"), "`conv2d`: `pad_mode` is wrap: Invalid enum value"),
        (lambda: ops.Affine(channels=2, weight=False, bias=False), "neither weight nor bias"),
        (lambda: ops.LeakyRelu(slope=17.0), "`leaky_relu`: `slope` is 17.0"),
        (lambda: ops.LeakyRelu(slope=float("nan")), "`leaky_relu`: `slope` is nan"),
        (lambda: ops.Clamp(low=1.0, high=0.0), "low 1.0 is above high 0.0"),
        (lambda: ops.Clamp(low=float("-inf"), high=0.0), "`clamp`: `low` is -inf"),
        (lambda: ops.Add(a=1e39), "`add`: `a` is 1e.39"),
        (lambda: ops.Concat(count=1), "`concat`: `count` is 1"),
        (lambda: ops.ChannelGather(channels=()), "`channel_gather`: `channels` is"),
        (lambda: ops.ChannelGather(channels=(-1,)), "`channel_gather`: `channels` is"),
        (lambda: ops.PixelUnshuffle(scale=17), "`pixel_unshuffle`: `scale` is 17"),
        (lambda: ops.MaxPool(kernel=(3, 3), padding=(2, 0)), "must be at most half the kernel"),
        (lambda: ops.Resize(mode="lanczos"), "`resize`: `mode` is lanczos"),
        (lambda: ops.Resize(mode="bicubic", coefficient=0.5), "`resize`: `coefficient` is 0.5"),
        (lambda: ops.Pad(top=4097), "`pad`: `top` is 4097"),
        (lambda: ops.Crop(left=-1), "`crop`: `left` is -1"),
        (lambda: ops.Bands(rows=1025), "`bands`: `rows` is 1025"),
        (lambda: ops.Bands(rows=1, warm_up=65), "`bands`: `warm_up` is 65"),
        (lambda: ops.LineMemory(channels=1, kernel=(2, 1)), r"the kernel is \(2, 1\); accepted: odd sides"),
        (lambda: ops.Unbands(rows=1, scale=0), "`unbands`: `scale` is 0"),
    ],
)
def test_a_record_checks_its_fields(make, message):
    with pytest.raises(PlanError, match=message):
        make()


def test_channels_that_do_not_fit():
    with pytest.raises(PlanError, match="`affine`: input has 2 channels; accepted: 3"):
        ops.Affine(channels=3).channels_out((2,))
    with pytest.raises(PlanError, match="channel 4 of 4 is outside"):
        ops.ChannelGather(channels=(0, 4)).channels_out((4,))
    assert ops.Concat(count=3).channels_out((1, 2, 3)) == 6


@pytest.mark.parametrize("kind", OPS, ids=lambda kind: kind.__name__)
def test_every_record_survives_json(kind):
    record = _example(kind)
    assert msgspec.json.decode(msgspec.json.encode(record), type=ops.AnyOp) == record


@given(
    border=st.sampled_from(ops.BORDERS),
    size=st.integers(1, 9),
    start=st.integers(-40, 40),
    count=st.integers(0, 60),
)
def test_rows_of_an_image_behind_any_rows(border, size, start, count):
    positions = np.arange(start, start + count)
    found = positions[(positions >= 0) & (positions < size)]
    if border != "zero":
        found = ops.border_index(positions, size, border)
    expected = (found.min(), found.max() + 1) if len(found) else ops.NO_ROWS
    assert ops.image_rows((start, start + count), size, border) == expected


@pytest.mark.parametrize(
    ("border", "numpy_mode"), [("edge", "edge"), ("mirror", "reflect"), ("symmetric", "symmetric")]
)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_borders_are_those_of_numpy(border, numpy_mode, size):
    found = ops.border_index(np.arange(-20, size + 20), size, border)
    assert np.array_equal(found, np.pad(np.arange(size), 20, numpy_mode))


@given(size=st.integers(1, 50), out_size=st.integers(1, 50), mode=st.sampled_from(["bilinear", "bicubic"]))
def test_taps_of_a_resize_weigh_one_and_lie_around_their_place(size, out_size, mode):
    op = ops.Resize(mode=mode, factor=1)
    index, weight = op.taps((0, out_size), size, out_size)
    place = (np.arange(out_size) + 0.5) * size / out_size - 0.5
    assert np.abs(weight.sum(axis=1) - 1).max() < 1e-6
    if mode == "bilinear":
        assert np.abs((index * weight).sum(axis=1) - place).max() < 1e-4
    assert (index[:, index.shape[1] // 2 - 1] <= place + 1e-9).all()
    assert (index[:, index.shape[1] // 2] >= place).all()


def test_rows_of_a_resize_are_those_of_its_taps():
    for mode in ("nearest", "bilinear", "bicubic"):
        for size, out_size in [(7, 23), (23, 7), (5, 5), (1, 9), (9, 1)]:
            op = ops.Resize(mode=mode)
            for start in range(out_size):
                rows = (start, min(start + 3, out_size))
                index, _ = op.taps(rows, size, out_size)
                assert op.in_rows(rows, ((size, 4), (out_size, 4)))[0] == (index.min(), index.max() + 1)
