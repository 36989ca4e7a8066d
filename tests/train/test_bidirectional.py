"""Bidirectional compression: what the smaller network begins with, and that it is the one that is published."""

import numpy as np
import pytest
import torch

from tests.plans import memory_plan, tensors_of
from thinlens.errors import CompressionError, PlanError
from thinlens.model.slicing import slice_channels
from thinlens.runtime.reference.rows import run_rows
from thinlens.train.blocks.line import truncate
from thinlens.train.compress.bidirectional import (
    compress_channels,
    compress_layers,
    fresh_tensors,
    middle,
    module_values,
    prefix,
    transmission_modules,
)
from thinlens.train.loop import Watch, fit
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration
from thinlens.train.networks.line_dl import LineConfig
from thinlens.train.recipe import Plain
from thinlens.train.thaw import thaw

FULL, HALF, SMALL = (LineConfig(width=4, modules=m, wide=w) for m, w in ((4, True), (4, False), (2, False)))


def lowered(config, seed=0):
    torch.manual_seed(seed)
    return lower(config.create(), config.channels)


@pytest.fixture(scope="module")
def full():
    return lowered(FULL)


def test_modules_are_found_by_the_graph(full):
    plan, _ = full
    modules = transmission_modules(plan)
    assert [made for _, made in modules] == [f"transmit.{at}.activation" for at in range(4)]
    assert [read for read, _ in modules] == ["relu#2", *(f"transmit.{at}.activation" for at in range(3))]
    assert middle(modules) == modules[1:3]
    assert transmission_modules(lowered(LineConfig(width=4, modules=0))[0]) == []


@pytest.mark.parametrize("knowledge", ["slice", "flat", "none"])
def test_the_compressed_network_is_the_published_one(full, knowledge):
    plan, tensors = full
    half = compress_channels(plan, tensors, module_values(plan), knowledge=knowledge)
    assert half[0] == lowered(HALF)[0]
    small = compress_layers(*half, middle(transmission_modules(half[0])), knowledge=knowledge)
    expected = lowered(SMALL)
    assert [node.op for node in small[0].nodes] == [node.op for node in expected[0].nodes]
    assert sum(t.size for t in small[1].values()) == sum(t.size for t in expected[1].values())
    lq = np.random.default_rng(0).random((3, 9, 7), np.float32)
    by_reference = run_rows(*small, (0, lq), (9, 7), (0, 9))
    with torch.no_grad():
        by_torch = thaw(*small)(torch.from_numpy(lq)[None])[0].numpy()
    assert np.abs(by_reference - by_torch).max() < 1e-5


def test_slices_are_the_leading_blocks(full):
    plan, tensors = full
    _, half = compress_channels(plan, tensors, module_values(plan))
    for name, array in half.items():
        assert (
            np.array_equal(array, tensors[name][tuple(slice(0, side) for side in array.shape)]) or "integrate" in name
        )
    both, whole = half["transmit.1.integrate.weight"], tensors["transmit.1.integrate.weight"]
    assert np.array_equal(both, whole[:4][:, [0, 1, 2, 3, 8, 9, 10, 11]])  # own features, then extracted ones


@pytest.mark.parametrize("gate", ["input", "forget", "output", "candidate"])
def test_flat_takes_the_first_numbers_of_each_gate(full, gate):
    plan, tensors = full
    _, half = compress_channels(plan, tensors, module_values(plan), knowledge="flat")
    for name in (f"transmit.2.extract.memory.{gate}", f"transmit.2.extract.gates.{gate}_gate.weight"):
        assert np.array_equal(half[name].ravel(), tensors[name].ravel()[: half[name].size])
        old_filters = tensors[name][: 4 // 2]  # a quarter of 8, each cut in two
        assert np.array_equal(half[name][0], old_filters[0][:4])
        assert np.array_equal(half[name][1], old_filters[0][4:])


def test_kernels_stay_whole_in_both_readings(full):
    plan, tensors = full
    name = "transmit.0.extract.memory.forget"
    kernels = {kernel.tobytes() for filters in tensors[name] for kernel in filters}
    for knowledge in ("slice", "flat"):
        _, half = compress_channels(plan, tensors, module_values(plan), knowledge=knowledge)
        assert all(kernel.tobytes() in kernels for filters in half[name] for kernel in filters)


def test_nothing_kept_begins_anew_and_the_same_each_time(full):
    plan, tensors = full
    once, again, other = (
        compress_channels(plan, tensors, module_values(plan), knowledge="none", seed=seed)[1] for seed in (1, 1, 2)
    )
    name = "transmit.0.integrate.weight"
    assert np.array_equal(once[name], again[name])
    assert not np.array_equal(once[name], other[name])
    assert not np.array_equal(once["first.weight"], tensors["first.weight"])


def test_removed_layers_leave_the_others_as_they_are(full):
    plan, tensors = full
    shorter, left = compress_layers(plan, tensors, middle(transmission_modules(plan)))
    assert [name for name in tensors if name not in left] == [
        n for n in tensors if n.startswith(("transmit.1", "transmit.2"))
    ]
    assert all(np.array_equal(left[name], tensors[name]) for name in left)
    assert [made for _, made in transmission_modules(shorter)] == ["transmit.0.activation", "transmit.3.activation"]


def test_any_plan_can_be_cut():
    configuration = find_configuration("rfdn_w8_x2")
    plan, tensors = lower(configuration.create(), 3)
    smaller, _ = compress_channels(plan, tensors, ["head"])
    assert smaller.channels()["head"] == 4
    for name in ("imdn_w16_x2", "rep_rfn_w8_x4", "idn_x2", "fsrcnn_d32_s6_m4_x2", "espcn_d16_s32_x2"):
        configuration = find_configuration(name)
        plan, tensors = lower(configuration.create(), configuration.channels)
        first = plan.nodes[0].name
        smaller, _ = compress_channels(plan, tensors, [first])
        assert smaller.channels()[first] == plan.channels()[first] // 2


def test_a_network_for_several_scales_is_cut_as_one():
    config = LineConfig((2, 3, 4), width=4, modules=4, wide=True)
    plan, tensors = lowered(config)
    half = compress_channels(plan, tensors, module_values(plan))
    small = compress_layers(*half, middle(transmission_modules(half[0])))
    expected = lowered(LineConfig((2, 3, 4), width=4))
    assert sum(t.size for t in small[1].values()) == sum(t.size for t in expected[1].values())


def test_what_makes_no_sense_is_refused(full):
    plan, tensors = full
    with pytest.raises(CompressionError, match="ratio: got 0; accepted: above 0, at most 1"):
        compress_channels(plan, tensors, [], ratio=0)
    with pytest.raises(PlanError, match="value `none`: the plan makes none of that name"):
        compress_channels(plan, tensors, ["none"])
    with pytest.raises(CompressionError, match="4 modules of 4 to be removed"):
        middle(transmission_modules(plan), 4)
    with pytest.raises(CompressionError, match="no information transmission modules"):
        module_values(lowered(LineConfig(width=4, modules=0))[0])


def test_memories_that_are_no_modules_are_not_taken_for_some():
    assert transmission_modules(memory_plan(3, 1, cell="sum")) == []
    plan = memory_plan(3, 1)
    assert transmission_modules(plan) == [("head", "shuffle")]  # concatenated, convolved, and one op behind
    slice_channels(plan, tensors_of(plan), {"head": [0, 1, 2]})


def test_prefixes():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert prefix(array, (4, 6)) is array
    assert prefix(array, (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_fresh_tensors_have_the_shapes_of_the_plan(full):
    plan, tensors = full
    assert {n: a.shape for n, a in fresh_tensors(plan, 0).items()} == {n: a.shape for n, a in tensors.items()}


def test_a_compressed_plan_learns_on(full):
    plan, tensors = full
    half = compress_channels(plan, tensors, module_values(plan))
    hq = torch.rand(2, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    lq = hq + 0.1 * torch.randn(hq.shape, generator=torch.Generator().manual_seed(1))

    def loss(module, step):
        return (module(lq) - hq).square().mean()

    network = thaw(*half)
    truncate(network, 2)
    fit(network, loss, Plain(steps=12, lr=1e-2, warmup=0, ema=0.0, optimiser="adam"), Watch())
    trained = lower(network, plan.input_channels)[1]
    assert {name: array.shape for name, array in trained.items()} == {n: a.shape for n, a in half[1].items()}
    with torch.no_grad():
        before, after = (float(loss(thaw(half[0], found), 0)) for found in (half[1], trained))
    assert after < before
