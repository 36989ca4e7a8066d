"""Saved states from elsewhere: those of other sessions and damaged ones are refused, or do no harm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import template_matching_model
from tests.engine.cases import CASES, image_for, tensors_for
from tests.engine.images import IMAGE_CASES
from tests.engine.machine import Rows, load
from tests.engine.strategies import trying
from thinlens.errors import ModelError, ShapeError, ThinlensError
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.session import Session

pytestmark = pytest.mark.usefixtures("native")

HEIGHT, WIDTH, AT = 24, 21, 11
FLOATS = (
    "conv_c17",
    "conv_stride3_mirror",
    "deconv_9s2_edge",
    "branches",
    "attention",
    "bands_3_2",
    "memory_wide",
    "whole_image",
)
IMAGES = ("tm_5_2_2_edge_mirrored", "max_7_4_3_edge_free", "tr_5_4_2_edge_free", "luma_3_uint8", "rgb_3_uint16")
NAMES = (*FLOATS, *IMAGES)


def case_called(name):
    """A plan, loaded, and an image for it."""
    if name in IMAGES:
        case = IMAGE_CASES[name]
        return NativePlan(case.compiled()), case.image((HEIGHT, WIDTH))
    plan = CASES[name]
    return load(plan, tensors_for(name, plan)), image_for(plan.input_channels, (HEIGHT, WIDTH))


PLANS = {name: case_called(name) for name in NAMES}


def state_of(name, at=AT):
    """What a session saved after some rows."""
    plan, image = PLANS[name]
    rows = Rows(plan, image.shape[:2], image.dtype)
    rows.push(image[:at])
    return rows.native.save()


@pytest.mark.parametrize("name", NAMES)
def test_states_of_another_plan_or_size_are_refused(name):
    plan, image = PLANS[name]
    state = state_of(name)
    others = [Rows(plan, size, image.dtype) for size in ((HEIGHT, WIDTH + 1), (HEIGHT + 1, WIDTH))]
    others += [Rows(other, (HEIGHT, WIDTH), pixels.dtype) for other, pixels in PLANS.values() if other is not plan]
    for other in others:
        with pytest.raises(ShapeError, match="not saved by a session of this plan and size"):
            other.native.load(state)
    Rows(plan, (HEIGHT, WIDTH), image.dtype).native.load(state)


@pytest.mark.parametrize("name", NAMES)
def test_states_of_another_length_are_refused(name):
    plan, image = PLANS[name]
    state, rows = state_of(name), Rows(plan, image.shape[:2], image.dtype)
    for damaged in (b"", state[:8], state[:64], state[:-1], state + b"\0", state[1:], bytes(8) + state):
        with pytest.raises(ShapeError):
            rows.native.load(damaged)
    assert len(np.concatenate([rows.push(image), rows.flush()])) == len(expected_rows(name))  # it was not touched


def expected_rows(name):
    plan, image = PLANS[name]
    return range(plan.out_size(image.shape[1], len(image))[1])


@st.composite
def damages(draw):
    """What becomes of a state: some of its bytes are others, most often in its head, or all of them are."""
    kind = draw(st.sampled_from(("head", "anywhere", "all")))
    seed = draw(st.integers(0, 1 << 30))
    count = draw(st.integers(1, 20))

    def damage(state):
        rng = np.random.default_rng(seed)
        data = np.frombuffer(state, np.uint8).copy()
        first = 64 if kind == "all" else 0
        last = 72 if kind == "head" else len(data)
        where = slice(first, None) if kind == "all" else rng.integers(0, last, count)
        data[where] = rng.integers(0, 256, data[where].shape)
        return data.tobytes()

    return damage


@trying(400)
@given(
    name=st.sampled_from(NAMES),
    known=st.booleans(),
    at=st.integers(0, HEIGHT),
    damage=damages(),
    more=st.integers(0, 9),
)
def test_damaged_states_are_refused_or_do_no_harm(name, known, at, damage, more):
    """What comes out may be anything, but not more of it than was announced, and nothing else breaks."""
    plan, image = PLANS[name]
    try:
        first, second = (Rows(plan, (HEIGHT if known else 0, WIDTH), image.dtype) for _ in range(2))
    except ShapeError:
        return  # the height must be known
    first.push(image[:at])
    try:
        second.native.load(damage(first.native.save()))
        second.push(image[: min(more, HEIGHT - at)])
        second.flush()
    except ThinlensError:
        pass
    fresh = Rows(plan, (HEIGHT, WIDTH), image.dtype)
    assert len(np.concatenate([fresh.push(image), fresh.flush()])) == len(expected_rows(name))


@trying(150)
@given(known=st.booleans(), at=st.integers(0, 9), damage=damages())
def test_damaged_states_of_row_sessions(known, at, damage):
    session, image = Session(template_matching_model()), np.full((9, 8, 3), 99, np.uint8)
    first, second = (session.rows(8, 9 if known else None) for _ in range(2))
    first.push(image[:at])
    try:
        second.load(damage(first.save()))
        assert second.push(image[at:]).shape[1:] == (16, 3)
        second.flush()
    except (ShapeError, ModelError):
        pass
