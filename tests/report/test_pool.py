import pytest

from tests.report.folder import make_records, member, members, write
from thinlens.report.pool import (
    BUDGETS,
    TIME,
    best_by_budget,
    gains,
    main_axis,
    main_set,
    our_points,
    published,
    rows_of,
    sets_of,
    upscalers_of,
)
from thinlens.report.records import Pool, Records


@pytest.fixture
def pool(tmp_path):
    return Records(make_records(tmp_path)).get("pool.json", Pool)


def made(tmp_path, rows):
    write(tmp_path, "pool.json", {"members": rows})
    return Records(tmp_path).get("pool.json", Pool)


def test_families_by_scale(pool):
    rows = {(row.family, row.scale): row for row in rows_of(pool, "Set5")}
    assert len(rows) == 9
    assert rows["ESPCN", 2][2:5] == (3, 3, 3)  # members, trained, on the front: ESPCN is the best of these at each size
    assert rows["ESPCN", 2].best.name == "espcn_3_x2"
    assert rows["ESPCN", 2].gain_db == pytest.approx(0.3)
    assert rows["FSRCNN", 2][2:] == (1, 0, 0, None, None)


def test_only_upscalers_are_on_the_map(tmp_path):
    pool = made(tmp_path, [member(), member("dncnn", 1, task="denoise")])
    assert [it.name for it in upscalers_of(pool).members] == ["espcn_1_x2"]
    assert upscalers_of(made(tmp_path, [member(quality={})])) is None
    assert upscalers_of(None) is None


def test_the_main_set_is_set5_if_there(tmp_path, pool):
    assert (main_set(pool), sets_of(pool)) == ("Set5", ["Set5", "B100"])
    assert main_set(made(tmp_path, [member(quality={"val": {"psnr_db": 30, "ssim": 1}})])) == "val"


def test_published_sets_under_their_other_name(pool):
    assert gains(pool.members, "B100") == pytest.approx([0.3] * 24)


def test_published_weights_by_our_protocol_where_the_record_has_that(tmp_path):
    facts = member()["published"]
    rows = [{}, {"p1_set5_estimated_db": 30.5}, {"p1_set5_estimated_db": 30.5, "p1_set5_db": 30}]
    pool = made(tmp_path, [member(published=facts | more) for more in rows])
    assert [published(it, "Set5").psnr_db for it in pool.members] == [31.0, 30.5, 30.0]
    assert {published(it, "B100").psnr_db for it in pool.members} == {28.0}


def test_members_without_a_figure_are_not_in_the_plot(tmp_path):
    pool = made(tmp_path, [member(), member(size=2, speed={}), member(size=3, quality={})])
    assert our_points(pool.members, TIME, "Set5").pairs == [(4.0, 31.3)]


def test_budgets_go_from_the_first_that_both_fit_to_the_end_of_our_front(pool):
    rows = list(best_by_budget(pool, 2, "Set5"))
    assert (len(rows), rows[0].cost, rows[-1].cost) == (10, 4.0, 8.0)
    assert (rows[0].ours, rows[-1].ours, rows[-1].theirs) == ("espcn_1_x2", "espcn_3_x2", "espcn_3_x2")
    assert all(row.psnr_db - row.published_db == pytest.approx(0.3) for row in rows)


def test_the_published_best_may_be_a_network_that_was_not_trained_here(tmp_path):
    slow, quick = member(size=3), member(size=2, quality={})
    rows = list(best_by_budget(made(tmp_path, [slow, quick]), 2, "Set5"))
    assert {row.theirs for row in rows} == {"espcn_3_x2"}  # below 8 ms there is none of ours to compare
    assert list(best_by_budget(made(tmp_path, [quick, member(scale=3)]), 2, "Set5")) == []


def test_without_times_arithmetic_stands_for_them(tmp_path):
    pool = made(tmp_path, [member(size=size, speed={}) for size in (1, 2)])
    assert main_axis(pool).text == "arithmetic for 1280x720"
    assert [row.cost for row in best_by_budget(pool, 2, "Set5")][:: BUDGETS - 1] == [10**7, 2 * 10**7]


def test_unknown_families_are_shown_as_others(tmp_path):
    assert [row.family for row in rows_of(made(tmp_path, [member("new")]), "Set5")] == ["other"]
    assert len(members()) == 25
