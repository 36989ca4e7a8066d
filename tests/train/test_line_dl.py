"""LineDL: published sizes, and that bands know what they may know: all above them, nothing below."""

import dataclasses

import msgspec
import numpy as np
import pytest
import torch

from tests.conftest import template_matching_model
from thinlens.errors import PlanError, ShapeError
from thinlens.model import ops
from thinlens.model.file import Model
from thinlens.model.outputs import model_of_output, plan_of_output
from thinlens.runtime.reference.rows import run_rows
from thinlens.runtime.session import Session
from thinlens.train.blocks.line import Itm, truncate
from thinlens.train.lower import lower
from thinlens.train.networks import create_network, find_configuration
from thinlens.train.networks.line_dl import LineConfig

MIB = 1 << 20
DNCNN = 558_400  # 17 layers of 64 channels, RGB: convolutions, biases of the first, scales and shifts of the others
SMALL = LineConfig(width=6)


def params(name):
    return sum(p.numel() for p in create_network(name).parameters())


def megabytes(count):
    return count * 4 / MIB


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("line_dn_m4_wide", 6_049_152, 23.08),
        ("line_dn_m4", 1_551_744, 5.92),
        ("line_dn_wide", 3_100_032, 11.83),
        ("line_dn", 814_464, 3.11),
        ("line_sr_m4_wide_joint", 6_860_160, 26.17),
        ("line_sr_m4_joint", 2_362_752, 9.01),
        ("line_sr_joint", 1_625_472, 6.20),
        ("line_sr_x2", 998_784, 3.81),
        ("line_sr_x3", 1_183_104, 4.51),
        ("line_sr_x4", 1_146_240, 4.37),
        ("unet_denoise", 7_760_163, 29.60),
    ],
)
def test_sizes_are_the_published_ones(name, count, size):
    assert params(name) == count
    assert round(megabytes(count), 2) == size


def test_sizes_compare_as_published():
    assert DNCNN == 2 * 3 * 64 * 9 + 64 + 15 * (64 * 64 * 9 + 2 * 64)
    assert abs(megabytes(params("line_dn") - DNCNN) - 0.97) < 0.01
    assert 9 < params("unet_denoise") / params("line_dn") < 10


def test_convolutions_in_place_of_the_modules_weigh_as_much():
    assert params("line_dn_plain") == params("line_dn")
    assert params("line_dn_naive") == params("line_dn_m0")


@pytest.mark.parametrize(
    "config",
    [
        LineConfig(),
        LineConfig((2,), modules=4, wide=True, width=16),
        LineConfig((2, 3, 4), transmission="naive", width=8),
        LineConfig(transmission="plain", rows=8, align="flip"),
    ],
)
def test_names_tell_configurations_apart(config):
    name = config.name
    if config in (LineConfig(), LineConfig((2,), modules=4, wide=True, width=16)):
        assert find_configuration(name) == config
    assert len({name, LineConfig(modules=3).name, LineConfig((3,)).name}) == 3


def create(config=SMALL, seed=0, gain=2.0):
    """A network whose memory counts, its plan and its tensors."""
    torch.manual_seed(seed)
    network = config.create()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(gain)
    return network, *lower(network, config.channels)


def session_of(config=SMALL, gain=2.0):
    _, plan, tensors = create(config, gain=gain)
    card = msgspec.structs.replace(
        template_matching_model().card,
        name=config.name,
        task="sr" if config.scales else "denoise",
        scale=config.scale,
        colour="rgb" if config.channels == 3 else "luma",
    )
    model = Model({"main": plan}, tensors, card)
    model.check()
    return Session(model, threads=1)


def picture(height, width, seed=0, dtype=np.uint8):
    most = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, most, (height, width, 3), dtype, endpoint=True)


def run_torch(network, lq):
    with torch.no_grad():
        return network(torch.from_numpy(lq)[None])[0].numpy()


VARIANTS = [
    SMALL,
    LineConfig(width=5, rows=3, warm_up=2, align="flip", pad_mode="mirror"),
    LineConfig(width=4, modules=4, wide=True, align="last", bias=True),
    LineConfig(width=5, rows=1, warm_up=0, pad_mode="zero"),
    LineConfig((2,), width=4),
    LineConfig((3,), width=4, rows=2),
    LineConfig((4,), width=4, warm_up=0),
    LineConfig(width=5, transmission="naive"),
    LineConfig(width=5, transmission="plain", channels=1),
    LineConfig(width=5, modules=0),
]


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: config.name)
@pytest.mark.parametrize("size", [(1, 1), (3, 9), (17, 13)])
def test_engine_reference_and_torch_agree(config, size, native):
    network, plan, tensors = create(config, gain=1.5)
    lq = np.random.default_rng(1).random((config.channels, *size), np.float32)
    by_torch = run_torch(network, lq)
    by_reference = run_rows(plan, tensors, (0, lq), size, (0, size[0] * config.scale))
    assert np.abs(by_reference - by_torch).max() < 1e-5
    image = lq[0] if config.channels == 1 else np.ascontiguousarray(lq.transpose(1, 2, 0))
    found = session_of(config, gain=1.5).run(image)
    expected = by_torch[0] if config.channels == 1 else by_torch.transpose(1, 2, 0)
    assert np.abs(found - expected.clip(0, 1)).max() < 1e-4


@pytest.mark.parametrize("config", [SMALL, LineConfig((2,), width=4)], ids=lambda config: config.name)
def test_nothing_below_a_band_is_seen(config):
    """Rows of later bands change nothing, beyond what the mirrored warm-up reads at the top."""
    network, *_ = create(config)
    lq = np.random.default_rng(0).random((3, 24, 10), np.float32)
    changed = lq.copy()
    changed[:, 12:] = 1 - changed[:, 12:]
    upper = 12 * config.scale
    assert np.array_equal(run_torch(network, changed)[:, :upper], run_torch(network, lq)[:, :upper])
    assert np.abs(run_torch(network, changed)[:, upper:] - run_torch(network, lq)[:, upper:]).min() >= 0
    assert not np.array_equal(run_torch(network, changed)[:, upper:], run_torch(network, lq)[:, upper:])


@pytest.mark.parametrize(("form", "remembered"), [("itm", True), ("naive", True), ("plain", False)])
def test_the_first_row_reaches_the_last_band_through_the_memory_alone(form, remembered):
    network, *_ = create(dataclasses.replace(SMALL, transmission=form, warm_up=0))
    lq = np.random.default_rng(0).random((3, 16, 10), np.float32)
    changed = lq.copy()
    changed[:, 0] = 1 - changed[:, 0]
    last = run_torch(network, lq)[:, 12:], run_torch(network, changed)[:, 12:]
    assert np.array_equal(*last) == (not remembered)


def by_hand(network, lq):
    """A denoised image, band after band, with states in plain variables."""
    config, step = network.config, network.config.rows
    states = [None] * len(network.transmit)
    padded = np.pad(lq, ((0, 0), (0, -lq.shape[1] % step), (0, 0)), mode="reflect")
    made = []
    for first in range(0, padded.shape[1], step):
        band = torch.from_numpy(padded[None, :, first : first + step])
        features = network.relu(network.second(network.relu(network.first(band))))
        for at, module in enumerate(network.transmit):
            gates, memory = module.extract.gates, module.extract.memory
            hidden, cell = states[at] or (torch.zeros_like(features),) * 2
            seen = {}
            for gate in ops.GATES:
                weight = memory.get_parameter(gate)
                seen[gate] = gates[f"{gate}_gate"](features) + torch.nn.functional.conv2d(hidden, weight, padding=1)
            cell = seen["forget"].sigmoid() * cell + seen["input"].sigmoid() * seen["candidate"].tanh()
            hidden = seen["output"].sigmoid() * cell.tanh()
            states[at] = hidden, cell
            features = network.relu(module.integrate(torch.cat([features, hidden], 1)))
        made.append(band - network.tail(network.relu(network.decode(features))))
    assert config.align == "same"
    return torch.cat(made, dim=2)[0, :, : lq.shape[1]].detach().numpy()


def test_a_loop_over_bands_gives_what_a_stream_gives(native):
    config = dataclasses.replace(SMALL, warm_up=0)
    network, *_ = create(config)
    image = picture(22, 15).astype(np.float32) / 255
    expected = by_hand(network, image.transpose(2, 0, 1)).transpose(1, 2, 0).clip(0, 1)
    rows = session_of(config).rows(15, dtype="float32")
    found = np.concatenate([*(rows.push(image[at : at + 1]) for at in range(22)), rows.flush()])
    assert np.abs(found - expected).max() < 1e-4
    assert np.array_equal(found, session_of(config).run(image))


@pytest.mark.parametrize("config", [SMALL, LineConfig((2,), width=4)], ids=lambda config: config.name)
@pytest.mark.parametrize("at", [0, 3, 4, 11, 30])
def test_a_saved_state_goes_on_in_the_middle_of_an_image(config, at, native):
    session, image = session_of(config), picture(31, 12)
    first, second = session.rows(12), session.rows(12)
    above = first.push(image[:at])
    second.load(first.save())
    found = np.concatenate([above, second.push(image[at:]), second.flush()])
    assert np.array_equal(found, session.run(image))


def test_two_streams_in_turns_do_not_mix(native):
    session, images = session_of(), (picture(18, 9, 0), picture(18, 9, 1))
    streams = [session.rows(9) for _ in images]
    made = [[], []]
    for at in range(18):
        for stream, image, out in zip(streams, images, made, strict=True):
            out.append(stream.push(image[at : at + 1]))
    for stream, image, out in zip(streams, images, made, strict=True):
        assert np.array_equal(np.concatenate([*out, stream.flush()]), session.run(image))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_raw_rows_of_every_kind_stream(dtype, channels, native):
    session, image = session_of(), picture(10, 9, dtype=np.dtype(dtype).type)
    image = image if channels == 3 else np.ascontiguousarray(image[..., 0])
    rows = session.rows(9, channels=channels, dtype=dtype)
    found = np.concatenate([rows.push(image), rows.flush()])
    assert np.array_equal(found, session.run(image))


def test_rows_above_are_told_as_all(native):
    rows = session_of().rows(20)
    assert rows.halo_rows_above is None
    assert rows.halo_rows is None
    assert 0 < rows.halo_rows_below < SMALL.rows
    assert rows.latency_rows == SMALL.rows  # a band, and the one row more that mirrors the first of the warm-up
    assert session_of().describe()["halo_rows_above"] is None


def test_buffers_grow_with_the_width_alone(native):
    session = session_of()
    low, high = (session.rows(256, height).buffer_bytes for height in (64, 4096))
    assert low == high
    steps = np.diff([session.rows(256 * times, 64).buffer_bytes for times in (1, 2, 3, 4)])
    assert steps.max() == pytest.approx(steps.min(), rel=0.01)


def test_two_thousand_bands_do_not_drift(native):
    """A state that a band leaves behind is bounded by the gates; pixels that repeat give results that repeat."""
    config = dataclasses.replace(SMALL, align="flip")
    session = session_of(config, gain=3.0)
    rows = session.rows(5, dtype="float32")
    band = np.random.default_rng(2).random((4, 5, 3), np.float32)
    found = np.concatenate([rows.push(np.concatenate([band] * 100)) for _ in range(20)] + [rows.flush()])
    bands = found.reshape(2000, 4, 5, 3)
    assert np.isfinite(bands).all()
    early, late = bands[500:1000], bands[1500:]
    assert np.abs(early.mean(0) - late.mean(0)).max() < 0.02
    assert np.abs(early.std(0) - late.std(0)).max() < 0.02


def test_a_joint_upscaler_has_an_output_for_each_scale():
    network, plan, tensors = create(LineConfig((2, 3, 4), width=4))
    assert list(plan.outputs) == ["image", "scale3", "scale4"]
    lq = np.random.default_rng(0).random((3, 9, 7), np.float32)
    by_torch = network(torch.from_numpy(lq)[None])
    for scale, (name, expected) in zip((2, 3, 4), by_torch.items(), strict=True):
        alone = plan_of_output(plan, name)
        assert alone.tensor_names() < set(tensors)
        found = run_rows(alone, tensors, (0, lq), (9, 7), (0, 9 * scale))
        assert np.abs(found - expected[0].detach().numpy()).max() < 1e-5
    with pytest.raises(PlanError, match="output `scale5`: unknown; accepted: image, scale3, scale4"):
        plan_of_output(plan, "scale5")


def test_one_scale_of_a_joint_upscaler_is_that_upscaler():
    session = session_of(LineConfig((2, 3, 4), width=8))
    model = Model({"main": session.plan}, create(LineConfig((2, 3, 4), width=8))[2], session.card)
    for scale, output in ((2, "image"), (3, "scale3"), (4, "scale4")):
        alone = model_of_output(model, output)
        alone.check()
        assert alone.card.name == f"line_sr_w8_x{scale}"
        assert alone.card.params == params(alone.card.name)
        assert Session(alone).run(picture(5, 6)).shape == (5 * scale, 6 * scale, 3)


def test_gradients_go_back_as_far_as_they_may():
    memory = create(dataclasses.replace(SMALL, warm_up=0))[0]
    lq = torch.rand(1, 3, 16, 6, requires_grad=True)
    reach = {}
    for bands in (None, 2, 1):
        truncate(memory, bands)
        (grad,) = torch.autograd.grad(memory(lq)[:, :, 12:].sum(), lq)
        reach[bands] = [bool(part.abs().max() > 0) for part in grad.split(4, dim=2)]
    assert reach == {None: [True] * 4, 2: [False, False, True, True], 1: [False] * 3 + [True]}
    truncate(memory, None)
    whole = memory(lq)
    truncate(memory, 1)
    assert torch.equal(memory(lq), whole)


def test_a_batch_is_its_images():
    network, *_ = create()
    lq = torch.rand(3, 3, 14, 7)
    with torch.no_grad():
        assert torch.allclose(network(lq), torch.cat([network(image[None]) for image in lq]), atol=1e-6)


def test_the_forget_gate_begins_open_where_there_are_biases():
    module = Itm(4, "same", "edge", bias=True)
    assert torch.equal(module.extract.gates["forget_gate"].bias, torch.ones(4))


def test_a_plan_without_its_image_cannot_tell_the_batch():
    _, plan, _ = create()
    nodes = [
        msgspec.structs.replace(node, inputs=(*node.inputs[:-1], "bands")) if node.op.recurrent else node
        for node in plan.nodes
    ]
    with pytest.raises(PlanError, match="values in bands, and an image at the end"):
        msgspec.structs.replace(plan, nodes=tuple(nodes)).channels()


def test_a_reference_runs_all_rows_at_once(reference):
    session, image = session_of(), picture(40, 12)
    assert session.run(image).shape == image.shape
    with pytest.raises((ShapeError, Exception), match="native engine"):
        session.rows(12)
