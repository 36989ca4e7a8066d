"""Named configurations: counts as published, and what the formulas promise."""

import numpy as np
import pytest
import torch

from thinlens.errors import UnknownNameError
from thinlens.train.lower import lower
from thinlens.train.networks import configurations, create_network
from thinlens.train.networks.bicubic import phase_taps
from thinlens.train.networks.edge_sr import GROUPS


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
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    assert params(name) == published


def test_the_published_grid_is_complete():
    names = configurations()
    assert len([name for name in names if name.startswith("edge_sr_")]) == 432
    for name, configuration in names.items():
        assert configuration.name == name


def test_all_counts_follow_the_formula():
    for configuration in configurations().values():
        if configuration.name.startswith("edge_sr_"):
            plan, _ = lower(configuration.create())
            c, k, s = configuration.candidates, configuration.kernel_size, configuration.scale
            assert plan.macs((1, 1)) == GROUPS[configuration.kind] * s * s * c * k * k


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
