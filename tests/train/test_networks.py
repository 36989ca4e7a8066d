"""Named configurations: counts as published, and what the formulas promise."""

from collections import Counter
from math import prod

import numpy as np
import pytest
import torch

from thinlens.errors import UnknownNameError
from thinlens.model import ops
from thinlens.model.counts import count_costs
from thinlens.train.lower import lower
from thinlens.train.networks import configurations, create_network, dncnn, find_configuration, task_of
from thinlens.train.networks.bicubic import Bicubic, phase_taps
from thinlens.train.networks.dncnn import DncnnConfig
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.networks.fsrcnn import FsrcnnConfig

POOL = (Bicubic, EdgeSR, EdgeSRCNNConfig, EspcnConfig, FsrcnnConfig)  # of the edge-SR paper


def params(name):
    return sum(p.numel() for p in create_network(name).parameters())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("edge_sr_max_k3_c1_x2", 36),
        ("edge_sr_max_k7_c16_x2", 3136),
        ("edge_sr_tm_k7_c16_x2", 6272),
        ("edge_sr_tr_k7_c16_x2", 9408),
        ("edge_sr_max_k7_c16_x3", 7056),
        ("edge_sr_tm_k3_c1_x4", 288),
        ("edge_sr_tr_k7_c16_x4", 37632),
        ("edge_sr_cnn_c2_d1_s3_x2", 488),
        ("edge_sr_cnn_c8_d9_s15_x4", 36024),
        ("espcn_d0_s3_x2", 142),
        ("espcn_d64_s32_x4", 24752),
        ("fsrcnn_d6_s1_m1_x3", 676),
        ("fsrcnn_d56_s12_m4_x3", 12644),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    assert params(name) == published


@pytest.mark.parametrize(
    "name",
    ["edge_sr_max_k3_c2_x8", "edge_sr_cnn_c2_d1_s3_x8", "espcn_d1_s3_x8", "rfn_rfb1_w4_x8", "rep_rfn_w4_x8"],
)
def test_some_networks_also_enlarge_eight_times(name):
    configuration = find_configuration(name)
    x = torch.rand(1, configuration.channels, 16, 17, generator=torch.Generator().manual_seed(0))
    assert (configuration.name, configuration.scale) == (name, 8)
    assert create_network(name)(x).shape == (1, configuration.channels, 128, 136)


def test_the_published_grid_is_complete():
    names = configurations()
    pool = [name for name, configuration in names.items() if isinstance(configuration, POOL)]
    assert len(pool) == 1185
    families = Counter(name.split("_k")[0].split("_c")[0].split("_d")[0].split("_x")[0] for name in pool)
    assert families == {
        "bicubic": 3,
        "edge_sr_max": 144,
        "edge_sr_tm": 144,
        "edge_sr_tr": 144,
        "edge_sr": 300,
        "espcn": 300,
        "fsrcnn": 150,
    }
    assert all(configuration.name == name for name, configuration in names.items())


def published_params(config):
    """The formulas that all 1,182 trained files of the published pool follow."""
    s2 = config.scale**2
    match config:
        case EdgeSR():
            return GROUPS[config.kind] * s2 * config.candidates * config.kernel_size**2
        case EdgeSRCNNConfig():
            d, w = config.width, config.shrink
            return 26 * d + 9 * d * w + w + 18 * s2 * config.candidates * w
        case EspcnConfig():
            d, w = config.width, config.shrink
            return (26 * d + 9 * d * w + w if d else 10 * w) + 9 * w * s2 + s2
        case FsrcnnConfig():
            d, w, m = config.width, config.shrink, config.depth
            return 26 * d + d * w + w + m * (9 * w * w + w) + w * d + d + 81 * d + 1 + m + 3
        case Bicubic():
            return 25 * s2


def test_all_parameter_counts_are_the_published_ones():
    for name, config in configurations().items():
        if isinstance(config, POOL):
            assert params(name) == published_params(config), name


# Network, input size, parameters, multiply-accumulates and ReLU outputs in G, convolution outputs in M, convolutions:
# as counted by the NTIRE efficient super-resolution challenges, and in their fact sheets.
CHALLENGE = [
    ("rep_rfn_x4", (256, 256), 401504, 25.2303, 81.8802, 39),
    ("rep_rfn_x4", (180, 320), 401504, 22.1744, 71.9603, 39),
    ("rep_rfn_x3", (256, 256), 392411, 24.6358, 80.5039, 39),
    ("rep_rfn_x3", (240, 426), 392411, 38.4339, 125.5950, 39),
    ("rep_rfn_x2", (256, 256), 385916, 24.2111, 79.5209, 39),
    ("rep_rfn_x2", (360, 640), 385916, 85.1226, 279.6026, 39),
    ("rfdn_x4", (256, 256), 433448, 27.1026, 112.0342, 64),
    ("rfdn_w48_x4", (256, 256), 402288, 25.0618, 107.9710, 64),
    *((f"rfn_{block}_x4", (256, 256), 429472, 25.8655, 94.6783, 51) for block in ("plain", "rfb1", "rfb2", "rfb3")),
    ("rfn_rfb3_each_x4", (256, 256), 429472, 25.8655, 94.6783, 51),
    ("rfn_rfb1_unmixed_reduced_x4", (256, 256), 401504, 25.2303, 81.8802, 39),
    ("imdn_x4", (256, 256), 715176, 46.5987, 122.6838, 46),
]


@pytest.mark.parametrize(("name", "size", "params", "gigas", "activations", "convolutions"), CHALLENGE)
def test_costs_are_those_of_the_challenge(name, size, params, gigas, activations, convolutions):
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), configuration.channels)
    channels, sizes = plan.channels(), plan.sizes(size)

    def outputs(*kinds):
        return sum(channels[n.name] * prod(sizes[n.name]) for n in plan.nodes if isinstance(n.op, kinds))

    assert sum(array.size for array in tensors.values()) == params
    assert round((plan.macs(size) + outputs(ops.Relu, ops.LeakyRelu)) / 1e9, 4) == gigas
    assert round(outputs(ops.Conv2d) / 1e6, 4) == activations
    assert count_costs(plan, configuration.scale).convolutions == convolutions


def test_costs_at_720p_are_those_of_the_size_itself():
    """The attention's branch, at a sixth of the size, does not grow exactly with it."""
    plan, _ = lower(create_network("rep_rfn_x4"), 3)
    costs = count_costs(plan, 4)
    assert (costs.macs_720p, round(costs.activations / 1e6, 4)) == (plan.macs((180, 320)), 71.9603)


def test_smaller_published_counts():
    """IDN is published as 553 K at every scale; IMDN at three."""
    assert [params(f"idn_x{s}") for s in (2, 3, 4)] == [552769] * 3
    assert [params(f"imdn_x{s}") for s in (2, 3, 4)] == [694404, 703059, 715176]


def test_the_train_form_of_rep_rfn_has_the_published_parameters():
    network = create_network("rep_rfn_x4")
    assert sum(p.numel() for p in network.body[0].convs[0].parameters()) == 90480
    assert sum(p.numel() for p in network.parameters()) == 1237856


def test_a_width_may_be_asked_for():
    for name in ("rep_rfn_w16_x4", "rfn_rfb2_w16_x3", "rfn_rfb1_each_w16_x2", "rfdn_w24_x2", "imdn_w32_x4"):
        assert find_configuration(name).name == name
    assert find_configuration("rep_rfn_w16_x4").width == 16
    for name in ("rep_rfn_w0_x4", "idn_w32_x2", "espcn_w32_x2", "rep_rfn_w16_x5"):
        with pytest.raises(UnknownNameError, match=f"unknown network `{name}`"):
            find_configuration(name)


@pytest.mark.parametrize(
    "name", ["imdn_w2_x2", "imdn_w18_x3", "rfdn_w1_x2", "rfdn_w7_x4", "rfn_rfb3_w1_x2", "rep_rfn_w2_x3"]
)
def test_any_width_holds_together(name):
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), 3)
    assert plan.channels()[plan.outputs["image"]] == 3
    assert tensors["head.weight"].shape == (configuration.width, 3, 3, 3)


def test_a_block_without_skips_forgets_its_input_and_one_with_them_does_not():
    """Where all convolutions are zero, only skips carry features on."""
    features = torch.rand(1, 6, 15, 15)
    passed = {}
    for block in ("plain", "rfb1", "rfb2", "rfb3"):
        module = create_network(f"rfn_{block}_w6_x2").body[0]
        with torch.no_grad():
            for conv in module.convs:
                conv.weight.zero_()
                conv.bias.zero_()
            module.mix.weight.copy_(torch.eye(6)[:, :, None, None])
            module.mix.bias.zero_()
            gate = module.attention(torch.ones_like(features)) if block != "plain" else None
            passed[block] = module(features)
            assert gate is None or bool(((gate > 0) & (gate < 1)).all())
    assert passed["plain"].abs().max() == 0
    assert bool((passed["rfb1"] < features).all())
    assert bool((passed["rfb1"] > 0).all())
    assert torch.equal(passed["rfb2"], features)
    assert bool((passed["rfb3"] > features).all())


def test_unknown_names_list_near_matches():
    with pytest.raises(UnknownNameError, match="did you mean `edge_sr_tm_k7_c4_x2`"):
        create_network("edge_sr_tm_k7_c4_x22")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_reproduces_a_plane(scale):
    taps = phase_taps(scale)
    position = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    assert torch.allclose(taps.sum(1), torch.ones(scale, dtype=torch.float64))
    assert torch.allclose(taps @ torch.arange(-2.0, 3.0, dtype=torch.float64), position)


def test_bicubic_x4_taps():
    expected = [-0.0439453125, 0.3896484375, 0.7275390625, -0.0732421875, 0.0]
    assert phase_taps(4)[0].tolist() == expected


@pytest.mark.parametrize("kind", ["max", "tm", "tr"])
def test_one_candidate_is_a_linear_filter(kind):
    torch.manual_seed(0)
    network = create_network(f"edge_sr_{kind}_k5_c1_x2")
    x, y = torch.rand(1, 1, 6, 7), torch.rand(1, 1, 6, 7)
    with torch.no_grad():
        assert torch.allclose(network(x) + network(y), network(x + y), atol=1e-6)


def test_initialisation_starts_near_nearest_neighbour():
    torch.manual_seed(0)
    weight = create_network("edge_sr_tr_k7_c4_x2").filter.weight.detach().numpy()
    assert np.all(weight[:, 0, 3, 3] == 1)
    assert weight[:, 0, 0, 0].std() > 0


def test_border_pixels_of_a_flat_image_stay_flat():
    """Edge padding: the frame of a photo is neither darkened nor brightened."""
    torch.manual_seed(0)
    network = create_network("edge_sr_tm_k7_c4_x2")
    with torch.no_grad():
        restored = network(torch.full((1, 1, 5, 6), 0.3))
    assert float(restored[0, 0, 0::2, 0::2].max() - restored[0, 0, 0::2, 0::2].min()) < 1e-6


def test_networks_take_weights_from_outside():
    """`torch.func` needs it: many networks of one shape train in one batched step."""
    network = create_network("fsrcnn_d6_s3_m1_x2")
    lq = torch.rand(1, 1, 6, 7)
    doubled = {name: 2 * p.detach() for name, p in network.named_parameters()}
    by_call = torch.func.functional_call(network, doubled, (lq,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 2
        assert torch.equal(by_call, network(lq))


# By the paper's convention: weights of convolutions alone, and multiply-accumulates in G for 320x180 pixels.
DNCNN = [
    ("dncnn_d20_w64_denoise", 3, 667_008, 0, 38.42),
    ("dncnn_d20_w12_denoise", 3, 23_976, 0, 1.38),
    ("dncnn_d20_w64_deblock", 1, 664_704, 1217, 38.29),
    ("dncnn_d20_w12_deblock", 1, 23_544, 229, 1.36),
    ("dncnn_d17_w64_denoise", 3, 556_416, 0, 32.05),
    ("dncnn_d17_w64_denoise_gray", 1, 554_112, 0, 31.92),
]


@pytest.mark.parametrize(("name", "channels", "weights", "biases", "gigas"), DNCNN)
def test_costs_of_dncnn_are_the_published_ones(name, channels, weights, biases, gigas):
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), configuration.channels)
    counts = Counter({True: 0, False: 0})
    for array in tensors.values():
        counts[array.ndim == 4] += array.size
    assert (configuration.channels, counts[True], counts[False]) == (channels, weights, biases)
    assert round(plan.macs((180, 320)) / 1e9, 2) == gigas
    assert task_of(configuration) == name.split("_")[3]
    assert name in configurations()


def test_dncnn_in_any_size():
    assert find_configuration("dncnn_d8_w10_denoise_gray") == DncnnConfig(8, 10, "denoise", gray=True)
    assert find_configuration("dncnn_d2_w1_deblock").name == "dncnn_d2_w1_deblock"
    for name in ("dncnn_d1_w8_denoise", "dncnn_d8_w8_deblock_gray", "dncnn_d8_w8_deblocks", "dncnn_d08_w8_denoise"):
        with pytest.raises(UnknownNameError, match="did you mean"):
            find_configuration(name)


@pytest.mark.parametrize("name", ["dncnn_d20_w16_denoise", "dncnn_d20_w7_deblock"])
def test_a_deep_dncnn_begins_by_handing_the_image_on(name, monkeypatch):
    monkeypatch.setattr(dncnn, "NOISE", 0.0)
    configuration = find_configuration(name)
    lq = torch.rand(2, configuration.channels, 6, 5, generator=torch.Generator().manual_seed(0))
    features = configuration.create().body[:-1](lq)
    pairs = configuration.width // 2
    mixed = features[:, :pairs] - features[:, pairs : 2 * pairs]
    torch.testing.assert_close(mixed.square().sum(1), lq.square().sum(1))


def test_dncnn_takes_away_what_its_body_predicts():
    network = find_configuration("dncnn_d4_w6_denoise").create()
    lq = torch.randn(1, 3, 9, 11)
    with torch.no_grad():
        assert torch.equal(network(lq), lq - network.body(lq))
        assert torch.allclose(network(lq / 2), network(lq) / 2, atol=1e-7)  # no biases
    assert all(node.op.pad_mode == "edge" for node in lower(network, 3)[0].nodes if isinstance(node.op, ops.Conv2d))


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("sr", ["espcn_d16_s32_x2", "line_sr_x2", "line_sr_joint", "bbcu_l_x4", "srresnet_x2"]),
        ("denoise", ["line_dn", "unet_denoise", "bbcu_denoise", "dncnn_d8_w8_denoise_gray"]),
        ("deblock", ["bbcu_deblock", "dncnn_d8_w8_deblock"]),
    ],
)
def test_what_says_nothing_of_a_task_is_an_upscaler(task, names):
    assert {task_of(find_configuration(name)) for name in names} == {task}
