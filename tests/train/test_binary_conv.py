"""The binary unit: as the formulas say, at the borders too; its gradients; both forms alike; networks of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from thinlens.errors import RecipeError
from thinlens.model import ops
from thinlens.model.card import ModelCard, Training
from thinlens.model.counts import count_convolutions, count_costs
from thinlens.model.file import Model, to_bytes
from thinlens.runtime.reference.rows import run_rows
from thinlens.train.blocks.binary_conv import FORMS, BinaryUnit, ScaledConv, body_unit, head_unit, upsampler_unit
from thinlens.train.compress.fuse import expand, fuse, train_form
from thinlens.train.loop import Watch, fit
from thinlens.train.lower import lower
from thinlens.train.networks import configurations, find_configuration
from thinlens.train.networks.binary_dncnn import BinaryDncnnConfig
from thinlens.train.networks.srresnet import SrResNetConfig
from thinlens.train.ops.binary_conv import clip_sign, soft_sign, tanh_sign
from thinlens.train.recipe import Plain

SIZES = [(1, 1), (1, 6), (5, 1), (3, 4), (9, 11)]


def record(channels=4, out=4):
    return ops.BinaryConv2d(in_channels=channels, out_channels=out, kernel=(3, 3), padding=(1, 1))


def randomised(module, seed=0):
    """Every number away from where it begins; batch norm has seen something."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
    return module


def by_formula(unit, x):
    """V4 and V2, written down once more, from the borders inwards: a sum over taps that are there."""
    a, beta = unit.threshold, unit.slopes
    bits = torch.where(x + a[:, None, None] >= 0, 1.0, -1.0)
    weight = torch.where(unit.weight >= 0, 1.0, -1.0) * unit.weight.abs().mean((1, 2, 3), keepdim=True)
    height, width = x.shape[2:]
    c = torch.zeros(1, len(weight), height, width)
    for i in range(height):
        for j in range(width):
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if 0 <= i + di < height and 0 <= j + dj < width:
                        c[0, :, i, j] += weight[:, :, di + 1, dj + 1] @ bits[0, :, i + di, j + dj]

    def f(c):
        v = c + unit.shift[:, None, None]
        return torch.where(v > 0, v, beta[:, None, None] * v) + unit.last[:, None, None]

    return f(c + x) if unit.form.after_sum else f(c) + x


@pytest.mark.parametrize("kind", ["v2", "v3", "v4"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_unit_is_what_the_formulas_say_borders_included(kind, size):
    unit = randomised(body_unit(4, FORMS[kind]))
    x = torch.randn(1, 4, *size)
    with torch.no_grad():
        assert (unit(x) - by_formula(unit, x)).abs().max() < 1e-5


def test_version_1_has_batch_norm_right_behind_the_convolution():
    unit = randomised(body_unit(3, FORMS["v1"]))
    x = torch.randn(8, 3, 6, 7)
    plain = body_unit(3, FORMS["v2"])
    plain.load_state_dict({name: value for name, value in unit.state_dict().items() if "norm" not in name})
    with torch.no_grad():
        sums, _ = plain._convolve(x)
        normed = F.batch_norm(sums, None, None, unit.norm.weight, unit.norm.bias, training=True)
        v = normed + x + unit.shift[:, None, None]
        expected = F.prelu(v, unit.slopes) + unit.last[:, None, None]
        assert (unit(x) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_both_forms_of_every_unit_agree_borders_included(kind, size):
    x = torch.randn(2, 4, *size)
    for bias in (False, True):
        unit = randomised(body_unit(4, FORMS[kind], bias=bias)).eval()
        with torch.no_grad():
            assert (unit.fuse()(x) - unit(x)).abs().max() < 1e-5


def test_version_4_is_lowered_in_the_order_that_the_engine_fuses():
    plan, tensors = lower(torch.nn.Sequential(body_unit(4, FORMS["v4"])), 4)
    first, shift, activation, last, add = plan.nodes
    assert [node.op for node in plan.nodes] == [
        record(),
        ops.Affine(channels=4, weight=False),
        ops.PRelu(slopes=4),
        ops.Affine(channels=4, weight=False),
        ops.Add(),
    ]
    assert (first.inputs, shift.inputs, activation.inputs) == (("input",), (first.name,), (shift.name,))
    assert (last.inputs, add.inputs) == ((activation.name,), (last.name, "input"))
    assert set(np.unique(tensors[first.tensors["weight"]])) == {-1, 1}
    plan, _ = lower(upsampler_unit(2, 2, FORMS["v4"]), 2)
    kinds = [type(node.op) for node in plan.nodes]
    assert kinds == [ops.ChannelGather, ops.BinaryConv2d, ops.Affine, ops.PRelu, ops.Affine, ops.Add, ops.PixelShuffle]
    assert plan.nodes[0].op.channels == (0, 0, 0, 0, 1, 1, 1, 1)


def test_the_upsamplers_shortcut_is_the_nearest_neighbour():
    for scale in (2, 3):
        unit = upsampler_unit(3, scale, FORMS["v4"])
        with torch.no_grad():
            unit[0].unit.weight.zero_()  # no scale: nothing but the shortcut
            x = torch.randn(1, 3, 4, 5)
            assert torch.equal(unit(x), F.interpolate(x, scale_factor=scale, mode="nearest"))


def test_the_heads_shortcut_repeats_the_image():
    for width, expected in [(7, [0, 0, 1, 1, 2, 2, 0]), (5, [0, 1, 2, 0, 1]), (2, [0, 1])]:
        head = head_unit(3, width, FORMS["v4"], gain=10.0)
        with torch.no_grad():
            head.unit.weight.zero_()
            x = torch.rand(1, 3, 2, 2)
            assert torch.equal(head(x), 10 * x[:, expected])


def gradient(sign, x):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    sign(x).sum().backward()
    return x.grad.tolist()


def test_gradients_of_the_signs():
    x = [-1.5, -1.0, -0.5, -0.25, 0.0, 0.5, 1.0, 2.0]
    assert gradient(soft_sign, x) == [0, 0, 1, 1.5, 2, 1, 0, 0]
    assert gradient(clip_sign, x) == [0, 1, 1, 1, 1, 1, 1, 0]
    for t in (0.1, 1.0, 10.0):
        k = max(1 / t, 1)
        expected = [k * t * (1 - np.tanh(t * v) ** 2) for v in x]
        assert np.allclose(gradient(lambda v, t=t: tanh_sign(v, t), x), expected)
    assert soft_sign(torch.zeros(1)).item() == clip_sign(torch.zeros(1)).item() == 1


def test_the_gradient_of_latent_weights_goes_as_if_nothing_were_binary_within_1():
    """And is not scaled by the mean of the magnitudes, although sums are."""
    unit = randomised(body_unit(3, FORMS["v4"]))
    with torch.no_grad():
        unit.weight[0, 0, 0, :] = torch.tensor([-1.0, 1.0, 1.0001])
    x, aim = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    (unit(x) * aim).sum().backward()
    effective = unit.weight.detach().abs().mean((1, 2, 3), keepdim=True) * torch.where(unit.weight >= 0, 1.0, -1.0)
    effective = effective.detach().requires_grad_()
    bits = torch.where(x + unit.threshold.detach()[:, None, None] >= 0, 1.0, -1.0)
    v = F.conv2d(bits, effective, padding=1) + unit.shift[:, None, None]
    (F.prelu(v, unit.slopes) * aim).sum().backward()
    window = (unit.weight.abs() <= 1).float()
    assert 0 < window.mean() < 1
    assert torch.allclose(unit.weight.grad, window * effective.grad, rtol=1e-4, atol=1e-5)


def test_a_unit_whose_latent_weights_are_zero_still_has_gradients():
    unit = body_unit(2, FORMS["v4"])
    with torch.no_grad():
        unit.weight.zero_()
    unit(torch.randn(1, 2, 3, 3)).sum().backward()
    assert bool(unit.weight.grad.isfinite().all())


def test_balanced_weights_are_half_negative_and_scaled_by_a_power_of_two():
    unit = BinaryUnit(record(8, 5), FORMS["irnet"])
    with torch.no_grad():
        unit.weight.add_(3)
    fused = unit.eval().fuse()
    assert abs(float(fused.conv.weight.mean())) < 0.3
    scale = unit._scale()
    assert torch.equal(scale.log2(), scale.log2().round())


def test_latent_weights_of_bnn_stay_within_1():
    unit = randomised(body_unit(3, FORMS["bnn"]))
    unit(torch.randn(1, 3, 4, 4))
    assert unit.weight.abs().max() <= 1


def test_irnets_sign_grows_steeper_as_training_goes_on():
    unit, seen = body_unit(2, FORMS["irnet"]), []

    def loss(module, step):
        seen.append(unit.progress)
        return module(torch.ones(1, 2, 4, 4)).square().mean()

    fit(unit, loss, Plain(steps=4), Watch())
    assert seen == [0, 0.25, 0.5, 0.75]


def test_a_clamped_result_has_no_gain():
    with pytest.raises(RecipeError, match=r"out_gain: 0\.5 for a clamped result"):
        BinaryUnit(record(), FORMS["bnn"], out_gain=0.5)


def as_written(config):
    """The network with residual alignment as it is written: image times k, result over k."""
    k, network = config.factor, randomised(config.create()).double()
    for part in network.modules():
        if isinstance(part, ScaledConv):
            part.gain = part.bias_gain = 1.0
        elif isinstance(part, BinaryUnit):
            part.in_gain = part.out_gain = part.skip_gain = 1.0
    return network, lambda x: network(k * x) / k


ALIGNED = ["bbcu_l_w6_x2", "bbcu_m_w4_x3", "bbcu_h_w5_x2", "bbcu_t_w4_x2", "bbcu_l_v3_w4_x2", "bbcu_denoise_w6"]


@pytest.mark.parametrize("name", [*ALIGNED, "bbcu_deblock_w6"])
def test_residual_alignment_is_in_the_weights_and_their_gradients(name):
    config = find_configuration(name)
    x = torch.rand(1, config.channels, 7, 9, dtype=torch.float64)
    network = randomised(config.create()).double()
    written, function = as_written(config)
    whole, expected = network(x), function(x)
    assert (whole - expected).abs().max() < 1e-9 * expected.abs().max()
    for made in (whole, expected):
        made.abs().mean().backward()
    for (name, own), other in zip(network.named_parameters(), written.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, rtol=1e-6, atol=1e-9 * float(other.grad.abs().max())), name


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_a_binary_network_learns(optimiser):
    torch.manual_seed(0)
    network = find_configuration("bbcu_m_w4_x2").create()
    lq = torch.rand(2, 3, 8, 8)
    hq = 0.5 + 0.5 * F.interpolate(lq, scale_factor=2, mode="bicubic")
    losses = []

    def loss(module, step):
        losses.append((module(lq) - hq).abs().mean())
        return losses[-1]

    before = [part.latent().sign() for part in network.modules() if isinstance(part, BinaryUnit)]
    fit(network, loss, Plain(steps=40, lr=1e-2, warmup=0, ema=0.0, optimiser=optimiser), Watch())
    after = [part.latent().sign() for part in network.modules() if isinstance(part, BinaryUnit)]
    assert losses[-1] < 0.9 * losses[0]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_alignment_grows_with_the_channels():
    factors = {name: find_configuration(name).factor for name in ("bbcu_l_x4", "bbcu_m_w16_x2", "bbcu_denoise_w32")}
    assert factors == {"bbcu_l_x4": 130, "bbcu_m_w16_x2": 32.5, "bbcu_denoise_w32": 65}
    for name in ("bbcu_l_v1_x4", "bbcu_l_v2_x4", "bbcu_l_k1_x4", "srresnet_x4", "bnn_l_x4"):
        assert find_configuration(name).factor == 1
    assert find_configuration("bbcu_l_v3_x4").factor == 130


BINARY = [
    *(
        name
        for name in configurations()
        if name.endswith("_x2") and name.startswith(("bbcu", "bnn", "bireal", "irnet"))
    ),
    *("btm_l_x2", "reactnet_l_x2", "bbcu_denoise", "bbcu_deblock", "srresnet_x2"),
]


@pytest.mark.parametrize("name", BINARY)
def test_train_form_reference_and_bits_agree(name):
    published = find_configuration(name)
    config = find_configuration(f"{name.removesuffix('_x2')}_w5{'_x2' if published.scale == 2 else ''}")
    network = randomised(config.create()).eval()
    x = torch.rand(1, config.channels, 9, 12)
    with torch.no_grad():
        by_train = network(x)
        by_fused = fuse(network)(x)
    assert by_train.shape == (1, config.channels, 9 * config.scale, 12 * config.scale)
    assert (by_fused - by_train).abs().max() <= 1e-5 * by_train.abs().max()
    plan, tensors = lower(network, config.channels)
    by_reference = run_rows(plan, tensors, (0, x[0].numpy()), (9, 12), (0, 9 * config.scale))
    assert np.abs(by_reference - by_train[0].numpy()).max() <= 1e-4 * float(by_train.abs().max())


# Everything that is learnt, as float; total bytes of what runs.
TOTALS = {
    "bbcu_l_x2": 1_376_003,
    "bbcu_l_x3": 1_560_643,
    "bbcu_l_x4": 1_523_715,
    "bbcu_m_x2": 1_376_771,
    "bbcu_m_x3": 1_562_051,
    "bbcu_m_x4": 1_525_059,
    "bbcu_denoise": 671_616,
    "bbcu_deblock": 670_529,
    "srresnet_x4": 1_517_571,
}


@pytest.mark.parametrize(("name", "total"), TOTALS.items())
def test_parameters_of_the_train_form_are_the_published_ones(name, total):
    with torch.device("meta"):
        network = find_configuration(name).create()
    assert sum(parameter.numel() for parameter in network.parameters()) == total


# Operations and parameters of an input of 320x180. The paper prints them rounded, in G and K, to the digit: 79.20 and
# 372 of BBCU-L x4, 3.95 and 51 of BBCU-M x4, 0.80 and 24 of the denoiser; but 146.14 of SRResNet x4.
PRINTED = [
    ("srresnet_x2", 85_432_320_000, 1_367_424),
    ("srresnet_x3", 107_163_648_000, 1_551_744),
    ("srresnet_x4", 146_080_972_800, 1_514_880),
    ("srresnet_w12_x2", 3_079_296_000, 48_600),
    ("srresnet_w12_x4", 5_393_433_600, 53_784),
    ("bbcu_l_x2", 18_546_278_400, 224_640),
    ("bbcu_l_x3", 40_277_606_400, 408_960),
    ("bbcu_l_x4", 79_194_931_200, 372_096),
    ("bbcu_m_x2", 1_824_768_000, 46_080),
    ("bbcu_m_x3", 2_654_208_000, 51_840),
    ("bbcu_m_x4", 3_948_134_400, 50_688),
    ("bbcu_h_x4", 145_982_995_200, 1_513_206),
    ("bbcu_u_x4", 70_834_176_000, 1_193_472),
    ("bbcu_t_x4", 144_513_331_200, 1_513_206),
    *((f"{rival}_l_x2", 18_546_278_400, 224_640) for rival in ("bnn", "bireal", "irnet", "btm", "reactnet")),
    ("bbcu_denoise", 796_262_400, 24_192),
    ("bbcu_deblock", 663_552_000, 21_888),
]


@pytest.mark.parametrize(("name", "operations", "parameters"), PRINTED)
def test_operations_and_parameters_are_the_printed_ones(name, operations, parameters):
    config = find_configuration(name)
    plan, _ = lower(config.create(), config.channels)
    assert count_convolutions(plan, (180, 320)) == (operations, parameters)


def test_binary_operations_are_counted_apart():
    plan, _ = lower(find_configuration("bbcu_m_x4").create(), 3)
    costs = count_costs(plan, 4)
    pixels = 320 * 180
    head, tail = 9 * 3 * 64, 9 * 64 * 3 * 16
    body, upsampler = 32 * 9 * 64 * 64, 9 * 64 * 256 * (1 + 4) + 9 * 64 * 64 * 16
    assert costs.macs_720p == pixels * (head + tail)
    assert costs.binary_operations == pixels * (body + upsampler)
    assert costs.convolutions == 1 + 32 + 3 + 1


# Bytes of signs, of convolutions in full precision, and of the numbers that each channel has.
BYTES = {
    "bbcu_l_x4": (147_456, 1_343_500, 40_960),
    "bbcu_m_x4": (188_928, 14_092, 50_944),
    "bbcu_denoise": (82_944, 13_824, 23_040),
}


@pytest.mark.parametrize(("name", "bytes_"), BYTES.items())
def test_a_file_holds_one_bit_a_weight(name, bytes_):
    config = find_configuration(name)
    plan, tensors = lower(config.create(), config.channels)
    found = [0, 0, 0]
    for node in plan.nodes:
        for role, shape in node.op.tensor_shapes().items():
            numbers = int(np.prod(shape))
            if isinstance(node.op, ops.BinaryConv2d) and role == "weight":
                found[0] += numbers // 8
            else:
                found[1 if isinstance(node.op, ops.Conv2d) else 2] += 4 * numbers
    assert tuple(found) == bytes_
    training = Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0)
    card = ModelCard(
        name=name,
        task="sr",
        scale=config.scale,
        colour="rgb",
        params=1,
        macs_per_pixel=1.0,
        licence="",
        training=training,
    )
    file = len(to_bytes(Model({"main": plan}, tensors, card)))
    assert 0 < file - sum(bytes_) < 70_000  # the plan and the tensors' names


def test_names_tell_configurations_and_back():
    for name in BINARY:
        config = find_configuration(name)
        assert config.name == name
        assert type(config) in (SrResNetConfig, BinaryDncnnConfig)
    assert find_configuration("bbcu_l_k1_w16_x4") == SrResNetConfig(4, width=16, parts=("body",), gain=1.0)
    assert find_configuration("bbcu_deblock_w16") == BinaryDncnnConfig("deblock", width=16)


def test_paths_leave_binary_weights_latent():
    """What is not binary is trained through paths; signs are still taken of latent weights."""
    network = find_configuration("bbcu_u_w4_x2").create()
    expanded = expand(network, ("3x3", "1x1"))
    assert sum(isinstance(part, BinaryUnit) for part in expanded.modules()) == 2
    with pytest.raises(RecipeError, match="no 3x3 convolution that is its own"):
        train_form(find_configuration("bbcu_m_w4_x2").create(), ("3x3",), "weight")
