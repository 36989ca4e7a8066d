"""Random networks: the same bits whole, in chunks of any size, on threads, from saved states, and side by side."""

import numpy as np
import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from tests import plans
from tests.engine.cases import image_for
from tests.engine.machine import Rows, load, reference, streamed, whole
from tests.engine.strategies import ISAS, Network, chunks, networks, trying
from tests.plans import conv, plan_of
from thinlens.bench.subjects import stack_plan
from thinlens.errors import ShapeError
from thinlens.model import ops
from thinlens.runtime import library
from thinlens.runtime.library import Request

pytestmark = pytest.mark.usefixtures("native")


def with_rows_padded(rows, height):
    """Found at random: rows made four at once, of which most lie below an image of another height than the input's."""
    op = ops.Conv2d(in_channels=13, out_channels=32, kernel=(3, 3), padding=(rows, 2), pad_mode="edge")
    head = conv((3, 13), stride=2, pad_mode="mirror", bias=True)
    plan = plan_of(("head", head, "input"), ("image", op, "head"), input_channels=3)
    return Network(plan, (height, 65), 369)


LOWER, HIGHER = with_rows_padded(0, 6), with_rows_padded(2, 5)


def tall(image, more):
    """Some rows again, in another order, below."""
    return np.concatenate([image, image[np.random.default_rng(more).integers(0, len(image), more)]])


def same_bits(found, expected):
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@trying(200)
@given(network=networks(whole_image=True))
def test_the_engine_agrees_with_the_reference_on_every_instruction_set(network):
    image = network.image()
    found = [whole(load(network.plan, network.tensors, isa), image) for isa in library.isa_names()]
    if not network.rounds:
        expected = reference(network.plan, network.tensors, image)
        assert np.abs(found[0] - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    for other in found[1:]:
        same_bits(other, found[0])


@trying(200)
@example(network=LOWER, isa="scalar", counts=[1], more=[1])
@example(network=HIGHER, isa="scalar", counts=[1], more=[2])
@given(network=networks(), isa=ISAS, counts=chunks(), more=chunks())
def test_streamed_in_chunks_is_the_whole(network, isa, counts, more):
    image, plan = network.image(), load(network.plan, network.tensors, isa)
    expected = whole(plan, image)
    same_bits(streamed(Rows(plan, network.size), image, counts), expected)
    if network.needs_height:
        with pytest.raises(ShapeError):
            Rows(plan, (0, network.size[1]))
    else:
        same_bits(streamed(Rows(plan, (0, network.size[1])), image, more), expected)


@trying(120)
@given(network=networks(whole_image=True), isa=ISAS)
def test_threads_change_nothing(network, isa):
    image, plan = network.image(), load(network.plan, network.tensors, isa)
    for threads in (2, 3):
        same_bits(whole(plan, image, threads), whole(plan, image))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_that_share_the_rows_of_a_stream_change_nothing(threads):
    plan = stack_plan([1, 48, 48, 1])  # large enough to be shared
    native, image = load(plan, plans.tensors_of(plan)), image_for(1, (19, 900))
    expected = whole(native, image)
    for height in (19, 0):
        same_bits(streamed(Rows(native, (height, 900), threads=threads), image, (1, 6)), expected)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_strips_whose_rows_are_made_four_at_a_time_change_nothing(threads):
    plan = stack_plan([1, 16, 16, 1])
    native, image = load(plan, plans.tensors_of(plan)), image_for(1, (61, 70))
    same_bits(whole(native, image, threads), whole(native, image))
    strips = native.run_bytes(Request(70, 61, 0, 0), threads)
    assert strips > 1.5 * native.run_bytes(Request(70, 61, 0, 0), 1)  # a session each


@trying(200)
@given(network=networks(), isa=ISAS, known=st.booleans(), counts=chunks(), data=st.data())
def test_a_state_saved_anywhere_goes_on_in_a_fresh_session(network, isa, known, counts, data):
    image, plan = network.image(), load(network.plan, network.tensors, isa)
    size = (network.size[0] if known or network.needs_height else 0, network.size[1])
    at = data.draw(st.integers(0, len(image)))
    first, second = Rows(plan, size), Rows(plan, size)
    above = streamed_part(first, image[:at], counts)
    second.native.load(first.native.save())
    below = [streamed_part(second, image[at:], counts), second.flush()]
    same_bits(np.concatenate([above, *below]), whole(plan, image))


@trying(60)
@given(network=networks(), more=st.integers(0, 30), isa=ISAS)
def test_rings_counted_on_a_shorter_image_hold_what_a_tall_one_reads(network, more, isa):
    assume(not network.needs_height)
    image, plan = tall(network.image(), 480 + more), load(network.plan, network.tensors, isa)
    try:
        expected = whole(plan, image)
    except ShapeError:
        reject()  # no image of that height
    same_bits(streamed(Rows(plan, (0, image.shape[1])), image, [7]), expected)


@trying(80)
@given(networks=st.tuples(networks(), networks()), isa=ISAS, counts=chunks())
def test_sessions_side_by_side_do_not_mix(networks, isa, counts):
    """Two of one plan and one of another, pushed in turns."""
    one, other = networks
    plans = [load(network.plan, network.tensors, isa) for network in (one, other)]
    work = [(plans[0], one.image(0)), (plans[1], other.image(0)), (plans[0], one.image(1))]
    sessions = [Rows(plan, image.shape[:2]) for plan, image in work]
    made = [[] for _ in work]
    for at in range(max(len(image) for _, image in work)):
        for session, (_, image), out in zip(sessions, work, made, strict=True):
            if at < len(image):
                out.append(session.push(image[at : at + 1]))
    for session, (plan, image), out in zip(sessions, work, made, strict=True):
        same_bits(np.concatenate([*out, session.flush()]), whole(plan, image))


def streamed_part(rows, image, counts):
    """What comes out of pushing some rows in chunks, without an end."""
    out, at, turn = [rows.push(image[:0])], 0, 0
    while at < len(image):
        count = counts[turn % len(counts)]
        out.append(rows.push(image[at : at + count]))
        at, turn = at + count, turn + 1
    return np.concatenate(out)
