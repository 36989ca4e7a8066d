"""The search for channel numbers: its table, its relaxation, its gradient, and that it goes on after a kill."""

import numpy as np
import pytest
import torch

from tests.plans import conv, plan_of, tensors_of
from tests.train.test_pruning import RESIDUAL, batches
from thinlens.errors import CompressionError
from thinlens.model import ops
from thinlens.model.groups import find_group, reading_axis, silence
from thinlens.train.compress.dual_regression.search import Relaxed, Settings, candidates, logits_gradient, search
from thinlens.train.compress.pruning import Batch, dual_measure, l1_measure
from thinlens.train.loop import Watch
from thinlens.train.losses.dual_regression import DualMap
from thinlens.train.thaw import thaw

WIDE = plan_of(
    ("head", conv((1, 16), bias=True), "input"),
    ("tanh", ops.Tanh(), "head"),
    ("body", conv((16, 12), bias=True), "tanh"),
    ("tanh2", ops.Tanh(), "body"),
    ("tail", conv((12, 4)), "tanh2"),
    ("shuffle", ops.PixelShuffle(scale=2), "tail"),
)


@pytest.mark.parametrize(
    ("channels", "ratio", "expected"),
    [
        (64, 0.3, (20, 24, 32, 36, 40, 44)),
        (64, 0.5, (16, 20, 20, 24, 28, 32)),
        (64, 0.7, (8, 12, 12, 16, 16, 20)),
        (32, 0.3, (12, 12, 16, 16, 20, 20)),
        (32, 0.5, (8, 8, 12, 12, 12, 16)),
        (32, 0.7, (4, 4, 4, 8, 8, 8)),
        (16, 0.3, (4, 4, 8, 8, 8, 12)),
        (16, 0.5, (4, 4, 4, 4, 8, 8)),
        (16, 0.7, (4,) * 6),
        (8, 0.3, (4,) * 6),
        (8, 0.5, (4,) * 6),
        (8, 0.7, (4,) * 6),
        (3, 0.5, (3,) * 6),
        (5, 0.0, (4,) * 6),
    ],
)
def test_the_table_of_candidates(channels, ratio, expected):
    assert candidates(channels, ratio) == expected


def relaxed(plan=WIDE, names=("head", "body"), ratio=0.3):
    return Relaxed(plan, tensors_of(plan), names, ratio)


def test_factors_fall_with_the_rank_from_one_to_zero():
    soft = relaxed()
    logits = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    for factors, counts in zip(soft.by_rank(logits), soft.candidates, strict=True):
        assert (factors.diff() <= 1e-6).all()
        assert torch.allclose(factors[: min(counts)], torch.ones(min(counts)))
        assert not factors[max(counts) :].any()
    probability = logits[0].softmax(0)
    share = sum(float(p) for p, count in zip(probability, soft.candidates[0], strict=True) if count > 5)
    assert float(soft.by_rank(logits)[0][5]) == pytest.approx(share)


@pytest.mark.parametrize(("plan", "names"), [(WIDE, ("head", "body")), (RESIDUAL, ("head", "a", "up"))])
def test_a_decided_choice_is_a_network_with_silent_channels(plan, names):
    """Of units that are read with the largest weights, as many as the candidate says."""
    tensors = tensors_of(plan)
    soft = Relaxed(plan, tensors, names, 0.0)
    logits = torch.full((len(names), 6), -60.0)
    logits[:, 1] = 60.0
    silent = tensors
    for name, counts in zip(names, soft.candidates, strict=True):
        group = find_group(plan, name)
        sizes = np.zeros(len(group))
        for node in plan.nodes:
            for unit, places in enumerate(group.readers.get(node.name, ())):
                weight = np.moveaxis(tensors[node.tensors["weight"]], reading_axis(node), 0)
                sizes[unit] += np.abs(weight[list(places)]).sum()
        silent = silence(plan, silent, group, np.argsort(-sizes)[: counts[1]].tolist())
    lq = batches(1)[0].lq
    with torch.no_grad():
        by_search = soft(soft.weights(), logits, lq)["image"]
        assert float((by_search - thaw(plan, silent)(lq)).abs().max()) < 1e-5
    assert soft.widths(logits) == {name: counts[1] for name, counts in zip(names, soft.candidates, strict=True)}


def test_equal_candidates_share_what_they_get():
    soft = relaxed(ratio=0.5)
    assert soft.candidates[0] == (4, 4, 4, 4, 8, 8)
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.5, 0.0]] * 2)
    assert soft.widths(logits)["head"] == 4


def doubled(soft):
    soft.module.double()
    return [Batch(b.lq.double(), {size: image.double() for size, image in b.images.items()}) for b in batches()]


def test_the_gradient_of_the_logits_is_the_exact_one():
    """Held against autograd, which differentiates through the weights' step."""
    soft, eta, decay = relaxed(), 0.02, 0.01
    small = doubled(soft)
    logits = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(weights, logits, batch):
        return (soft(weights, logits, batch.lq)["image"] - batch.images[2]).square().mean()

    here = {name: weight.detach().requires_grad_() for name, weight in soft.weights().items()}
    chosen = logits.clone().requires_grad_()
    steps = torch.autograd.grad(loss(here, chosen, small[0]), list(here.values()), create_graph=True)
    there = {n: w - eta * (step + decay * w) for (n, w), step in zip(here.items(), steps, strict=True)}
    exact = torch.autograd.grad(loss(there, chosen, small[1]), chosen)[0]
    found = logits_gradient(loss, soft.weights(), logits, (small[0], small[1]), eta, decay)
    first = logits_gradient(loss, soft.weights(), logits, (small[0], small[1]), eta, decay, second_order=False)
    error, omitted = float((found - exact).norm()), float((first - exact).norm())
    assert exact.abs().max() > 0
    assert error < 1e-3 * float(exact.norm())
    assert omitted > 10 * error


def run(tmp_path=None, kill_at=None, **fields):
    soft = relaxed()
    maps = {"dual": DualMap(1, 4, 2)}
    with torch.no_grad():
        for parameter in maps["dual"].parameters():
            parameter.fill_(0.1)
    small = batches(count=4)

    def first(step):
        if step == kill_at:
            raise KeyboardInterrupt
        return small[step % 2]

    settings = Settings(**{"steps": 7, "epoch": 3, "lr": 1e-3, "logits_lr": 0.05, **fields})
    watch = Watch("search", tmp_path)
    halves = (first, lambda step: small[2 + step % 2])
    return search(soft, halves, small, dual_measure(maps, 2), settings, watch, maps), soft, maps


def test_a_search_ends_within_the_table_and_is_the_same_each_time():
    found, soft, maps = run()
    assert found == run()[0]
    assert len(found.epochs) == 3
    assert set(found.widths) == {"head", "body"}
    for widths, _ in found.epochs:
        assert all(widths[g.name] in counts for g, counts in zip(soft.groups, soft.candidates, strict=True))
    assert found.widths == max(found.epochs, key=lambda epoch: epoch[1])[0]
    assert not torch.equal(soft.module.tail.weight, torch.from_numpy(tensors_of(WIDE)["tail.weight"]))
    assert not torch.all(maps["dual"].mix.weight == 0.1)
    assert run(second_order=False)[0].epochs != found.epochs


def test_a_killed_search_goes_on_where_it_was(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, kill_at=5)
    assert run(tmp_path)[0] == run()[0]


def test_the_search_prefers_the_channels_that_the_loss_needs():
    """What all channels restore perfectly is worth more of them than what a constant would do."""
    tensors = tensors_of(WIDE)
    tensors["head.weight"][:] = np.abs(tensors["head.weight"])
    tensors["head.bias"][:], tensors["body.weight"][:] = 0.1, 0.1
    tensors["tail.weight"][:, 1:] = 0
    with torch.no_grad():
        lq = batches()[0].lq
        same = [Batch(lq, {1: lq, 2: thaw(WIDE, tensors)(lq)})]
    soft = Relaxed(WIDE, tensors, ("head",), 0.3)
    settings = Settings(steps=40, epoch=20, lr=1e-6, logits_lr=0.1)
    found = search(soft, (lambda step: same[0], lambda step: same[0]), same, l1_measure, settings)
    assert found.widths["head"] == max(soft.candidates[0])


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(CompressionError, match="nothing to search"):
        relaxed(names=())
    with pytest.raises(CompressionError, match="ratio: got 1; accepted: 0 to below 1"):
        relaxed(ratio=1.0)
