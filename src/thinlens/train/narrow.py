"""Start eSR-CNN from a trained ESPCN of the same scale: keep the channels that carry most.

Both begin with 5x5, tanh, 3x3, tanh. From its own start eSR-CNN learns to restore by its competition alone: its tanh
layers stay nearly linear, and no schedule of the optimiser leads out of that. ESPCN, which has no competition, puts its
tanh layers to use. So its body is narrowed to the smaller one's channels, and the competition is trained on top:

    channels of the second layer   those whose 3x3 patches predict the clean pixels best, by least squares
    channels of the first layer    those whose 3x3 patches predict the inputs of the chosen tanhs best; the solution
                                   becomes the second layer's weights
    values                         the least-squares solution for the clean pixels, for all candidates
    keys                           small random numbers, by which the candidates part

Channels are chosen by backward elimination: of all that are left, the one that is missed least goes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from thinlens.model.file import read_model
from thinlens.models import find_model
from thinlens.train.datasets.crops import CropSampler
from thinlens.train.datasets.pairs import Pair
from thinlens.train.networks.edge_sr import EdgeSRCNN
from thinlens.train.recipe import Narrowed
from thinlens.train.thaw import thaw

RIDGE = 1e-6  # of the mean square of a regressor that is at most 1
VALUES_SPREAD, KEYS_SPREAD = 0.02, 0.15


def narrow(network: EdgeSRCNN, pairs: Sequence[Pair], settings: Narrowed, seed: int) -> None:
    """Give a network its start, in place.

    Args:
        network: eSR-CNN, with at most the source's channels in its first two layers.
        pairs: training pairs of its scale.
        settings: names the source, an ESPCN of the same scale.
        seed: of the crops that channels are chosen on, and of the keys.
    """
    torch.set_num_threads(settings.threads)
    lq, hq = map(torch.from_numpy, CropSampler(pairs, settings.crop, settings.chosen_on, seed).batch(0))
    with torch.no_grad():
        _narrow_body(network, source_weights(settings.source), lq, hq)
        _start_head(network, lq, hq, seed)


def source_weights(source: str) -> list[torch.Tensor]:
    """Weights and biases of the layers of a model, in order."""
    model = read_model(find_model(source))
    return [parameter.detach() for parameter in thaw(model.plan, model.tensors).parameters()]


def _narrow_body(network: EdgeSRCNN, source: list[torch.Tensor], lq: torch.Tensor, hq: torch.Tensor) -> None:
    weight, bias, second_weight, second_bias = source[:4]
    hidden = torch.tanh(F.conv2d(lq, weight, bias))
    before = F.conv2d(hidden, second_weight, second_bias)
    kept, _ = choose(patches(torch.tanh(before)), _phases(hq, network.scale), network.second.weight.shape[0])
    inputs = before[:, kept].permute(0, 2, 3, 1).flatten(0, 2).double()
    spread = inputs.std(0)  # each tanh counts the same
    first, solution = choose(patches(hidden), inputs / spread, network.first.weight.shape[0])
    solution *= spread
    network.first.weight.copy_(weight[first])
    network.first.bias.copy_(bias[first])
    network.second.weight.copy_(solution[:-1].T.reshape(network.second.weight.shape))
    network.second.bias.copy_(solution[-1])


def _start_head(network: EdgeSRCNN, lq: torch.Tensor, hq: torch.Tensor, seed: int) -> None:
    """The last layer's channels are values, then keys, each ``candidates`` groups of one filter a phase."""
    hidden = torch.tanh(F.conv2d(lq, network.first.weight, network.first.bias))
    features = patches(torch.tanh(F.conv2d(hidden, network.second.weight, network.second.bias)))[:, :-1]
    solution = solve(features.T @ features / len(features), features.T @ _phases(hq, network.scale) / len(features))
    weight = network.third.weight
    values = solution.T.reshape(-1, *weight.shape[1:]).repeat(weight.shape[0] // 2 // solution.shape[1], 1, 1, 1)
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    half = len(values)
    weight[:half] = values + VALUES_SPREAD * noise[:half]
    weight[half:] = KEYS_SPREAD * noise[half:]


def _phases(hq: torch.Tensor, scale: int) -> torch.Tensor:
    """``N 1 sH sW`` -> the ``s^2`` pixels over each place that three layers without padding leave."""
    inside = F.pixel_unshuffle(hq, scale)[..., 4:-4, 4:-4]
    return inside.permute(0, 2, 3, 1).flatten(0, 2).double()


def patches(x: torch.Tensor) -> torch.Tensor:
    """3x3 patches of ``N C H W``, inside only -> (places, 9 C + 1), channels outermost, a column of ones last."""
    rows = F.unfold(x, 3).transpose(1, 2).flatten(0, 1)
    return torch.cat([rows, torch.ones(len(rows), 1)], 1).double()


def choose(regressors: torch.Tensor, targets: torch.Tensor, count: int) -> tuple[list[int], torch.Tensor]:
    """Choose the channels that predict targets best, by backward elimination.

    Args:
        regressors: (samples, 9 C + 1), nine columns a channel and one of ones, as `patches` makes them.
        targets: (samples, targets).
        count: channels to keep.

    Returns:
        The channels, and the least-squares solution (9 count + 1, targets).
    """
    normal, right = regressors.T @ regressors / len(regressors), regressors.T @ targets / len(regressors)
    kept = list(range(regressors.shape[1] // 9))

    def explained(channels: list[int]) -> float:
        columns = _columns(channels, len(normal))
        return float((right[columns] * solve(normal[columns][:, columns], right[columns])).sum())

    while len(kept) > count:
        rests = [[channel for channel in kept if channel != gone] for gone in kept]
        kept = max(rests, key=explained)
    columns = _columns(kept, len(normal))
    return kept, solve(normal[columns][:, columns], right[columns])


def _columns(channels: list[int], total: int) -> torch.Tensor:
    places = torch.tensor(channels)[:, None] * 9 + torch.arange(9)
    return torch.cat([places.flatten(), torch.tensor([total - 1])])


def solve(normal: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Least squares from normal equations, with a trace of ridge."""
    return torch.linalg.solve(  # type: ignore[no-any-return]
        normal + RIDGE * torch.eye(len(normal), dtype=normal.dtype), right
    )
