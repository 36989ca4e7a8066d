"""What follows from the graph: receptive rows and channel ties."""

from tests.conftest import template_matching_plan
from thinlens.model.graph import channel_ties, receptive_rows, rows_needed
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
