import pytest

from tests.report.folder import make_records, write
from thinlens.errors import RecordError
from thinlens.report.memory import PLAIN, Point, read_points
from thinlens.report.records import Records

STREAM = {"width": 1000, "height": 2000, "peak_over_bare": 5}


def test_every_record_gives_points_in_order(tmp_path):
    make_records(tmp_path)
    write(tmp_path, "memory.json", {"streams": [STREAM], "onnxruntime": {"peak_over_bare": 70}})
    write(tmp_path, "drn_speed.json", [{"network": "drn", "size": "96x48", "memory": {"engine": 7, "openvino": 9}}])
    assert read_points(Records(tmp_path)) == [
        Point(PLAIN, "ONNX Runtime, whole image", 2.0736, 70, "memory"),
        Point(PLAIN, "thinlens, row by row", 2.0, 5, "memory"),
        Point("Line plain", "thinlens, row by row", 2.0736, 19_200_000, "line_dl_memory"),
        Point("Line plain", "thinlens, row by row", 8.2944, 38_400_000, "line_dl_memory"),
        Point("plain", "thinlens restore, in bands", 100.0, 10**8, "huge"),
        Point("drn", "OpenVINO, whole image", 0.004608, 9, "drn_speed"),
        Point("drn", "thinlens, whole image", 0.004608, 7, "drn_speed"),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory.json", {"streams": [STREAM | {"width": 0}], "onnxruntime": {"peak_over_bare": 70}}),
        ("line_dl_memory.json", {"streams": []}),
        ("drn_speed.json", [{"network": "drn", "size": "large", "memory": {"engine": 7}}]),
        ("huge.json", {"model": "a"}),
        ("bench/memory.json", {"kind": "memory"}),
    ],
)
def test_a_damaged_record_is_named(tmp_path, name, value):
    write(tmp_path, name, value)
    with pytest.raises(RecordError, match=f"{name}`: damaged"):
        read_points(Records(tmp_path))
