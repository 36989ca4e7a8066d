"""The sensitivity study: what it silences, measures, ranks, and leaves as it was."""

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import template_matching_model
from thinlens.errors import ModelError
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.train.compress.sensitivity import measure_sensitivity
from thinlens.train.lower import lower
from thinlens.train.networks import create_network
from thinlens.train.ops import Conv2d, ConvTranspose2d


class Wide(nn.Module):
    """Ten copies of the image, of which only the last two count; a layer that counts throughout; and back."""

    def __init__(self):
        super().__init__()
        self.copies = Conv2d(in_channels=1, out_channels=10, kernel=(1, 1), bias=True)
        self.both = ConvTranspose2d(in_channels=10, out_channels=2, kernel=(1, 1), bias=True)
        self.image = Conv2d(in_channels=2, out_channels=1, kernel=(1, 1))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.copies.weight[:8] = 1e-3
            self.copies.bias[:8] = 3.0  # silenced with the filter, or the result would be far off
            self.copies.weight[8:] = 1.0
            self.both.weight[8:, :] = 0.5
            self.image.weight[:] = 0.5

    def forward(self, x):
        return self.image(self.both(self.copies(x)))


def model_of(network, channels=1, **facts):
    plan, tensors = lower(network, channels)
    card = ModelCard(
        name="study",
        task="sr",
        scale=facts.pop("scale", 1),
        colour="luma" if channels == 1 else "rgb",
        params=1,
        macs_per_pixel=1.0,
        licence="Apache-2.0",
        training=Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0),
        **facts,
    )
    return Model({"main": plan}, tensors, card)


IMAGE = np.random.default_rng(0).random((12, 10), np.float32)


def test_layers_that_hardly_count_rank_first():
    model = model_of(Wide())
    before = {name: array.copy() for name, array in model.tensors.items()}
    seen = []
    found = measure_sensitivity(model, [(IMAGE, IMAGE)], ratios=(0.8, 0.9), progress=lambda *at: seen.append(at))
    assert [layer.layer for layer in found.layers] == ["copies", "both"]
    assert [layer.rank for layer in found.layers] == [1, 2]
    copies, both = found.layers
    assert (copies.channels, copies.params, both.channels, both.params) == (10, 20, 2, 22)
    assert copies.loss_db[0] == pytest.approx(0, abs=1e-3)  # the eight that do not count
    half = IMAGE / 2
    expected = found.psnr_db + 10 * np.log10(np.mean((IMAGE - half) ** 2))
    assert copies.loss_db[1] == pytest.approx(expected, abs=0.05)  # and one of the two that do
    assert both.loss_db == pytest.approx([expected] * 2, abs=0.05)  # one of two filters, whatever the share
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(np.array_equal(model.tensors[name], before[name]) for name in before)


def test_it_measures_the_network_itself():
    torch.manual_seed(0)
    network = create_network("rfn_rfb1_w6_x2")
    lq, hq = np.random.default_rng(1).random((16, 17, 3), np.float32), np.full((32, 34, 3), 0.5, np.float32)
    found = measure_sensitivity(model_of(network, 3, scale=2), [(lq, hq)], ratios=(0.5,))
    names = [layer.layer for layer in found.layers]
    assert "upsampler" not in names
    assert {"head", "tail", "body.0.convs.1", "body.3.attention.convs.2"} <= set(names)
    with torch.no_grad():
        restored = network(torch.from_numpy(lq.transpose(2, 0, 1))[None]).clamp(0, 1)
        assert found.psnr_db == pytest.approx(-10 * float((restored - 0.5).square().mean().log10()), abs=1e-3)
        conv = network.body[0].convs[1]
        order = conv.weight.flatten(1).norm(dim=1).argsort()
        conv.weight[order[:3]] = 0
        conv.bias[order[:3]] = 0
        silenced = network(torch.from_numpy(lq.transpose(2, 0, 1))[None]).clamp(0, 1)
    expected = found.psnr_db + 10 * float((silenced - 0.5).square().mean().log10())
    assert found.layers[names.index("body.0.convs.1")].loss_db[0] == pytest.approx(expected, abs=1e-3)


def test_another_value_range_gives_the_same_figures():
    model = model_of(Wide())
    tensors = {name: array * (255 if name == "copies.bias" else 1) for name, array in model.tensors.items()}
    ranged = Model(model.plans, tensors, msgspec.structs.replace(model.card, value_range=(0.0, 255.0)))
    found, expected = (measure_sensitivity(m, [(IMAGE, IMAGE)], ratios=(0.9,)) for m in (ranged, model))
    losses = [[layer.loss_db[0] for layer in study.layers] for study in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert max(losses[0]) > 1


def test_one_layer_models_may_be_studied():
    lq, hq = IMAGE, np.kron(IMAGE, np.ones((2, 2), np.float32))
    (layer,) = measure_sensitivity(template_matching_model(2), [(lq, hq)]).layers
    assert (layer.layer, layer.channels, len(layer.loss_db)) == ("filter", 16, 3)


def test_a_model_with_nothing_to_silence_is_an_error():
    model = model_of(nn.Sequential(Conv2d(in_channels=1, out_channels=1, kernel=(3, 3), padding=(1, 1))))
    with pytest.raises(ModelError, match="`study`: no convolution but those that make the image"):
        measure_sensitivity(model, [(IMAGE, IMAGE)])
