"""Whole networks, random weights: the engine as the reference, rows as the whole image, attention included."""

import numpy as np
import pytest
import torch

from thinlens.errors import ShapeError, UnsupportedOpError
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.runtime import library
from thinlens.runtime.session import Session
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration

pytestmark = pytest.mark.usefixtures("native")

STREAMING = ["idn_x2", "idn_x3", "rfdn_w12_x2", "rfdn_reduced_w16_x4", "rfn_plain_w18_x3", "rfn_rfb3_each_w16_x2"]
STREAMING += [
    "rfn_rfb3_w16_x4",
    "rep_rfn_w16_x4",
    "rep_rfn_w48_x2",
    "bbcu_l_w12_x3",
    "bbcu_m_w16_x4",
    "bbcu_denoise_w12",
]
ATTENTION = [name for name in STREAMING if "rf" in name]


def session_of(name):
    """With biases and weights that keep features near 0..1, whatever the depth."""
    torch.manual_seed(0)
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), configuration.channels)
    card = ModelCard(
        name=name,
        task="sr",
        scale=configuration.scale,
        colour="luma" if configuration.channels == 1 else "rgb",
        params=1,
        macs_per_pixel=1.0,
        licence="Apache-2.0",
        training=Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0),
    )
    return Session(Model({"main": plan}, tensors, card), threads=2)


def picture(height, width, dtype):
    image = np.random.default_rng(0).random((height, width, 3), np.float32)
    return image if dtype == "float32" else (255 * image).astype(np.uint8)


@pytest.mark.parametrize("name", [*STREAMING, "imdn_w16_x2", "drn_w4_b2_x4", "drn_w2_b1_x8"])
def test_the_engine_agrees_with_the_reference(name, monkeypatch):
    for size in [(1, 1), (15, 16), (37, 29)]:
        image = picture(*size, "float32")
        by_engine = session_of(name).run(image)
        monkeypatch.setenv(library.VARIABLE, library.REFERENCE)
        by_reference = session_of(name).run(image)
        monkeypatch.delenv(library.VARIABLE)
        assert by_engine.shape == (size[0] * by_engine.shape[1] // size[1], by_engine.shape[1], 3)
        assert np.ptp(by_reference) > 1e-3
        assert np.abs(by_engine - by_reference).max() < 1e-4


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", STREAMING)
def test_streamed_equals_whole(name, dtype):
    session, image = session_of(name), picture(101, 31, dtype)
    whole = session.run(image)
    rows = session.rows(31, 101, dtype=dtype)
    parts = [rows.push(image[start : start + 7]) for start in range(0, 101, 7)]
    assert any(len(part) for part in parts[:-1]) or name in ATTENTION
    np.testing.assert_array_equal(np.concatenate([*parts, rows.flush()]), whole)


@pytest.mark.parametrize("name", ATTENTION)
def test_the_attention_must_know_the_height(name):
    with pytest.raises(ShapeError, match=r"height: not given; node `body\.0\.attention\.resize` \(resize\)"):
        session_of(name).rows(31)


def test_the_attention_does_not_wait_for_the_whole_image():
    rows = session_of("rep_rfn_w16_x4").rows(64, 720)
    assert rows.latency_rows < 720 / 4
    image = picture(720, 64, "uint8")
    made = [len(rows.push(row[None])) for row in image]
    assert sum(made[: 720 // 2]) > 0


def test_contrast_needs_the_whole_image_and_says_so():
    session, image = session_of("imdn_w16_x2"), picture(21, 18, "uint8")
    assert session.run(image).shape == (42, 36, 3)
    message = (
        r"node `body\.0\.attention\.deviation` \(global_std\) needs the whole image before its first row; use `run`"
    )
    for height in (None, 21):
        with pytest.raises(UnsupportedOpError, match=message):
            session.rows(18, height)
