"""From recipe to model file, on images of our own."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from thinlens.errors import OutputError, RecipeError, UnknownNameError
from thinlens.model.file import read_model
from thinlens.model.outputs import model_of_output
from thinlens.runtime.session import Session
from thinlens.train.loop import Paused
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration
from thinlens.train.pipeline import minutes_taken, run_recipe
from thinlens.train.recipe import Recipe, to_recipe

SHARED = {"kind": "shared_phase", "steps": 6, "batch": 32, "patches": 128, "val_patches": 64, "checkpoint_every": 4}
PLAIN = {"kind": "plain", "steps": 6, "batch": 2, "crop": 12, "checkpoint_every": 4}


def recipe_for(root: Path, loop: dict[str, object], network: str = "edge_sr_tr_k3_c2_x2", **data: object) -> Recipe:
    folders = {"root": str(root), "train": ["train/cid22"], "val": ["val"], **data}
    table: dict[str, Any] = {"network": network, "data": folders, "loop": loop}
    return to_recipe(table)


@pytest.mark.parametrize("loop", [SHARED, PLAIN])
def test_a_recipe_becomes_a_model_file_with_its_card(root: Path, tmp_path: Path, loop: dict[str, object]) -> None:
    recipe = recipe_for(root, loop)
    path = run_recipe(recipe, tmp_path / "run")
    card = read_model(path).card
    assert (card.name, card.scale, card.params, card.macs_per_pixel) == ("edge_sr_tr_k3_c2_x2", 2, 216, 54)
    assert (card.training.recipe_sha256, card.training.steps) == (recipe.sha256(), 6)
    assert (card.training.data[0].name, card.training.data[0].images) == ("train/cid22", 2)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "checkpoints",
        "log.jsonl",
        "model.safetensors",
        "recipe.json",
    ]
    assert all("part" in json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines())


@pytest.mark.parametrize("loop", [SHARED, PLAIN])
def test_the_same_recipe_gives_the_same_weights_stopped_or_not(
    root: Path, tmp_path: Path, loop: dict[str, object]
) -> None:
    recipe = recipe_for(root, {**loop, "steps": 201})

    def stop(name: str, done: float, total: float) -> None:
        if "images" not in name:
            raise KeyboardInterrupt

    whole = read_model(run_recipe(recipe, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, tmp_path / "stopped", progress=stop)
    resumed = read_model(run_recipe(recipe, tmp_path / "stopped", resume=True))
    np.testing.assert_array_equal(resumed.tensors["filter.weight"], whole.tensors["filter.weight"])
    other = read_model(run_recipe(msgspec.structs.replace(recipe, seed=1), tmp_path / "other"))
    assert (other.tensors["filter.weight"] != whole.tensors["filter.weight"]).any()


@pytest.mark.parametrize("loop", [SHARED, PLAIN])
def test_a_training_pauses_when_its_minutes_are_over_and_goes_on(
    root: Path, tmp_path: Path, loop: dict[str, object]
) -> None:
    recipe, run = recipe_for(root, loop), tmp_path / "run"
    steps = []
    for _ in range(7):
        with pytest.raises(Paused) as paused:
            run_recipe(recipe, run, resume=bool(steps), minutes=0)
        steps.append((paused.value.name, paused.value.step))
        if paused.value.step == 5:
            break
    assert [step for _, step in steps] == [1, 2, 3, 4, 5]
    whole = read_model(run_recipe(recipe, tmp_path / "whole"))
    resumed = read_model(run_recipe(recipe, run, resume=True))
    np.testing.assert_array_equal(resumed.tensors["filter.weight"], whole.tensors["filter.weight"])


def test_minutes_are_those_of_all_that_was_done(tmp_path: Path) -> None:
    lines = [
        {"part": "a", "step": 200, "seconds": 60.0},
        {"part": "a", "resumed_at": 100},
        {"part": "a", "step": 200, "seconds": 30.0},
        {"part": "b", "step": 200, "seconds": 90.0},
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"part": "b", "st')
    assert minutes_taken(log) == 3.0
    assert minutes_taken(tmp_path / "none") == 0.0


IN_COLOUR = {**PLAIN, "crop": 16, "loss": "charbonnier", "fourier": 0.1}


@pytest.mark.parametrize(
    ("network", "more"),
    [
        ("rep_rfn_w6_x2", {}),
        ("rep_rfn_w6_x2", {"branches": ["3x3", "sobel_x"], "space": "image"}),
        ("rfdn_w6_x2", {"branches": ["3x3", "1x1"], "optimiser": "adam"}),
        ("imdn_w16_x2", {"loss": "l1"}),
    ],
)
def test_networks_in_colour_are_trained_and_fused(
    root: Path, tmp_path: Path, network: str, more: dict[str, object]
) -> None:
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(root / "train/cid22/gray.png")
    model = read_model(run_recipe(recipe_for(root, IN_COLOUR | more, network), tmp_path / "run"))
    configuration = find_configuration(network)
    plan, tensors = lower(configuration.create(), 3)
    assert (model.card.name, model.card.colour, model.card.scale) == (network, "rgb", 2)
    assert model.plan == plan
    assert model.card.params == sum(array.size for array in tensors.values())
    assert Session(model).run(np.zeros((5, 7, 3), np.uint8)).shape == (10, 14, 3)


@pytest.mark.parametrize("space", ["image", "weight"])
def test_a_training_through_branches_is_resumed_bit_for_bit(root: Path, tmp_path: Path, space: str) -> None:
    loop = {**PLAIN, "steps": 7, "space": space, "branches": ["3x3", "1x1_3x3", "laplacian"]}
    recipe = recipe_for(root, loop, "espcn_d4_s6_x2")
    whole = read_model(run_recipe(recipe, tmp_path / "whole"))
    run_recipe(recipe, tmp_path / "stopped")
    newest = max((tmp_path / "stopped/checkpoints").rglob("step_*.pt"))
    newest.unlink()  # as if it had been killed after the one before
    resumed = read_model(run_recipe(recipe, tmp_path / "stopped", resume=True))
    assert all(np.array_equal(resumed.tensors[name], whole.tensors[name]) for name in whole.tensors)


@pytest.mark.parametrize(
    ("network", "branches", "message"),
    [
        ("rfdn_w6_x2", ["1x1"], "accepted: `3x3` among them"),
        ("edge_sr_max_k5_c2_x2", ["3x3", "1x1"], "has no 3x3 convolution"),
    ],
)
def test_branches_that_do_not_fit_are_refused_before_anything_is_written(
    root: Path, tmp_path: Path, network: str, branches: list[str], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run_recipe(recipe_for(root, {**PLAIN, "branches": branches}, network), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/precious.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"run` is not empty; use a new folder, or `--resume`"):
        run_recipe(recipe_for(root, SHARED), tmp_path / "run")
    with pytest.raises(OutputError, match="is not empty"):
        run_recipe(recipe_for(root, SHARED), tmp_path / "run", resume=True)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["precious.txt"]


def test_a_folder_that_cannot_be_made_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/run`: cannot be made: Not a directory"):
        run_recipe(recipe_for(root, SHARED), tmp_path / "file/run")


def test_a_training_is_resumed_only_by_its_own_recipe(root: Path, tmp_path: Path) -> None:
    run_recipe(recipe_for(root, SHARED), tmp_path / "run")
    with pytest.raises(RecipeError, match="holds a training by another recipe"):
        run_recipe(recipe_for(root, {**SHARED, "steps": 7}), tmp_path / "run", resume=True)


def test_nothing_is_written_for_a_recipe_that_cannot_work(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown network `edge_sr_tr_k3_c2_x9`; did you mean"):
        run_recipe(recipe_for(root, SHARED, "edge_sr_tr_k3_c2_x9"), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"`loop\.kind`: got \"shared_phase\" for `bicubic_x2`"):
        run_recipe(recipe_for(root, SHARED, "bicubic_x2"), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"no images in `.*nowhere"):
        run_recipe(recipe_for(root / "nowhere", SHARED), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_permissive_recipes_refuse_other_images(root: Path, tmp_path: Path) -> None:
    (root / "train/cid22").rename(root / "train/t91")
    with pytest.raises(RecipeError, match=r"`train/t91` has the terms \"research use\""):
        run_recipe(recipe_for(root, SHARED, train=["train"], terms="permissive"), tmp_path / "run")


DAMAGED = [("dncnn_d3_w4_denoise", {"sigma": [5, 50]}), ("dncnn_d3_w4_deblock", {"quality": [10, 80]})]


@pytest.mark.parametrize(("network", "damage"), DAMAGED)
def test_denoisers_and_deblockers_are_trained_and_resumed(
    root: Path, tmp_path: Path, network: str, damage: dict[str, Any]
) -> None:
    recipe = recipe_for(root, {**PLAIN, "steps": 6}, network, **damage)
    model = read_model(run_recipe(recipe, tmp_path / "run"))
    card = model.card
    assert (card.task, card.scale, card.colour) == (network.split("_")[3], 1, "rgb" if "denoise" in network else "luma")
    given = {"sigma": card.sigma_range, "quality": card.quality_range}
    assert given == {"sigma": None, "quality": None, **{key: tuple(value) for key, value in damage.items()}}
    newest = max((tmp_path / "run/checkpoints").rglob("step_*.pt"))
    newest.unlink()
    resumed = read_model(run_recipe(recipe, tmp_path / "run", resume=True))
    assert all(np.array_equal(resumed.tensors[name], model.tensors[name]) for name in model.tensors)
    assert Session(model).run(np.zeros((5, 7, 3), np.uint8)).shape == (5, 7, 3)


def test_a_network_that_takes_only_some_sizes_is_trained_and_runs_on_all(root: Path, tmp_path: Path) -> None:
    loop = {**PLAIN, "steps": 1, "crop": 16}
    path = run_recipe(recipe_for(root, loop, "unet_denoise_w1", sigma=[5, 50]), tmp_path / "run")
    assert Session(read_model(path)).run(np.zeros((5, 23, 3), np.uint8)).shape == (5, 23, 3)


@pytest.mark.parametrize(
    ("network", "damage", "message"),
    [
        ("dncnn_d3_w4_denoise", {}, r"`data\.sigma`: missing; `dncnn_d3_w4_denoise` does denoise; add it"),
        ("dncnn_d3_w4_deblock", {}, r"`data\.quality`: missing; .*such as `quality = \[10, 90\]`"),
        ("dncnn_d3_w4_deblock", {"sigma": [1, 2]}, r"`data\.sigma`: got \[1\.0, 2\.0\]; .*does deblock; leave it out"),
        (
            "espcn_d4_s6_x2",
            {"quality": [1, 2]},
            r"`data\.quality`: got \[1, 2\]; `espcn_d4_s6_x2` does sr; leave it out",
        ),
    ],
)
def test_damage_that_is_not_the_networks_is_refused(
    root: Path, tmp_path: Path, network: str, damage: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run_recipe(recipe_for(root, PLAIN, network, **damage), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("bands", [None, 2])
def test_networks_that_read_line_by_line_are_trained(root: Path, tmp_path: Path, bands: int | None) -> None:
    loop = {**PLAIN, "loss": "l1"} | ({} if bands is None else {"bands": bands})
    denoiser = recipe_for(root, loop, "line_dn_w4", sigma=[25.0, 25.0])
    card = read_model(run_recipe(denoiser, tmp_path / "dn")).card
    assert (card.name, card.task, card.scale, card.colour) == ("line_dn_w4", "denoise", 1, "rgb")
    upscaler = read_model(run_recipe(recipe_for(root, loop, "line_sr_w4_x2"), tmp_path / "sr"))
    assert (upscaler.card.task, upscaler.card.scale) == ("sr", 2)
    assert Session(upscaler).run(np.zeros((9, 7, 3), np.uint8)).shape == (18, 14, 3)


def test_bands_are_in_the_hash_only_where_they_are_said(root: Path) -> None:
    assert b"bands" not in recipe_for(root, PLAIN).canonical()
    assert b"bands" in recipe_for(root, {**PLAIN, "bands": 8}).canonical()


def test_scales_that_share_a_trunk_take_turns(root: Path, tmp_path: Path) -> None:
    steps = {}
    for count in (0, 1, 2, 3):
        loop = {**PLAIN, "optimiser": "adam", "crop": 4, "steps": count or 1, "lr": 1e-3 if count else 1e-12}
        steps[count] = read_model(run_recipe(recipe_for(root, loop, "line_sr_w4_joint"), tmp_path / f"run{count}"))
    assert (steps[3].card.name, steps[3].card.scale) == ("line_sr_w4_joint", 2)

    def trained(count: int) -> set[str]:
        """Scales whose own weights are no longer those of the start."""
        same = steps[0].tensors
        moved = (name for name, array in steps[count].tensors.items() if np.abs(array - same[name]).max() > 1e-6)
        return {part for name in moved for part in name.split(".") if part in ("x2", "x3", "x4")}

    assert [trained(count) for count in (1, 2, 3)] == [{"x2"}, {"x2", "x3"}, {"x2", "x3", "x4"}]
    quarter = model_of_output(steps[3], "scale4")
    assert Session(quarter).run(np.zeros((9, 7, 3), np.uint8)).shape == (36, 28, 3)


def test_scales_that_take_turns_have_no_dual_maps(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"`loop\.dual`: got 0\.1 for `line_sr_w4_joint`, which has several"):
        run_recipe(recipe_for(root, PLAIN | {"dual": 0.1}, "line_sr_w4_joint"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
