"""The block of two forms: every path, its fold, re-expansion, and weight space."""

import itertools
from fractions import Fraction

import msgspec
import numpy as np
import pytest
import torch

from thinlens.errors import RecipeError
from thinlens.model import ops
from thinlens.train.blocks.rep_conv import BRANCHES, RepConv
from thinlens.train.compress.fuse import expand, fuse, train_form
from thinlens.train.lower import lower
from thinlens.train.networks import create_network
from thinlens.train.ops import Conv2d
from thinlens.train.thaw import thaw

MASKS = {  # as published, written down once more
    "sobel_x": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "sobel_y": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
}
SIZES = [(1, 1), (1, 6), (5, 1), (2, 3), (7, 11), (15, 13)]
RECORDS = {
    "same": {},
    "few to many": {"in_channels": 3, "out_channels": 5},
    "edge": {"pad_mode": "edge"},
    "mirror": {"pad_mode": "mirror"},
    "groups": {"in_channels": 8, "out_channels": 4, "groups": 2},
    "depthwise": {"groups": 4},
    "stride": {"stride": 2},
    "wide padding": {"padding": (2, 1)},
    "no bias": {"bias": False},
}


def record(**fields):
    same = {"in_channels": 4, "out_channels": 4, "kernel": (3, 3), "padding": (1, 1), "bias": True}
    return ops.Conv2d(**same | fields)


def block(op, branches=BRANCHES, space="image", seed=0):
    """With weights that leave no path unseen: edges begin near zero."""
    torch.manual_seed(seed)
    made = RepConv(op, branches, space)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made.double()


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_fold_is_the_sum_of_the_paths_borders_included(name, size):
    op = record(**RECORDS[name])
    made = block(op)
    x = torch.randn(2, op.in_channels, *size, dtype=torch.float64)
    with torch.no_grad():
        whole = made(x)
        single = made.float()(x.float())
        fused = made.fuse()
        by_fused = fused(x.float())
    assert whole.shape == (2, op.out_channels, *op.out_size((size,)))
    assert (by_fused - single).abs().max() <= 1e-5 * max(1, float(whole.abs().max()))
    assert (fused.double()(x) - whole).abs().max() < 1e-5 * max(1, float(whole.abs().max()))


@pytest.mark.parametrize("seed", range(20))
def test_any_choice_of_branches(seed):
    rng = np.random.default_rng(seed)
    branches = [branch for branch in BRANCHES if rng.integers(2)] or ["1x1"]
    op, size = record(), tuple(int(side) for side in rng.integers(1, 20, 2))
    made = block(op, branches, seed=seed)
    assert [*made.paths, *(["3x3"] if made.own else [])] == [b for b in branches if b != "3x3"] + (
        ["3x3"] if "3x3" in branches else []
    )
    x = torch.rand(1, 4, *size, dtype=torch.float64)
    with torch.no_grad():
        kernel, bias = made.fold()
        assert torch.allclose(torch.nn.functional.conv2d(x, kernel, bias, padding=1), made(x), atol=1e-12)


@pytest.mark.parametrize("branch", BRANCHES)
def test_each_branch_alone_is_in_the_fold(branch):
    """Nothing is dropped: with a path gone, the fold differs."""
    with torch.no_grad():
        kernel, bias = block(record(), [branch]).fold()
    assert kernel.abs().max() > 0
    assert (bias.abs().max() > 0) == (branch not in ("1x1_3x3", "identity"))


def exactly(values):
    """Numbers of a tensor as fractions."""
    return np.vectorize(Fraction)(values.detach().double().numpy())


def correlate(x, kernel, bias):
    """``C H W`` padded already, by ``(out, in, kh, kw)``: in whatever numbers these are."""
    out, _, kh, kw = kernel.shape
    height, width = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    result = np.empty((out, height, width), object)
    for o, y, z in itertools.product(range(out), range(height), range(width)):
        result[o, y, z] = (kernel[o] * x[:, y : y + kh, z : z + kw]).sum() + bias[o]
    return result


def framed(x, frame):
    """One pixel more on each side, of each channel's own value."""
    result = np.empty((len(x), x.shape[1] + 2, x.shape[2] + 2), object)
    result[:] = np.asarray(frame, object)[:, None, None]
    result[:, 1:-1, 1:-1] = x
    return result


def train_form_in_fractions(made, x):
    """The nine paths as the paper words them: each pads for itself, an edge path's mask sees the bias outside."""
    p = {name: exactly(value) for name, value in made.named_parameters()}
    channels = len(x)
    none, padded = [Fraction(0)] * channels, framed(x, [Fraction(0)] * channels)
    total = correlate(padded, p["own.weight"], p["own.bias"])
    total = total + correlate(padded[:, :, 1:-1], p["paths.3x1.conv.weight"], p["paths.3x1.conv.bias"])
    total = total + correlate(padded[:, 1:-1], p["paths.1x3.conv.weight"], p["paths.1x3.conv.bias"])
    total = total + correlate(x, p["paths.1x1.conv.weight"], p["paths.1x1.conv.bias"])
    between = correlate(x, p["paths.1x1_3x3.first.weight"], [Fraction(0)] * 2 * channels)
    between = framed(between, [Fraction(0)] * 2 * channels)
    total = total + correlate(between, p["paths.1x1_3x3.second.weight"], none) + x
    for edge, mask in MASKS.items():
        first, shift = p[f"paths.{edge}.first.bias"], p[f"paths.{edge}.shift"]
        u = framed(correlate(x, p[f"paths.{edge}.first.weight"], first), first)
        fixed = np.vectorize(Fraction)(np.array(mask))[None, None]
        seen = [correlate(u[c : c + 1], fixed, none)[0] for c in range(channels)]
        total = total + [p[f"paths.{edge}.scale"][c] * seen[c] + shift[c] for c in range(channels)]
    return total


def test_the_fold_is_exact_in_rational_arithmetic():
    """Weights are eighths, so that float64 holds every sum and product of the fold exactly."""
    made = block(record(in_channels=2, out_channels=2))
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.from_numpy(rng.integers(-16, 17, tuple(parameter.shape)) / 8))
        kernel, bias = made.fold()
    x = np.vectorize(Fraction)(rng.integers(-9, 10, (2, 3, 4))) / 7
    folded = correlate(framed(x, [Fraction(0)] * 2), exactly(kernel), exactly(bias))
    assert (folded == train_form_in_fractions(made, x)).all()


@pytest.mark.parametrize("name", RECORDS)
def test_weight_space_gives_the_same_and_the_same_gradients(name):
    op = record(**RECORDS[name])
    by_image, by_weight = block(op), block(op, space="weight")
    x = torch.randn(2, op.in_channels, 7, 9, dtype=torch.float64)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    results = [made(x) for made, x in zip((by_image, by_weight), inputs, strict=True)]
    assert torch.allclose(*results, atol=1e-11)
    for result in results:
        result.sin().sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-10)
    for (path, one), (_, other) in zip(by_image.named_parameters(), by_weight.named_parameters(), strict=True):
        assert one.grad is not None, path
        assert torch.allclose(one.grad, other.grad, atol=1e-9), path


@pytest.mark.parametrize("name", RECORDS)
def test_a_convolution_expanded_folds_back_to_its_very_bits(name):
    torch.manual_seed(3)
    conv = Conv2d.of(record(**RECORDS[name]))
    with torch.no_grad():
        conv.weight[0, 0] = torch.tensor([[0.0, -0.0, 1e-30], [1e20, -3.7e-9, 0.1], [1 / 3, -1e-3, 7e3]])
    fused = RepConv.of(conv).fuse()
    assert all(torch.equal(one, other) for one, other in zip(fused.parameters(), conv.parameters(), strict=True))


def test_expanded_it_computes_the_same_and_every_path_trains():
    torch.manual_seed(4)
    conv = Conv2d.of(record())
    made = RepConv.of(conv)
    x = torch.randn(1, 4, 6, 7)
    assert torch.allclose(made(x), conv(x), atol=1e-6)
    made(x).square().sum().backward()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            assert parameter.grad.abs().max() > 0, name
            parameter -= 0.01 * parameter.grad
        assert torch.allclose(made.fuse()(x), made(x), atol=1e-5)
        assert not torch.allclose(made(x), conv(x), atol=1e-3)


def test_a_plan_is_expanded_and_lowers_to_itself():
    plan, tensors = lower(create_network("rep_rfn_w6_x2"), 3)
    expanded = expand(thaw(plan, tensors), space="weight")
    blocks = [module for module in expanded.modules() if isinstance(module, RepConv)]
    assert len(blocks) == sum(isinstance(n.op, ops.Conv2d) and n.op.kernel == (3, 3) for n in plan.nodes) == 27
    again, same = lower(expanded, 3)
    assert again == plan
    assert all(np.array_equal(same[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    "name", ["espcn_d4_s6_x2", "fsrcnn_d6_s3_m1_x2", "idn_x2", "rfdn_w6_x2", "edge_sr_tr_k3_c2_x2"]
)
def test_any_network_can_be_trained_through_branches(name):
    torch.manual_seed(5)
    network = create_network(name)
    channels = 3 if name.startswith("rfdn") else 1
    form = train_form(network, BRANCHES, "weight")
    x = torch.rand(1, channels, 17, 16)
    assert sum(p.numel() for p in form.parameters()) > sum(p.numel() for p in network.parameters())
    with torch.no_grad():
        assert torch.allclose(form(x), network(x), atol=1e-5)
    assert lower(form, channels)[0] == lower(network, channels)[0]


def test_own_blocks_take_the_branches_that_are_asked_for():
    form = train_form(create_network("rep_rfn_w6_x2"), ("3x3", "laplacian"), "weight")
    blocks = [module for module in form.modules() if isinstance(module, RepConv)]
    assert len(blocks) == 12
    assert all(list(made.paths) == ["laplacian"] and made.space == "weight" for made in blocks)
    kept = train_form(create_network("rep_rfn_w6_x2"), None, "weight")
    assert {made.space for made in kept.modules() if isinstance(made, RepConv)} == {"weight"}
    plain = create_network("espcn_d4_s6_x2")
    assert train_form(plain, None, "weight") is plain


def test_fusing_leaves_the_train_form_alone():
    network = create_network("rep_rfn_w6_x2")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fused = fuse(network)
    assert not any(isinstance(module, RepConv) for module in fused.modules())
    assert fuse(fused) is fused
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    x = torch.rand(1, 3, 21, 18)
    with torch.no_grad():
        assert torch.allclose(fused(x), network(x), atol=1e-5)


def test_convolutions_that_share_their_weights_stay_as_they_are():
    plan, tensors = lower(torch.nn.Sequential(Conv2d.of(record()), Conv2d.of(record())), 4)
    assert sum(isinstance(module, RepConv) for module in expand(thaw(plan, tensors)).modules()) == 2
    first, second = plan.nodes
    second = msgspec.structs.replace(second, tensors=first.tensors)
    plan = msgspec.structs.replace(plan, nodes=(first, second))
    assert not any(isinstance(module, RepConv) for module in expand(thaw(plan, tensors)).modules())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RepConv(record(kernel=(5, 5))), r"for a convolution of \(5, 5\)"),
        (lambda: RepConv(record(), ()), r"branches: \[\]"),
        (lambda: RepConv(record(in_channels=1), ("identity",)), "accepted: 3x3, a path"),
        (lambda: RepConv.of(Conv2d.of(record()), ("1x1",)), "`3x3` among them"),
    ],
)
def test_what_is_no_block_is_refused(make, message):
    with pytest.raises(RecipeError, match=message):
        make()
