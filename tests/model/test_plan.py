"""Plans: ops that fit together, or a message that says which does not."""

import msgspec
import pytest

from tests import plans
from tests.conftest import template_matching_plan
from thinlens.errors import PlanError
from thinlens.model import ops
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


def test_values_in_bands_have_a_frame():
    plan = plans.bands_plan(rows=4, warm_up=1, scale=2)
    assert plan.sizes((9, 5)) == {
        "input": (9, 5),
        **dict.fromkeys(("bands", "zero", "edge", "both", "mirror"), (16, 5)),
        "shuffle": (32, 10),
        "image": (18, 10),
        "tail": (18, 10),
    }
    frames = plan.frames((9, 5))
    assert {name: band for name, band in frames.items() if band is not None} == {
        **dict.fromkeys(("bands", "zero", "edge", "both", "mirror"), 4),
        "shuffle": 8,
    }
    assert plan.macs((9, 5)) == 9 * (16 * 5 * (1 * 3 + 3 * 3)) + 25 * (16 * 5 * 4 * 4) + 9 * 18 * 10


def test_an_op_that_does_not_pad_shortens_each_band():
    plan = plans.plan_of(
        ("bands", ops.Bands(rows=4), "input"),
        ("a", plans.conv((1, 1), padding=(0, 0)), "bands"),
        ("b", ops.Relu(), "a"),
    )
    assert plan.extents((9, 5))["a"] == (6, 3, 2)


BANDS = ("bands", ops.Bands(rows=4, warm_up=1), "input")
END = ops.Unbands(rows=4, warm_up=1)
SUM = ops.LineMemory(channels=1, cell="sum")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([BANDS, ("x", ops.Bands(rows=2), "bands")], "node `x`: `bands`: the input is in bands already"),
        ([BANDS, ("x", ops.Add(), "bands input")], "node `x`: `add`: some inputs are in bands and others not"),
        ([BANDS, ("y", ops.Bands(rows=4), "input"), ("x", ops.Add(), "bands y")], "or in other ones"),
        ([BANDS, ("x", ops.GlobalMean(), "bands")], "node `x`: `global_mean`: needs the whole image"),
        ([BANDS, ("x", ops.Relu(), "bands")], "output `image` is in bands"),
        ([BANDS, ("x", ops.Unbands(rows=4), "bands input")], "accepted: bands of 4 rows, 0 to warm up, and an image"),
        ([("x", SUM, "input input")], "`line_memory`: accepted: values in bands, and an image at the end"),
        ([BANDS, ("x", SUM, "bands bands")], "`line_memory`: accepted: values in bands, and an image at the end"),
        ([BANDS, ("x", SUM, "bands input")], "output `image` is in bands"),
        ([BANDS, ("x", END, "input bands")], "accepted: bands of 4 rows, 1 to warm up, and an image"),
    ],
)
def test_bands_are_not_mixed_with_images(rows, message):
    with pytest.raises(PlanError, match=message):
        plans.plan_of(*rows).channels()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [BANDS, ("x", ops.Resize(mode="nearest", factor=2), "bands"), ("y", END, "x input")],
            "bands of 32 rows in all",
        ),
        (
            [BANDS, ("p", ops.Pad(top=4), "input"), ("y", END, "bands p")],
            "node `y`: `unbands`: bands of 16 rows in all; 13 rows give 20, x1",
        ),
        (
            [("a", ops.PixelUnshuffle(scale=2), "input")],
            r"`pixel_unshuffle`: an input of \(9, 9\); accepted: multiples",
        ),
        ([("a", ops.Crop(top=5, bottom=4), "input")], "`crop`: nothing is left"),
        ([("a", ops.MaxPool(kernel=(10, 3)), "input")], "`max_pool`: an input of"),
        ([("a", ops.Crop(top=1), "input"), ("b", ops.Add(), "a input")], "`add`: inputs differ in size"),
        ([("a", ops.Crop(top=1), "input"), ("b", ops.Concat(count=2), "a input")], "`concat`: inputs differ in size"),
    ],
)
def test_sizes_that_do_not_fit_name_the_node(rows, message):
    with pytest.raises(PlanError, match=message):
        plans.plan_of(*rows).sizes((9, 9))


def test_sizes_and_channels_without_end_are_refused_at_once():
    rows = [("up0", ops.Resize(mode="nearest", factor=16), "input")]
    rows += [(f"up{i}", ops.Resize(mode="nearest", factor=16), f"up{i - 1}") for i in range(1, 5000)]
    with pytest.raises(PlanError, match=r"node `up7`: an input of .* larger than 2147483648"):
        plans.plan_of(*rows).sizes((8, 8))
    deep = [("a", ops.PixelUnshuffle(scale=16), "input"), ("b", ops.PixelUnshuffle(scale=16), "a")]
    with pytest.raises(PlanError, match="node `c`: 16777216 channels; accepted: up to 65536"):
        plans.plan_of(*deep, ("c", ops.PixelUnshuffle(scale=16), "b")).channels()


def test_a_broadcast_value_is_one_pixel_or_one_channel():
    plan = plans.whole_image_plan()
    assert plan.sizes((9, 5))["sum"] == (1, 1)
    assert plan.sizes((9, 5))["gated"] == (9, 5)
    with pytest.raises(PlanError, match=r"`multiply`: inputs have \(4, 2\) channels; accepted: equal numbers, or a 1"):
        plans.plan_of(
            ("a", plans.conv((1, 4)), "input"), ("b", plans.conv((1, 2)), "input"), ("c", Multiply(), "a b")
        ).channels()
