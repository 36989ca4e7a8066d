"""Lowering: what it names, shares, and refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from thinlens.errors import UnsupportedOpError
from thinlens.train.lower import lower
from thinlens.train.ops import Conv2d, Multiply
from thinlens.train.thaw import thaw


def conv(inside=1, out=1):
    return Conv2d(in_channels=inside, out_channels=out, kernel=(3, 3), padding=(1, 1))


class Twice(nn.Module):
    """One convolution, called twice; two outputs."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv())
        self.product = Multiply()

    def forward(self, x):
        first = self.body(x)
        second = self.body(first)
        return {"image": self.product(second, x), "dual": first}


class Foreign(nn.Module):
    def forward(self, x):
        return torch.relu(x)


def test_a_module_called_twice_shares_its_tensors():
    network = Twice()
    plan, tensors = lower(network)
    assert [node.name for node in plan.nodes] == ["body.0", "body.0#2", "product"]
    assert plan.nodes[0].tensors == plan.nodes[1].tensors == {"weight": "body.0.weight"}
    assert list(tensors) == ["body.0.weight"]
    assert plan.outputs == {"image": "product", "dual": "body.0"}


def test_thawed_it_shares_its_parameter_and_gives_both_outputs():
    network = Twice()
    plan, tensors = lower(network)
    thawed = thaw(plan, tensors)
    assert len(list(thawed.parameters())) == 1
    x = torch.rand(1, 1, 6, 5)
    expected, found = network(x), thawed(x)
    assert all(torch.equal(expected[name], found[name]) for name in ("image", "dual"))
    assert lower(thawed)[0] == plan


def test_training_a_thawed_plan_leaves_the_original_alone():
    plan, tensors = lower(nn.Sequential(conv()))
    before = {name: array.copy() for name, array in tensors.items()}
    thawed = thaw(plan, tensors)
    with torch.no_grad():
        for parameter in thawed.parameters():
            parameter += 1
    assert all(np.array_equal(tensors[name], before[name]) for name in tensors)
    assert not np.array_equal(lower(thawed)[1]["0.weight"], before["0.weight"])


@pytest.mark.parametrize(
    ("network", "called"), [(Foreign(), "relu"), (nn.Sequential(conv(), nn.ReLU()), "1: ReLU")], ids=["call", "module"]
)
def test_unknown_calls_are_refused_by_name(network, called):
    with pytest.raises(UnsupportedOpError, match=f"calls `{called}`, no op; build it from thinlens.train.ops"):
        lower(network)
