import numpy as np
import pytest

from thinlens.bench.subjects import make_picture, open_subject, plan_of, reopen
from thinlens.errors import RecordError, ShapeError, UnknownNameError
from thinlens.model.file import write_model
from thinlens.model.ops import Conv2d, kind_of
from thinlens.runtime.session import Session


def convolutions(plan):
    return [(n.op.in_channels, n.op.out_channels) for n in plan.nodes if isinstance(n.op, Conv2d)]


def test_a_plain_stack_has_its_layers_between_a_first_and_a_last_one():
    assert convolutions(plan_of("plain_d2_w48")) == [(1, 48), (48, 48), (48, 48), (48, 1)]


def test_dncnn_has_its_layers_in_all_and_subtracts_what_it_finds():
    plan = plan_of("dncnn_d17_w64")
    assert convolutions(plan) == [(1, 64), *[(64, 64)] * 15, (64, 1)]
    assert kind_of(plan.nodes[-1].op) == "add"
    assert (plan.nodes[-1].inputs[0], plan.nodes[-1].op.b) == ("input", -1.0)


@pytest.mark.parametrize(("name", "rounding"), [("plain_d2_w8_int8", "quantize"), ("dncnn_d3_w8_bf16", "bfloat16")])
def test_stacks_in_low_precision_round_what_all_but_the_first_convolution_reads(name, rounding):
    model = open_subject(name, 0).model
    kinds = {node.name: kind_of(node.op) for node in model.plan.nodes}
    first, *others = [node for node in model.plan.nodes if isinstance(node.op, Conv2d)]
    assert first.inputs == ("input",)
    for node in others:
        weight = model.tensors[node.tensors["weight"]]
        assert kinds[node.inputs[0]] == rounding
        assert (weight == np.rint(weight) if rounding == "quantize" else weight.view(np.uint32) & 0xFFFF == 0).all()


NAMES = [
    "plain_d1_w4",
    "plain_d2_w8_int8",
    "plain_d2_w8_bf16",
    "dncnn_d3_w8",
    "bbcu_m_w8_x2",
    "fsrcnn_d6_s1_m1_x2",
    "edge_sr_cnn_c2_d1_s3_x3",
]


@pytest.mark.parametrize("name", NAMES)
def test_random_networks_are_the_same_each_time_and_give_results_inside_the_range(name):
    opened = open_subject(name, 0)
    model, subject = opened.model, opened.describe(32, 24)
    model.check()
    assert subject == open_subject(name, 0).describe(32, 24)
    assert subject.params == sum(array.size for array in model.tensors.values())
    assert subject.macs == model.plan.macs((24, 32))
    restored = Session(model, threads=1).run(make_picture(48, 48, model.plan.input_channels) / np.float32(255))
    assert ((restored > 0) & (restored < 1)).mean() > 0.5
    assert reopen(subject, 32, 24).seed == subject.seed == opened.seed


def test_a_model_that_has_changed_is_told(tmp_path, model):
    path = tmp_path / "a.safetensors"
    write_model(path, model)
    subject = open_subject(str(path)).describe(8, 8)
    assert subject.seed is None
    assert reopen(subject, 8, 8).model.card == model.card
    next(iter(model.tensors.values()))[0] += 1
    write_model(path, model, overwrite=True)
    with pytest.raises(RecordError, match="the record is of"):
        reopen(subject, 8, 8)


def test_unknown_networks_and_sizes_are_told():
    with pytest.raises(UnknownNameError, match="espcn_d22_s32_x2"):
        open_subject("espcn_d22_s32_x5", 0)
    with pytest.raises(ShapeError, match="takes no image of"):
        open_subject("edge_sr_max_k3_c1_x2").describe(1 << 31, 4)


@pytest.mark.parametrize(("channels", "shape"), [(1, (5, 7)), (3, (5, 7, 3))])
def test_the_picture_is_bytes_that_vary(channels, shape):
    picture = make_picture(5, 7, channels)
    assert (picture.shape, picture.dtype) == (shape, np.uint8)
    assert np.ptp(picture) > 20
