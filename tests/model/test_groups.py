"""Groups of channels: what the graph alone says goes together, and what must stay."""

import numpy as np
import pytest

from tests.plans import conv, plan_of, tensors_of
from thinlens.errors import PlanError
from thinlens.model import ops
from thinlens.model.bits import pack, unpack
from thinlens.model.groups import channel_groups, cut_units, find_group, prunable_pairs, silence
from thinlens.runtime.reference.rows import run_rows

RESIDUAL = plan_of(
    ("head", conv((1, 4)), "input"),
    ("a", conv((4, 6), bias=True), "head"),
    ("relu", ops.Relu(), "a"),
    ("each", conv((6, 6), groups=6, bias=True), "relu"),
    ("b", conv((6, 4)), "each"),
    ("sum", ops.Add(), "b head"),
    ("up", conv((4, 12)), "sum"),
    ("shuffle", ops.PixelShuffle(scale=2), "up"),
    ("tail", conv((3, 1)), "shuffle"),
)


def run(plan, tensors, size=(8, 7)):
    lq = np.random.default_rng(3).random((plan.input_channels, *size), np.float32)
    return run_rows(plan, tensors, (0, lq), size, (0, plan.sizes(size)[plan.outputs["image"]][0]))


def test_a_trunk_is_one_group_and_pairs_have_one_maker():
    groups = {group.name: group for group in channel_groups(RESIDUAL)}
    assert list(groups) == ["head", "a", "up"]
    assert groups["head"].makers == ("head", "b")
    assert list(groups["head"].readers) == ["a", "up"]
    assert (len(groups["a"]), groups["a"].readers) == (6, {"b": tuple((c,) for c in range(6))})
    assert [pair.name for pair in prunable_pairs(RESIDUAL)] == ["a", "up"]


def test_a_unit_behind_a_shuffle_has_all_its_phases():
    up = find_group(RESIDUAL, "up")
    assert len(up) == 3
    assert [channel for _, channel in up.ties[1].made] == [4, 5, 6, 7]
    smaller, tensors = cut_units(RESIDUAL, tensors_of(RESIDUAL), up, {0, 2})
    assert np.array_equal(tensors["up.weight"], tensors_of(RESIDUAL)["up.weight"][[0, 1, 2, 3, 8, 9, 10, 11]])
    assert smaller.channels()["shuffle"] == 2


@pytest.mark.parametrize("name", ["head", "a", "up"])
def test_silent_and_cut_are_the_same(name):
    tensors, group = tensors_of(RESIDUAL), find_group(RESIDUAL, name)
    silent = silence(RESIDUAL, tensors, group, {1, 2})
    before = {key: array.copy() for key, array in tensors.items()}
    assert np.abs(run(RESIDUAL, silent) - run(*cut_units(RESIDUAL, tensors, group, {1, 2}))).max() < 1e-5
    assert all(np.array_equal(tensors[key], before[key]) for key in tensors)


def test_a_maker_that_makes_no_unit_that_goes_keeps_all():
    """Two makers of one group, each with units of its own."""
    plan = plan_of(
        ("a", conv((1, 3)), "input"),
        ("b", conv((1, 4)), "input"),
        ("few", ops.ChannelSlice(start=0, stop=2), "b"),
        ("both", ops.ChannelSlice(start=0, stop=2), "a"),
        ("sum", ops.Add(), "few both"),
        ("rest", ops.ChannelSlice(start=2, stop=4), "b"),
        ("own", ops.ChannelSlice(start=2, stop=3), "a"),
        ("all", ops.Concat(count=3), "sum rest own"),
        ("tail", conv((5, 1)), "all"),
    )
    (group,) = channel_groups(plan)
    assert (group.makers, len(group)) == (("a", "b"), 5)
    last = next(unit for unit, tie in enumerate(group.ties) if tie.made == (("b", 3),))
    smaller, _ = cut_units(plan, tensors_of(plan), group, set(range(5)) - {last})
    assert (smaller.channels()["a"], smaller.channels()["b"]) == (3, 3)


def test_what_is_mixed_shared_unread_or_the_images_is_left_out():
    mixed = plan_of(("a", conv((1, 4)), "input"), ("max", ops.ChannelMax(), "a"), ("t", conv((1, 1)), "max"))
    assert channel_groups(mixed) == []
    both = plan_of(
        ("a", conv((1, 4)), "input"),
        ("s", ops.SoftmaxSum(), "a a"),
        ("b", conv((4, 1)), "a"),
        ("t", ops.Add(), "s b"),
    )
    assert channel_groups(both) == []
    assert channel_groups(plan_of(("a", conv((1, 4)), "input"), ("shuffle", ops.PixelShuffle(scale=2), "a"))) == []
    plan = plan_of(
        ("h", conv((1, 4)), "input"), ("a", conv((4, 4)), "h"), ("b", conv((4, 4)), "a"), ("t", conv((4, 1)), "b")
    )
    nodes = [
        n if n.name != "b" else type(n)(name="b", op=n.op, inputs=n.inputs, tensors={"weight": "a.weight"})
        for n in plan.nodes
    ]
    assert [
        g.name for g in channel_groups(type(plan)(input_channels=1, nodes=tuple(nodes), outputs=plan.outputs))
    ] == []
    with pytest.raises(PlanError, match="`t`: makes no channels that can be cut"):
        find_group(plan, "t")


def test_binary_convolutions_are_cut_on_both_sides_with_thresholds_and_scales():
    binary = ops.BinaryConv2d(in_channels=5, out_channels=6, kernel=(3, 3), padding=(1, 1), pad_value=-1)
    plan = plan_of(("head", conv((1, 5)), "input"), ("bits", binary, "head"), ("tail", conv((6, 1)), "bits"))
    tensors = tensors_of(plan)
    smaller, cut = plan, tensors
    for name, kept in (("head", {0, 3, 4}), ("bits", {1, 5})):
        smaller, cut = cut_units(smaller, cut, find_group(smaller, name), kept)
    assert np.array_equal(cut["bits.weight"], tensors["bits.weight"][[1, 5]][:, [0, 3, 4]])
    assert np.array_equal(cut["bits.threshold"], tensors["bits.threshold"][[0, 3, 4]])
    assert np.array_equal(cut["bits.scale"], tensors["bits.scale"][[1, 5]])
    assert np.array_equal(unpack(pack(cut["bits.weight"]), (2, 3, 3, 3)), cut["bits.weight"])
    silent = silence(plan, tensors, find_group(plan, "head"), {0, 3, 4})
    silent = silence(plan, silent, find_group(plan, "bits"), {1, 5})
    assert np.abs(run(plan, silent) - run(smaller, cut)).max() < 1e-5
