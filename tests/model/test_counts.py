from math import prod

import pytest

from tests.conftest import template_matching_plan
from thinlens.model.counts import count_costs
from thinlens.model.ops import Conv2d
from thinlens.model.plan import Node, Plan


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_costs_are_those_of_the_input_pixels_behind_720p(scale):
    counts = count_costs(template_matching_plan(scale), scale)
    channels, pixels = 4 * scale**2, 1280 * 720 / scale**2
    assert counts.params == 25 * channels
    assert counts.macs_720p == round(25 * channels * pixels)
    assert counts.activations == round(channels * pixels)
    assert counts.convolutions == 1


def test_a_shared_tensor_counts_once_and_a_strided_convolution_by_its_output():
    same = {"in_channels": 1, "out_channels": 1, "kernel": (3, 3), "padding": (1, 1)}
    nodes = (
        Node(name="a", op=Conv2d(**same), inputs=("input",), tensors={"weight": "w"}),
        Node(name="b", op=Conv2d(**same, stride=2), inputs=("a",), tensors={"weight": "w"}),
    )
    counts = count_costs(Plan(input_channels=1, nodes=nodes, outputs={"image": "b"}), 1)
    assert counts.params == 9
    assert counts.activations == round(prod((1280, 720)) * 1.25)
    assert counts.macs_720p == 9 * counts.activations
    assert counts.convolutions == 2
