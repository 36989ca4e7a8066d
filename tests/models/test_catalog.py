"""The shipped models: sound, small, licensed, and each default better than what is cheaper."""

from pathlib import Path

import numpy as np
import pytest

from thinlens.errors import UnknownNameError
from thinlens.model.file import read_model
from thinlens.models import DEFAULTS, FOLDER, default_model, find_model, list_models, model_names
from thinlens.runtime.session import open_model
from thinlens.train.recipe import read_recipe

ONE_LAYER = ("edge_sr_max_k3_c1", "edge_sr_max_k5_c2", "edge_sr_tm_k7_c4", "edge_sr_tr_k5_c4", "edge_sr_tr_k7_c16")
PERMISSIVE = ("CC0", "CC BY", "CC BY-SA", "Unsplash", "Pexels", "public domain", "Free Art", "GFDL", "wallpaper")
MEASURED = {
    "sr": {"Set5", "Set14", "B100", "val"},
    "denoise": {f"{data}, sigma {sigma}" for data in ("CBSD68", "McMaster", "val") for sigma in (15, 25, 50)},
    "denoise gray": {f"{data}, sigma {sigma}" for data in ("BSD68", "Set12", "val") for sigma in (15, 25, 50)},
    "deblock": {f"{data}, quality {quality}" for data in ("LIVE1", "val") for quality in (10, 20, 30, 40)},
}


def test_the_reference_configurations_ship_at_every_scale():
    assert {f"{name}_x{scale}" for name in ONE_LAYER for scale in (2, 3, 4)} <= set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_each_model_holds_what_its_card_says(name):
    model = read_model(FOLDER / f"{name}.safetensors")
    card = model.card
    assert card.name == name
    assert card.params == sum(array.size for array in model.tensors.values())
    assert card.macs_per_pixel == pytest.approx(model.plan.macs((24, 24)) / (24 * card.scale) ** 2)
    assert card.training.recipe == name
    assert {m.data for m in card.quality} == MEASURED[
        "denoise gray" if (card.task, card.colour) == ("denoise", "luma") else card.task
    ]
    assert all(m.protocol and m.count and 20 < m.psnr_y_db < 40 and 0.5 < m.ssim_y < 1 for m in card.quality)
    assert card.training.data
    assert all(any(word in source.licence for word in PERMISSIVE) for source in card.training.data)
    assert not any("bsds" in source.name or "t91" in source.name for source in card.training.data)


def test_all_of_them_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 20e6


def on_val(card):
    return next(m.psnr_y_db for m in card.quality if m.data.split(",")[0] == "val")


def cheaper(card):
    """Shipped models of the same task, scale and colours with fewer operations."""

    def kind(card):
        return card.task, card.scale, card.colour

    return [c for c in list_models() if kind(c) == kind(card) and c.macs_per_pixel < card.macs_per_pixel]


def test_only_what_beats_every_cheaper_model_ships_or_is_a_default():
    """On validation images; the one-layer reference configurations always ship, but are a default only by the rule."""
    defaults = {name for choice in DEFAULTS.values() for name in choice.values()}
    for card in list_models():
        if card.name in defaults or not card.name.startswith(ONE_LAYER):
            assert all(on_val(card) > on_val(other) for other in cheaper(card)), card.name


def test_preferences_are_in_order():
    cards = {card.name: card for card in list_models()}
    for choice in DEFAULTS.values():
        if len(set(choice.values())) == 1:
            continue  # there is but one
        speed, balanced, quality = (cards[choice[prefer]] for prefer in ("speed", "balanced", "quality"))
        assert speed.macs_per_pixel < balanced.macs_per_pixel <= quality.macs_per_pixel
        assert on_val(speed) < on_val(balanced) <= on_val(quality)


@pytest.mark.parametrize("prefer", ["speed", "balanced"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_flat_areas_keep_their_level(scale, prefer):
    model = open_model(default_model("sr", scale, prefer), threads=1)
    for value in range(256):
        assert np.all(model.run(np.full((5, 6), value, np.uint8)) == value)


def test_cards_name_the_recipe_that_lies_here():
    recipes = Path(__file__).parents[2] / "recipes"
    for card in list_models():
        assert card.training.recipe_sha256 == read_recipe(recipes / f"{card.name}.toml", []).sha256(), card.name


def test_defaults_exist():
    for (task, scale), choice in DEFAULTS.items():
        for prefer, name in choice.items():
            assert default_model(task, scale, prefer) == name
            assert find_model(name).is_file()


def test_no_default_lists_what_there_is():
    with pytest.raises(UnknownNameError, match=r"task `denoise`, scale 2.*there are: sr x2"):
        default_model("denoise", 2)
    with pytest.raises(UnknownNameError, match="scale 8"):
        default_model("sr", 8)


def test_unknown_names_list_near_matches():
    with pytest.raises(UnknownNameError, match="did you mean `edge_sr_tr_k5_c4_x2`"):
        find_model("edge_sr_tr_k5_c4_x22")
