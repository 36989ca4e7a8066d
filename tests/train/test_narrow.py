"""A small network's start from a larger one: which channels stay, and that the competition begins as a linear head."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thinlens.errors import RecipeError, UnknownNameError
from thinlens.model.file import read_model
from thinlens.train.datasets.pairs import Pair, create_pair
from thinlens.train.losses.pixel import log_mse
from thinlens.train.narrow import choose, narrow, patches, solve
from thinlens.train.networks import create_network
from thinlens.train.pipeline import run_recipe
from thinlens.train.recipe import Narrowed, to_recipe

LOOP = {"kind": "narrowed", "steps": 3, "batch": 2, "crop": 16, "chosen_on": 12, "source": "espcn_d16_s32_x2"}


def picture(size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (size // 4, size // 4), np.uint8).repeat(4, 0).repeat(4, 1)


def settings(**fields: object) -> Narrowed:
    table = {"network": "edge_sr_cnn_c2_d5_s9_x2", "data": {"train": ["a"], "val": ["b"]}, "loop": {**LOOP, **fields}}
    loop = to_recipe(table).loop
    assert isinstance(loop, Narrowed)
    return loop


def pairs() -> list[Pair]:
    return [create_pair(picture(), 2)]


def test_patches_have_one_row_a_place_and_ones_at_the_end() -> None:
    x = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    rows = patches(x)
    assert rows.shape == (2 * 2 * 3, 3 * 9 + 1)
    assert torch.equal(rows[1, 9:18], x[0, 1, :3, 1:4].flatten().double())
    assert torch.equal(rows[:, -1], torch.ones(12, dtype=torch.float64))


def test_the_channels_that_explain_the_targets_are_chosen_and_the_solution_is_theirs() -> None:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 4 * 9 + 1, generator=rng, dtype=torch.float64)
    truth = torch.randn(2 * 9, 3, generator=rng, dtype=torch.float64)
    used = torch.cat([rows[:, 9:18], rows[:, 27:36]], 1)
    kept, solution = choose(rows, used @ truth, 2)
    assert kept == [1, 3]
    assert torch.allclose(solution[:-1], truth, atol=1e-4)


def test_least_squares_survive_regressors_that_are_equal() -> None:
    assert torch.isfinite(solve(torch.ones(3, 3, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64))).all()


def test_the_start_is_the_same_each_time_and_keeps_the_sources_filters() -> None:
    starts = []
    for _ in range(2):
        network = create_network("edge_sr_cnn_c2_d5_s9_x2")
        narrow(network, pairs(), settings(), seed=4)
        starts.append(network.state_dict())
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    source = torch.from_numpy(read_model_tensor("espcn_d16_s32_x2"))
    assert all(any(torch.equal(own, theirs) for theirs in source) for own in starts[0]["first.weight"])


def read_model_tensor(name: str) -> np.ndarray:
    from thinlens.models import find_model

    model = read_model(find_model(name))
    return model.tensors[model.plan.nodes[0].tensors["weight"]]


def test_all_candidates_begin_near_one_linear_head() -> None:
    network = create_network("edge_sr_cnn_c4_d3_s6_x2")
    narrow(network, pairs(), settings(), seed=0)
    values = network.third.weight.detach()[:16].reshape(4, 4, -1)
    assert (values - values.mean(0)).abs().max() < 0.1 < values.abs().max()


def test_the_logarithm_weighs_crops_alike() -> None:
    restored, hq = torch.zeros(2, 1, 2, 2, requires_grad=True), torch.tensor([0.1, 1.0])[:, None, None, None]
    log_mse(restored, hq.expand(2, 1, 2, 2)).backward()
    assert restored.grad is not None
    gains = (restored.grad[:, 0, 0, 0] * hq[:, 0, 0, 0]).tolist()  # error times slope: 2 err^2 / (8 (err^2 + 1e-4))
    assert gains == pytest.approx([-0.25, -0.25], rel=0.02)


def recipe_for(root: Path, network: str = "edge_sr_cnn_c2_d5_s9_x2", **loop: object):
    for folder in ("train/cid22", "val"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture()).save(root / folder / "a.png")
    data = {"root": str(root), "train": ["train/cid22"], "val": ["val"]}
    return to_recipe({"network": network, "data": data, "loop": {**LOOP, **loop}})


def test_a_narrowed_recipe_becomes_a_model_file(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path / "data")
    card = read_model(run_recipe(recipe, tmp_path / "run")).card
    assert (card.name, card.params, card.training.recipe_sha256) == ("edge_sr_cnn_c2_d5_s9_x2", 1840, recipe.sha256())


@pytest.mark.parametrize(
    ("network", "source", "message"),
    [
        ("espcn_d16_s32_x2", "espcn_d16_s32_x2", r"`loop\.kind`: got \"narrowed\" for `espcn_d16_s32_x2`"),
        ("edge_sr_cnn_c2_d5_s9_x3", "espcn_d16_s32_x2", r"accepted: an ESPCN of scale 3 with D >= 5 and S >= 9"),
        ("edge_sr_cnn_c2_d5_s9_x2", "edge_sr_tr_k5_c4_x2", r"`loop\.source`: got `edge_sr_tr_k5_c4_x2`"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(tmp_path: Path, network: str, source: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run_recipe(recipe_for(tmp_path / "data", network, source=source), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_source_lists_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*`espcn_d16_s32_x2`"):
        run_recipe(recipe_for(tmp_path / "data", source="espcn_d16_s32"), tmp_path / "run")
