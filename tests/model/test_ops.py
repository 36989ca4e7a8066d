"""The records: what they know before any pixel moves."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinlens.errors import PlanError
from thinlens.model.ops import OPS, ChannelSlice, Conv2d, Multiply, PixelShuffle, SoftmaxSum, kind_of


def conv(**fields):
    return Conv2d(**{"in_channels": 2, "out_channels": 4, "kernel": (3, 3), **fields})


def test_kinds_are_unique():
    assert len({kind_of(op) for op in map(_example, OPS)}) == len(OPS)


def _example(kind):
    conv = {"in_channels": 1, "out_channels": 1, "kernel": (1, 1)}
    fields = {
        "Affine": {"channels": 1},
        "Bands": {"rows": 2},
        "ChannelGather": {"channels": (0,)},
        "ChannelSlice": {"start": 0, "stop": 1},
        "Clamp": {"low": 0.0, "high": 1.0},
        "Concat": {"count": 2},
        "Conv2d": conv,
        "ConvTranspose2d": conv,
        "LeakyRelu": {"slope": 0.1},
        "MaxPool": {"kernel": (2, 2)},
        "PixelShuffle": {"scale": 2},
        "PixelUnshuffle": {"scale": 2},
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
