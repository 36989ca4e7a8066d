"""What follows from the graph: receptive rows and channel ties."""

import pytest

from tests import plans
from tests.conftest import template_matching_plan
from thinlens.errors import PlanError
from thinlens.model import ops
from thinlens.model.graph import channel_ties, depends_on_height, fitting_size, receptive_rows, remembers, rows_needed
from thinlens.model.ops import ChannelMax, Conv2d, Multiply
from thinlens.model.plan import Node, Plan


def conv(name, source, channels, **fields):
    inside, out = channels
    op = Conv2d(in_channels=inside, out_channels=out, kernel=(3, 3), padding=(1, 1), **fields)
    return Node(name=name, op=op, inputs=(source,), tensors={"weight": f"{name}.weight"})


def plan_of(*nodes):
    return Plan(input_channels=1, nodes=nodes, outputs={"image": nodes[-1].name})


def test_receptive_rows():
    assert receptive_rows(template_matching_plan(3), 3) == (2, 2)
    assert receptive_rows(plan_of(conv("a", "input", (1, 4)), conv("b", "a", (4, 1))), 1) == (2, 2)


def test_rows_needed_are_cut_to_the_image():
    plan = template_matching_plan(2)
    assert rows_needed(plan, plan.extents((9, 9)), "sum", (0, 2))["input"] == (0, 3)
    assert rows_needed(plan, plan.extents((9, 9)), "sum", (17, 18))["input"] == (6, 9)
    assert "sum" not in rows_needed(plan, plan.extents((9, 9)), "values", (0, 2))


def test_a_value_read_twice_gets_the_union_of_rows():
    far = Conv2d(in_channels=1, out_channels=1, kernel=(5, 1), padding=(4, 0))
    plan = plan_of(
        conv("a", "input", (1, 1)),
        Node(name="up", op=far, inputs=("a",), tensors={"weight": "up.weight"}),
        conv("b", "a", (1, 1)),
        Node(name="c", op=Multiply(), inputs=("b", "a")),
    )
    assert rows_needed(plan, plan.extents((40, 40)), "c", (10, 11))["a"] == (9, 12)


def test_template_matching_ties_a_value_with_its_key_and_all_phases():
    ties = channel_ties(template_matching_plan(2))
    assert len(ties) == 2
    first = next(tie for tie in ties if ("filter", 0) in tie.made)
    assert {channel for _, channel in first.made} == {0, 1, 2, 3, 8, 9, 10, 11}
    assert not first.fixed


def test_body_channels_are_free_and_the_ends_fixed():
    ties = channel_ties(plan_of(conv("a", "input", (1, 3)), conv("b", "a", (3, 1))))
    free = [tie for tie in ties if not tie.fixed]
    assert [(tie.made, tie.read) for tie in free] == [((("a", i),), (("b", i),)) for i in range(3)]
    assert [tie.made for tie in ties if tie.fixed] == [(("b", 0),)]


def test_a_product_ties_its_factors():
    plan = plan_of(
        conv("a", "input", (1, 2)),
        conv("b", "input", (1, 2)),
        Node(name="c", op=Multiply(), inputs=("a", "b")),
        conv("d", "c", (2, 1)),
    )
    free = [tie for tie in channel_ties(plan) if not tie.fixed]
    assert [tie.made for tie in free] == [(("a", 0), ("b", 0)), (("a", 1), ("b", 1))]


def test_depthwise_passes_ties_on_and_coarse_groups_join_them():
    depthwise = plan_of(conv("a", "input", (1, 2)), conv("b", "a", (2, 2), groups=2), conv("c", "b", (2, 1)))
    assert [tie.made for tie in channel_ties(depthwise) if not tie.fixed] == [
        (("a", 0), ("b", 0)),
        (("a", 1), ("b", 1)),
    ]
    coarse = plan_of(conv("a", "input", (1, 4)), conv("b", "a", (4, 4), groups=2), conv("c", "b", (4, 1)))
    assert len([tie for tie in channel_ties(coarse) if not tie.fixed]) == 1


def test_candidates_of_a_maximum_may_go_one_by_one():
    plan = plan_of(conv("a", "input", (1, 3)), Node(name="b", op=ChannelMax(), inputs=("a",)))
    assert [tie.made for tie in channel_ties(plan) if not tie.fixed] == [(("a", 0),), (("a", 1),), (("a", 2),)]


def free_ties(*rows):
    """(made, read, passed) of the ties that may be cut."""
    return [(tie.made, tie.read, tie.passed) for tie in channel_ties(plans.plan_of(*rows)) if not tie.fixed]


def test_numbers_a_channel_go_with_it_and_begin_nothing():
    rows = [
        ("a", plans.conv((1, 2)), "input"),
        ("b", ops.Affine(channels=2), "a"),
        ("c", ops.PRelu(slopes=2), "b"),
        ("d", ops.PRelu(), "c"),
        ("e", plans.conv((2, 1)), "d"),
    ]
    assert free_ties(*rows) == [((("a", i),), (("e", i),), (("b", i), ("c", i))) for i in range(2)]


def test_joined_and_gathered_channels_keep_their_ties():
    rows = [
        ("a", plans.conv((1, 2)), "input"),
        ("b", plans.conv((1, 1)), "input"),
        ("all", ops.Concat(count=2), "a b"),
        ("moved", ops.ChannelGather(channels=(2, 0, 0)), "all"),
        ("e", plans.conv((3, 1)), "moved"),
    ]
    assert free_ties(*rows) == [
        ((("a", 0),), (("e", 1), ("e", 2)), ()),
        ((("a", 1),), (), ()),
        ((("b", 0),), (("e", 0),), ()),
    ]


def test_phases_of_an_unshuffle_share_a_tie():
    rows = [
        ("a", plans.conv((1, 2)), "input"),
        ("down", ops.PixelUnshuffle(scale=2), "a"),
        ("e", plans.conv((8, 1)), "down"),
    ]
    assert [read for _, read, _ in free_ties(*rows)] == [tuple(("e", 4 * c + i) for i in range(4)) for c in range(2)]


def test_a_gate_of_one_channel_stays_its_own_and_one_of_all_is_cut_with_them():
    one = [
        ("a", plans.conv((1, 2)), "input"),
        ("gate", plans.conv((1, 1)), "input"),
        ("gated", Multiply(), "gate a"),
        ("e", plans.conv((2, 1)), "gated"),
    ]
    assert [made for made, _, _ in free_ties(*one)] == [(("a", 0),), (("a", 1),), (("gate", 0),)]
    each = [
        ("a", plans.conv((1, 2)), "input"),
        ("mean", ops.GlobalMean(), "a"),
        ("gate", plans.conv((2, 2), kernel=1), "mean"),
        ("gated", Multiply(), "a gate"),
        ("e", plans.conv((2, 1)), "gated"),
    ]
    assert [made for made, _, _ in free_ties(*each)] == [(("a", i), ("gate", i)) for i in range(2)]


@pytest.mark.parametrize(
    "row",
    [
        ("b", ops.Pad(top=1, bottom=1), "a"),
        ("b", ops.Crop(top=1), "a"),
        ("b", ops.MaxPool(kernel=(2, 2)), "a"),
        ("b", ops.Resize(mode="bilinear"), "a input"),
        ("b", ops.Resize(mode="bicubic", factor=2), "a"),
        ("b", ops.Relu(), "a"),
    ],
    ids=str,
)
def test_what_has_no_weights_passes_ties_on(row):
    rows = [("a", plans.conv((1, 2)), "input"), row, ("e", plans.conv((2, 1)), "b")]
    assert free_ties(*rows) == [((("a", i),), (("e", i),), ()) for i in range(2)]


def test_bands_pass_ties_on():
    ties = [(tie.made, tie.read) for tie in channel_ties(plans.bands_plan()) if not tie.fixed]
    assert ties[:3] == [((("zero", i),), (("edge", i),)) for i in range(3)]
    assert ties[3:6] == [((("edge", i),), (("mirror", i),)) for i in range(3)]
    assert ties[6:] == [(tuple(("mirror", i) for i in range(4)), (("tail", 0),))]


def test_rows_of_a_local_plan_need_no_height():
    cubic = plans.plan_of(("up", ops.Resize(mode="bicubic", factor=2), "input"))
    assert receptive_rows(cubic, 2) == receptive_rows(cubic, 2, 7) == (2, 2)
    strided = plans.plan_of(
        ("down", plans.conv((1, 4), kernel=2, stride=2, padding=(0, 0)), "input"),
        ("up", ops.PixelShuffle(scale=2), "down"),
    )
    assert receptive_rows(strided, 1) == (1, 1)  # the upper row of a pair sees the lower one, and the lower the upper
    bands = plans.plan_of(
        ("bands", ops.Bands(rows=4), "input"),
        ("mix", plans.conv((1, 1), kernel=7), "bands"),
        ("image", ops.Unbands(rows=4), "mix input"),
    )
    assert receptive_rows(bands, 1) == (3, 3)  # a band ends what the kernel sees


def test_rows_of_a_plan_that_fits_sizes_need_the_height():
    plan = plans.attention_plan()
    assert depends_on_height(plan)
    with pytest.raises(PlanError, match="depends on the image's height; give the height"):
        receptive_rows(plan, 1)
    above, below = receptive_rows(plan, 1, 90)
    needed = [rows_needed(plan, plan.extents((90, 90)), "tail", (y, y + 1))["input"] for y in range(90)]
    assert above == max(y - first for y, (first, _) in enumerate(needed))
    assert below == max(last - 1 - y for y, (_, last) in enumerate(needed))
    assert 20 < above < 90
    assert receptive_rows(plans.whole_image_plan(), 1, 30) == (29, 29)


def test_a_tall_image_gets_a_bound():
    plan = plans.attention_plan()
    above, below = receptive_rows(plan, 1, 50_000)
    exact = [rows_needed(plan, plan.extents((50_000, 90)), "tail", (y, y + 1))["input"] for y in range(0, 50_000, 997)]
    assert max(y * 997 - first for y, (first, _) in enumerate(exact)) <= above < 200
    assert below < 200


def test_a_value_that_gives_its_size_alone_is_not_needed():
    plan = plans.plan_of(
        ("a", plans.conv((1, 2)), "input"), ("b", ops.Resize(mode="bilinear"), "input a"), ("c", ops.Relu(), "b")
    )
    assert "a" not in rows_needed(plan, plan.extents((9, 9)), "c", (3, 4))


def test_what_bands_need_is_found_without_looking_at_each():
    plan = plans.bands_plan(rows=1, warm_up=0, scale=1)
    height = 1 << 24
    assert rows_needed(plan, plan.extents((height, 5)), "tail", (0, height))["input"] == (0, height)


def test_the_smallest_size_that_fits():
    attention = plans.attention_plan()
    assert fitting_size(attention, (1, 1)) == (15, 15)
    assert fitting_size(attention, (14, 99)) == (15, 99)
    assert fitting_size(attention, (99, 3)) == (99, 15)
    assert fitting_size(attention, (40, 31)) == (40, 31)
    unshuffled = plans.plan_of(
        ("down", ops.PixelUnshuffle(scale=4), "input"), ("up", ops.PixelShuffle(scale=4), "down")
    )
    assert fitting_size(unshuffled, (5, 8)) == (8, 8)


def test_a_size_that_cannot_be_made_to_fit_is_told_as_it_is():
    far = plans.plan_of(("crop", ops.Crop(top=300), "input"))
    with pytest.raises(PlanError, match=r"nothing is left of an input of \(20, 9\)"):
        fitting_size(far, (20, 9))
    assert fitting_size(far, (60, 9)) == (301, 9)


def test_a_plan_of_very_many_nodes_is_not_tried_for_long():
    rows = [
        ("n0", ops.MaxPool(kernel=(200, 1)), "input"),
        *((f"n{i}", ops.Relu(), f"n{i - 1}") for i in range(1, 5000)),
    ]
    with pytest.raises(PlanError, match="smaller than the kernel"):
        fitting_size(plans.plan_of(*rows), (1, 1))


def test_a_memory_needs_all_rows_above():
    plan = plans.memory_plan(rows=4, warm_up=0)
    assert remembers(plan)
    assert not remembers(plans.bands_plan())
    extents = plan.extents((16, 5))
    assert rows_needed(plan, extents, "image", (9, 10))["input"] == (0, 12)
    above, below = receptive_rows(plan, 1)
    assert above > 1000
    assert below == 3
