"""Networks on another range than 0..1: the plan that takes 0..1 all the same."""

import dataclasses

import msgspec

from tests import plans
from tests.conftest import template_matching_model
from thinlens.model.value_range import to_unit_range


def ranged(model, low, high):
    return dataclasses.replace(model, card=msgspec.structs.replace(model.card, value_range=(low, high)))


def test_the_usual_range_changes_nothing():
    model = template_matching_model()
    assert to_unit_range(model) is model


def test_pixels_are_stretched_and_shrunk_around_the_network():
    model = ranged(template_matching_model(2), -1.0, 3.0)
    unit = to_unit_range(model)
    unit.check()
    assert unit.card.value_range == (0.0, 1.0)
    assert [node.name for node in unit.plan.nodes] == ["stretch", *(n.name for n in model.plan.nodes), "shrink"]
    assert unit.plan.nodes[1].inputs == ("stretch",)
    assert unit.plan.outputs == {"image": "shrink"}
    assert {float(unit.tensors[f"stretch.{role}"][0]) for role in ("weight", "bias")} == {4.0, -1.0}
    assert {float(unit.tensors[f"shrink.{role}"][0]) for role in ("weight", "bias")} == {0.25}
    assert model.plan == template_matching_model(2).plan


def test_names_that_are_taken_are_left_alone():
    plan = plans.plan_of(("stretch", plans.conv((1, 1)), "input"), ("shrink", plans.conv((1, 1)), "stretch"))
    model = dataclasses.replace(template_matching_model(1), plans={"main": plan}, tensors=plans.tensors_of(plan))
    unit = to_unit_range(ranged(model, 0.0, 255.0))
    unit.check()
    assert [node.name for node in unit.plan.nodes] == ["stretch_", "stretch", "shrink", "shrink_"]


def test_every_image_is_shrunk_and_nothing_else():
    plan = plans.plan_of(("a", plans.conv((1, 1)), "input"), ("b", plans.conv((1, 1)), "a"))
    plan = msgspec.structs.replace(plan, outputs={"image": "b", "scale1": "a", "features": "a"})
    model = dataclasses.replace(template_matching_model(1), plans={"main": plan}, tensors=plans.tensors_of(plan))
    unit = to_unit_range(ranged(model, 0.0, 255.0))
    unit.check()
    assert unit.plan.outputs == {"image": "shrink", "scale1": "shrink_", "features": "a"}
    assert [node.inputs for node in unit.plan.nodes[-2:]] == [("b",), ("a",)]
