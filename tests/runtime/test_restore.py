"""Routes: which network runs, what bicubic does after it or instead of it, and what that takes."""

import tracemalloc

import msgspec
import numpy as np
import pytest

import thinlens
from tests.conftest import same_size_model, template_matching_model
from thinlens.degrade.estimate import standard_table
from thinlens.degrade.noise import gaussian_noise
from thinlens.errors import ShapeError, UnknownNameError
from thinlens.image.resample import resize
from thinlens.model.file import Model, write_model
from thinlens.runtime import restore as restore_module
from thinlens.runtime.restore import Restorer, Route, Wish, resample
from thinlens.runtime.session import Session


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A catalogue of an x2 and an x3 model."""
    for scale in (2, 3):
        write_model(tmp_path / f"x{scale}.safetensors", template_matching_model(scale))
    chosen = {("sr", scale): {"balanced": f"x{scale}"} for scale in (2, 3)}
    monkeypatch.setattr("thinlens.models.DEFAULTS", chosen)
    monkeypatch.setattr("thinlens.runtime.restore.DEFAULTS", chosen)
    monkeypatch.setattr("thinlens.models.FOLDER", tmp_path)
    return tmp_path


def picture(*shape, dtype=np.uint8):
    image = np.random.default_rng(0).random(shape, np.float32)
    return image if dtype == np.float32 else (image * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize(
    ("wish", "network", "target"),
    [
        (Wish(), 2, (20, 30)),
        (Wish(scale=3), 3, (30, 45)),
        (Wish(scale=2.5), 3, (25, 38)),
        (Wish(scale=1.001), 2, (10, 15)),
        (Wish(scale=1), None, (10, 15)),
        (Wish(scale=0.25), None, (2, 4)),
        (Wish(scale=0.001), None, (1, 1)),
        (Wish(size=(20, 30)), 2, (20, 30)),
        (Wish(size=(21, 30)), 3, (21, 30)),
        (Wish(size=(3, 16)), 2, (3, 16)),
        (Wish(size=(10, 15)), None, (10, 15)),
    ],
)
def test_the_next_larger_network_is_taken(models, wish, network, target):
    route = Restorer(wish).route(10, 15)
    assert (route.session and route.session.card.scale, route.target) == (network, target)
    assert route.run(picture(10, 15, 3)).shape == (*target, 3)


def test_a_named_model_makes_all_scales_up_to_its_own(models):
    path = str(models / "x3.safetensors")
    assert Restorer(Wish(model=path)).route(4, 5).target == (12, 15)
    assert Restorer(Wish(model=path, scale=2)).route(4, 5).session.card.scale == 3
    with pytest.raises(UnknownNameError, match=r"scale 3.5: model `.*` has scale 3; use one of a larger scale"):
        Restorer(Wish(model=path, scale=3.5))
    with pytest.raises(UnknownNameError, match="scale 4: model"):
        Restorer(Wish(model=path, size=(16, 5))).route(4, 5)


def test_networks_are_opened_once(models):
    restorer = Restorer(Wish(size=(8, 8)))
    assert restorer.route(4, 4).session is restorer.route(5, 5).session


@pytest.mark.parametrize(
    ("wish", "error", "message"),
    [
        (Wish(scale=3.01), UnknownNameError, "no model is shipped for task `sr`, scale 4"),
        (Wish(task="denoise"), UnknownNameError, "no model is shipped for task `denoise`, scale 1"),
        (Wish(task="denoise", sigma=25), UnknownNameError, "no model is shipped for task `denoise`"),
        (Wish(task="denoise", scale=2), UnknownNameError, "task `denoise` keeps the size"),
        (Wish(task="deblock", size=(9, 9)), UnknownNameError, "task `deblock` keeps the size"),
        (Wish(sigma=25), UnknownNameError, "`sigma` goes with task `denoise`; the task is `sr`"),
        (Wish(quality=25), UnknownNameError, "`quality` goes with task `deblock`; the task is `sr`"),
        (Wish(scale=2, size=(9, 9)), UnknownNameError, "give one of them"),
        (Wish(scale=0), ShapeError, "scale: got 0; accepted: a number above 0"),
        (Wish(scale=float("nan")), ShapeError, "scale: got nan"),
        (Wish(size=(0, 9)), ShapeError, "size: got 9x0"),
        (Wish(task="denoise", sigma=-1), ShapeError, "sigma: got -1; accepted: 0 to 255"),
        (Wish(task="deblock", quality=101), ShapeError, "quality: got 101; accepted: 1 to 100"),
    ],
)
def test_wishes_that_cannot_be_met(models, wish, error, message):
    with pytest.raises(error, match=message):
        Restorer(wish)


@pytest.fixture
def same_size(models, monkeypatch):
    """A catalogue of denoisers, for weak noise (the default), for strong, and for gray, and a deblocker."""
    made = (
        same_size_model("weak", "denoise", colour=3, sigma_range=(0.0, 20.0)),
        same_size_model("gray", "denoise", sigma_range=(0.0, 30.0)),
        same_size_model("strong", "denoise", colour=3, sigma_range=(10.0, 70.0)),
        same_size_model("blocks", "deblock", quality_range=(5, 90)),
    )
    for model in made:
        write_model(models / f"{model.card.name}.safetensors", model)
    chosen = {
        ("sr", 2): {"balanced": "x2"},
        ("denoise", 1): {"balanced": "weak"},
        ("deblock", 1): {"balanced": "blocks"},
    }
    monkeypatch.setattr("thinlens.models.DEFAULTS", chosen)
    monkeypatch.setattr("thinlens.runtime.restore.DEFAULTS", chosen)


@pytest.mark.parametrize(("sigma", "model"), [(0, "weak"), (20, "weak"), (21, "strong"), (70, "strong"), (71, "weak")])
def test_the_model_is_chosen_by_what_it_was_trained_on(same_size, sigma, model):
    restorer = Restorer(Wish(task="denoise", sigma=sigma))
    strength = restorer.strength(picture(9, 9, 3))
    route = restorer.route(9, 9, strength)
    assert route.session.card.name == model
    assert (route.strength.value, route.strength.estimated) == (sigma, False)
    assert restorer.route(9, 9).session.card.name == "weak"  # before the image is known


def test_gray_images_get_a_model_of_their_own(same_size):
    for sigma in (5, 25, 60):
        restorer = Restorer(Wish(task="denoise", sigma=sigma))
        assert restorer.route(9, 9, restorer.strength(picture(9, 9)), gray=True).session.card.name == "gray"
    image = np.dstack((picture(9, 9), np.full((9, 9), 255, np.uint8)))
    np.testing.assert_array_equal(thinlens.restore(image, task="denoise", sigma=5), image)
    restorer = Restorer(Wish(task="deblock"))
    assert {restorer.route(9, 9, gray=gray).session.card.name for gray in (True, False)} == {"blocks"}


def test_without_being_given_the_noise_is_estimated(same_size):
    flat = np.full((128, 128, 3), 0.5, np.float32)
    restorer = Restorer(Wish(task="denoise"))
    for sigma, model in ((8, "weak"), (40, "strong")):
        lq = gaussian_noise(flat, sigma, seed=0)
        strength = restorer.strength(lq)
        assert (strength.value, strength.estimated) == (pytest.approx(sigma, rel=0.05), True)
        assert restorer.route(128, 128, strength).session.card.name == model


def test_quality_is_read_from_the_table_that_the_file_had(same_size):
    restorer, image = Restorer(Wish(task="deblock")), picture(9, 9, 3)
    assert restorer.strength(image, tuple(standard_table(40))).value == 40
    assert restorer.strength(image).value is None
    assert Restorer(Wish(task="deblock", quality=7)).strength(image, tuple(standard_table(40))).value == 7
    assert Restorer(Wish()).strength(image) is None


def test_python_tells_in_the_log_what_lies_outside(same_size, caplog):
    image = picture(32, 32, 3)
    with caplog.at_level("WARNING", "thinlens"):
        np.testing.assert_array_equal(thinlens.restore(image, task="denoise", sigma=5), image)
        thinlens.restore(image, task="deblock")
        assert not caplog.records
        thinlens.restore(image, task="denoise", sigma=200)
        thinlens.restore(image, task="deblock", quality=95)
    assert "sigma 200, as given; outside of 0 to 20, which model `weak` was trained on" in caplog.records[0].message
    assert "quality 95, as given; outside of 5 to 90" in caplog.records[1].message


def test_a_decimal_scale_is_the_network_and_then_bicubic(models):
    image = picture(11, 13, dtype=np.float32)
    expected = resize(Session(template_matching_model(3)).run(image), 28, 32)
    np.testing.assert_array_equal(thinlens.restore(image, scale=2.5), expected.clip(0, 1))


def test_whole_scales_are_the_network_alone(models):
    image = picture(6, 7, 4)
    np.testing.assert_array_equal(thinlens.restore(image, scale=2), Session(template_matching_model(2)).run(image))
    assert Restorer(Wish(scale=2)).route(6, 7).note is None


def test_shrinking_is_bicubic_alone(models):
    image = picture(20, 30, 3, dtype=np.float32)
    np.testing.assert_array_equal(thinlens.restore(image, scale=0.3), resize(image, 6, 9).clip(0, 1))


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 2), (40, 50, 3), (40, 50, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bands_and_threads_change_nothing(monkeypatch, shape, dtype):
    image = picture(*shape, dtype=dtype)
    whole = resample(image, (33, 61), 1)
    assert (whole.shape, whole.dtype) == ((33, 61, *shape[2:]), dtype)
    monkeypatch.setattr(restore_module, "BAND_VALUES", 700)
    np.testing.assert_array_equal(resample(image, (33, 61), 3), whole)


def test_hidden_colour_does_not_bleed_into_what_is_visible():
    image = np.zeros((64, 64, 4), np.uint8)
    image[:, :32] = 200, 100, 50, 255
    image[:, 32:, :3] = 0, 255, 0
    small = Route(None, (64, 64), (2, 2), 1).run(image)
    assert np.abs(small[:, 0, :3].astype(int) - (200, 100, 50)).max() <= 1
    assert image[0, 63].tolist() == [0, 255, 0, 0]


@pytest.mark.parametrize(
    ("scale", "channels"), [(2.5, 3), (1.2, 1), (0.5, 3), (0.05, 3), (0.1, 4)], ids=lambda value: f"{value}"
)
def test_what_a_run_takes_is_foreseen(models, reference, monkeypatch, scale, channels):
    """Half a megapixel, in bands small enough to count: the estimate is neither exceeded by much nor far above."""
    monkeypatch.setattr("thinlens.runtime.session.BAND_BYTES", 1 << 20)
    monkeypatch.setattr(restore_module, "BAND_VALUES", 1 << 16)
    image = np.full((500, 1000) if channels == 1 else (500, 1000, channels), 9, np.uint8)
    route = Restorer(Wish(scale=scale), threads=1).route(500, 1000)
    tracemalloc.start()
    route.run(image)
    peak = tracemalloc.get_traced_memory()[1] + image.nbytes
    tracemalloc.stop()
    assert 0.5 * peak < route.working_bytes(channels=channels) < 2 * peak


def test_progress_counts_both_steps(models, backend):
    seen = []
    Restorer(Wish(scale=2.5)).route(10, 10).run(picture(10, 10), progress=lambda *step: seen.append(step))
    assert seen == sorted(seen)
    assert seen[-2:] == [(30, 55), (55, 55)]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 3), np.int32), "image: got"),
        (np.zeros((0, 3), np.uint8), "image: got"),
        (np.full((3, 3), 1.5, np.float32), "value range"),
        (np.full((3, 3), np.nan, np.float32), "value range"),
    ],
)
@pytest.mark.parametrize("scale", [2, 0.5])
def test_images_are_checked(models, image, message, scale):
    with pytest.raises(ShapeError, match=message):
        thinlens.restore(image, scale=scale)


def test_denoisers_take_noise_that_was_not_clipped(tmp_path):
    model = template_matching_model(1)
    card = msgspec.structs.replace(model.card, task="denoise")
    write_model(tmp_path / "dn.safetensors", Model(model.plans, model.tensors, card))
    noisy = picture(9, 9, dtype=np.float32) * 1.5 - 0.2
    restored = thinlens.restore(noisy, task="denoise", model=str(tmp_path / "dn.safetensors"))
    assert (restored.shape, restored.dtype) == ((9, 9), np.float32)
