"""The shared-phase trainer: orbits, whitening, folding, assembly, and that it learns."""

import numpy as np
import pytest
import torch
from torch import nn

from thinlens.train.datasets.pairs import Pair, create_pair
from thinlens.train.datasets.patches import sample_patches, turn
from thinlens.train.loop import Watch, fit
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, Kind
from thinlens.train.recipe import SharedPhase
from thinlens.train.shared_phase import (
    CACHED,
    PhaseFilters,
    assemble,
    compete,
    create_filters,
    fit_phase,
    fit_shared_phase,
    measure,
    orbits,
    whiten,
)

KINDS: list[Kind] = ["max", "tm", "tr"]


def smooth_image(seed: int, size: int = 64) -> np.ndarray:
    """A disc over a gradient: edges in all directions."""
    y, x = np.mgrid[:size, :size] / size
    rng = np.random.default_rng(seed)
    cy, cx, radius = rng.uniform(0.3, 0.7, 3)
    disc = np.hypot(y - cy, x - cx) < radius * 0.5
    return (60 + 80 * disc + 40 * x + 30 * y).astype(np.uint8)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return [create_pair(smooth_image(seed), 2) for seed in range(4)]


@pytest.mark.parametrize(("scale", "count"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_orbits_cover_every_phase_once(scale: int, count: int) -> None:
    groups = orbits(scale)
    members = [phase for group in groups.values() for phase, _ in group]
    assert len(groups) == count
    assert sorted(members) == [(i, j) for i in range(scale) for j in range(scale)]
    assert all((first, 0) in group for first, group in groups.items())


@pytest.mark.parametrize("scale", [2, 4])  # x3 has phases that a flip maps onto themselves: their filters stay free
@pytest.mark.parametrize("kind", KINDS)
def test_an_assembled_network_turns_with_its_image(kind: Kind, scale: int) -> None:
    filters = {
        phase: create_filters(kind, 1, 2, 5, [seed])[0].reshape(GROUPS[kind], 2, 5, 5).numpy()
        for seed, phase in enumerate(orbits(scale))
    }
    network = EdgeSR(kind, 5, 2, scale).create()
    with torch.no_grad():
        network.get_parameter("filter.weight").copy_(torch.from_numpy(assemble(filters, scale)))
        image = np.random.default_rng(0).random((7, 9), np.float32)
        whole = run(network, image)
        for symmetry in (1, 2, 3):  # so does the transposition, here and there
            np.testing.assert_allclose(run(network, turn(image, symmetry)), turn(whole, symmetry), atol=1e-5)


def run(network: nn.Module, image: np.ndarray) -> np.ndarray:
    restored: np.ndarray = network(torch.from_numpy(image.copy())[None, None])[0, 0].numpy()
    return restored


@pytest.mark.parametrize("kind", KINDS)
def test_an_assembled_network_restores_what_the_phases_restore(kind: Kind, pairs: list[Pair]) -> None:
    network = EdgeSR(kind, 3, 2, 2)
    samples = sample_patches(pairs, (0, 0), 3, 500, [0])
    module = PhaseFilters(kind, [create_filters(kind, 1, 2, 3, [0])], whiten(samples.patches))
    filters = module.folded()[0][0].detach().float().numpy().reshape(GROUPS[kind], 2, 3, 3)
    whole = network.create()
    with torch.no_grad():
        whole.get_parameter("filter.weight").copy_(torch.from_numpy(assemble({(0, 0): filters}, 2)))
        patches = torch.from_numpy(samples.patches).float().reshape(-1, 1, 3, 3) / 255
        centre = whole(patches)[:, 0, 2, 2]  # output pixel of phase 0 0 over the patch's centre
        torch.testing.assert_close(module(torch.from_numpy(samples.patches))[0][0], centre, atol=1e-5, rtol=0)


def test_whitened_patches_are_uncorrelated() -> None:
    samples = sample_patches([create_pair(smooth_image(1, 200), 2)], (0, 0), 3, 5000, [0])
    noise = np.random.default_rng(0).integers(-3, 4, samples.patches.shape)
    patches = np.clip(samples.patches + noise, 0, 255).astype(np.uint8)
    x = torch.from_numpy(patches).double() / 255 @ whiten(patches)
    torch.testing.assert_close(x.T @ x / len(x), torch.eye(9, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_whitening_is_folded_back_exactly(kind: Kind, pairs: list[Pair]) -> None:
    filters = create_filters(kind, 2, 3, 5, [1])
    module = PhaseFilters(kind, [filters], whiten(sample_patches(pairs, (0, 0), 5, 500, [0]).patches))
    torch.testing.assert_close(module.folded()[0].float(), filters, atol=1e-5, rtol=1e-5)


def test_candidates_compete_as_published() -> None:
    values, queries, keys = torch.tensor([1.0, 5.0]), torch.tensor([2.0, 0.5]), torch.tensor([1.0, -2.0])
    z = torch.stack([values, queries, keys]).reshape(1, 3, 2, 1)
    assert compete("max", z[:, :1]).item() == 5
    share = 1 / (1 + np.exp(-2.0 - 1.0))  # softmax of keys 1 and -2
    assert compete("tm", z[:, [0, 2]]).item() == pytest.approx(share * 1 + (1 - share) * 5)
    share = 1 / (1 + np.exp(-1.0 - 2.0))  # softmax of products 2 and -1
    assert compete("tr", z).item() == pytest.approx(share * 1 + (1 - share) * 5)


def test_the_first_filters_are_near_the_identity_and_a_function_of_the_seed() -> None:
    first = create_filters("tr", 2, 4, 5, [0])
    assert torch.equal(first, create_filters("tr", 2, 4, 5, [0]))
    assert first[:, 0, :, 12].mean() == pytest.approx(1, abs=0.05)
    assert first[:, 1:, :, 12].mean() == pytest.approx(0, abs=0.1)
    assert (first[0] != first[1]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_training_beats_its_start_and_keeps_the_best_start(kind: Kind, pairs: list[Pair]) -> None:
    settings = SharedPhase(steps=150, batch=256, starts=3, patches=2048, val_patches=1024, lr=1e-2, warmup=10, ema=0.9)
    network = EdgeSR(kind, 3, 2, 2)
    train, val = sample_patches(pairs, (0, 0), 3, 2048, [0]), sample_patches(pairs, (0, 0), 3, 1024, [1])
    (result,) = fit_phase([network], (0, 0), train, val, settings, 0, Watch())
    start = create_filters(kind, 3, 2, 3, [0, 0, 0])
    before = measure(PhaseFilters(kind, [start], torch.eye(9, dtype=torch.float64)), val, 256)[0]
    assert len(result.val_mse) == 3
    assert max(result.val_mse) < 0.7 * min(before)
    best = torch.from_numpy(result.filters).reshape(1, GROUPS[kind], 2, 9)
    again = measure(PhaseFilters(kind, [best], torch.eye(9, dtype=torch.float64)), val, 256)[0]
    assert again[0] == pytest.approx(min(result.val_mse), rel=1e-3)


def test_all_phases_of_x3_are_trained(pairs: list[Pair]) -> None:
    settings = SharedPhase(steps=2, batch=64, starts=1, patches=128, val_patches=64)
    thirds = [create_pair(smooth_image(seed), 3) for seed in range(2)]
    (weight,) = fit_shared_phase([EdgeSR("tm", 3, 2, 3)], thirds, thirds, settings, 0, Watch())
    assert weight.shape == (2 * 2 * 9, 1, 3, 3)
    corners = weight.reshape(4, 3, 3, 3, 3)[:, [0, 0, 2, 2], [0, 2, 0, 2]]
    for symmetry, corner in zip((0, 2, 1, 3), corners.swapaxes(0, 1), strict=True):
        np.testing.assert_array_equal(corner, turn(corners[:, 0], symmetry))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_by_hand_is_that_of_autograd(kind: Kind, pairs: list[Pair]) -> None:
    samples = sample_patches(pairs, (0, 0), 5, 3 * CACHED // 2, [0])  # the last part of the batch is smaller
    first = [create_filters(kind, 2, candidates, 5, [0]) for candidates in (1, 3, 4)]
    module = PhaseFilters(kind, first, whiten(samples.patches), torch.float64)
    patches, targets = torch.from_numpy(samples.patches), torch.from_numpy(samples.targets)
    loss = module.loss(patches, targets)
    (by_hand,) = torch.autograd.grad(loss, module.weight)
    plain = sum((restored - targets.double() / 255).square().mean(dim=1).sum() for restored in module(patches))
    assert isinstance(plain, torch.Tensor)
    (by_autograd,) = torch.autograd.grad(plain, module.weight)
    torch.testing.assert_close(loss, plain.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(by_hand, by_autograd, rtol=0, atol=1e-12 * by_autograd.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
def test_together_each_ends_where_it_ends_alone(kind: Kind, pairs: list[Pair]) -> None:
    """20 steps in float64, the optimiser and the averages included."""
    samples = sample_patches(pairs, (0, 0), 5, 4096, [0])
    settings = SharedPhase(steps=20, batch=512, patches=4096, val_patches=512, warmup=0, lr=1e-2)
    patches, targets = torch.from_numpy(samples.patches), torch.from_numpy(samples.targets)

    def train(first: list[torch.Tensor]) -> list[torch.Tensor]:
        module = PhaseFilters(kind, first, whiten(samples.patches), torch.float64)

        def loss(filters: nn.Module, step: int) -> torch.Tensor:
            chosen = slice(step * 512 % 4096, step * 512 % 4096 + 512)
            return module.loss(patches[chosen], targets[chosen])

        fit(module, loss, settings, Watch())
        return [filters.detach() for filters in module.folded()]

    first = [create_filters(kind, 2, candidates, 5, [0, candidates]) for candidates in (1, 2, 5, 16)]
    for together, start in zip(train(first), first, strict=True):
        (alone,) = train([start])
        assert (alone - start).abs().max() > 1e-3
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_several_networks_share_one_training(pairs: list[Pair]) -> None:
    settings = SharedPhase(steps=30, batch=64, starts=2, patches=512, val_patches=64, warmup=0)
    networks = [EdgeSR("tm", 3, candidates, 2) for candidates in (1, 4)]
    together = fit_shared_phase(networks, pairs, pairs, settings, 0, Watch())
    assert [weight.shape for weight in together] == [(2 * 4, 1, 3, 3), (8 * 4, 1, 3, 3)]
    for network, weight in zip(networks, together, strict=True):
        (alone,) = fit_shared_phase([network], pairs, pairs, settings, 0, Watch())
        np.testing.assert_allclose(weight, alone, atol=1e-4)
