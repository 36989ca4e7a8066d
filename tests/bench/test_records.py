import json

import msgspec
import pytest

from tests.bench.records import memory_record, speed_record, speed_result
from thinlens.bench.records import VERSION, read_record, write_record
from thinlens.errors import OutputError, RecordError


@pytest.mark.parametrize("record", [speed_record(), memory_record()])
def test_a_record_is_read_as_it_was_written(tmp_path, record):
    path = tmp_path / "record.json"
    write_record(path, record)
    assert read_record(path) == record
    stored = json.loads(path.read_text())
    assert (stored["version"], stored["kind"]) == (VERSION, type(record).__name__.removesuffix("Record").lower())
    with pytest.raises(OutputError, match="exists"):
        write_record(path, record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": VERSION + 1}, "not a record of version 1 or older"),
        ({"kind": "energy"}, "energy"),
        ({"results": 3}, "results"),
        ({"more": 1}, "unknown field `more`"),
        ({"settings": {"width": 0, "height": 9, "against": []}}, "width"),
        ({"settings": {"width": 9, "height": 9, "against": [], "pairs": 8}}, "pairs"),
    ],
)
def test_other_records_are_refused(tmp_path, change, message):
    path = tmp_path / "record.json"
    write_record(path, speed_record())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RecordError, match=message):
        read_record(path)


def test_what_is_no_record_is_refused(tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(RecordError, match="cannot be read"):
        read_record(path)
    path.write_bytes(b"\xff[")
    with pytest.raises(RecordError, match="give a file that `thinlens bench` wrote"):
        read_record(path)


@pytest.mark.parametrize(
    ("peer_ms", "ratio", "min_ratio", "won", "verdict"),
    [
        ((2,) * 10, 2.0, 2.0, 1.0, "faster"),
        ((2,) * 8 + (0.5,) * 2, 2.0, 0.5, 0.8, "even"),  # its best run beats ours
        ((2,) * 7 + (1,) * 3, 2.0, 1.1, 0.7, "even"),  # too few pairs
        ((0.5,) * 10, 0.5, 0.5, 0.0, "slower"),
    ],
)
def test_a_winner_needs_both_ratios_and_four_of_five_pairs(peer_ms, ratio, min_ratio, won, verdict):
    result = speed_result(ratio=ratio, min_ratio=min_ratio, ms=(1.0,) * 10, peer_ms=peer_ms)
    assert (result.won, result.verdict) == (won, verdict)


def test_the_share_of_the_peak_is_that_of_all_threads():
    record = speed_record(speed_result(gflops=50.0))
    assert record.share(record.results[0]) == 0.5
    settings = msgspec.structs.replace(record.settings, threads=2)
    assert msgspec.structs.replace(record, settings=settings).share(record.results[0]) == 0.25
