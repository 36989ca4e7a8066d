"""Plans: ops that fit together, or a message that says which does not."""

import msgspec
import pytest

from tests.conftest import template_matching_plan
from thinlens.errors import PlanError
from thinlens.model.ops import Multiply, PixelShuffle, SoftmaxSum
from thinlens.model.plan import Node, Plan


def with_nodes(plan, *nodes, outputs=None):
    return Plan(input_channels=1, nodes=(*plan.nodes, *nodes), outputs=outputs or plan.outputs)


def test_channels_and_sizes():
    plan = template_matching_plan(2)
    assert plan.channels() == {"input": 1, "filter": 16, "shuffle": 4, "values": 2, "keys": 2, "sum": 1}
    assert plan.sizes((3, 5))["sum"] == (6, 10)
    assert plan.macs((3, 5)) == 16 * 25 * 15


def test_survives_json():
    plan = template_matching_plan(3)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node(name="sum", op=PixelShuffle(scale=1), inputs=("sum",)), "two values are named `sum`"),
        (Node(name="input", op=PixelShuffle(scale=1), inputs=("sum",)), "two values are named `input`"),
        (Node(name="x", op=PixelShuffle(scale=1), inputs=("later",)), "reads `later`, which no earlier op makes"),
        (Node(name="x", op=Multiply(), inputs=("sum",)), r"`x` \(multiply\): 1 inputs; accepted: 2"),
        (Node(name="x", op=PixelShuffle(scale=2), inputs=("sum",)), "node `x`: `pixel_shuffle`: 1 channels"),
        (Node(name="x", op=SoftmaxSum(), inputs=("sum", "values")), "node `x`: `softmax_sum`: inputs have"),
        (Node(name="x", op=Multiply(), inputs=("values", "filter")), "node `x`: `multiply`: inputs have"),
    ],
)
def test_refuses_what_does_not_fit(node, message):
    with pytest.raises(PlanError, match=message):
        with_nodes(template_matching_plan(2), node).channels()


def test_sizes_must_agree():
    node = Node(name="x", op=Multiply(), inputs=("sum", "input"))
    with pytest.raises(PlanError, match="inputs differ in size"):
        with_nodes(template_matching_plan(2), node).sizes((4, 4))


@pytest.mark.parametrize(
    ("outputs", "message"), [({"dual": "sum"}, "the first must be `image`"), ({"image": "nothing"}, "no op makes")]
)
def test_outputs(outputs, message):
    with pytest.raises(PlanError, match=message):
        with_nodes(template_matching_plan(2), outputs=outputs).channels()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [({}, "`filter.weight` is missing"), ({"filter.weight": (16, 1, 3, 3)}, r"has shape \(16, 1, 3, 3\); accepted")],
)
def test_tensors_must_fit(shapes, message):
    with pytest.raises(PlanError, match=message):
        template_matching_plan(2).check_tensors(shapes)
