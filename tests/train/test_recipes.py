"""Every recipe in the repository: named after its network, permissive, and fit for its trainer."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from thinlens.train.datasets.terms import terms_of
from thinlens.train.networks import find_configuration
from thinlens.train.networks.edge_sr import EdgeSR
from thinlens.train.recipe import SharedPhase, read_recipe

ROOT = Path(__file__).parents[2]
CAMPAIGN = ROOT / "recipes/campaign.toml"
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.toml") if path != CAMPAIGN)


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


def test_the_campaign_knows_how_far_its_trainings_are(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/campaign"), "--data", "data", "--runs", str(tmp_path), "--list"]
    (tmp_path / "rep_rfn_w16_x4").mkdir()
    lines = '{"part": "training", "step": 200, "seconds": 90.0}\n'
    (tmp_path / "rep_rfn_w16_x4/log.jsonl").write_text(lines)
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[0] for line in listed] == [
        entry["recipe"] for entry in tomllib.loads(CAMPAIGN.read_text())["entry"]
    ]
    told = {line.split()[0]: " ".join(line.split()[2:]) for line in listed}
    assert told["rep_rfn_w16_x4"] == "step 200 of 20,000, 2 min"
    assert told["rep_rfn_x4"] == "not begun"
