"""Pruning: each method finds what was planted, and what is cut is what was silent."""

import numpy as np
import pytest
import torch

from tests.plans import conv, plan_of, tensors_of
from thinlens.errors import CompressionError
from thinlens.model import ops
from thinlens.model.groups import channel_groups, cut_units, find_group, prunable_pairs
from thinlens.train.compress.pruning import (
    METHODS,
    Batch,
    Layer,
    Objective,
    greedy,
    l1_measure,
    prune,
    thinet,
    uniform_widths,
    with_options,
)
from thinlens.train.compress.pruning.lasso import choose_by_lasso, lasso
from thinlens.train.compress.pruning.thinet import remove_least
from thinlens.train.loop import Watch
from thinlens.train.thaw import tensors_of as tensors_in
from thinlens.train.thaw import thaw, values_of

CHAIN = plan_of(
    ("head", conv((1, 8), bias=True), "input"),
    ("relu", ops.Relu(), "head"),
    ("body", conv((8, 6), bias=True, stride=1), "relu"),
    ("slope", ops.PRelu(slopes=6), "body"),
    ("tail", conv((6, 4), bias=True), "slope"),
    ("shuffle", ops.PixelShuffle(scale=2), "tail"),
)
RESIDUAL = plan_of(
    ("head", conv((1, 6)), "input"),
    ("a", conv((6, 8), bias=True), "head"),
    ("relu", ops.Relu(), "a"),
    ("b", conv((8, 6), pad_mode="edge"), "relu"),
    ("sum", ops.Add(), "b head"),
    ("up", conv((6, 12)), "sum"),
    ("shuffle", ops.PixelShuffle(scale=2), "up"),
    ("last", ops.ConvTranspose2d(in_channels=3, out_channels=1, kernel=(3, 3), padding=(1, 1)), "shuffle"),
)


def batches(scale=2, count=2, size=10):
    draw = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        lq = torch.rand(3, 1, size, size, generator=draw)
        made.append(Batch(lq, {1: lq, scale: torch.rand(3, 1, scale * size, scale * size, generator=draw)}))
    return made


def lively(plan):
    """Tensors with which no channel of the first layer is always below zero."""
    tensors = tensors_of(plan)
    return tensors | {name: np.abs(array) for name, array in tensors.items() if name.startswith("head")}


def targets(plan, tensors):
    """Crops that the network restores perfectly: what it misses is all that can be wrong."""
    module = thaw(plan, tensors)
    with torch.no_grad():
        return [Batch(batch.lq, {1: batch.lq, 2: module(batch.lq)}) for batch in batches()]


def layer_of(plan, tensors, name, objective):
    whole = thaw(plan, tensors).requires_grad_(False)
    return Layer(thaw(plan, tensors), find_group(plan, name), whole, {}, objective)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("plan", [CHAIN, RESIDUAL], ids=["chain", "residual"])
def test_what_is_silent_in_the_layer_is_what_is_cut(method, plan):
    tensors, objective = tensors_of(plan), Objective(batches(), l1_measure)
    for group in channel_groups(plan):
        layer = layer_of(plan, tensors, group.name, objective)
        kept = METHODS[method](layer, len(group) // 2, 3)
        assert kept == sorted(set(kept))
        assert len(kept) == len(group) // 2
        lq = objective.batches[0].lq
        with torch.no_grad():
            cut = thaw(*cut_units(plan, tensors_in(layer.module), group, kept))
            assert float((layer.module(lq) - cut(lq)).abs().max()) < 1e-5


@pytest.mark.parametrize("per_step", [1, 2, None])
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_greedy_selection_finds_planted_channels(per_step, gamma):
    tensors = lively(CHAIN)
    for silent in (0, 1, 3, 5, 6):
        tensors["head.weight"][silent] = tensors["head.bias"][silent] = 0
    objective = Objective(targets(CHAIN, tensors), l1_measure, gamma=gamma)
    assert greedy(layer_of(CHAIN, tensors, "head", objective), 3, 0, per_step=per_step) == [2, 4, 7]


def test_scores_are_norms_of_the_gradient_of_features_and_loss():
    """By hand: filters of the reader by their Frobenius norms, added up over outputs."""
    tensors, gamma = tensors_of(CHAIN), 0.3
    small = batches()
    layer = layer_of(CHAIN, tensors, "head", Objective(small, l1_measure, gamma=gamma))
    layer.silence([2])
    module, whole = thaw(CHAIN, tensors), thaw(CHAIN, tensors)
    weight = module.body.weight
    with torch.no_grad():
        weight[:, [0, 1, 3, 4, 5, 6, 7]] = 0
    for batch in small:
        seen = values_of(module, batch.lq)
        features = (seen["body"] - values_of(whole, batch.lq)["body"].detach()).square().mean()
        (255**2 * features + gamma * 255 * (seen["shuffle"] - batch.images[2]).abs().mean()).backward()
    expected = weight.grad.flatten(2).norm(dim=2).sum(0)
    np.testing.assert_allclose(layer.scores().numpy(), expected.numpy(), rtol=1e-4)


def test_cp_drops_one_copy_and_makes_up_for_it():
    tensors = tensors_of(CHAIN)
    tensors["head.weight"][5], tensors["head.bias"][5] = tensors["head.weight"][2], tensors["head.bias"][2]
    tensors["body.weight"][:, 5] = 0.5 * tensors["body.weight"][:, 2]
    objective = Objective(targets(CHAIN, tensors) * 3, l1_measure)
    plan, left = prune(CHAIN, tensors, {"head": 7}, METHODS["cp"], objective)
    rows = [row.tobytes() for row in left["head.weight"]]
    assert len(set(rows)) == 7
    lq = objective.batches[0].lq
    with torch.no_grad():
        error = (thaw(plan, left)(lq) - thaw(CHAIN, tensors)(lq)).abs().max()
    assert float(error) < 1e-3


@pytest.mark.parametrize("size", ["square", "magnitude"])
def test_thinet_removes_silent_channels_first(size):
    tensors = lively(CHAIN)
    for silent in (1, 4, 6):
        tensors["head.weight"][silent] = tensors["head.bias"][silent] = 0
    objective = Objective(targets(CHAIN, tensors), l1_measure)
    kept = thinet(layer_of(CHAIN, tensors, "head", objective), 5, 0, size=size)
    assert kept == [0, 2, 3, 5, 7]
    shares = np.array([[1.0, -1.0, 5.0], [2.0, -2.0, 5.0]])
    assert remove_least(shares, 2, size) == [0, 1]  # the second undoes the first


def test_the_lasso_gives_as_many_as_asked_for():
    rng = np.random.default_rng(0)
    shares = rng.normal(size=(10, 200))
    target = 3 * shares[2] - 2 * shares[7] + 0.5 * shares[4] + 0.01 * rng.normal(size=200)
    gram, products = shares @ shares.T, shares @ target
    np.testing.assert_allclose(lasso(gram, products, 0.0, np.zeros(10)), np.linalg.solve(gram, products), atol=1e-5)
    for keep in (1, 2, 3, 9, 10):
        factors = choose_by_lasso(gram, products, keep)
        assert np.count_nonzero(factors) == keep
    assert np.flatnonzero(choose_by_lasso(gram, products, 3)).tolist() == [2, 4, 7]
    assert np.count_nonzero(choose_by_lasso(np.zeros((4, 4)), np.zeros(4), 2)) == 2  # channels that make nothing


@pytest.mark.parametrize("method", METHODS)
def test_all_layers_of_a_plan_are_pruned(method):
    tensors = tensors_of(RESIDUAL)
    objective = Objective(targets(RESIDUAL, tensors), l1_measure)
    widths = uniform_widths(RESIDUAL, 0.5, trunks=True)
    assert widths == {"head": 3, "a": 4, "up": 2}
    plan, left = prune(RESIDUAL, tensors, widths, METHODS[method], objective, seed=5)
    channels = plan.channels()
    assert [channels[name] for name in ("head", "b", "a", "up", "shuffle")] == [3, 3, 4, 8, 2]
    again = prune(RESIDUAL, tensors, widths, METHODS[method], objective, seed=5)
    assert all(np.array_equal(left[name], again[1][name]) for name in left)


def test_refitting_beats_plain_cutting():
    tensors = tensors_of(CHAIN)
    objective = Objective(targets(CHAIN, tensors) * 4, l1_measure)

    def error(method):
        cut = thaw(*prune(CHAIN, tensors, {"head": 5, "body": 4}, method, objective))
        with torch.no_grad():
            return sum(float((cut(b.lq) - b.images[2]).square().mean()) for b in objective.batches)

    plain = error(METHODS["uniform"])
    for name in ("dual-regression", "cp", "thinet"):
        assert error(METHODS[name]) < plain, name


def test_a_killed_pruning_goes_on_where_it_was(tmp_path):
    tensors, objective = tensors_of(RESIDUAL), Objective(batches(), l1_measure)
    widths = uniform_widths(RESIDUAL, 0.4, trunks=True)
    whole = prune(RESIDUAL, tensors, widths, greedy, objective, seed=1)

    def dying(layer, keep, seed):
        if layer.group.name == "up":
            raise KeyboardInterrupt
        return greedy(layer, keep, seed)

    with pytest.raises(KeyboardInterrupt):
        prune(RESIDUAL, tensors, widths, dying, objective, 1, Watch("prune", tmp_path))
    calls = []

    def counted(layer, keep, seed):
        calls.append(layer.group.name)
        return greedy(layer, keep, seed)

    resumed = prune(RESIDUAL, tensors, widths, counted, objective, 1, Watch("prune", tmp_path))
    assert calls == ["up"]
    assert resumed[0] == whole[0]
    assert all(np.array_equal(resumed[1][name], whole[1][name]) for name in whole[1])


def test_widths_are_all_less_the_floor():
    assert uniform_widths(CHAIN, 0.3) == {"head": 6, "body": 5}
    assert uniform_widths(CHAIN, 0.0) == {"head": 8, "body": 6}
    assert uniform_widths(RESIDUAL, 0.7) == {"a": 3, "up": 1}
    assert [pair.name for pair in prunable_pairs(RESIDUAL)] == ["a", "up"]


def test_what_cannot_be_pruned_is_refused():
    for ratio in (-0.1, 1.0, float("nan")):
        with pytest.raises(CompressionError, match=r"ratio: got .*; accepted: 0 to below 1"):
            uniform_widths(CHAIN, ratio)
    lone = plan_of(("a", conv((1, 4)), "input"), ("shuffle", ops.PixelShuffle(scale=2), "a"))
    with pytest.raises(CompressionError, match="no channels lie between"):
        uniform_widths(lone, 0.5)
    low = plan_of(("q", ops.Quantize(scale=0.1), "input"), *(("a", conv((1, 4)), "q"), ("b", conv((4, 1)), "a")))
    with pytest.raises(CompressionError, match="low precision already; prune it first"):
        uniform_widths(low, 0.5)
    objective = Objective(batches(1), l1_measure)
    with pytest.raises(CompressionError, match="`head`: 9 of 8 units to be kept"):
        prune(CHAIN, tensors_of(CHAIN), {"head": 9}, greedy, objective)
    binary = plan_of(
        ("head", conv((1, 4)), "input"),
        ("bits", ops.BinaryConv2d(in_channels=4, out_channels=4, kernel=(3, 3), padding=(1, 1)), "head"),
        ("tail", conv((4, 1)), "bits"),
    )
    for name in ("cp", "thinet"):
        with pytest.raises(CompressionError, match="`bits`: reads channels, and its weights are not free"):
            prune(binary, tensors_of(binary), {"head": 2}, METHODS[name], objective)
    plan, left = prune(binary, tensors_of(binary), {"head": 2, "bits": 3}, with_options("dcp", 1), objective)
    assert set(np.unique(left["bits.weight"])) <= {-1, 1}
    assert plan.channels()["bits"] == 3
