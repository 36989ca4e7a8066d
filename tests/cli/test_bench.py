import json
import sys

import pytest

from thinlens.bench.records import read_record

pytestmark = pytest.mark.usefixtures("native")
SPEED = ("bench", "speed", "x2.safetensors", "--size", "24x16")


def test_speed_prints_a_table_and_writes_the_record(thinlens, bench):
    done = thinlens(*SPEED, "--against", "pillow", "-o", "a.json")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1].split()[:2] == ["x2.safetensors", "pillow"]
    for name in ("instruction set", "before", "after", "versions", "host"):
        assert f"\n{name} " in done.out
    record = read_record(bench / "a.json")
    assert (record.settings.width, record.settings.height, record.settings.threads) == (24, 16, 1)


def test_json_is_the_record(thinlens, bench):
    (record,) = thinlens(*SPEED, "--against", "pillow", "--json", "-o", "a.json").records
    assert record == json.loads((bench / "a.json").read_text())


def test_what_one_peer_cannot_do_is_told_and_the_others_are_done(thinlens):
    done = thinlens(*SPEED[:2], *SPEED[3:], "--random", "plain_d1_w4", "--against", "pillow,ort", "--json")
    assert done.code == 1
    assert "model `plain_d1_w4` in `pillow`: the model does not enlarge" in done.line
    (record,) = done.records
    assert [result["peer"] for result in record["results"]] == ["ort"]


def test_replay_sets_then_and_now_side_by_side(thinlens):
    thinlens(*SPEED, "--against", "pillow", "-o", "a.json")
    done = thinlens("bench", "replay", "a.json", "--tolerance", "0", "-o", "b.json")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].split() == ["model", "against", "then", "now", "change"]
    assert "same kind of host" in done.out
    (found,) = thinlens("bench", "replay", "b.json", "--tolerance", "0", "--json").records
    assert (found["passed"], found["same_host"], len(found["changes"])) == (True, True, 1)


def test_replay_fails_where_a_figure_has_fallen_and_tells_other_hosts(thinlens, bench):
    thinlens(*SPEED, "--against", "pillow", "-o", "a.json")
    record = json.loads((bench / "a.json").read_text())
    record["results"][0]["ratio"] *= 1e6
    record["host"]["processor"] = "another"
    (bench / "a.json").write_text(json.dumps(record))
    done = thinlens("bench", "replay", "a.json")
    assert done.code == 1
    assert "`x2.safetensors` against `pillow`: 0.00 of what it was; `--tolerance` accepts 0.8" in done.line
    assert "the hosts differ" in done.out


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_memory_tells_its_bound_before(thinlens, bench):
    done = thinlens("bench", "memory", "x2.safetensors", "--size", "24x16", "-o", "a.json")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("x2.safetensors: rows, at most ")
    assert done.out.splitlines()[2].split()[:2] == ["x2.safetensors", "rows"]
    assert read_record(bench / "a.json").failures == ()
    assert thinlens("bench", "replay", "a.json", "--tolerance", "0.1").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("speed", "x2.safetensors", "--against", "ort", "--size", "24"), 2, "`--size`: got '24'"),
        (("speed", "x2.safetensors", "--against", "ort", "--size", "0x4"), 2, "`--size`: got '0x4'"),
        (("memory", "x2.safetensors", "--size", "2000000x4"), 2, "`--size`: got '2000000x4'"),
        (("speed", "--against", "ort", "--size", "8x8"), 2, "no model; give names of shipped models"),
        (("speed", "x2.safetensors", "--against", ",", "--size", "8x8"), 2, "`--against`: no peer"),
        (("speed", "x2.safetensors", "--against", "tvm", "--size", "8x8"), 2, "unknown peer `tvm`"),
        (("speed", "x2.safetensors", "--against", "ort_bands", "--size", "8x8"), 2, "unknown peer `ort_bands`"),
        (("memory", "x2.safetensors", "--against", "pillow", "--size", "8x8"), 2, "unknown peer `pillow`"),
        (("speed", *["x2.safetensors"] * 2, "--against", "ort", "--size", "8x8"), 2, "is given more than once"),
        (("speed", "nothing", "--against", "ort", "--size", "8x8"), 2, "unknown model `nothing`"),
        (("speed", "--random", "nothing", "--against", "ort", "--size", "8x8"), 2, "unknown network `nothing`"),
        (("speed", "x2.safetensors", "--against", "ort", "--size", "8x8", "--pairs", "8"), 2, "8 is not in the range"),
        (("speed", "x2.safetensors", "--against", "ort", "--size", "8x8", "-o", "old.json"), 1, "`old.json` exists"),
        (("replay", "nothing.json"), 1, "`nothing.json`: cannot be read"),
        (("replay", "old.json"), 1, "`old.json`: not a record"),
    ],
)
def test_bad_arguments(thinlens, bench, arguments, code, message):
    (bench / "old.json").write_text("old")
    done = thinlens("bench", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line
    assert (bench / "old.json").read_text() == "old"


@pytest.mark.parametrize(
    ("peer", "module", "extra"),
    [("ort", "onnxruntime", "onnx"), ("openvino", "openvino", "bench"), ("ncnn", "ncnn", "bench")],
)
def test_without_the_extra(thinlens, monkeypatch, peer, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    done = thinlens(*SPEED, "--against", peer)
    assert (done.code, done.out) == (2, "")
    assert f"`--against {peer}` needs the extra `{extra}`: pip install 'thinlens[{extra}]'" in done.line


def test_random_networks_of_the_pool_need_torch(thinlens, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("thinlens.train")]:
        monkeypatch.delitem(sys.modules, name)
    done = thinlens(*SPEED[:2], *SPEED[3:], "--random", "espcn_d0_s3_x2", "--against", "pillow")
    assert (done.code, done.out) == (2, "")
    assert "`--random espcn_d0_s3_x2` needs the extra `train`" in done.line
