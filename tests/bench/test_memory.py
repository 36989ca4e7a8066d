import sys

import pytest

from tests.plans import tensors_of, whole_image_plan
from thinlens.bench import subjects
from thinlens.bench.memory import measure_fresh, measure_memory
from thinlens.bench.records import MemorySettings
from thinlens.errors import UnknownNameError, UnsupportedOpError
from thinlens.model.file import Model, write_model

pytestmark = [
    pytest.mark.usefixtures("native"),
    pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc"),
]


def test_rows_stay_below_what_was_told_before_and_far_below_the_whole_image():
    told = []
    settings = MemorySettings(width=500, height=600, against=("ort", "ort_bands"))
    models = [subjects.open_subject("plain_d1_w16", 0)]
    record = measure_memory(models, settings, lambda *bound: told.append(bound))
    rows, whole, bands = record.results
    assert [result.way for result in record.results] == ["rows", "ort", "ort_bands"]
    assert told == [("plain_d1_w16", "rows", rows.bound)]
    assert 0 < rows.peak <= rows.bound
    assert rows.peak < bands.peak < whole.peak
    assert record.bare > 1e6
    assert record.failures == ()


def test_a_network_that_needs_the_whole_image_gets_it_and_has_no_bands():
    plan = whole_image_plan()
    model = Model({"main": plan}, tensors_of(plan), subjects._card("gate", plan, 0))
    record = measure_memory(
        [subjects.Opened("gate", model)], MemorySettings(width=40, height=30, against=("ort_bands",))
    )
    (result,) = record.results
    assert (result.way, result.peak <= result.bound) == ("whole", True)
    (failure,) = record.failures
    assert "it has no exact bands" in failure.error


def test_unknown_peers_list_what_there_is():
    with pytest.raises(UnknownNameError, match="`--against` accepts here: ort, ort_bands, openvino"):
        measure_memory([], MemorySettings(width=4, height=4, against=("ncnn",)))


def test_a_process_that_fails_is_told_with_its_last_words(tmp_path):
    with pytest.raises(UnsupportedOpError, match=r"`rows` ended with 1: .*cannot be read"):
        measure_fresh("rows", tmp_path / "nothing.safetensors", 4, 4)


def test_a_network_that_must_know_the_height_streams_all_the_same(tmp_path):
    path = tmp_path / "a.safetensors"
    write_model(path, subjects.open_subject("rfn_rfb1_w4_x2", 0).model)
    assert measure_fresh("rows", path, 40, 50)["rows"] == 100
