"""Channels cut and values replaced: what is left computes what the whole computes without the rest."""

import numpy as np
import pytest

from tests import plans
from tests.plans import conv, memory_plan, plan_of, tensors_of
from thinlens.errors import PlanError
from thinlens.model import ops
from thinlens.model.graph import channel_ties
from thinlens.model.slicing import replace_values, slice_channels
from thinlens.runtime.reference.rows import run_rows

GATED = plan_of(
    ("head", conv((1, 6), bias=True), "input"),
    ("norm", ops.Affine(channels=6), "head"),
    ("act", ops.PRelu(slopes=6), "norm"),
    ("each", conv((6, 6), groups=6, bias=True), "act"),
    ("sum", ops.Add(), "each act"),
    ("few", ops.ChannelSlice(start=2, stop=5), "sum"),
    ("some", ops.ChannelGather(channels=(5, 0, 0, 3)), "sum"),
    ("both", ops.Concat(count=2), "few some"),
    ("up", ops.ConvTranspose2d(in_channels=7, out_channels=8, kernel=(3, 3), padding=(1, 1), bias=True), "both"),
    ("shuffle", ops.PixelShuffle(scale=2), "up"),
    ("gate", ops.Sigmoid(), "shuffle"),
    ("gated", ops.Multiply(), "shuffle gate"),
    ("down", ops.PixelUnshuffle(scale=2), "gated"),
    ("tail", conv((8, 1), bias=True), "down"),
)


def run(plan, tensors, size=(8, 7)):
    lq = np.random.default_rng(3).random((1, *size), np.float32)
    height = plan.sizes(size)[plan.outputs["image"]][0]
    return run_rows(plan, tensors, (0, lq), size, (0, height))


def unread(plan, tensors, keep):
    """The tensors, with zeros wherever a channel that goes is read."""
    silent = {name: array.copy() for name, array in tensors.items()}
    goes = {(name, c) for name, left in keep.items() for c in range(plan.channels()[name]) if c not in left}
    nodes = {node.name: node for node in plan.nodes}
    cut = 0
    for tie in channel_ties(plan):
        if not goes & set(tie.made):
            continue
        cut += 1
        for name, channel in tie.read:
            if getattr(nodes[name].op, "groups", 1) > 1:
                continue  # what it reads it passes on
            for tensor in nodes[name].tensors.values():
                axis = 0 if isinstance(nodes[name].op, ops.ConvTranspose2d) else 1
                if silent[tensor].ndim == 4:
                    np.moveaxis(silent[tensor], axis, 0)[channel] = 0
    assert cut
    return silent


@pytest.mark.parametrize(
    ("plan", "keep"),
    [
        (GATED, {"head": [0, 2, 3, 5]}),
        (GATED, {"head": [1, 2, 3, 4, 5], "up": [0, 1, 2, 3]}),
        (GATED, {"up": [4, 5, 6, 7]}),
        (plans.attention_plan(), {"head": [0, 3], "down": [1], "mix": [0, 2]}),
        (memory_plan(3, 1), {"memory": [0, 2, 4]}),
        (memory_plan(3, 1), {"head": [1, 2], "gate2": [0, 3]}),
        (memory_plan(2, 0, cell="sum", align="flip"), {"gate0": [4]}),
    ],
)
def test_what_is_left_computes_the_whole_without_the_rest(plan, keep):
    tensors = tensors_of(plan)
    size = (16, 18) if plan.nodes[1].name == "down" else (8, 7)
    smaller, sliced = slice_channels(plan, tensors, keep)
    for name, left in keep.items():
        assert smaller.channels()[name] == len(left)
    assert sum(array.size for array in sliced.values()) < sum(array.size for array in tensors.values())
    expected = run(plan, unread(plan, tensors, keep), size)
    assert np.abs(run(smaller, sliced, size) - expected).max() < 1e-4


def test_all_that_is_tied_goes_together():
    smaller, _ = slice_channels(GATED, tensors_of(GATED), {"sum": [0, 2, 3, 5]})
    channels = smaller.channels()
    assert [channels[name] for name in ("head", "norm", "act", "each", "sum")] == [4] * 5
    assert (channels["few"], channels["some"]) == (2, 4)
    nodes = {node.name: node.op for node in smaller.nodes}
    assert nodes["each"].groups == 4
    assert (nodes["few"].start, nodes["few"].stop) == (1, 3)
    assert nodes["some"].channels == (3, 0, 0, 2)


def test_a_state_is_cut_on_both_sides_of_its_convolutions():
    plan = memory_plan(3, 1)
    tensors = tensors_of(plan)
    smaller, sliced = slice_channels(plan, tensors, {"gate1": [1, 4]})
    assert smaller.channels()["memory"] == smaller.channels()["gate3"] == 2
    assert np.array_equal(sliced["memory.forget"], tensors["memory.forget"][[1, 4]][:, [1, 4]])
    assert sliced["gate0.weight"].shape == (2, 5, 3, 3)
    assert sliced["tail.weight"].shape[1] == 7


def test_nothing_named_leaves_all():
    tensors = tensors_of(GATED)
    same, left = slice_channels(GATED, tensors, {})
    assert same == GATED
    assert all(np.array_equal(left[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"nothing": [0]}, "value `nothing`: the plan makes none of that name"),
        ({"head": [0, 6]}, r"value `head`: keeps channels \[6\] of 6"),
        ({"head": []}, "no channel would be left"),
        ({"tail": []}, "value `tail`: channels that must stay are tied"),
        ({"input": []}, "value `input`: channels that must stay"),
        ({"head": [0, 1, 2, 3], "act": [0, 1, 2, 4]}, "channels that must stay are tied to some that go"),
    ],
)
def test_what_cannot_be_cut_is_named(keep, message):
    with pytest.raises(PlanError, match=message):
        slice_channels(GATED, tensors_of(GATED), keep)


def test_groups_of_several_channels_are_not_cut():
    plan = plan_of(
        ("head", conv((1, 4)), "input"), ("pairs", conv((4, 4), groups=2), "head"), ("t", conv((4, 1)), "pairs")
    )
    with pytest.raises(PlanError, match="value `head`: channels that must stay are tied to some that go"):
        slice_channels(plan, tensors_of(plan), {"head": [0, 1]})


def test_nodes_that_share_a_tensor_are_cut_alike():
    plan = plan_of(
        ("head", conv((1, 4)), "input"), ("a", conv((4, 4)), "head"), ("b", conv((4, 4)), "a"), ("t", conv((4, 1)), "b")
    )
    nodes = [
        n if n.name != "b" else type(n)(name="b", op=n.op, inputs=n.inputs, tensors={"weight": "a.weight"})
        for n in plan.nodes
    ]
    shared = type(plan)(input_channels=1, nodes=tuple(nodes), outputs=plan.outputs)
    tensors = {name: array for name, array in tensors_of(plan).items() if name != "b.weight"}
    with pytest.raises(PlanError, match="shares `a\\.weight` with one that cuts it elsewhere"):
        slice_channels(shared, tensors, {"a": [0, 1]})
    every = {name: [0, 2] for name in ("head", "a", "b")}
    assert slice_channels(shared, tensors, every)[1]["a.weight"].shape == (2, 2, 3, 3)


def test_values_replaced_drop_what_made_them():
    tensors = tensors_of(GATED)
    shorter, left = replace_values(GATED, tensors, {"sum": "act"})
    assert "each" not in [node.name for node in shorter.nodes]
    assert tensors.keys() - left.keys() == {"each.weight", "each.bias"}
    silent = {name: np.zeros_like(array) if name.startswith("each") else array for name, array in tensors.items()}
    assert np.array_equal(run(shorter, left), run(GATED, silent))


def test_values_replaced_one_after_the_other():
    plan = plan_of(
        ("a", ops.Relu(), "input"), ("b", ops.Tanh(), "a"), ("c", ops.Sigmoid(), "b"), ("d", ops.Relu(), "c")
    )
    shorter, _ = replace_values(plan, {}, {"c": "b", "b": "a"})
    assert [node.name for node in shorter.nodes] == ["a", "d"]


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        ({"sum": "none"}, "value `none`: the plan makes none"),
        ({"sum": "tail"}, "stands in for itself|no earlier op makes|channels"),
        ({"sum": "act", "act": "sum"}, "stands in for itself"),
        ({"tail": "input"}, "no node would be left"),
        ({"sum": "input"}, "outside|channels"),
    ],
)
def test_values_that_do_not_fit_are_refused(instead, message):
    with pytest.raises(PlanError, match=message):
        replace_values(GATED, tensors_of(GATED), instead)
