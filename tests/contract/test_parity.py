"""One op, several bodies: torch and NumPy agree for every record, and for networks lowered, run in bands, thawed."""

import numpy as np
import pytest
import torch

from thinlens.model.ops import OPS, kind_of
from thinlens.runtime import reference
from thinlens.runtime.reference.rows import input_rows, run_rows
from thinlens.train import ops
from thinlens.train.lower import lower
from thinlens.train.networks import create_network
from thinlens.train.thaw import thaw


def deconv(**fields):
    return ops.ConvTranspose2d(**{"in_channels": 3, "out_channels": 2, "kernel": (9, 9), "bias": True, **fields})


# One line an op and way of using it: torch body, channels of each input.
CASES = [
    (lambda: ops.Conv2d(in_channels=3, out_channels=4, kernel=(3, 3), padding=(1, 1), bias=True), (3,)),
    (lambda: ops.Conv2d(in_channels=2, out_channels=3, kernel=(5, 3), padding=(2, 1), pad_mode="edge"), (2,)),
    (lambda: ops.Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), padding=(1, 1), groups=2), (4,)),
    (lambda: ops.Conv2d(in_channels=1, out_channels=2, kernel=(4, 3), padding=(2, 2), stride=2, bias=True), (1,)),
    (lambda: deconv(stride=2, padding=(4, 4), output_padding=1), (3,)),
    (lambda: deconv(stride=3, padding=(3, 3), kernel=(9, 9)), (3,)),
    (lambda: deconv(stride=4, padding=(3, 3), output_padding=1, pad_mode="edge"), (3,)),
    (lambda: ops.PRelu(), (3,)),
    (lambda: ops.PRelu(slopes=3), (3,)),
    (lambda: ops.Tanh(), (2,)),
    (lambda: ops.Sigmoid(), (2,)),
    (lambda: ops.PixelShuffle(scale=3), (18,)),
    (lambda: ops.ChannelSlice(start=1, stop=3), (4,)),
    (lambda: ops.Multiply(), (3, 3)),
    (lambda: ops.ChannelMax(), (5,)),
    (lambda: ops.SoftmaxSum(), (4, 4)),
]
SIZES = [(1, 1), (1, 9), (7, 1), (5, 8), (13, 11)]
NETWORKS = [
    "bicubic_x2",
    "bicubic_x3",
    "bicubic_x4",
    "edge_sr_max_k5_c2_x2",
    "edge_sr_tm_k7_c4_x3",
    "edge_sr_tr_k5_c4_x4",
    "edge_sr_cnn_c4_d3_s6_x2",
    "espcn_d0_s3_x3",
    "espcn_d16_s32_x4",
    "fsrcnn_d32_s6_m4_x2",
    "fsrcnn_d6_s3_m1_x3",
    "fsrcnn_d6_s3_m1_x4",
]


def test_every_op_has_its_bodies_and_a_case():
    assert set(OPS) == set(ops.BODIES) == set(reference.BODIES) == {type(make().op) for make, _ in CASES}


@pytest.mark.parametrize(("make", "channels"), CASES, ids=lambda case: kind_of(case().op) if callable(case) else None)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bodies_agree(make, channels, size):
    torch.manual_seed(0)
    module = make()
    inputs = [torch.randn(1, c, *size) for c in channels]
    inputs[0][0, 0, 0, 0] = 0.0
    with torch.no_grad():
        by_torch = module(*inputs)[0].numpy()
    tensors = {role: module.get_parameter(role).detach().numpy() for role in module.op.tensor_shapes()}
    by_reference = run_op(module.op, [x[0].numpy() for x in inputs], tensors)
    assert by_reference.shape == by_torch.shape == (module.op.channels_out(channels), *module.op.out_size(size))
    assert np.abs(by_reference - by_torch).max() < 1e-5


def run_op(op, inputs, tensors):
    """One op on whole inputs, its rows padded as `run_rows` does."""
    from thinlens.runtime.reference.rows import padded

    height = inputs[0].shape[1]
    out_height = op.out_size(inputs[0].shape[1:])[0]
    first, last = op.in_rows(0, out_height)
    rows = tuple(padded(op, (0, x), height, first, last) for x in inputs)
    out = reference.BODIES[type(op)](op, rows, tensors)
    return out[:, -op.first_row(first) : out_height - op.first_row(first)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [*SIZES, (333, 517)], ids=str)
def test_network_reference_and_thawed_plan_agree(name, size):
    torch.manual_seed(1)
    network = create_network(name)
    plan, tensors = lower(network)
    lq = torch.rand(1, 1, *size)
    with torch.no_grad():
        by_torch = network(lq)[0].numpy()
        thawed = thaw(plan, tensors)(lq)[0].numpy()
    rows = (0, by_torch.shape[1])
    by_reference = run_rows(plan, tensors, (0, lq[0].numpy()), size, rows)
    assert by_torch.shape == (1, size[0] * network.scale, size[1] * network.scale)
    assert np.abs(by_reference - by_torch).max() < 1e-5
    assert np.abs(thawed - by_torch).max() < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_lowering_a_thawed_plan_gives_it_back(name):
    plan, tensors = lower(create_network(name))
    again, copies = lower(thaw(plan, tensors))
    assert again == plan
    assert all(np.array_equal(copies[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_bands_equal_the_whole_bit_for_bit(name):
    torch.manual_seed(2)
    plan, tensors = lower(create_network(name))
    size = (11, 29)
    lq = np.random.default_rng(0).random((1, *size), np.float32)
    height = plan.sizes(size)[plan.outputs["image"]][0]
    whole = run_rows(plan, tensors, (0, lq), size, (0, height))
    for start, stop in [(0, 1), (1, 4), (height - 3, height), (5, height)]:
        first, last = input_rows(plan, size, (start, stop))
        band = run_rows(plan, tensors, (first, lq[:, first:last]), size, (start, stop))
        assert np.array_equal(band, whole[:, start:stop])
