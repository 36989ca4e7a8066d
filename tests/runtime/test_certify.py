"""Consistency of a result with its image: what is measured, drawn and repaired."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tests import plans
from tests.conftest import template_matching_model
from thinlens.cli.checks import CERTIFY_BYTES
from thinlens.errors import ModelError
from thinlens.image.resample import resize, resize_uint8
from thinlens.metrics.psnr import psnr_db
from thinlens.model.dual import downward, is_dual, source_of, target_of
from thinlens.model.ops import Conv2d
from thinlens.runtime import certify as module
from thinlens.runtime.certify import DualDown, certify, heat_of
from thinlens.runtime.reference.rows import run_rows
from thinlens.runtime.restore import band_bytes

MODEL = template_matching_model(4)


def picture(*shape, dtype=np.uint8):
    image = np.random.default_rng(0).random(shape, np.float32)
    return image if dtype == np.float32 else (image * np.iinfo(dtype).max).astype(dtype)


def halving(name, channels, gain=1.0):
    """A dual map that takes the mean of 2x2 pixels, times a gain; its plan and tensors."""
    op = Conv2d(in_channels=channels, out_channels=channels, kernel=(2, 2), stride=2, groups=channels)
    plan = plans.plan_of((name, op, "input"), input_channels=channels)
    return plan, {tensor: np.full((channels, 1, 2, 2), gain / 4, np.float32) for tensor in plan.tensor_names()}


def with_duals(model, *names, channels=1, gain=1.0):
    made = {name: halving(name, channels, gain) for name in names}
    tensors = {name: array for _, own in made.values() for name, array in own.items()}
    return replace(
        model, plans=model.plans | {name: plan for name, (plan, _) in made.items()}, tensors=model.tensors | tensors
    )


def test_names_of_dual_maps():
    names = ["main", "dual1", "dual10", "dual2", "dualx", "scale2"]
    assert [name for name in names if is_dual(name)] == ["dual1", "dual10", "dual2"]
    assert downward(names) == ["dual10", "dual2", "dual1"]
    assert downward(["main", "dual"]) == ["dual"]
    assert [source_of(name, 3) for name in ("dual", "dual1", "dual3")] == [3, 2, 8]
    assert [target_of(name) for name in ("dual", "dual1", "dual3")] == [1, 1, 4]


def test_the_figures_are_those_of_bicubic_on_the_whole_image():
    lq, restored = picture(9, 7, 3), picture(36, 28, 3)
    found = certify(lq, restored, MODEL, "report")
    brought = resize(restored / np.float64(255), 9, 7)
    departure = lq / 255 - brought
    assert found.image is restored
    assert (found.before, found.after.by) == (None, "bicubic")
    assert found.after.psnr_db == pytest.approx(psnr_db(brought, lq / 255, peak=1.0), abs=1e-3)
    assert found.after.max_abs == pytest.approx(255 * np.abs(departure).max(), abs=1e-3)
    assert found.heat.shape == (9, 7, 3)


@pytest.mark.parametrize("shape", [(8, 11), (8, 11, 2), (8, 11, 3), (8, 11, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_repair_brings_a_result_back_to_its_image(shape, dtype):
    lq, restored = picture(*shape, dtype=dtype), picture(32, 44, *shape[2:], dtype=dtype)
    restored = (restored.astype(np.float64) * 0.5).astype(dtype) + restored.dtype.type(0.25 * (restored.max() or 1))
    lq = (lq.astype(np.float64) * 0.25).astype(dtype) + lq.dtype.type(0.4 * lq.max())
    before = restored.copy()
    found = certify(lq, restored, MODEL, "repair")
    assert (found.image.shape, found.image.dtype) == (restored.shape, dtype)
    assert found.before is not None
    assert found.after.psnr_db > found.before.psnr_db + 15
    np.testing.assert_array_equal(restored, before)
    if shape[2:] in ((2,), (4,)):
        np.testing.assert_array_equal(found.image[..., -1], restored[..., -1])
    again = certify(lq, found.image, MODEL, "report")
    assert again.after == found.after


def test_repair_takes_a_network_nearer_to_the_truth():
    """The truth itself is consistent, so that the nearest consistent image is nearer to it: so too here."""
    rng = np.random.default_rng(1)
    truth = resize_uint8(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), 64, 64)
    lq = resize_uint8(truth, 16, 16)
    assert certify(lq, truth, MODEL, "report").after.max_abs < 0.51  # rounding
    off = np.clip(truth.astype(int) + resize_uint8(rng.integers(0, 60, (16, 16, 3), dtype=np.uint8), 64, 64), 0, 255)
    wrong = off.astype(np.uint8)
    repaired = certify(lq, wrong, MODEL, "repair").image
    assert psnr_db(repaired, truth) > psnr_db(wrong, truth) + 6


def test_bands_and_threads_change_nothing(monkeypatch):
    lq, restored = picture(40, 30, 3), picture(160, 120, 3)
    for model in (MODEL, with_duals(MODEL, "dual1", "dual2")):
        whole = certify(lq, restored, model, "repair", by="dual")
        monkeypatch.setattr("thinlens.runtime.restore.BAND_VALUES", 4000)
        cut = certify(lq, restored, model, "repair", threads=3, by="dual")
        monkeypatch.undo()
        np.testing.assert_array_equal(cut.image, whole.image)
        np.testing.assert_array_equal(cut.heat, whole.heat)
        assert cut.after == whole.after


def test_dual_maps_lead_down_one_after_the_other():
    model = with_duals(MODEL, "dual1", "dual2")
    image = picture(20, 12, 1, dtype=np.float32)
    down = DualDown(model, (20, 12), (5, 3))
    assert down.input_rows(1, 3) == (4, 12)
    middle = run_rows(model.plans["dual2"], model.tensors, (0, image.transpose(2, 0, 1)), (20, 12), (0, 10))
    small = run_rows(model.plans["dual1"], model.tensors, (0, middle), (10, 6), (0, 5)).transpose(1, 2, 0)
    np.testing.assert_array_equal(down.rows(image, 0, 0, 5), small)
    np.testing.assert_array_equal(down.rows(image[4:12], 4, 1, 3), small[1:3])
    np.testing.assert_allclose(small[..., 0], image.reshape(5, 4, 3, 4).mean((1, 3)), atol=1e-6)


def test_a_dual_map_is_used_in_reports_at_its_own_scale_alone():
    model = with_duals(MODEL, "dual1", "dual2")
    assert certify(picture(5, 6), picture(20, 24), model, "report").after.by == "dual"
    assert certify(picture(5, 6), picture(15, 18), model, "report").after.by == "bicubic"
    assert certify(picture(5, 6), picture(20, 24), model, "repair").after.by == "bicubic"


@pytest.mark.parametrize(("channels", "shape"), [(1, (5, 6, 3)), (3, (5, 6)), (3, (5, 6, 2)), (1, (5, 6, 4))])
def test_maps_of_other_colours_see_luma_or_gray_repeated(channels, shape):
    plan, tensors = plans.plan_of(("a", plans.conv((1, 1)), "input")), {}
    if channels == 3:
        op = Conv2d(in_channels=3, out_channels=3, kernel=(1, 1))
        plan = plans.plan_of(("a", op, "input"), input_channels=3)
    tensors = plans.tensors_of(plan)
    model = with_duals(replace(MODEL, plans={"main": plan}, tensors=tensors), "dual1", "dual2", channels=channels)
    lq = (picture(*shape) // 8) + np.uint8(100)
    restored = (picture(20, 24, *shape[2:]) // 8) + np.uint8(90)
    found = certify(lq, restored, model, "repair", by="dual")
    assert found.after.by == "dual"
    assert found.after.psnr_db > found.before.psnr_db + 6
    if shape[2:] == (3,):  # luma alone is moved: the colours of a pixel keep their differences
        moved = found.image.astype(int) - restored
        assert np.ptp(moved, axis=2).max() <= 1


def test_maps_that_lead_elsewhere_are_refused():
    with pytest.raises(ModelError, match=r"its dual maps end at \(10, 12\); accepted: \(5, 6\)"):
        certify(picture(5, 6), picture(20, 24), with_duals(MODEL, "dual1"), "report")
    with pytest.raises(ModelError, match=r"`dual2` does not map 1 channels to as many"):
        certify(picture(5, 6), picture(20, 24), with_duals(MODEL, "dual1", "dual2", channels=3), "report")


def test_what_agrees_has_no_figure_in_a_record():
    lq = np.full((3, 4), 100, np.uint8)
    found = certify(lq, np.full((6, 8), 100, np.uint8), with_duals(template_matching_model(2), "dual1"), "report")
    assert math.isinf(found.after.psnr_db)
    assert found.facts() == {"by": "dual", "psnr_db": None, "max_abs": 0.0}
    assert found.describe() == "consistent to the last level, at most 0.0 levels off, by dual"


def test_the_picture_runs_from_black_over_red_and_yellow_to_white():
    levels = np.array([0, 16 / 3, 32 / 3, 16, 99], np.float32)
    departure = np.stack([-levels / 255, levels / 510], axis=1)[None]
    colours = [(0, 0, 0), (255, 0, 0), (255, 255, 0), (255, 255, 255), (255, 255, 255)]
    np.testing.assert_array_equal(heat_of(departure)[0], colours)
    assert module.FULL_LEVELS == 16


def test_memory_beside_the_result_is_that_of_the_input():
    """A copy of the result, four floats a colour of the input, and bands."""
    lq = picture(300, 400, 3)
    restored = np.repeat(np.repeat(lq, 4, 0), 4, 1)
    tracemalloc.start()
    try:
        certify(lq, restored, MODEL, "repair")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < restored.nbytes + CERTIFY_BYTES * 300 * 400 + band_bytes((300, 400), (1200, 1600), 3)
