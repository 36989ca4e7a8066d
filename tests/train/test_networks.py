"""Named configurations: counts as published, and what the formulas promise."""

from collections import Counter

import numpy as np
import pytest
import torch

from thinlens.errors import UnknownNameError
from thinlens.train.networks import configurations, create_network
from thinlens.train.networks.bicubic import Bicubic, phase_taps
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.networks.fsrcnn import FsrcnnConfig


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


def test_the_published_grid_is_complete():
    names = configurations()
    assert len(names) == 1185
    families = Counter(name.split("_k")[0].split("_c")[0].split("_d")[0].split("_x")[0] for name in names)
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
        assert params(name) == published_params(config), name


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
