"""DRN: sizes and costs as published, and the function that its paper draws."""

from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from thinlens.errors import UnknownNameError, UnsupportedOpError
from thinlens.model.ops import Conv2d
from thinlens.runtime.session import Session
from thinlens.train.lower import lower
from thinlens.train.networks import create_network, find_configuration
from thinlens.train.networks.drn import COMPRESSED, DrnConfig, compressed_widths
from thinlens.train.pipeline import to_model
from thinlens.train.recipe import to_recipe

# Name, parameters with the 24 of the two colour shifts, and G operations for 96x96 pixels: convolutions alone, a
# multiply-accumulate and a bias count one each. The papers print them with fewer digits.
PUBLISHED = [
    ("drn_s_x4", 4_804_065, 109.92),
    ("drn_l_x4", 9_825_893, 224.76),
    ("drn_s_x8", 5_403_000, 197.94),
    ("drn_l_x8", 10_004_018, 366.38),
    ("drn_s30_x4", 3_116_637, 72.20),
    ("drn_s50_x4", 2_267_417, 53.02),
    ("drn_s70_x4", 1_427_545, 32.75),
    ("drn_s30_x8", 3_490_832, 123.83),
    ("drn_s50_x8", 2_548_420, 94.24),
    ("drn_s70_x8", 1_572_288, 53.34),
]
UNIFORM = [  # each layer keeps C - floor(C r) channels
    (4, 16, 0.3, 3_391_525, 77.41),
    (4, 16, 0.5, 2_423_777, 55.15),
    (4, 16, 0.7, 1_531_169, 34.61),
    (8, 8, 0.3, 3_823_762, 140.82),
    (8, 8, 0.5, 2_726_264, 99.40),
    (8, 8, 0.7, 1_722_596, 62.46),
]


def costs(config):
    plan, tensors = lower(config.create(), 3)
    channels, sizes = plan.channels(), plan.sizes((96, 96))
    convolutions = [node for node in plan.nodes if isinstance(node.op, Conv2d)]
    biases = sum(channels[n.name] * prod(sizes[n.name]) for n in convolutions if n.op.bias)
    macs = sum(n.op.macs(tuple(channels[i] for i in n.inputs), sizes[n.name]) for n in convolutions)
    return sum(array.size for array in tensors.values()), round((macs + biases) / 1e9, 2)


@pytest.mark.parametrize(("name", "params", "gigas"), PUBLISHED)
def test_published_sizes(name, params, gigas):
    config = find_configuration(name)
    assert (config.name, costs(config)) == (name, (params, gigas))


@pytest.mark.parametrize(("scale", "width", "ratio", "params", "gigas"), UNIFORM)
def test_uniform_widths_cost_what_the_baselines_do(scale, width, ratio, params, gigas):
    inner = tuple(c - int(c * ratio) for c in DrnConfig(scale, width, 30).widths())
    assert costs(DrnConfig(scale, width, 30, inner)) == (params, gigas)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "head", "down", "block", "enlarge", "mix", "stages", "tails"),
    [
        (
            "drn_s_x4",
            448,
            [6912, 27648],
            [74436] * 2,
            [147712] * 2,
            [2080, 1040],
            [2382872, 2381832],
            [1731, 1731, 867],
        ),
        (
            "drn_l_x8",
            280,
            [2700, 10800, 43200],
            [116245, 116245, 29082],
            [230720, 230720, 57760],
            [3240, 1620, 410],
            [4418780, 4417160, 1105122],
            [2163, 2163, 1083, 543],
        ),
    ],
)
def test_parts_have_the_published_parameters(name, head, down, block, enlarge, mix, stages, tails):
    network = create_network(name)
    assert count(network.head) == head
    assert [count(step) for step in network.down] == down
    assert [count(stage.blocks[0]) for stage in network.stages] == block
    assert [count(stage.enlarge) for stage in network.stages] == enlarge
    assert [count(stage.mix) for stage in network.stages] == mix
    assert [count(stage) for stage in network.stages] == stages
    assert [count(tail) for tail in network.tails] == tails
    assert count(network.centre) + count(network.restore) == 24


def published_function(state, lq, scale, blocks):
    """The network as its paper draws it, written down with torch's own functions and no modules; pads with zeros."""

    def conv(x, name, stride=1):
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)

    steps = scale.bit_length() - 1
    x = F.interpolate(lq, scale_factor=scale, mode="bicubic", align_corners=False)
    x = conv(conv(x, "centre"), "head")
    skips, images = [], []
    for p in range(steps):
        skips.append(x)
        x = conv(F.leaky_relu(conv(x, f"down.{p}.shrink", 2), 0.2), f"down.{p}.widen")
    images.append(conv(conv(x, "tails.0"), "restore"))
    for p in range(steps):
        for b in range(blocks):
            name = f"stages.{p}.blocks.{b}"
            y = conv(F.relu(conv(x, f"{name}.first")), f"{name}.second")
            gate = y.mean((2, 3), keepdim=True)
            gate = torch.sigmoid(conv(F.relu(conv(gate, f"{name}.attention.reduce")), f"{name}.attention.expand"))
            x = x + y * gate
        x = conv(F.pixel_shuffle(conv(x, f"stages.{p}.enlarge"), 2), f"stages.{p}.mix")
        x = torch.cat((x, skips[steps - 1 - p]), 1)
        images.append(conv(conv(x, f"tails.{p + 1}"), "restore"))
    return images, x


@pytest.mark.parametrize(
    "config",
    [
        DrnConfig(2, 6, 1, pad_mode="zero"),
        DrnConfig(4, 4, 2, pad_mode="zero"),
        DrnConfig(8, 2, 1, (1, 3, 5, 7, 6, 5, 4, 3, 2), pad_mode="zero"),
    ],
    ids=lambda config: config.name,
)
def test_it_is_the_published_function(config):
    torch.manual_seed(0)
    network, lq = config.create(), torch.rand(2, 3, 7, 9)
    made = network(lq)
    images, features = published_function(network.state_dict(), lq, config.scale, config.blocks)
    names = ["image", *(f"scale{2**step}" for step in range(config.steps)), "features"]
    assert list(made) == names
    for name, wanted in zip(names, [images[-1], *images[:-1], features], strict=True):
        torch.testing.assert_close(made[name], wanted, rtol=1e-4, atol=1e-5)
    assert made["scale1"].shape == lq.shape


def test_names():
    assert find_configuration("drn_w4_b2_x4") == DrnConfig(4, 4, 2)
    assert find_configuration("drn_w16_b30_x4").name == "drn_s_x4"
    assert DrnConfig(4, 4, 2, (4,) * 8).name == "drn_w4_b2_inner_x4"
    assert all(find_configuration(f"drn_{name}_x{s}").inner == compressed_widths(s, name) for s, name in COMPRESSED)
    assert {len(compressed_widths(scale, name)) for scale, name in COMPRESSED} == {64, 96}
    with pytest.raises(UnknownNameError, match="unknown network `drn_w4_b2_x3`"):
        find_configuration("drn_w4_b2_x3")


def test_a_session_gives_the_image_alone_and_needs_it_whole():
    torch.manual_seed(0)
    config = find_configuration("drn_w4_b2_x4")
    table = {"network": config.name, "data": {"train": ["a"], "val": ["a"]}, "loop": {"kind": "plain", "steps": 1}}
    network = config.create()
    session = Session(to_model(network, to_recipe(table), (), None), threads=1)
    lq = np.random.default_rng(0).random((5, 7, 3), np.float32)
    restored = network(torch.from_numpy(lq.transpose(2, 0, 1))[None])["image"].clamp(0, 1)
    np.testing.assert_allclose(session.run(lq), restored[0].detach().numpy().transpose(1, 2, 0), atol=1e-4)
    with pytest.raises(UnsupportedOpError, match=r"node `stages\.0\.blocks\.0\.attention\.mean` \(global_mean\)"):
        session.rows(7, 5)
