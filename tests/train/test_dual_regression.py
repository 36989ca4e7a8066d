"""Dual maps, their loss, and the trainings that they stand in."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from thinlens.errors import RecipeError
from thinlens.image.resample import resize_uint8
from thinlens.model.file import read_model
from thinlens.model.value_range import to_unit_range
from thinlens.runtime.session import Session
from thinlens.train.datasets.crops import CropSampler
from thinlens.train.datasets.pairs import create_pair
from thinlens.train.losses.distillation import Teacher
from thinlens.train.losses.dual_regression import (
    DualMap,
    DualRegression,
    create_maps,
    dual_loss,
    lower_maps,
    outputs_of,
    thaw_maps,
)
from thinlens.train.losses.pixel import l1
from thinlens.train.networks import create_network
from thinlens.train.pipeline import run_recipe
from thinlens.train.plain import sum_of
from thinlens.train.recipe import Recipe, to_recipe
from thinlens.train.thaw import thaw

LOOP = {"kind": "plain", "steps": 6, "batch": 2, "crop": 8, "loss": "l1", "checkpoint_every": 4, "lr": 1e-3}


@pytest.mark.parametrize(("width", "params"), [(16, 864), (20, 1080), (8, 432), (10, 540)])
def test_maps_have_the_published_sizes(width: int, params: int) -> None:
    assert sum(parameter.numel() for parameter in DualMap(3, width, 2).parameters()) == params


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_a_map_brings_any_size_down_and_reads_every_pixel(factor: int) -> None:
    dual = DualMap(1, 2, factor)
    image = torch.rand(1, 1, 5 * factor, 3 * factor, requires_grad=True)
    small = dual(image)
    assert small.shape == (1, 1, 5, 3)
    dual.shrink.weight.data.abs_()  # so that no two ways to a pixel cancel
    dual.mix.weight.data.abs_()
    (gradient,) = torch.autograd.grad(dual(image).sum(), image)
    assert (gradient > 0).all()
    torch.testing.assert_close(dual(255 * image), 255 * dual(image))  # any range


@pytest.mark.parametrize(
    ("network", "kind", "names"),
    [
        ("drn_w2_b1_x4", None, ["dual1", "dual2"]),
        ("drn_w2_b1_x8", "steps", ["dual1", "dual2", "dual3"]),
        ("drn_w2_b1_x8", "whole", ["dual"]),
        ("drn_w2_b1_x2", "steps", ["dual"]),
        ("rfn_rfb1_w4_x3", None, ["dual"]),
    ],
)
def test_which_maps_a_network_gets(network: str, kind: str | None, names: list[str]) -> None:
    made = create_network(network)
    scale = int(network[-1])
    assert list(create_maps(made, kind, scale, 3, 4)) == names  # type: ignore[arg-type]


def test_steps_need_the_images_between() -> None:
    with pytest.raises(RecipeError, match=r'got "steps", but the network gives image at scale 4; accepted'):
        create_maps(create_network("rfn_rfb1_w4_x4"), "steps", 4, 3, 4)


def test_the_loss_is_that_of_the_papers() -> None:
    """All images against the pyramid, and each map against the size below; written down as the fact sheet has it."""
    torch.manual_seed(0)
    network = create_network("drn_w2_b1_x8")
    dual = DualRegression(network, create_maps(network, "steps", 8, 3, 4), 8)
    images = {k: torch.rand(1, 3, 4 * k, 4 * k) for k in (1, 2, 4, 8)}
    made, out = dual(images[1]), network(images[1])
    outs = {1: out["scale1"], 2: out["scale2"], 4: out["scale4"], 8: out["image"]}
    primal = torch.stack([l1(outs[k], images[k]) for k in (1, 2, 4, 8)]).sum()
    closed = torch.stack([l1(dual.maps[f"dual{i + 1}"](outs[2 ** (i + 1)]), images[2**i]) for i in range(3)]).sum()
    torch.testing.assert_close(sum_of(made, images, l1, 0.1), primal + 0.1 * closed)
    torch.testing.assert_close(sum_of(out, images, l1, 0.0), primal)
    assert outputs_of(dual) == outputs_of(network) == tuple(out)


def test_the_loop_on_the_large_side_goes_down_and_up_again() -> None:
    torch.manual_seed(0)
    network = create_network("drn_w2_b1_x4")
    dual = DualRegression(network, create_maps(network, None, 4, 3, 4), 4)
    lq, hq = torch.rand(1, 3, 4, 5), torch.rand(1, 3, 16, 20)
    made = dual(lq, hq)
    again = network(dual.maps["dual1"](dual.maps["dual2"](hq)))["image"]
    torch.testing.assert_close(made["again"], again)
    images = {1: lq, 2: torch.rand(1, 3, 8, 10), 4: hq}
    torch.testing.assert_close(dual_loss(made, images) - dual_loss(dual(lq), images), l1(again, hq))


def test_sizes_between_are_the_clean_image_brought_down() -> None:
    """Crops of all sizes are of one place; each size is shrunk from the whole image, not from the crop."""
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    pair = create_pair(image, 8, 3)
    crops = CropSampler([pair], 8, 3, 1)  # the smaller side, so only columns vary
    between = crops.between(5, (2, 4))
    _, hq = crops.batch(5)
    assert [between[k].shape for k in (2, 4)] == [(3, 3, 16, 16), (3, 3, 32, 32)]
    whole = {k: resize_uint8(image, 8 * k, 12 * k).transpose(2, 0, 1) for k in (2, 4)}
    found = 0
    for n in range(3):
        for x in range(5):
            for turned in (
                lambda a: a,
                lambda a: a[..., ::-1],
                lambda a: a[..., ::-1, :],
                lambda a: a[..., ::-1, ::-1],
            ):
                for flip in (lambda a: a, lambda a: a.swapaxes(-1, -2)):

                    def crop(planes: np.ndarray, k: int) -> np.ndarray:
                        return flip(turned(planes[..., k * x : k * (x + 8)])) / np.float32(255)  # noqa: B023

                    if np.allclose(hq[n], crop(pair.hq, 8), atol=1e-6):
                        found += 1
                        for k in (2, 4):
                            np.testing.assert_allclose(between[k][n], crop(whole[k], k), atol=1e-6)
    assert found == 3


def recipe_for(root: Path, network: str, **loop: object) -> Recipe:
    data = {"root": str(root), "train": ["train/cid22"], "val": ["val"]}
    return to_recipe({"network": network, "data": data, "loop": {**LOOP, **loop}})


@pytest.mark.parametrize(
    ("network", "loop", "plans"),
    [
        ("drn_w2_b1_x4", {"dual": 0.1}, ["main", "dual1", "dual2"]),
        ("drn_w2_b1_x4", {"dual": 0.1, "dual_loops": "both", "dual_maps": "whole"}, ["main", "dual"]),
        ("drn_w2_b1_x4", {}, ["main"]),
        ("rfn_rfb1_w4_x2", {"dual": 0.1, "dual_width": 3, "crop": 16}, ["main", "dual"]),
    ],
)
def test_maps_are_trained_stored_and_resumed(
    root: Path, tmp_path: Path, network: str, loop: dict[str, object], plans: list[str]
) -> None:
    recipe = recipe_for(root, network, **loop)
    model = read_model(run_recipe(recipe, tmp_path / "whole"))
    assert sorted(model.plans) == sorted(plans)
    own = [plan.tensor_names() for plan in model.plans.values()]
    assert len(set.union(*own)) == sum(map(len, own)) == len(model.tensors)  # no tensor is shared
    assert model.card.params == sum(model.tensors[name].size for name in model.plan.tensor_names())
    stopped = run_recipe(recipe, tmp_path / "stopped").parent
    max((stopped / "checkpoints").rglob("step_*.pt")).unlink()  # as if it had been killed after the one before
    resumed = read_model(run_recipe(recipe, stopped, resume=True))
    assert all(np.array_equal(resumed.tensors[name], model.tensors[name]) for name in model.tensors)
    assert Session(model).run(np.zeros((16, 17, 3), np.uint8)).shape == (
        16 * model.card.scale,
        17 * model.card.scale,
        3,
    )
    maps = thaw_maps(model.plans, model.tensors)
    again, tensors = lower_maps(maps.items(), 3)
    assert again == {name: plan for name, plan in model.plans.items() if name != "main"}
    assert all(np.array_equal(tensors[name], model.tensors[name]) for name in tensors)


def test_another_range_of_pixels_leaves_the_maps_alone(root: Path, tmp_path: Path) -> None:
    model = read_model(run_recipe(recipe_for(root, "drn_w2_b1_x4", dual=0.1), tmp_path / "run"))
    bytes_ = replace(model, card=msgspec.structs.replace(model.card, value_range=(0.0, 255.0)))
    unit = to_unit_range(bytes_)
    unit.check()
    assert unit.plans["dual1"] == model.plans["dual1"]
    assert set(unit.plan.outputs) == set(model.plan.outputs)


def test_a_recipe_begins_with_a_model_file_and_its_maps(root: Path, tmp_path: Path) -> None:
    first = run_recipe(recipe_for(root, "drn_w2_b1_x4", dual=0.1), tmp_path / "first")
    before = read_model(first)
    recipe = recipe_for(root, "my_pruned_one", dual=0.1, init=str(first), lr=1e-9)
    after = read_model(run_recipe(recipe, tmp_path / "second"))
    assert (after.card.name, after.plan) == ("my_pruned_one", before.plan)
    assert max(np.abs(after.tensors[name] - before.tensors[name]).max() for name in before.tensors) < 1e-6


def test_features_of_a_teacher_are_imitated(root: Path, tmp_path: Path) -> None:
    path = run_recipe(recipe_for(root, "drn_w3_b1_x4"), tmp_path / "teacher")
    model, student, lq = read_model(path), create_network("drn_w2_b1_x4"), torch.rand(2, 3, 9, 9)
    made, wanted = student(lq), thaw(model.plan, model.tensors)(lq)
    found = Teacher(model, student, l1, 4, 3)(made, lq)
    torch.testing.assert_close(found, (made["features"].mean(1) - wanted["features"].mean(1)).square().mean())
    plain = create_network("rfn_rfb1_w4_x4")
    lq = torch.rand(1, 3, 16, 16)
    made = {"image": plain(lq)}
    found = Teacher(model, plain, l1, 4, 3)(made, lq)
    torch.testing.assert_close(found, l1(made["image"], thaw(model.plan, model.tensors)(lq)["image"]))
    recipe = recipe_for(root, "drn_w2_b1_x4")
    alone = read_model(run_recipe(recipe, tmp_path / "alone"))
    taught = read_model(run_recipe(recipe_for(root, recipe.network, teacher=str(path)), tmp_path / "taught"))
    assert (taught.tensors["head.weight"] != alone.tensors["head.weight"]).any()


@pytest.mark.parametrize(
    ("network", "loop", "message"),
    [
        (
            "rfn_rfb1_w4_x4",
            {"dual": 0.1, "dual_maps": "steps"},
            r'`loop\.dual_maps`: got "steps", but the network gives',
        ),
        ("rfn_rfb1_w4_x4", {"teacher": "edge_sr_max_k5_c2_x2"}, r"teacher: `edge_sr_max_k5_c2_x2` has scale 2"),
    ],
)
def test_what_does_not_fit_is_told_before_any_work(
    root: Path, tmp_path: Path, network: str, loop: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run_recipe(recipe_for(root, network, **loop), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_upscalers_have_maps(root: Path, tmp_path: Path) -> None:
    table = {"root": str(root), "train": ["train/cid22"], "val": ["val"], "sigma": [0, 50]}
    recipe = to_recipe({"network": "dncnn_d3_w4_denoise", "data": table, "loop": {**LOOP, "dual": 0.1}})
    with pytest.raises(
        RecipeError, match=r"`loop\.dual`: got 0\.1, but the network keeps the size; accepted: upscalers"
    ):
        run_recipe(recipe, tmp_path / "run")
