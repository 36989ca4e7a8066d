from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import template_matching_model
from tests.plans import conv, plan_of
from thinlens.bench import peers
from thinlens.bench.peers import PEERS, Run
from thinlens.bench.records import SpeedSettings
from thinlens.bench.speed import check_result, measure_speed, time_pairs
from thinlens.bench.subjects import Opened, open_subject, random_model
from thinlens.errors import ParityError, UnknownNameError, UnsupportedOpError
from thinlens.model.ops import ChannelGather
from thinlens.runtime import library

pytestmark = pytest.mark.usefixtures("native")
SIZE = {"width": 40, "height": 31}


def settings(*against, **fields):
    return SpeedSettings(**SIZE, against=against, **fields)


def test_models_are_measured_against_each_peer():
    told = []
    models = [Opened("a", template_matching_model(3)), open_subject("plain_d1_w4", 0)]
    record = measure_speed(models, settings("ort", "pillow"), lambda *step: told.append(step))
    assert [(r.model, r.peer) for r in record.results] == [("a", "ort"), ("a", "pillow"), ("plain_d1_w4", "ort")]
    for result in record.results:
        assert len(result.ms) == len(result.peer_ms) == 9
        assert result.difference <= result.tolerance
        assert min(result.ratio, result.min_ratio, result.cpu_ratio, result.gflops, *result.ms) > 0
    (failure,) = record.failures
    assert (failure.model, failure.peer) == ("plain_d1_w4", "pillow")
    assert "bicubic is a peer of upscalers only" in failure.error
    assert record.isa == library.isa_names()[0]
    assert {"thinlens", "numpy", "onnxruntime", "pillow"} <= record.versions.keys()
    assert min(record.before.add_ns, record.before.memset_us, record.before.sgemm_gflops) > 0
    assert ("a ort", 11, 11) in told


@pytest.mark.parametrize("name", [name for name in PEERS if name not in ("ort", "pillow")])
def test_further_peers_agree_where_they_are_installed(name):
    try:
        PEERS[name].load()
    except ImportError:
        pytest.skip(f"{name} is not installed")
    record = measure_speed([Opened("a", template_matching_model(2))], settings(name))
    assert record.failures == ()


@pytest.mark.parametrize(("name", "note"), [("plain_d2_w8_int8", "int8"), ("plain_d2_w8_bf16", "float32")])
def test_low_precision_meets_what_the_peer_has_of_the_kind(name, note):
    record = measure_speed([open_subject(name, 0)], settings("ort"))
    assert record.failures == ()
    assert note in record.results[0].note


def test_colour_goes_to_the_peers_too():
    plan = plan_of(
        ("a", conv((3, 8), bias=True), "input"),
        ("b", conv((8, 3)), "a"),
        ("swapped", ChannelGather(channels=(2, 0, 1)), "b"),
        input_channels=3,
    )
    record = measure_speed([Opened("rgb", random_model("rgb", plan, 0))], settings("ort"))
    assert record.failures == ()


def test_a_peer_that_computes_something_else_is_not_timed(monkeypatch):
    ort = PEERS["ort"]

    def wrong(*arguments):
        run = ort.prepare(*arguments)
        return replace(run, to_image=lambda made: run.to_image(made) + np.float32(0.01), call=run.call)

    monkeypatch.setitem(peers.PEERS, "ort", replace(ort, prepare=wrong))
    record = measure_speed([Opened("a", template_matching_model(2))], settings("ort"))
    assert record.results == ()
    (failure,) = record.failures
    assert failure.error.startswith("model `a` in `ort`: differs by 0.01 from what is expected; accepted: 0.002")


@pytest.mark.parametrize(
    ("made", "expected", "message"),
    [
        ((4, 5), (4, 4), "has shape"),
        ((1, 1), (1, 1), "hardly varies"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(made, expected, message):
    run = Run(call=lambda: None, to_image=lambda _: np.zeros(made, np.float32), note="")
    with pytest.raises(ParityError, match=message):
        check_result(run, np.zeros(expected, np.float32))


def test_a_runtime_that_fails_does_not_stop_the_others(monkeypatch):
    def failing(*arguments):
        raise RuntimeError("out of luck")

    monkeypatch.setitem(peers.PEERS, "ort", replace(PEERS["ort"], prepare=failing))
    record = measure_speed([Opened("a", template_matching_model(2))], settings("ort", "pillow"))
    assert [result.peer for result in record.results] == ["pillow"]
    assert record.failures[0].error == "model `a` in `ort`: it fails: RuntimeError: out of luck"


def test_a_model_that_the_engine_cannot_run_does_not_stop_the_others(monkeypatch):
    def refusing(plan, *arguments):
        raise UnsupportedOpError("no such op")

    monkeypatch.setattr("thinlens.bench.speed.compile_plan", refusing)
    record = measure_speed([Opened("a", template_matching_model(2))], settings("ort", "pillow"))
    assert [(f.peer, f.error) for f in record.failures] == [("thinlens", "model `a`: no such op")]


def test_not_a_number_is_another_result():
    ramp = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    run = Run(call=lambda: None, to_image=lambda _: np.full((4, 4), np.nan, np.float32), note="")
    with pytest.raises(ParityError, match="computes something else"):
        check_result(run, ramp)


def test_pairs_take_turns_after_two_that_do_not_count():
    turns = []
    times = time_pairs(lambda: turns.append("a"), lambda: turns.append("b"), 9)
    assert turns == ["a", "b"] * 11
    assert [len(part) for part in (times.ours, times.peer, times.ours_cpu, times.peer_cpu)] == [9] * 4


@pytest.mark.parametrize("isa", [None, *library.isa_names()])
def test_the_instruction_set_may_be_told(isa):
    record = measure_speed([Opened("a", template_matching_model(2))], settings("ort", isa=isa))
    assert record.isa == isa or isa is None


def test_unknown_names_list_what_there_is():
    with pytest.raises(UnknownNameError, match="the engine has here: "):
        measure_speed([], settings("ort", isa="mmx"))
    with pytest.raises(UnknownNameError, match=r"did you mean `ort`\? `--against` accepts: ort, openvino"):
        measure_speed([], settings("rt"))


def test_without_the_engine_nothing_is_measured(monkeypatch):
    monkeypatch.setattr("thinlens.bench.speed.why_missing", lambda: "it is gone")
    with pytest.raises(UnsupportedOpError, match="it is gone"):
        measure_speed([], settings("ort"))
