"""Torch bodies beyond what parity says: against torch's own functions, in batches, and their gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # the field's own habit

from tests import plans
from thinlens.runtime.reference.rows import run_rows
from thinlens.train import ops
from thinlens.train.lower import lower
from thinlens.train.thaw import thaw

PLANS = [plans.attention_plan, plans.bands_plan, plans.branches_plan, plans.whole_image_plan]


@pytest.mark.parametrize("make", PLANS)
def test_a_thawed_plan_agrees_with_the_reference_and_lowers_to_itself(make):
    plan = make()
    tensors = plans.tensors_of(plan)
    module = thaw(plan, tensors)
    lq = torch.rand(3, 1, 21, 17)
    with torch.no_grad():
        by_torch = module(lq).numpy()
    for image, restored in zip(lq.numpy(), by_torch, strict=True):
        by_reference = run_rows(plan, tensors, (0, image), (21, 17), (0, restored.shape[1]))
        assert np.abs(by_reference - restored).max() < 1e-5
    again, copies = lower(module)
    assert again == plan
    assert all(np.array_equal(copies[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("make", PLANS)
def test_gradients_reach_every_parameter(make):
    plan = make()
    module = thaw(plan, plans.tensors_of(plan))
    lq = torch.rand(2, 1, 17, 19, requires_grad=True)
    module(lq).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters())
    assert lq.grad.isfinite().all()


@pytest.mark.parametrize(("mode", "torch_mode"), [("bilinear", "bilinear"), ("bicubic", "bicubic")])
@pytest.mark.parametrize(("size", "out_size"), [((5, 7), (10, 14)), ((5, 7), (8, 3)), ((1, 1), (4, 5))])
def test_resize_is_what_torch_calls_by_that_name(mode, torch_mode, size, out_size):
    x = torch.rand(2, 3, *size)
    found = ops.Resize(mode=mode)(x, torch.empty(1, 1, *out_size))
    expected = F.interpolate(x, out_size, mode=torch_mode, align_corners=False)
    assert (found - expected).abs().max() < 1e-5


def test_nearest_is_what_torch_calls_by_that_name():
    x = torch.rand(2, 3, 5, 7)
    assert torch.equal(ops.Resize(mode="nearest", factor=3)(x), F.interpolate(x, scale_factor=3, mode="nearest"))


def test_mirrored_padding_is_what_torch_calls_reflection():
    x = torch.rand(2, 3, 5, 7)
    found = ops.Pad(top=4, bottom=1, left=6, right=2, mode="mirror")(x)
    assert torch.equal(found, F.pad(x, (6, 2, 4, 1), mode="reflect"))


def test_a_flat_channel_has_a_gradient():
    flat = torch.full((1, 2, 4, 4), 0.5, requires_grad=True)
    ops.GlobalStd()(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_an_affine_begins_as_nothing():
    x = torch.rand(1, 3, 2, 2)
    assert torch.equal(ops.Affine(channels=3)(x), x)


def test_bands_of_a_batch_stand_image_by_image():
    x = torch.arange(2 * 5.0).reshape(2, 1, 5, 1)
    bands = ops.Bands(rows=2, warm_up=1)(x)
    assert bands[:, 0, :, 0].tolist() == [[2, 1], [0, 1], [2, 3], [4, 3], [7, 6], [5, 6], [7, 8], [9, 8]]
    assert torch.equal(ops.Unbands(rows=2, warm_up=1)(bands, x), x)


def test_a_gather_moves_with_its_module():
    gather = ops.ChannelGather(channels=(1, 0))
    assert gather.to("meta").index.device.type == "meta"
    assert gather.state_dict() == {}
