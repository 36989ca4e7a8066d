"""One op, several bodies: torch and NumPy agree for every record, and for networks lowered, run in bands, thawed."""

import numpy as np
import pytest
import torch

from thinlens.model.graph import fitting_size
from thinlens.model.ops import OPS, kind_of
from thinlens.runtime import reference
from thinlens.runtime.reference.rows import input_rows, run_rows
from thinlens.train import ops
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration
from thinlens.train.thaw import thaw


def deconv(**fields):
    return ops.ConvTranspose2d(**{"in_channels": 3, "out_channels": 2, "kernel": (9, 9), "bias": True, **fields})


def affine(**fields):
    module = ops.Affine(channels=3, **fields)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def binary(**fields):
    module = ops.BinaryConv2d(**fields)
    torch.nn.init.normal_(module.threshold)
    torch.nn.init.normal_(module.scale)
    return module


BANDS = 3  # that the rows of a memory's inputs are


def in_bands(count):
    """All inputs but the last in bands of the size that is tried."""
    return lambda size: [(BANDS * size[0], size[1])] * count + [(1, 1)]


def same(count):
    """All inputs of the size that is tried."""
    return lambda size: [size] * count


# One line an op and way of using it: torch body, channels of each input, and sizes of the inputs.
CASES = [
    (lambda: ops.Conv2d(in_channels=3, out_channels=4, kernel=(3, 3), padding=(1, 1), bias=True), (3,), same(1)),
    (lambda: ops.Conv2d(in_channels=2, out_channels=3, kernel=(5, 3), padding=(2, 1), pad_mode="edge"), (2,), same(1)),
    (
        lambda: ops.Conv2d(in_channels=2, out_channels=3, kernel=(7, 5), padding=(6, 2), pad_mode="mirror"),
        (2,),
        same(1),
    ),
    (lambda: ops.Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), padding=(1, 1), groups=2), (4,), same(1)),
    (
        lambda: ops.Conv2d(in_channels=1, out_channels=2, kernel=(4, 3), padding=(2, 2), stride=2, bias=True),
        (1,),
        same(1),
    ),
    (lambda: deconv(stride=2, padding=(4, 4), output_padding=1), (3,), same(1)),
    (lambda: deconv(stride=3, padding=(3, 3), kernel=(9, 9)), (3,), same(1)),
    (lambda: deconv(stride=4, padding=(3, 3), output_padding=1, pad_mode="edge"), (3,), same(1)),
    (lambda: deconv(stride=3, kernel=(1, 1), output_padding=2), (3,), same(1)),
    *(
        (
            lambda pad=pad: binary(in_channels=5, out_channels=3, kernel=(3, 5), padding=(1, 2), pad_value=pad),
            (5,),
            same(1),
        )
        for pad in (-1, 0, 1)
    ),
    (lambda: affine(), (3,), same(1)),
    (lambda: affine(bias=False), (3,), same(1)),
    (lambda: affine(weight=False), (3,), same(1)),
    (lambda: ops.Relu(), (2,), same(1)),
    (lambda: ops.LeakyRelu(slope=0.1), (2,), same(1)),
    (lambda: ops.LeakyRelu(slope=-1.5), (2,), same(1)),
    (lambda: ops.PRelu(), (3,), same(1)),
    (lambda: ops.PRelu(slopes=3), (3,), same(1)),
    (lambda: ops.Tanh(), (2,), same(1)),
    (lambda: ops.Sigmoid(), (2,), same(1)),
    (lambda: ops.Clamp(low=-0.5, high=0.25), (2,), same(1)),
    (lambda: ops.Quantize(scale=0.03, zero=17), (2,), same(1)),
    (lambda: ops.Bfloat16(), (2,), same(1)),
    (lambda: ops.Add(), (3, 3), same(2)),
    (lambda: ops.Add(a=0.5, b=-2.0), (3, 1), lambda size: [(1, 1), size]),
    (lambda: ops.Multiply(), (3, 3), same(2)),
    (lambda: ops.Multiply(), (1, 3), same(2)),
    (lambda: ops.Multiply(), (3, 3), lambda size: [size, (1, 1)]),
    (lambda: ops.Multiply(), (1, 3), lambda size: [(1, 1), size]),
    (lambda: ops.Concat(count=3), (2, 1, 3), same(3)),
    (lambda: ops.ChannelSlice(start=1, stop=3), (4,), same(1)),
    (lambda: ops.ChannelGather(channels=(3, 0, 0, 2, 1, 3)), (4,), same(1)),
    (lambda: ops.ChannelMax(), (5,), same(1)),
    (lambda: ops.SoftmaxSum(), (4, 4), same(2)),
    (lambda: ops.PixelShuffle(scale=3), (18,), same(1)),
    (lambda: ops.PixelUnshuffle(scale=3), (2,), lambda size: [(3 * size[0], 3 * size[1])]),
    (lambda: ops.MaxPool(kernel=(2, 2)), (2,), lambda size: [(size[0] + 1, size[1] + 1)]),
    (lambda: ops.MaxPool(kernel=(5, 3), stride=3, padding=(2, 1)), (2,), same(1)),
    *(
        (lambda fields=fields: ops.Resize(factor=3, **fields), (2,), same(1))
        for fields in (
            {"mode": "nearest"},
            {"mode": "bilinear"},
            {"mode": "bilinear", "border": "symmetric"},
            {"mode": "bicubic"},
            {"mode": "bicubic", "coefficient": -0.5, "border": "symmetric"},
        )
    ),
    *(
        (lambda mode=mode: ops.Resize(mode=mode), (2, 1), lambda size, like=like: [size, like])
        for mode in ("nearest", "bilinear", "bicubic")
        for like in [(1, 1), (7, 4), (30, 23)]
    ),
    (lambda: ops.Pad(top=1, bottom=2, right=3), (2,), same(1)),
    (lambda: ops.Pad(top=3, bottom=1, left=2, right=4, mode="edge"), (2,), same(1)),
    (lambda: ops.Pad(top=3, bottom=17, left=2, right=5, mode="mirror"), (2,), same(1)),
    (lambda: ops.Crop(top=1, right=2), (2,), lambda size: [(size[0] + 1, size[1] + 2)]),
    (lambda: ops.Crop(bottom=2, left=1), (2,), lambda size: [(size[0] + 2, size[1] + 1)]),
    (lambda: ops.GlobalMean(), (3,), same(1)),
    (lambda: ops.GlobalStd(), (3,), same(1)),
    (lambda: ops.Bands(rows=3, warm_up=2), (2,), same(1)),
    (lambda: ops.Bands(rows=4), (2,), same(1)),
    (lambda: ops.Unbands(rows=3, warm_up=2), (2, 1), lambda size: [(3 * (2 + -(-size[0] // 3)), size[1]), size]),
    (lambda: ops.LineMemory(channels=2), (2, 2, 2, 2, 1), in_bands(4)),
    (lambda: ops.LineMemory(channels=3, align="flip", kernel=(1, 5)), (3, 3, 3, 3, 2), in_bands(4)),
    (lambda: ops.LineMemory(channels=1, align="last", kernel=(5, 3)), (1, 1, 1, 1, 1), in_bands(4)),
    (lambda: ops.LineMemory(channels=2, cell="sum"), (2, 1), in_bands(1)),
    (lambda: ops.LineMemory(channels=2, cell="sum", align="flip"), (2, 3), in_bands(1)),
    (lambda: ops.LineMemory(channels=2, cell="sum", align="last"), (2, 1), in_bands(1)),
    (lambda: ops.Unbands(rows=2, scale=2), (2, 1), lambda size: [(4 * -(-size[0] // 2), 2 * size[1]), size]),
]
CASE_NAMES = [f"{kind_of(make().op)}-{at}" for at, (make, *_) in enumerate(CASES)]
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
    "idn_x2",
    "idn_x3",
    "idn_x4",
    "imdn_w16_x2",
    "drn_w4_b2_x4",
    "rfdn_w6_x2",
    "rfdn_reduced_w6_x3",
    "rfn_plain_w6_x4",
    "rfn_rfb3_w6_x3",
    "rfn_rfb3_each_w6_x2",
    "rep_rfn_w6_x4",
    "line_dn_w6",
    "line_dn_m4_wide_w4",
    "line_sr_w6_x2",
    "line_sr_w6_x3",
    "line_sr_w6_x4",
    "unet_denoise_w2",
    "srresnet_w4_x3",
    "bbcu_l_w6_x2",
    "bbcu_m_w4_x4",
    "bbcu_h_w5_x2",
    "bbcu_t_w4_x3",
    "bbcu_denoise_w6",
    "bbcu_deblock_w5",
]


def test_every_op_has_its_bodies_and_a_case():
    assert set(OPS) == set(ops.BODIES) == set(reference.BODIES) == {type(make().op) for make, *_ in CASES}


@pytest.mark.parametrize(("make", "channels", "sizes_of"), CASES, ids=CASE_NAMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bodies_agree(make, channels, sizes_of, size):
    torch.manual_seed(0)
    module = make()
    sizes = tuple(sizes_of(size))
    inputs = [torch.randn(1, c, *s) for c, s in zip(channels, sizes, strict=True)]
    inputs[0][0, 0, 0, 0] = 0.0
    with torch.no_grad():
        by_torch = run_torch(module, inputs).numpy()
    tensors = {role: module.get_parameter(role).detach().numpy() for role in module.op.tensor_shapes()}
    by_reference = run_op(module.op, [x[0].numpy() for x in inputs], tensors)
    assert by_reference.shape == by_torch.shape == (module.op.channels_out(channels), *module.op.out_size(sizes))
    assert by_reference.dtype == np.float32
    assert np.abs(by_reference - by_torch).max() < 1e-5


def run_torch(module, inputs):
    """One module on whole inputs; in torch, bands stand in the batch."""
    if isinstance(module, ops.Unbands):
        inputs = [torch.cat(inputs[0].split(module.op.rows * module.op.scale, dim=2)), inputs[1]]
    if isinstance(module, ops.LineMemory):
        inputs = [*(torch.cat(x.chunk(BANDS, dim=2)) for x in inputs[:-1]), inputs[-1]]
    out = module(*inputs)
    return torch.cat(tuple(out), dim=1) if isinstance(module, ops.Bands | ops.LineMemory) else out[0]


@pytest.mark.parametrize(("make", "channels", "sizes_of"), CASES, ids=CASE_NAMES)
def test_rows_equal_the_whole_bit_for_bit(make, channels, sizes_of):
    torch.manual_seed(0)
    module = make()
    inputs = [torch.randn(c, *s).numpy() for c, s in zip(channels, sizes_of((7, 9)), strict=True)]
    tensors = {role: module.get_parameter(role).detach().numpy() for role in module.op.tensor_shapes()}
    whole = run_op(module.op, inputs, tensors)
    height = whole.shape[1]
    for start in range(height):
        for stop in {start + 1, min(start + 4, height), height}:
            assert np.array_equal(run_op(module.op, inputs, tensors, (start, stop)), whole[:, start:stop])


def run_op(op, inputs, tensors, rows=None):
    """One op on whole inputs, cut to what it says it reads; all rows, or some."""
    from thinlens.model.graph import iter_pieces
    from thinlens.model.plan import Extent

    extents = tuple(Extent(*x.shape[1:], x.shape[1] // BANDS if op.recurrent else None) for x in inputs)
    size = op.out_size(tuple(extent.size for extent in extents))
    (piece,) = iter_pieces(op, rows or (0, size[0]), extents, Extent(*size, extents[0].band))
    bands = tuple((first, x[:, first:last]) for x, (first, last) in zip(inputs, piece.reads, strict=True))
    return reference.BODIES[type(op)](op, bands, tensors, piece.rows, piece.sizes)


def create(name):
    """A network, its plan and its tensors."""
    torch.manual_seed(1)
    configuration = find_configuration(name)
    network = configuration.create()
    return network, *lower(network, configuration.channels)


def image_of(made):
    """``C H W`` of what a network's forward gives."""
    return (made["image"] if isinstance(made, dict) else made)[0]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [*SIZES, (333, 517)], ids=str)
def test_network_reference_and_thawed_plan_agree(name, size):
    network, plan, tensors = create(name)
    size = fitting_size(plan, (41, 61) if size == (333, 517) and len(plan.nodes) > 20 else size)
    lq = torch.rand(1, plan.input_channels, *size)
    with torch.no_grad():
        by_torch = image_of(network(lq)).numpy()
        thawed = image_of(thaw(plan, tensors)(lq)).numpy()
    rows = (0, by_torch.shape[1])
    by_reference = run_rows(plan, tensors, (0, lq[0].numpy()), size, rows)
    assert by_torch.shape == (plan.input_channels, size[0] * network.scale, size[1] * network.scale)
    assert np.abs(by_reference - by_torch).max() < 1e-5
    assert np.abs(thawed - by_torch).max() < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_lowering_a_thawed_plan_gives_it_back(name):
    _, plan, tensors = create(name)
    again, copies = lower(thaw(plan, tensors), plan.input_channels)
    assert again == plan
    assert all(np.array_equal(copies[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_bands_equal_the_whole_bit_for_bit(name):
    _, plan, tensors = create(name)
    size = fitting_size(plan, (11, 29))
    lq = np.random.default_rng(0).random((plan.input_channels, *size), np.float32)
    height = plan.sizes(size)[plan.outputs["image"]][0]
    whole = run_rows(plan, tensors, (0, lq), size, (0, height))
    for start, stop in [(0, 1), (1, 4), (height - 3, height), (5, height)]:
        first, last = input_rows(plan, size, (start, stop))
        band = run_rows(plan, tensors, (first, lq[:, first:last]), size, (start, stop))
        assert np.array_equal(band, whole[:, start:stop])
