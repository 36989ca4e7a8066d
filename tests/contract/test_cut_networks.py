"""On every network of the toolkit: silent units cut away leave what it computes, by ties from the plan alone."""

import zlib

import numpy as np
import pytest
import torch

from thinlens.model.graph import fitting_size
from thinlens.model.groups import channel_groups, cut_units, prunable_pairs, silence
from thinlens.model.slicing import slice_channels
from thinlens.train.lower import lower
from thinlens.train.networks import configurations, find_configuration
from thinlens.train.thaw import thaw

SMALL = (
    "bicubic_x2",
    "edge_sr_max_k5_c2_x2",
    "edge_sr_tm_k7_c4_x2",
    "edge_sr_tr_k5_c4_x2",
    "edge_sr_cnn_c4_d5_s9_x2",
    "espcn_d16_s6_x2",
    "fsrcnn_d19_s6_m4_x2",
    "idn_x2",
    "imdn_w16_x2",
    "rfdn_w12_x3",
    "rep_rfn_w8_x4",
    "rfn_rfb1_w8_x4",
    "srresnet_w8_x4",
    "bbcu_l_w8_x4",
    "bbcu_m_w8_x4",
    "bbcu_deblock_w8",
    "line_dn_w4",
    "line_sr_joint_w4",
    "unet_denoise_w4",
    "dncnn_d4_w8_denoise",
    "drn_w4_b2_x4",
)
WITHOUT = {"bicubic_x2", "edge_sr_max_k5_c2_x2", "edge_sr_tm_k7_c4_x2", "edge_sr_tr_k5_c4_x2"}  # one layer


def lowered(name):
    torch.manual_seed(zlib.crc32(name.encode()))
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), configuration.channels)
    rng = np.random.default_rng(1)
    for tensor, array in tensors.items():
        if array.ndim == 1 and array.size > 1 and not array.any():  # biases that begin as zeros would hide mistakes
            tensors[tensor] = rng.normal(0, 0.05, array.shape).astype(np.float32)
    return plan, tensors


@torch.no_grad()
def computed(plan, tensors, lq):
    made = thaw(plan, tensors)(lq)
    return list(made.values()) if isinstance(made, dict) else [made]


def test_all_families_are_tried():
    assert {type(find_configuration(name)) for name in SMALL} == {type(c) for c in configurations().values()}


@pytest.mark.parametrize("name", SMALL)
def test_masked_and_cut_networks_agree(name):
    plan, tensors = lowered(name)
    size = fitting_size(plan, (17, 18))
    lq = torch.rand(1, plan.input_channels, *size, generator=torch.Generator().manual_seed(0))
    rng, masked, cut = np.random.default_rng(2), tensors, (plan, tensors)
    whole = computed(plan, tensors, lq)
    groups = channel_groups(plan)
    assert bool(groups) != (name in WITHOUT)
    for group in groups:
        kept = set(np.flatnonzero(rng.random(len(group)) < 0.6).tolist()) | _needed(plan, group)
        kept -= {len(group) - 1}  # one at least goes
        alone = silence(plan, tensors, group, kept)
        _check(computed(plan, alone, lq), computed(*cut_units(plan, tensors, group, kept), lq))
        masked = silence(plan, masked, group, kept)
        same = next(g for g in channel_groups(cut[0]) if g.makers == group.makers)
        cut = cut_units(*cut, same, kept)
    _check(computed(plan, masked, lq), computed(*cut, lq))
    if groups:
        assert cut[0] != plan
        assert max(float((a - b).abs().max()) for a, b in zip(whole, computed(*cut, lq), strict=True)) > 1e-4


@pytest.fixture(scope="module")
def drn_s():
    return lower(find_configuration("drn_s_x4").create(), 3)


@pytest.mark.parametrize(("ratio", "params"), [(0.3, 3_391_525), (0.5, 2_423_777), (0.7, 1_531_169)])
def test_uniform_widths_of_drn_s_are_the_published_ones(drn_s, ratio, params):
    """The pairs of the paper: 2 steps down, 60 blocks, 2 enlargements; channel attention keeps its size."""
    plan, tensors = drn_s
    pairs = prunable_pairs(plan)
    assert [len(pair) for pair in pairs] == [16, 32, *[64] * 62]
    keep = {}
    for pair in pairs:
        last = len(pair) - int(len(pair) * ratio)
        keep[pair.name] = [channel for tie in pair.ties[:last] for _, channel in tie.made]
    smaller, left = slice_channels(plan, tensors, keep)
    assert sum(left[name].size for name in smaller.tensor_names()) == params


def _needed(plan, group):
    """Units of which each value keeps one at least: the first that each maker makes, and that each slice takes."""
    needed = {0} | {next(u for u, tie in enumerate(group.ties) if maker in dict(tie.made)) for maker in group.makers}
    if any(node.op.__class__.__name__ == "ChannelSlice" for node in plan.nodes):
        needed |= set(range(0, len(group), 2))  # slices of 4 channels and more
    return needed


def _check(masked, cut):
    for one, other in zip(masked, cut, strict=True):
        assert float((one - other).abs().max()) <= 1e-5 * max(1.0, float(one.abs().max()))
