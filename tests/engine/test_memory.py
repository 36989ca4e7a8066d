"""What the engine allocates is what it printed before, and grows with the width alone; also in fresh processes."""

import gc

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import plans
from tests.conftest import template_matching_model
from tests.engine.cases import CASES, image_for, tensors_for
from tests.engine.images import IMAGE_CASES
from tests.engine.machine import Rows, load, reference, streamed, whole
from tests.engine.strategies import ISAS, networks, trying
from thinlens.bench.memory import measure_fresh
from thinlens.bench.subjects import random_model, stack_plan
from thinlens.errors import ShapeError, UnsupportedOpError
from thinlens.model import ops
from thinlens.model.file import Model, write_model
from thinlens.model.graph import receptive_rows
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import Request, engine
from thinlens.runtime.session import Session

pytestmark = pytest.mark.usefixtures("native")

HEIGHT, WIDTH = 30, 40
STREAMS = (
    "conv_c17",
    "conv_c64",
    "conv_stride3_mirror",
    "deconv_9s4",
    "skip_over_depth",
    "bicubic_edge_x3",
    "bands_3_2",
    "memory_flip",
    "memory_wide",
    "memory_x2",
)
ASK_FOR_HEIGHT = ("attention", "branches", "whole_image")
IMAGES = ("tm_5_2_2_edge_mirrored", "tr_5_4_2_edge_free", "luma_3_uint8", "rgb_3_uint16", "deep_gray")


def plan_called(name):
    """A case's plan, loaded, and an image for it."""
    if name in IMAGE_CASES:
        case = IMAGE_CASES[name]
        return NativePlan(case.compiled()), case.image((HEIGHT, WIDTH))
    plan = CASES[name]
    return load(plan, tensors_for(name, plan)), image_for(plan.input_channels, (HEIGHT, WIDTH))


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_over():
    """What earlier tests dropped is freed, so that nothing of it goes while bytes are counted."""
    gc.collect()


def peak_of(work):
    """Bytes that the engine held at once during some work, beyond what it held before."""
    before = engine().tl_allocated()
    engine().tl_allocated_reset()
    work()
    assert engine().tl_allocated() == before
    return engine().tl_allocated_peak() - before


@pytest.mark.parametrize("height", [HEIGHT, 0])
@pytest.mark.parametrize("name", [*STREAMS, *ASK_FOR_HEIGHT, *IMAGES])
def test_a_session_takes_what_its_schedule_says(name, height):
    plan, image = plan_called(name)
    if height == 0 and name in ASK_FOR_HEIGHT:
        with pytest.raises(ShapeError, match="height must be known"):
            plan.schedule(Request(WIDTH, 0, 0, 0))
        return

    def stream():
        rows = Rows(plan, (height, WIDTH), image.dtype)
        streamed(rows, image, (1, 3))
        rows.native.load(rows.native.save())

    assert peak_of(stream) == plan.schedule(Request(WIDTH, height, 0, 0)).buffer_bytes


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", [*STREAMS, *ASK_FOR_HEIGHT, *IMAGES])
def test_a_run_takes_what_it_says(name, threads):
    plan, image = plan_called(name)
    assert peak_of(lambda: whole(plan, image, threads)) == plan.run_bytes(Request(WIDTH, HEIGHT, 0, 0), threads)


@trying(60)
@given(network=networks(whole_image=True), isa=ISAS, threads=st.integers(1, 3))
def test_random_networks_take_what_they_say(network, isa, threads):
    image, plan = network.image(), load(network.plan, network.tensors, isa)
    height, width = network.size
    request = Request(width, height, 0, 0)
    assert peak_of(lambda: whole(plan, image, threads)) == plan.run_bytes(request, threads)
    told = plan.schedule(request, threads).buffer_bytes
    assert peak_of(lambda: streamed(Rows(plan, network.size, threads=threads), image, (2,))) == told


@pytest.mark.parametrize("name", [*STREAMS, *IMAGES])
def test_buffers_do_not_grow_with_the_height(name):
    plan, _ = plan_called(name)
    low, high, higher = (plan.schedule(Request(WIDTH, height, 0, 0)).buffer_bytes for height in (200, 1600, 12_800))
    assert low == high == higher


@pytest.mark.parametrize("name", [*STREAMS, *IMAGES])
def test_buffers_grow_linearly_with_the_width(name):
    plan, _ = plan_called(name)
    narrow, *wider = (plan.schedule(Request(2520 * times, 0, 0, 0)).buffer_bytes for times in (1, 2, 3, 4))
    step = wider[0] - narrow
    assert step <= narrow
    assert wider[1:] == pytest.approx([narrow + 2 * step, narrow + 3 * step], rel=0.01)


def gated_plan(blocks):
    """Blocks that wait for a mean over the image, each with a skip, and one skip around all of them."""
    nodes, trunk = [("head", plans.conv((1, 4)), "input")], "head"
    for i in range(blocks):
        nodes += [(f"conv{i}", plans.conv((4, 4)), trunk), (f"mean{i}", ops.GlobalMean(), f"conv{i}")]
        nodes += [(f"gated{i}", ops.Multiply(), f"conv{i} mean{i}"), (f"sum{i}", ops.Add(), f"{trunk} gated{i}")]
        trunk = f"sum{i}"
    return plans.plan_of(*nodes, ("all", ops.Add(), f"head {trunk}"), ("tail", plans.conv((4, 1)), "all"))


def test_blocks_that_wait_for_the_whole_image_share_its_rows():
    few, many = (load(plan, plans.tensors_of(plan)) for plan in map(gated_plan, (3, 12)))
    request = Request(64, 500, 0, 0)
    assert many.run_bytes(request, 1) <= 1.05 * few.run_bytes(request, 1)
    assert few.run_bytes(request, 1) >= 3 * 64 * 500 * 4 * 4  # the head, a trunk, and what is gated


def test_shared_rows_are_not_written_over_too_early():
    plan, image = gated_plan(7), image_for(1, (23, 17))
    tensors = plans.tensors_of(plan)
    expected = reference(plan, tensors, image)
    assert np.abs(whole(load(plan, tensors), image) - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("op", [ops.GlobalMean(), ops.GlobalStd()])
@pytest.mark.parametrize("height", [None, 9])
def test_ops_that_need_the_whole_image_are_named(op, height):
    plan = plans.plan_of(
        ("head", plans.conv((1, 2)), "input"),
        ("glance", op, "head"),
        ("gated", ops.Multiply(), "head glance"),
        ("tail", plans.conv((2, 1)), "gated"),
    )
    card = msgspec.structs.replace(template_matching_model(1).card, task="denoise")
    session = Session(Model({"main": plan}, plans.tensors_of(plan), card))
    kind = op.__struct_config__.tag
    with pytest.raises(UnsupportedOpError, match=rf"node `glance` \({kind}\) needs the whole image"):
        session.rows(8, height)
    schedule = load(plan, plans.tensors_of(plan)).schedule(Request(8, 9, 0, 0))
    assert (schedule.whole_image_node, schedule.halo_above, schedule.halo_below) == (2, -1, -1)


def test_a_fresh_process_takes_as_much_for_eight_times_the_height(tmp_path):
    path, plan = tmp_path / "a.safetensors", stack_plan([1, 16, 16, 16, 4], scale=2, pad_mode="edge")
    write_model(path, random_model("memory_x2", plan, 0))
    bare = measure_fresh("bare")["peak"]
    low, high = (measure_fresh("rows", path, 1920, height) for height in (200, 1600))
    assert low["buffer_bytes"] == high["buffer_bytes"]
    assert high["peak"] == pytest.approx(low["peak"], rel=0.05)
    assert max(low["peak"], high["peak"]) - bare <= 100e6


@pytest.mark.parametrize(("name", "plan"), [("bands", plans.bands_plan(4, 1)), ("memory", plans.memory_plan(4, 1))])
@pytest.mark.parametrize("height", [0, 40])
def test_rows_behind_an_output_row_are_those_of_its_bands(name, plan, height):
    schedule = load(plan, plans.tensors_of(plan)).schedule(Request(20, height, 0, 0))
    above, below = receptive_rows(plan, 2 if name == "bands" else 1)
    assert schedule.halo_below == below
    assert schedule.halo_above == (above if name == "bands" else -1)
