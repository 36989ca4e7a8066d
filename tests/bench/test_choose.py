import itertools
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from tests.conftest import same_size_model, template_matching_model
from thinlens.bench import choose as choosing
from thinlens.bench.choose import Promise, choose, find_candidates, make_image, measure_seconds, validated_db
from thinlens.errors import UnknownNameError
from thinlens.model.card import Measurement
from thinlens.model.file import write_model
from thinlens.models import list_models
from thinlens.runtime.compile import ImageKind


class Clock:
    """A model that takes ``each`` second a row, by a clock of its own, with rows that threads make twice.

    Every fifth run is held up.
    """

    def __init__(self, monkeypatch, each, threads=1, halo=3):
        self.now, self.threads, self.rows = 0.0, threads, []
        self._halo, self._each = halo, each
        self._held = itertools.cycle([1, 1, 1, 1, 50])
        monkeypatch.setattr(choosing, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def describe(self):
        return {"halo_rows_above": None, "halo_rows_below": self._halo}

    def cost(self, rows):
        return self._each * (rows + (self.threads - 1) * self._halo)

    def run(self, image):
        self.rows.append(len(image))
        self.now += self.cost(len(image)) * next(self._held)


def image(rows):
    return np.empty((rows, 4), np.uint8)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(("each", "rows"), [(1e-5, 540), (1e-4, 2160), (0.1, 1000), (1.0, 5)])
def test_time_is_that_of_all_rows_whatever_part_of_them_runs(monkeypatch, threads, each, rows):
    session = Clock(monkeypatch, each, threads)
    assert measure_seconds(session, image(rows), 0.2) == pytest.approx(session.cost(rows))


def test_an_image_is_not_made_whole_to_be_told(monkeypatch):
    session = Clock(monkeypatch, 1e-3, threads=2)
    assert measure_seconds(session, image(300), 0.2, 90_000) == pytest.approx(session.cost(90_000))


def test_what_is_quick_runs_whole_and_what_is_slow_on_a_strip(monkeypatch):
    quick = Clock(monkeypatch, 1e-5)
    measure_seconds(quick, image(1000), 0.2)
    assert quick.rows[-1] == 1000
    slow = Clock(monkeypatch, 0.1, threads=4)
    measure_seconds(slow, image(1000), 0.2)
    assert slow.rows == [256] * 6  # 64 a thread, as often as need be
    middle = Clock(monkeypatch, 1e-4)
    measure_seconds(middle, image(1000), 0.2)
    assert 64 < middle.rows[-1] < 1000


def test_strips_are_not_shorter_than_the_engine_divides_well(monkeypatch):
    session = Clock(monkeypatch, 0.1, threads=2, halo=20)
    measure_seconds(session, image(1000), 0.1)
    assert min(session.rows) == 2 * 4 * 20


def test_images_of_every_kind():
    gray, colour = (make_image(6, 5, ImageKind(channels, "uint8")) for channels in (1, 3))
    deep = make_image(6, 5, ImageKind(3, "uint16"))
    assert (gray.shape, colour.shape, deep.dtype) == ((6, 5), (6, 5, 3), np.uint16)
    np.testing.assert_array_equal(deep, colour * np.uint16(257))
    assert gray.std() > 10


PROMISES = [
    Promise("small", 30.0, 0.001, 40_000_000),
    Promise("slow", 33.0, 0.05, 50_000_000),
    Promise("unknown", None, 0.002, 41_000_000),
    Promise("quick", 32.0, 0.01, 45_000_000),
    Promise("as good", 32.0, 0.009, 46_000_000),
]


@pytest.mark.parametrize(
    ("seconds", "memory_bytes", "pick"),
    [
        (None, None, "slow"),
        (0.02, None, "as good"),
        (0.05, 45_000_000, "quick"),
        (0.009, 46_000_000, "as good"),  # a budget that is met exactly is kept
        (0.0089, None, "small"),
        (0.0001, None, None),
        (None, 39_000_000, None),
    ],
)
def test_the_best_of_those_that_keep_the_limits(seconds, memory_bytes, pick):
    best = choose(PROMISES, seconds, memory_bytes)
    assert (best and best.name) == pick


def test_why_a_model_is_not_chosen():
    assert [promise.excess(0.02, 45_000_000) for promise in PROMISES] == [
        None,
        "too slow",
        "no figure",
        None,
        "too large",
    ]


def test_quality_is_the_mean_on_validation_images_over_rgb_where_that_was_measured():
    def measured(data, psnr_y_db, psnr_rgb_db=None):
        return Measurement(data=data, count=1, psnr_y_db=psnr_y_db, ssim_y=0.9, protocol="p", psnr_rgb_db=psnr_rgb_db)

    card = template_matching_model().card
    assert validated_db(card) is None
    figures = measured("Set5", 99), measured("val, sigma 15", 40, 33), measured("val, sigma 25", 39, 31)
    assert validated_db(msgspec.structs.replace(card, quality=figures)) == pytest.approx(32)
    assert validated_db(msgspec.structs.replace(card, quality=(*figures[:1], measured("val", 30)))) == 30


def names(*arguments, **kwargs):
    return set(find_candidates(*arguments, **{"gray": False, "threads": 1} | kwargs))


def test_candidates_are_the_shipped_models_of_task_scale_and_colours(tmp_path):
    shipped = {card.name for card in list_models() if (card.task, card.scale) == ("sr", 3)}
    assert names("sr", 3, []) == names("sr", 3, [], gray=True) == shipped != set()
    assert names("denoise", 1, []) == {"dncnn_d10_w16_denoise"}
    assert names("denoise", 1, [], gray=True) == {"dncnn_d8_w12_denoise_gray"}
    assert names("deblock", 1, [], gray=True) == {"dncnn_d10_w16_deblock"}  # there is none for luma
    own = tmp_path / "own.safetensors"
    write_model(own, same_size_model("own", "denoise"))
    assert names("denoise", 1, [str(own)]) == {"dncnn_d10_w16_denoise", str(own)}


def test_models_of_another_task_or_scale_are_refused(tmp_path):
    write_model(tmp_path / "x3.safetensors", template_matching_model(3))
    with pytest.raises(UnknownNameError, match=r"x3.safetensors` does sr x3; to choose is among models that do sr x2"):
        names("sr", 2, [str(tmp_path / "x3.safetensors")])
    with pytest.raises(UnknownNameError, match="no model is shipped for task `sr`, scale 8"):
        names("sr", 8, [])
