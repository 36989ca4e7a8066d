"""Ranges, steps and covariances of what a network computes on pictures."""

import numpy as np
import pytest

from tests.compress.models import small_model, write_pictures
from thinlens.bench.pairs import create_pairs
from thinlens.compress.calibrate import best_quantize, lq_crops, patches_of, quantize_of, quantizers
from thinlens.compress.low_precision import eligible, low_weights
from thinlens.model.ops import Quantize
from thinlens.runtime.binary import Precision
from thinlens.runtime.reference.rows import iter_values


@pytest.fixture
def crops(tmp_path):
    pairs = create_pairs(colour=False, scale=2)
    return lq_crops(write_pictures(tmp_path), pairs, side=20, per_image=2, seed=3)


def test_crops_depend_on_the_seed_alone(tmp_path, crops):
    pairs, paths = create_pairs(colour=False, scale=2), write_pictures(tmp_path)
    again = lq_crops(paths, pairs, side=20, per_image=2, seed=3)
    other = lq_crops(paths, pairs, side=20, per_image=2, seed=4)
    assert len(crops) == 8
    assert {crop.shape for crop in crops} == {(1, 20, 20)}
    assert all(np.array_equal(a, b) for a, b in zip(crops, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(crops, other, strict=True))
    assert lq_crops(paths, pairs, side=99, per_image=1, seed=0)[0].shape == (1, 32, 32)  # smaller ones are taken whole


def test_quantizers_follow_the_values(crops):
    found = quantizers(small_model(), ["input", "tanh", "relu"], crops)
    assert found["input"] == Quantize(scale=float(np.float32(1 / 255)), zero=0)
    assert found["relu"].zero == 0
    assert found["tanh"].zero >= 0
    model = small_model()
    largest = max(
        value.max()
        for crop in crops
        for name, value in iter_values(model.plan, {**model.tensors}, crop)
        if name == "relu"
    )
    assert 0.4 * largest <= 255 * found["relu"].scale <= 1.001 * largest


def test_an_input_with_noise_reaches_beyond_the_range_of_the_card(crops):
    noisy = [crop + np.float32(0.2) * (-1) ** i for i, crop in enumerate(crops)]
    op = quantizers(small_model(), ["input"], noisy)["input"]
    low, high = min(crop.min() for crop in noisy), max(crop.max() for crop in noisy)
    assert -op.zero * op.scale == pytest.approx(low, abs=op.scale)
    assert (255 - op.zero) * op.scale == pytest.approx(high, abs=op.scale)


def test_zero_is_a_level_of_every_range():
    for low, high in ((-1.0, 1.0), (-0.1, 2.0), (-3.0, 0.0), (0.0, 5.0), (0.0, 0.0)):
        op = quantize_of(low, high)
        levels = (np.arange(256) - op.zero) * op.scale
        assert (levels == 0).any()
        assert levels[0] <= low + op.scale
        assert levels[-1] >= high - op.scale


def test_rare_outliers_are_clipped_and_common_ones_are_not():
    rare, common = np.zeros(4096, np.int64), np.zeros(4096, np.int64)
    rare[:2048], rare[-1] = 1000, 1
    common[:] = 1000
    assert best_quantize(common, 0.0, 1.0).scale == quantize_of(0.0, 1.0).scale
    assert best_quantize(rare, 0.0, 1.0).scale < 0.7 * quantize_of(0.0, 1.0).scale


def test_patches_are_what_the_convolution_reads(crops):
    model = small_model()
    nodes = [node for node in eligible(model.plan, Precision.INT8) if node.name in ("left", "right")]
    found = patches_of(model, nodes, {"tanh": Quantize(scale=0.01, zero=128)}, crops)
    assert found["left"].mean.shape == (54,)
    assert found["right"].covariance.shape == (6, 6)
    values = np.concatenate(
        [
            v[:, ::2, ::2].reshape(6, -1)
            for c in crops
            for n, v in iter_values(model.plan, model.tensors, c)
            if n == "tanh"
        ],
        axis=1,
    )
    np.testing.assert_allclose(found["right"].mean, values.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found["right"].covariance, np.cov(values, bias=True), atol=1e-5)
    assert found["left"].noise == pytest.approx(0.01**2 / 12, rel=0.2)


def test_a_covariance_survives_a_large_mean(crops):
    model = small_model()
    model.tensors["head.bias"][:] = 20.0  # tanh is then 1 to the last bit or two
    nodes = [node for node in eligible(model.plan, Precision.INT8) if node.name == "left"]
    found = patches_of(model, nodes, {"tanh": Quantize(scale=1 / 255, zero=0)}, crops)["left"]
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-18
    low = low_weights(nodes[0], model.tensors, Precision.INT8, found)
    assert np.isfinite(low.bias).all()
