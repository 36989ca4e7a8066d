"""Sessions: kinds and dtypes in and out, colour, alpha, bands, threads."""

import dataclasses
import gc

import msgspec
import numpy as np
import pytest

from tests import plans
from tests.conftest import template_matching_model
from thinlens.errors import ModelError, ShapeError, UnknownNameError
from thinlens.image.colour import luma
from thinlens.image.resample import resize
from thinlens.model import ops
from thinlens.model.file import Model, write_model
from thinlens.runtime import library
from thinlens.runtime import native as native_module
from thinlens.runtime import session as session_module
from thinlens.runtime.session import Session, open_model


def picture(height, width, channels=0, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((height, width, channels) if channels else (height, width), np.float32)
    if dtype == np.float32:
        return image
    return (image * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 13), (9, 1), (6, 7)], ids=str)
def test_kind_and_dtype_are_kept(model, backend, size, channels, dtype):
    restored = Session(model).run(picture(*size, channels, dtype))
    assert restored.shape == (size[0] * 2, size[1] * 2, *([channels] if channels else []))
    assert restored.dtype == dtype


def test_gray_is_the_network_alone(model, reference):
    from thinlens.runtime.reference.rows import run_rows

    image = picture(8, 9, dtype=np.float32)
    expected = run_rows(model.plan, model.tensors, (0, image[None]), (8, 9), (0, 16))[0].clip(0, 1)
    assert np.array_equal(Session(model).run(image), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("name", ["edge_sr_max_k3_c1_x3", "edge_sr_tr_k5_c4_x2", "espcn_d16_s32_x4"])
def test_the_engine_agrees_with_the_reference(monkeypatch, native, name, channels, dtype):
    """Within 1e-4 where floats come out; integers may then round the other way."""
    image = picture(19, 33, channels, dtype)
    image[:9, 5:20] = image[0, 0]
    by_engine = open_model(name).run(image).astype(np.float64)
    monkeypatch.setenv("THINLENS_ISA", "reference")
    by_reference = open_model(name).run(image).astype(np.float64)
    levels = {np.uint8: 1, np.uint16: 1 + 1e-4 * 65535, np.float32: 1e-4}
    assert np.abs(by_engine - by_reference).max() <= levels[dtype]


def test_colour_is_luma_by_the_network_and_chroma_by_bicubic(model, backend):
    smooth = resize(picture(3, 3, 3, np.float32) * 0.4 + 0.3, 12, 12)
    restored = Session(model).run(smooth)
    by_network = Session(model).run(luma(smooth))
    assert np.abs(luma(restored) - by_network).max() < 1e-5
    chroma = restored[..., 2] - luma(restored)
    expected = resize(np.ascontiguousarray(smooth[..., 2] - luma(smooth)), 24, 24)
    assert np.abs(chroma - expected).max() < 1e-5


def test_gray_as_colour_stays_gray(model, backend):
    gray = picture(7, 8)
    restored = Session(model).run(np.dstack([gray] * 3))
    assert np.ptp(restored.astype(int), axis=2).max() == 0
    assert np.array_equal(restored[..., 0], Session(model).run(gray))


def test_alpha_goes_its_own_way(model, backend):
    image = picture(8, 8, 4)
    image[..., 3] = 255
    image[:, 4:, 3] = 0
    restored = Session(model).run(image)
    assert np.all(restored[:, :6, 3] == 255)
    assert np.all(restored[:, 10:, 3] == 0)
    hidden = image.copy()
    hidden[:, 4:, :3] = 0  # what lies under transparent pixels must not show at the edge
    assert np.array_equal(Session(model).run(hidden)[:, :8], restored[:, :8])


@pytest.mark.parametrize("channels", [0, 3, 4])
def test_threads_change_nothing(model, native, channels):
    image = picture(137, 23, channels)
    whole = Session(model, threads=1).run(image)
    for threads in (2, 3, 200):
        assert np.array_equal(Session(model, threads=threads).run(image), whole)


@pytest.mark.parametrize("channels", [0, 3, 4])
def test_views_are_restored_as_their_copies(model, backend, channels):
    image = picture(20, 30, channels)
    views = [image[::-1, ::2], np.asfortranarray(image), image.swapaxes(0, 1)]
    for view in views:
        assert np.array_equal(Session(model).run(view), Session(model).run(view.copy(order="C")))


@pytest.mark.parametrize("channels", [0, 3, 4])
def test_bands_and_threads_change_nothing_in_the_reference(model, reference, monkeypatch, channels):
    image = picture(37, 23, channels)
    whole = Session(model, threads=1).run(image)
    monkeypatch.setattr(session_module, "BAND_BYTES", 1)
    assert Session(model, threads=1).band_rows(23) == 2
    assert np.array_equal(Session(model, threads=1).run(image), whole)
    assert np.array_equal(Session(model, threads=3).run(image), whole)


def test_progress_counts_output_rows_of_the_reference(model, reference, monkeypatch):
    monkeypatch.setattr(session_module, "BAND_BYTES", 1)
    seen = []
    Session(model).run(picture(3, 4), progress=lambda done, rows: seen.append((done, rows)))
    assert seen == [(2, 6), (4, 6), (6, 6)]


def test_an_interrupt_ends_the_run(model, backend, monkeypatch):
    monkeypatch.setattr(session_module, "BAND_BYTES", 1)

    def stop(done, rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Session(model).run(picture(50, 4), progress=stop)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 4), np.uint8), "not empty"),
        (np.zeros((4, 4, 5), np.uint8), "`H W 4`"),
        (np.zeros((2, 4, 4, 3), np.uint8), "`H W 4`"),
        (np.zeros((4, 4), np.float64), "float64; accepted uint8"),
        (np.full((4, 4), np.nan, np.float32), "value range"),
        (np.full((4, 4), np.inf, np.float32), "value range"),
        (np.full((4, 4), 1.5, np.float32), "value range"),
    ],
)
def test_bad_arrays(model, backend, image, message):
    with pytest.raises(ShapeError, match=message):
        Session(model).run(image)


def test_threads_must_be_positive(model):
    with pytest.raises(ShapeError, match="threads: got 0"):
        Session(model, threads=0)


def test_open_model_takes_paths_and_names(model, tmp_path):
    path = tmp_path / "mine.safetensors"
    write_model(path, model)
    assert open_model(path).card == model.card
    with pytest.raises(ModelError, match="cannot be read"):
        open_model(tmp_path / "other.safetensors")
    with pytest.raises(UnknownNameError, match="`thinlens models` lists all"):
        open_model("edge_sr_nothing")


def test_describe_says_what_runs(model, reference):
    described = Session(template_matching_model(3), threads=2).describe()
    assert described["backend"] == "NumPy reference (THINLENS_ISA=reference)"
    assert (described["halo_rows_above"], described["halo_rows_below"], described["threads"]) == (2, 2, 2)


def test_denoisers_take_noise_that_leaves_the_range(model, backend):
    noisy = picture(5, 5, dtype=np.float32) * 3 - 1
    with pytest.raises(ShapeError, match=r"within 0\.\.1"):
        Session(model).run(noisy)
    card = msgspec.structs.replace(model.card, task="denoise")
    assert Session(dataclasses.replace(model, card=card)).run(noisy).max() <= 1
    with pytest.raises(ShapeError, match="value range"):
        Session(dataclasses.replace(model, card=card)).run(noisy * 100)


def test_absurd_weights_are_an_error_and_not_a_warning(model, backend):
    model.tensors["filter.weight"][:] = 3e38
    model.tensors["filter.weight"][:8] *= -1
    with pytest.raises(ModelError, match="not a number"):
        Session(model).run(picture(5, 5))


def model_of(plan, scale):
    card = msgspec.structs.replace(template_matching_model(scale).card, task="sr" if scale > 1 else "denoise")
    return Model({"main": plan}, plans.tensors_of(plan), card)


KINDS_OF_PLAN = {
    "attention": (plans.attention_plan(), 1),
    "bands": (plans.bands_plan(), 2),
    "branches": (plans.branches_plan(), 2),
    "whole_image": (plans.whole_image_plan(), 1),
}


@pytest.mark.parametrize("kind", KINDS_OF_PLAN)
def test_every_kind_of_plan_is_read_back_and_runs_in_bands_of_the_reference(kind, reference, tmp_path, monkeypatch):
    plan, scale = KINDS_OF_PLAN[kind]
    write_model(tmp_path / "m.safetensors", model_of(plan, scale))
    session = open_model(tmp_path / "m.safetensors", threads=2)
    image = picture(31, 17, 3)
    whole = session.run(image)
    assert whole.shape == (31 * scale, 17 * scale, 3)
    monkeypatch.setattr(session_module, "BAND_BYTES", 1)
    assert np.array_equal(session.run(image), whole)


@pytest.mark.parametrize("size", [(15, 15), (31, 17), (64, 33)], ids=str)
@pytest.mark.parametrize("kind", KINDS_OF_PLAN)
def test_every_kind_of_plan_gives_the_same_in_the_engine(kind, size, native, monkeypatch):
    model, image = model_of(*KINDS_OF_PLAN[kind]), picture(*size, dtype=np.float32)
    session = Session(model, threads=2)
    assert str(session.describe()["backend"]).startswith("native engine")
    by_engine = session.run(image)
    monkeypatch.setenv(library.VARIABLE, library.REFERENCE)
    assert np.abs(Session(model).run(image) - by_engine).max() < 1e-5


def test_describe_does_not_guess_what_depends_on_the_height():
    described = Session(model_of(plans.attention_plan(), 1)).describe()
    assert (described["halo_rows_above"], described["halo_rows_below"]) == (None, None)


@pytest.mark.parametrize("isa", library.isa_names())
def test_describe_names_the_instruction_set(model, monkeypatch, isa):
    monkeypatch.setenv(library.VARIABLE, isa)
    assert Session(model).describe()["backend"] == f"native engine, {isa}"


def test_without_the_library_the_reference_runs_and_says_so_once(model, monkeypatch, caplog):
    monkeypatch.setattr(library, "why_missing", lambda: "it is gone")
    monkeypatch.setattr(native_module, "_said", set())
    monkeypatch.delenv(library.VARIABLE, raising=False)
    sessions = [Session(model), Session(model)]
    assert [s.describe()["backend"] for s in sessions] == ["NumPy reference (it is gone)"] * 2
    assert caplog.messages == ["thinlens: the slow NumPy reference runs: it is gone"]
    assert sessions[0].run(picture(4, 5)).shape == (8, 10)


def test_a_network_that_the_engine_does_not_take_runs_on_the_reference(model, native, monkeypatch, caplog):
    monkeypatch.setattr("thinlens.runtime.compile.OTHERS", {})
    monkeypatch.setattr("thinlens.runtime.compile.find_one_layer", lambda *_: None)
    monkeypatch.setattr(native_module, "_said", set())
    session = Session(model)
    assert session.run(picture(4, 5)).shape == (8, 10)
    reason = "node `shuffle`: the native engine has no op `pixel_shuffle`"
    assert session.describe()["backend"] == f"NumPy reference ({reason})"
    assert [reason in message for message in caplog.messages] == [True]


def test_an_unknown_instruction_set_is_an_error(model, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "mmx")
    with pytest.raises(UnknownNameError, match="unknown instruction set `mmx`"):
        Session(model)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_working_bytes_are_what_the_engine_takes(model, native, channels):
    session, image = Session(model, threads=2), picture(300, 200, 0 if channels == 1 else channels)
    expected = session.working_bytes(300, 200, channels=channels)
    gc.collect()
    library.engine().tl_allocated_reset()
    before = library.engine().tl_allocated()
    restored = session.run(image)
    peak = library.engine().tl_allocated_peak() - before
    copies = 3 if channels in (2, 4) else 1
    assert peak <= expected - copies * image.nbytes - restored.nbytes < 2 * peak


SMALL = [(1, 1), (1, 40), (2, 3), (14, 15), (15, 14), (9, 17), (16, 1)]


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("size", SMALL, ids=str)
def test_images_below_the_minimum_are_mirrored_and_cropped(size, channels, backend):
    """The attention's branch needs 15 pixels a side; any size gives exactly the scaled one."""
    session, image = Session(model_of(plans.attention_plan(), 1)), picture(*size, channels)
    restored = session.run(image)
    assert restored.shape == image.shape
    larger = [(0, max(0, 15 - side)) for side in size] + [(0, 0)] * (image.ndim - 2)
    by_hand = session.run(np.pad(image, larger, mode="reflect"))
    assert np.array_equal(restored, by_hand[: size[0], : size[1]])
    assert session.working_bytes(*size, channels=channels or 1) > 0


def test_sizes_that_are_no_multiple_are_enlarged_too(backend):
    plan = plans.plan_of(
        ("down", ops.PixelUnshuffle(scale=4), "input"),
        ("body", plans.conv((16, 64)), "down"),
        ("up", ops.PixelShuffle(scale=8), "body"),
    )
    session = Session(model_of(plan, 2))
    for size in [(1, 1), (7, 8), (9, 3)]:
        assert session.run(picture(*size)).shape == (2 * size[0], 2 * size[1])


def test_a_size_that_cannot_be_reached_is_an_error(backend):
    with pytest.raises(ShapeError, match=r"image: the network takes none of 3x2: node `crop`: `crop`: nothing is left"):
        Session(model_of(plans.plan_of(("crop", ops.Crop(top=4000), "input")), 1)).run(picture(2, 3))


@pytest.mark.parametrize("channels", [0, 3])
def test_a_network_on_another_range_gives_the_same(channels, backend):
    """Its first convolution and its bias are stretched with the pixels."""
    torn = [("a", plans.conv((1, 2), bias=True), "input"), ("b", plans.conv((2, 1), bias=True), "a")]
    unit = model_of(plans.plan_of(*torn), 1)
    unit.tensors["b.bias"] += 0.5
    tensors = {name: array.copy() for name, array in unit.tensors.items()}
    low, high = -16.0, 239.0
    total = tensors["a.weight"].sum(axis=(1, 2, 3))
    tensors["a.weight"] /= high - low
    tensors["a.bias"] -= total * low / (high - low)
    tensors["b.weight"] *= high - low
    tensors["b.bias"] = tensors["b.bias"] * (high - low) + low
    card = msgspec.structs.replace(unit.card, value_range=(low, high))
    ranged = Model(unit.plans, tensors, card)
    image = picture(9, 11, channels, np.float32)
    inside = np.s_[2:-2, 2:-2]  # zero padding is another gray in another range
    difference = np.abs(Session(ranged).run(image) - Session(unit).run(image))[inside]
    assert difference.max() < 1e-4
    assert Session(ranged).plan == unit.plan


@pytest.mark.parametrize("ends", [(0.0, 0.0), (1.0, 0.0), (0.0, float("nan")), (0.0, 1e30), (0.0, 1e-30)])
def test_a_range_that_is_none_is_refused(ends):
    model = template_matching_model()
    card = msgspec.structs.replace(model.card, value_range=ends)
    with pytest.raises(ModelError, match="value range"):
        dataclasses.replace(model, card=card).check()
