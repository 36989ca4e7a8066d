"""The shipped models: sound, small, licensed, and each default better than what is cheaper."""

import pytest

from thinlens.errors import UnknownNameError
from thinlens.model.file import read_model
from thinlens.models import DEFAULTS, FOLDER, default_model, find_model, list_models, model_names

ONE_LAYER = ("edge_sr_max_k3_c1", "edge_sr_max_k5_c2", "edge_sr_tm_k7_c4", "edge_sr_tr_k5_c4", "edge_sr_tr_k7_c16")
PERMISSIVE = ("CC0", "CC BY", "CC BY-SA", "Unsplash", "Pexels", "public domain", "Free Art", "GFDL", "wallpaper")


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
    assert {m.data for m in card.quality} == {"Set5", "Set14", "B100"}
    assert all(m.protocol and m.count and 20 < m.psnr_y_db < 40 and 0.5 < m.ssim_y < 1 for m in card.quality)
    assert card.training.data
    assert all(any(word in source.licence for word in PERMISSIVE) for source in card.training.data)
    assert not any("bsds" in source.name or "t91" in source.name for source in card.training.data)


def test_all_of_them_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 20e6


def test_dearer_defaults_are_better():
    cards = {card.name: card for card in list_models()}
    for choice in DEFAULTS.values():
        ordered = [cards[choice[prefer]] for prefer in ("speed", "balanced", "quality")]
        assert [c.macs_per_pixel for c in ordered] == sorted(c.macs_per_pixel for c in ordered)
        for data in ("Set5", "Set14", "B100"):
            measured = [next(m.psnr_y_db for m in card.quality if m.data == data) for card in ordered]
            assert measured == sorted(measured)


def test_defaults_exist():
    for (task, scale), choice in DEFAULTS.items():
        for prefer, name in choice.items():
            assert default_model(task, scale, prefer) == name
            assert find_model(name).is_file()


def test_no_default_lists_what_there_is():
    with pytest.raises(UnknownNameError, match=r"task `denoise`, scale 1.*there are: sr x2"):
        default_model("denoise", 1)
    with pytest.raises(UnknownNameError, match="scale 8"):
        default_model("sr", 8)


def test_unknown_names_list_near_matches():
    with pytest.raises(UnknownNameError, match="did you mean `edge_sr_tr_k5_c4_x2`"):
        find_model("edge_sr_tr_k5_c4_x22")
