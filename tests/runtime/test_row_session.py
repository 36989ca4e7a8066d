"""Row by row: the same bits as the whole image, however the rows are cut."""

import msgspec
import numpy as np
import pytest

from tests import plans
from tests.conftest import template_matching_model
from thinlens.errors import ModelError, ShapeError, UnsupportedOpError
from thinlens.model import ops
from thinlens.model.file import Model
from thinlens.runtime.session import Session, open_model

KINDS = [(1, "uint8"), (1, "uint16"), (1, "float32"), (3, "uint8"), (3, "uint16"), (3, "float32")]
MODELS = ["edge_sr_max_k3_c1_x3", "edge_sr_tr_k5_c4_x2", "espcn_d16_s32_x4"]

pytestmark = pytest.mark.usefixtures("native")


def picture(height, width, channels=3, dtype="uint8"):
    shape = (height, width) if channels == 1 else (height, width, channels)
    image = np.random.default_rng(0).random(shape, np.float32)
    return image if dtype == "float32" else (image * np.iinfo(dtype).max).astype(dtype)


def streamed(rows, image, chunks=()):
    """Everything that comes out, for rows pushed in chunks of the given sizes, the rest one by one."""
    out, at = [], 0
    for count in (*chunks, *[1] * (len(image) - sum(chunks))):
        out.append(rows.push(image[at : at + count]))
        at += count
    return np.concatenate([*out, rows.flush()])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("channels", "dtype"), KINDS)
def test_streamed_equals_whole(name, channels, dtype):
    session, image = open_model(name, threads=2), picture(23, 17, channels, dtype)
    whole = session.run(image)
    for height, chunks in ((None, ()), (23, (5, 0, 11)), (23, (23,)), (None, (2, 19))):
        rows = session.rows(17, height, channels=channels, dtype=dtype)
        found = streamed(rows, image, chunks)
        assert found.dtype == whole.dtype
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_small_images(model, size):
    image = picture(*size)
    np.testing.assert_array_equal(streamed(Session(model).rows(size[1]), image), Session(model).run(image))


def test_rows_come_out_as_soon_as_they_can(model):
    rows, image = Session(model).rows(8, channels=1), picture(9, 8, 1)
    assert (rows.halo_rows, rows.latency_rows) == (2, 2)
    assert [len(rows.push(image[i : i + 1])) for i in range(9)] == [0, 0, 2, 2, 2, 2, 2, 2, 2]
    assert rows.flush().shape == (4, 16)


def test_chroma_waits_for_its_own_rows():
    rows = open_model("edge_sr_max_k3_c1_x2").rows(8)
    assert (rows.halo_rows_above, rows.halo_rows_below, rows.latency_rows) == (2, 2, 2)


def test_buffers_grow_with_the_width_alone(model):
    session = Session(model)
    low, high, unknown, wide = (
        session.rows(*size).buffer_bytes for size in ((100, 1000), (100, 100_000), (100, None), (200, 1000))
    )
    assert unknown <= low == high < wide < 2.1 * high


@pytest.mark.parametrize("at", [0, 1, 7, 20])
def test_a_saved_state_goes_on_elsewhere(at):
    session, image = open_model("edge_sr_tm_k7_c4_x2"), picture(21, 15)
    first = session.rows(15, 21)
    above = first.push(image[:at])
    second = session.rows(15, 21)
    second.load(first.save())
    below = np.concatenate([second.push(image[at:]), second.flush()])
    np.testing.assert_array_equal(np.concatenate([above, below]), session.run(image))
    np.testing.assert_array_equal(np.concatenate([first.push(image[at:]), first.flush()]), below)


def test_an_ended_state_stays_ended(model):
    rows = Session(model).rows(4, 2)
    rows.push(picture(2, 4))
    rows.flush()
    other = Session(model).rows(4, 2)
    other.load(rows.save())
    with pytest.raises(ShapeError, match="has ended"):
        other.flush()


def test_states_of_others_are_refused(model):
    session = Session(model)
    state = session.rows(8, 9).save()
    for other in (
        session.rows(9, 9),
        session.rows(8),
        session.rows(8, 9, channels=1),
        session.rows(8, 9, dtype="uint16"),
        Session(template_matching_model(seed=1)).rows(8, 9),
    ):
        with pytest.raises(ShapeError, match="state is of another session"):
            other.load(state)
    for damaged in (b"", b"TLROWS01", state[:-1], state + b"\0", b"\1" + state):
        with pytest.raises(ShapeError):
            session.rows(8, 9).load(damaged)
    session.rows(8, 9).load(state)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (picture(1, 9), r"got shape \(1, 9, 3\), uint8; accepted n x 8 x 3, uint8"),
        (picture(1, 8, 1), "accepted n x 8 x 3"),
        (picture(1, 8)[0], "accepted n x 8 x 3"),
        (picture(1, 8, dtype="uint16"), "uint16; accepted n x 8 x 3, uint8"),
        (np.uint8(3), r"got shape \(\)"),
        (picture(3, 8), "rows: got 3 after 2; accepted: 4 in all, the height"),
    ],
)
def test_wrong_rows(model, rows, message):
    session = Session(model).rows(8, 4)
    session.push(picture(2, 8))
    with pytest.raises(ShapeError, match=message):
        session.push(rows)
    assert len(session.push(picture(2, 8))) + len(session.flush()) == 8  # nothing was lost


def test_an_image_ends_once_and_not_early(model):
    rows = Session(model).rows(8, 4)
    rows.push(picture(3, 8))
    with pytest.raises(ShapeError, match="flush: got 3 rows; accepted: 4"):
        rows.flush()
    rows.push(picture(1, 8))
    rows.flush()
    for again in (rows.flush, lambda: rows.push(picture(1, 8))):
        with pytest.raises(ShapeError, match="has ended with `flush`"):
            again()
    with pytest.raises(ShapeError, match="flush: got 0 rows; accepted: 1, or more"):
        Session(model).rows(8).flush()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5, -0.5])
def test_floats_are_checked(model, value):
    rows = np.full((1, 4, 3), value, np.float32)
    with pytest.raises(ShapeError, match="value range"):
        Session(model).rows(4, dtype="float32").push(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width: got 0"),
        ({"width": 1 << 31}, "width: got"),
        ({"width": 4, "height": 0}, "height: got 0"),
        ({"width": 4, "channels": 4}, "4 channels of uint8; accepted: 1 or 3 channels"),
        ({"width": 4, "channels": 2}, "alpha needs whole images"),
        ({"width": 4, "dtype": "float64"}, "3 channels of float64"),
    ],
)
def test_what_no_rows_can_be(model, arguments, message):
    with pytest.raises(ShapeError, match=message):
        Session(model).rows(**arguments)


def model_of(plan, scale=1):
    card = msgspec.structs.replace(template_matching_model(scale).card, task="sr" if scale > 1 else "denoise")
    return Model({"main": plan}, plans.tensors_of(plan), card)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("plan", [plans.attention_plan(), plans.branches_plan(), plans.bands_plan()])
def test_all_sorts_of_networks_stream(plan, channels):
    session, image = (
        Session(model_of(plan, plan.sizes((24, 24))[plan.outputs["image"]][0] // 24)),
        picture(31, 17, channels),
    )
    whole = session.run(image)
    for chunks in ((), (7, 0, 20), (31,)):
        np.testing.assert_array_equal(streamed(session.rows(17, 31, channels=channels), image, chunks), whole)


@pytest.mark.parametrize("height", [None, 31])
def test_what_needs_the_whole_image_is_named(height):
    message = r"node `mean` \(global_mean\) needs the whole image before its first row; use `run`"
    with pytest.raises(UnsupportedOpError, match=message):
        Session(model_of(plans.whole_image_plan())).rows(17, height)


def test_what_needs_the_height_is_named():
    plan = plans.attention_plan()
    with pytest.raises(ShapeError, match=r"height: not given; node `\w+` \(resize\) must know it"):
        Session(model_of(plan)).rows(17)


def test_rows_need_the_engine(model, reference):
    with pytest.raises(UnsupportedOpError, match="need the native engine: THINLENS_ISA=reference"):
        Session(model).rows(8)


def test_absurd_weights_are_an_error(model):
    model.tensors["filter.weight"][:] = 3e38
    model.tensors["filter.weight"][:8] *= -1
    rows = Session(model).rows(8, 3)
    with pytest.raises(ModelError, match="not a number"):
        streamed(rows, picture(3, 8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (14, 15), (15, 14), (9, 17), (40, 2)], ids=str)
def test_images_below_the_minimum_stream_too(size, channels):
    session, image = Session(model_of(plans.attention_plan())), picture(*size, channels)
    whole = session.run(image)
    for chunks in ((), (size[0],)):
        rows = session.rows(size[1], size[0], channels=channels)
        assert rows.out_width == size[1]
        np.testing.assert_array_equal(streamed(rows, image, chunks), whole)


@pytest.mark.parametrize("size", [(13, 22), (5, 3)], ids=str)
def test_multiples_are_completed_at_the_end(size):
    plan = plans.plan_of(
        ("down", ops.PixelUnshuffle(scale=4), "input"),
        ("body", plans.conv((16, 64)), "down"),
        ("up", ops.PixelShuffle(scale=8), "body"),
    )
    session, image = Session(model_of(plan, 2)), picture(*size)
    np.testing.assert_array_equal(streamed(session.rows(size[1], size[0]), image), session.run(image))


def test_a_saved_state_holds_the_rows_that_are_to_be_mirrored():
    session, image = Session(model_of(plans.attention_plan())), picture(9, 11)
    rows = session.rows(11, 9)
    before = rows.push(image[:4])
    again = session.rows(11, 9)
    again.load(rows.save())
    rest = streamed(again, image[4:])
    np.testing.assert_array_equal(np.concatenate([before, rest]), session.run(image))
