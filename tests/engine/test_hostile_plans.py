"""Plans that hold together but ask for absurd work or memory, or for rows that are not there, are refused at once."""

import ctypes

import numpy as np
import pytest

from thinlens.errors import PlanError, ShapeError
from thinlens.runtime import library
from thinlens.runtime.binary import Kind, Program
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import Request

pytestmark = pytest.mark.usefixtures("native")

ONE = np.ones(1, np.float32)


class Chain:
    """A plan of single-channel ops, each of which reads the one before."""

    def __init__(self):
        self.program = Program(1, "float32")
        self.last = self.program.add(Kind.PIXELS_IN, [0], [0])

    def add(self, kind, *params, tensors=(), inputs=None):
        self.last = self.program.add(kind, inputs or [self.last], params, tensors)
        return self.last

    def load(self):
        self.add(Kind.PIXELS_OUT, 0, 0)
        return NativePlan(self.program.to_bytes())


def test_a_few_bytes_of_strides_do_not_take_any_memory():
    chain = Chain()
    for _ in range(40):
        chain.add(Kind.CONV_TRANSPOSE2D, 1, 1, 1, 1, 64, 0, 0, 0, 0, 0, 0, 0.0, tensors=[ONE])
    with pytest.raises(PlanError, match="strides of transposed convolutions"):
        chain.load()


def test_tensors_that_nodes_share_are_counted_each_time():
    chain, weight = Chain(), np.zeros(255 * 255 * 16, np.float32)
    chain.add(Kind.GATHER, *([0] * 4))
    for _ in range(200):
        chain.add(Kind.CONV2D, 4, 4, 255, 255, 1, 127, 127, 0, 1, 0, 0, 0.0, tensors=[weight])
    with pytest.raises(PlanError, match="weights are too many"):
        chain.load()


@pytest.mark.parametrize("times", [6, 8, 20])
def test_rows_that_one_row_becomes_have_a_limit(times):
    chain = Chain()
    for _ in range(times):
        chain.add(Kind.RESIZE, 0, 16, -0.5, 0)
    for _ in range(times):
        chain.add(Kind.MAX_POOL, 16, 16, 16, 0, 0)
    with pytest.raises(ShapeError, match=r"rows of all values in all; accepted|the result is too large"):
        chain.load().schedule(Request(1, 1, 0, 0))


def test_a_tall_image_is_no_such_thing():
    chain = Chain()
    for _ in range(3):
        chain.add(Kind.CLAMP, 0.0, 1.0)
    assert chain.load().schedule(Request(1, 1 << 17, 0, 0)).out_height == 1 << 17


@pytest.mark.parametrize(("warm_up", "source"), [(9, 1), (1, 1), (0, "higher")])
def test_bands_that_are_not_as_many_as_unbands_says(warm_up, source):
    chain = Chain()
    higher = chain.add(Kind.RESIZE, 0, 4, -0.5, 0)
    bands = chain.add(Kind.BANDS, 4, 0, inputs=[1])
    chain.add(Kind.UNBANDS, 4, warm_up, 1, inputs=[bands, higher if source == "higher" else 1])
    if source != "higher":
        chain.add(Kind.RESIZE, 0, 0, -0.5, 0, inputs=[chain.last, higher])  # so that every value is read
    plan = chain.load()
    with pytest.raises(ShapeError, match="bands are not as many"):
        plan.schedule(Request(5, 8, 0, 0))


def test_bands_of_two_heights_are_not_mixed():
    chain = Chain()
    low, high = (chain.add(Kind.BANDS, rows, 0, inputs=[1]) for rows in (2, 4))
    chain.add(Kind.ADD, 1.0, 1.0, inputs=[low, high])
    chain.add(Kind.UNBANDS, 2, 0, 1, inputs=[chain.last, 1])
    with pytest.raises(ShapeError, match="differ in size"):
        chain.load().schedule(Request(5, 8, 0, 0))


@pytest.mark.parametrize(
    ("first", "stop"), [(-1, 3), (3, 3), (5, 2), (0, 9), (1 << 62, (1 << 63) - 1), (-(1 << 63), 1)]
)
def test_rows_of_a_run_lie_in_the_result(first, stop):
    chain = Chain()
    chain.add(Kind.CLAMP, 0.0, 1.0)
    plan, image, out = chain.load(), np.zeros((8, 5), np.float32), np.zeros((8, 5), np.float32)
    request = Request(5, 8, first, stop)
    status = library.engine().tl_run(
        plan._handle,
        ctypes.byref(request),
        image.ctypes.data,
        image.strides[0],
        out.ctypes.data,
        out.strides[0],
        3,
        library.Progress(),
        None,
    )
    assert status == library.BAD_ARGUMENT
    assert "accepted: rows of the result, 8" in library.last_message()


@pytest.mark.parametrize(("rows", "warm_up"), [(16, 4), (64, 1), (200, 0)])
def test_high_bands_stream_without_a_height(rows, warm_up):
    chain = Chain()
    bands = chain.add(Kind.BANDS, rows, warm_up)
    conv = chain.add(
        Kind.CONV2D, 1, 1, 3, 3, 1, 1, 1, 2, 1, 0, 0, 0.0, tensors=[np.ones(9, np.float32)], inputs=[bands]
    )
    chain.add(Kind.UNBANDS, rows, warm_up, 1, inputs=[conv, 1])
    plan = chain.load()
    schedules = [plan.schedule(Request(7, height, 0, 0)) for height in (0, 30 * rows)]
    assert schedules[0].buffer_bytes == schedules[1].buffer_bytes


def memory_chain(later=None, channels=1, source=None):
    """Bands, a delay, a sum that it gives back, and the image again."""
    chain = Chain()
    bands = chain.add(Kind.BANDS, 2, 0)
    delay = chain.add(Kind.LINE_DELAY, channels, 0, later or 4, inputs=[source or bands])
    chain.add(Kind.ADD, 1.0, 1.0, inputs=[bands, delay])
    chain.add(Kind.UNBANDS, 2, 0, 1, inputs=[chain.last, 1])
    return chain


def test_what_is_read_one_band_late_adds_up():
    image = np.arange(6, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    out = np.empty_like(image)
    memory_chain().load().run(image, out, 2)
    assert out[:, 0].tolist() == [0, 1, 2, 4, 6, 9]


@pytest.mark.parametrize("later", [0, 1, 2, 3, 7, 9, 1 << 30])
def test_a_delay_gives_only_what_is_made_later(later):
    chain = memory_chain(later=later or -1)
    with pytest.raises(PlanError, match=r"a parameter is|made later|gives other channels, or no bands"):
        chain.load()


@pytest.mark.parametrize("fields", [{"later": 5}, {"later": 6}, {"source": 1}])
def test_a_delay_stands_in_bands_and_gives_those(fields):
    with pytest.raises(PlanError, match=r"no bands|outside of bands|inputs have different"):
        memory_chain(**fields).load()


def test_a_delay_gives_as_many_channels_as_it_says():
    chain = Chain()
    bands = chain.add(Kind.BANDS, 2, 0)
    chain.add(Kind.LINE_DELAY, 2, 0, 4, inputs=[bands])
    chain.add(Kind.CHANNEL_MAX)
    chain.add(Kind.UNBANDS, 2, 0, 1, inputs=[chain.last, 1])
    with pytest.raises(PlanError, match="gives other channels"):
        chain.load()


def test_a_delay_gives_bands_of_its_own_image_only():
    """Bands of bands would wait for each other."""
    chain = Chain()
    bands = chain.add(Kind.BANDS, 2, 0)
    delay = chain.add(Kind.LINE_DELAY, 1, 0, 6, inputs=[bands])
    whole = chain.add(Kind.UNBANDS, 2, 0, 1, inputs=[delay, 1])
    again = chain.add(Kind.BANDS, 2, 0, inputs=[whole])
    chain.add(Kind.ADD, 1.0, 1.0, inputs=[again, again])
    chain.add(Kind.UNBANDS, 2, 0, 1, inputs=[chain.last, whole])
    with pytest.raises(PlanError, match="the bands come from elsewhere"):
        chain.load()


def test_a_delay_gives_bands_of_the_same_size():
    chain = Chain()
    bands = chain.add(Kind.BANDS, 2, 0)
    delay = chain.add(Kind.LINE_DELAY, 1, 0, 4, inputs=[bands])
    chain.add(Kind.RESIZE, 0, 2, -0.5, 0, inputs=[delay])
    chain.add(Kind.UNBANDS, 2, 0, 2, inputs=[chain.last, 1])
    with pytest.raises(ShapeError, match="differs in size"):
        chain.load().schedule(Request(3, 6, 0, 0))


@pytest.mark.parametrize("kinds", [(0, 5), (1, 3), (0, 4), (1, 5)])
def test_a_cell_takes_as_many_gates_as_it_has(kinds):
    mode, count = kinds
    chain = Chain()
    chain.add(Kind.LSTM_CELL, mode, inputs=[1] * count)
    with pytest.raises(PlanError, match=r"wrong number of inputs|different numbers of channels"):
        chain.load()
