"""Every recipe in the repository: named after its network, permissive, and fit for its trainer."""

from pathlib import Path

import pytest

from thinlens.train.datasets.terms import terms_of
from thinlens.train.networks import find_configuration
from thinlens.train.networks.edge_sr import EdgeSR
from thinlens.train.recipe import SharedPhase, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_the_reference_configurations_have_recipes() -> None:
    kinds = ("max_k3_c1", "max_k5_c2", "tm_k7_c4", "tr_k5_c4", "tr_k7_c16")
    assert {f"edge_sr_{kind}_x{scale}" for kind in kinds for scale in (2, 3, 4)} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_named_after_its_network_and_may_be_shipped(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.network == path.stem
    assert recipe.data.terms == "permissive"
    one_layer = isinstance(find_configuration(recipe.network), EdgeSR)
    assert isinstance(recipe.loop, SharedPhase) == one_layer
    known = [folder for folder in recipe.data.train if folder != "train_extra"]  # that one is listed by subfolder
    assert all(terms_of(folder).permissive for folder in known)
