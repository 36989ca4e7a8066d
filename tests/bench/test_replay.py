import msgspec
import pytest

from tests.bench.records import memory_record, speed_record, speed_result
from tests.conftest import template_matching_model
from thinlens.bench.records import SpeedSettings
from thinlens.bench.replay import compare, measure_again
from thinlens.bench.speed import measure_speed
from thinlens.bench.subjects import Opened
from thinlens.errors import RecordError
from thinlens.model.file import write_model


def test_speed_falls_with_the_ratio_and_memory_with_the_inverse_of_the_peak():
    then, now = speed_record(speed_result(ratio=2.0), speed_result("ncnn")), speed_record(speed_result(ratio=1.5))
    first, second = compare(then, now)
    assert (first.against, first.then, first.now, first.ratio) == ("ort", 2.0, 1.5, 0.75)
    assert (second.against, second.now, second.ratio) == ("ncnn", None, 0.0)
    (change,) = compare(memory_record(1000), memory_record(2000))
    assert (change.against, change.then, change.now, change.ratio) == ("rows", 1000, 2000, 0.5)


def test_a_record_is_measured_again(native, tmp_path):
    path = tmp_path / "a.safetensors"
    model = template_matching_model(2)
    write_model(path, model)
    then = measure_speed([Opened(str(path), model)], SpeedSettings(width=32, height=24, against=("pillow",), pairs=10))
    now = measure_again(then)
    assert (now.settings, now.models, len(now.results[0].ms)) == (then.settings, then.models, 10)
    assert [change.now for change in compare(then, now)] == [now.results[0].ratio]


def test_a_record_of_other_weights_is_refused():
    record = msgspec.structs.replace(speed_record(), failures=())
    with pytest.raises(RecordError, match="`plain_d1_w4`: plan or weights have sha256"):
        measure_again(record)
