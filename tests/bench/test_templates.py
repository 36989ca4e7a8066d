import numpy as np
import pytest

from tests.conftest import same_size_model, template_matching_model
from thinlens.bench.leaves import dead_leaves
from thinlens.bench.templates import FFT, find_templates, match, read_filter, response
from thinlens.errors import ShapeError, UnsupportedOpError
from thinlens.model.file import Model, read_model
from thinlens.models import find_model
from thinlens.runtime.session import Session


def model_with(values, keys):
    """An eSR-TM K5C2 x2 with these filters in every phase."""
    model = template_matching_model()
    weight = np.repeat(np.stack([*values, *keys]), 4, axis=0)[:, None].astype(np.float32)
    return Model(model.plans, {"filter.weight": weight}, model.card)


def taps(**places):
    """A filter K5: ``y0x1=2`` sets one tap, measured from the middle."""
    made = np.zeros((5, 5))
    for place, value in places.items():
        y, x = place[1:].split("x")
        made[2 + int(y), 2 + int(x)] = value
    return made


NOTHING, SAME = taps(), taps(y0x0=1)


def test_filters_are_sorted_by_role_candidate_and_phase():
    model = template_matching_model()
    found = find_templates(model)
    assert (found.name, found.family, found.scale, found.roles) == ("edge_sr_tm_k5_c2_x2", "tm", 2, ("value", "key"))
    weight = model.tensors["filter.weight"][:, 0]
    np.testing.assert_allclose(found.filters[1, 0, 1, 0], weight[(2 + 0) * 4 + 2])  # key 0, second row, first column
    assert found.shown[1].sum(axis=0) == pytest.approx(0, abs=1e-6)  # what keys share moves no weight


@pytest.mark.parametrize(
    ("name", "family", "shape"),
    [
        ("edge_sr_max_k5_c2_x3", "max", (1, 2, 3, 3, 5, 5)),
        ("edge_sr_tr_k7_c16_x4", "tr", (3, 16, 4, 4, 7, 7)),
    ],
)
def test_other_families(name, family, shape):
    found = find_templates(read_model(find_model(name)))
    assert (found.family, found.filters.shape) == (family, shape)


def test_other_networks_are_refused():
    for model in (same_size_model("same", "denoise"), read_model(find_model("espcn_d16_s32_x2"))):
        with pytest.raises(UnsupportedOpError, match=f"model `{model.card.name}` is no one-layer upscaler"):
            find_templates(model)


@pytest.mark.parametrize(
    ("filter_", "direction"),
    [
        (taps(y0x0=-1, y0x1=1), 0),
        (taps(y0x0=-1, y1x0=1), 90),
        (taps(y0x0=-1, y1x1=1), 45),
        (taps(y1x0=-1, y0x1=1), 135),
    ],
)
def test_directions_are_those_across_which_a_filter_takes_differences(filter_, direction):
    answer = read_filter("key", filter_)
    assert answer.direction == pytest.approx(direction, abs=2)
    assert answer.directed > 0.3
    assert answer.mean_gain == 0


def test_bands():
    blur = np.full((5, 5), 1 / 25)
    assert (read_filter("value", SAME).gains, read_filter("value", SAME).directed) == (
        {"low": 1.0, "mid": 1.0, "high": 1.0},
        pytest.approx(0, abs=0.02),
    )
    low, high = read_filter("value", blur), read_filter("key", SAME - blur)
    assert low.band == "low"
    assert low.gains["low"] > 3 * low.gains["high"]
    assert high.gains["high"] > 2 * high.gains["low"]
    assert response(blur)[FFT // 2, FFT // 2] == pytest.approx(1)


def picture():
    return dead_leaves(96, 1)


def test_the_one_whose_key_answers_wins():
    """The key of candidate 1 is bright left of the pixel; its value shifts the picture."""
    model = model_with([SAME, SAME], [NOTHING, taps(**{"y0x-1": 400.0, "y0x1": -400.0})])
    found = match(model, picture())
    first, second = found.wins
    assert first.share + second.share == pytest.approx(1, abs=1e-3)
    assert 0.2 < second.share < 0.6  # about half of all places fall from left to right
    assert found.patches[1][:, :2].mean() > 0.01 > -0.01 > found.patches[1][:, 3:].mean()
    assert second.key_match > 0.8
    assert found.certainty > 0.9
    assert found.winner.shape == (96, 96)
    assert found.weights.sum(axis=0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("turned", "direction"), [(False, 0), (True, 90)])
def test_directions_in_a_picture_of_stripes(turned, direction):
    stripes = np.tile(np.repeat(np.uint8([0, 255] * 6), 8), (96, 1))
    (wins, _) = match(model_with([SAME, SAME], [SAME, NOTHING]), stripes.T if turned else stripes).wins
    assert (wins.direction, wins.directed) == (direction, 1)


def test_equal_keys_weigh_alike():
    found = match(model_with([SAME, SAME], [SAME, SAME]), picture())
    assert [wins.weight for wins in found.wins] == [0.5, 0.5]
    assert found.certainty == 0.5
    assert found.psnr_db["network"] == found.psnr_db["winner"] == found.psnr_db["equal"]


def test_the_result_is_the_networks():
    model = read_model(find_model("edge_sr_tr_k5_c4_x2"))
    found = match(model, picture())
    expected = Session(model, threads=1).run(found.picture)
    groups = found.psnr_db
    assert expected.shape == found.winner.shape
    assert groups["network"] > groups["winner"]
    assert groups["network"] > groups["equal"]
    assert all(-1 <= wins.query_key <= 1 and wins.key_match is None for wins in found.wins)


def test_a_maximum_has_one_winner():
    found = match(read_model(find_model("edge_sr_max_k5_c2_x2")), picture())
    assert found.psnr_db["network"] == found.psnr_db["winner"]
    assert set(np.unique(found.weights)) == {0, 1}
    assert sum(wins.share for wins in found.wins) == pytest.approx(1, abs=1e-3)


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(ShapeError, match="shrunk by 2 it is 20x15; accepted: 16 pixels a side"):
        match(template_matching_model(), np.zeros((30, 40), np.uint8))
