import msgspec
import numpy as np
import pytest

from tests.conftest import template_matching_model
from thinlens.degrade.estimate import standard_table
from thinlens.degrade.noise import gaussian_noise
from thinlens.runtime.strength import Strength, fits, quality_of, sigma_of

SR = template_matching_model().card
DENOISER = msgspec.structs.replace(SR, name="dn", task="denoise", sigma_range=(0.0, 55.0))
DEBLOCKER = msgspec.structs.replace(SR, name="db", task="deblock", quality_range=(5, 90))


def test_what_is_given_is_taken():
    assert sigma_of([], 200, 200, 25.5) == Strength("sigma", 25.5, estimated=False)
    assert quality_of(None, 30) == quality_of(tuple(standard_table(80)), 30) == Strength("quality", 30, estimated=False)


def test_sigma_is_estimated_to_a_tenth():
    noisy = gaussian_noise(np.full((200, 200), 99, np.uint8), 20, seed=0)
    found = sigma_of([noisy[:7], noisy[7:]], 200, 200, None)
    assert found.estimated
    assert found.value == round(found.value, 1) == pytest.approx(20, abs=1)
    assert found.facts() == {"sigma": found.value, "sigma_estimated": True}


def test_quality_is_read_from_the_table():
    found = quality_of(tuple(standard_table(35)), None)
    assert found.facts() == {"quality": 35, "quality_estimated": True}
    assert found.describe(DEBLOCKER) == "quality 35, estimated"
    odd = quality_of((20,) * 64, None)
    assert odd.describe(DEBLOCKER).endswith("estimated; the nearest: the file's quantisation table is not libjpeg's")


def test_without_a_table_it_says_what_is_taken_for_granted():
    found = quality_of(None, None)
    assert found.facts() == {"quality": None, "quality_estimated": False}
    text = found.describe(DEBLOCKER)
    assert text.startswith(
        "quality not known; the input is no JPEG file; `--quality` says it; taken to lie within 5 to 90"
    )
    assert fits(DEBLOCKER, found)


@pytest.mark.parametrize(
    ("strength", "card", "known"),
    [
        (Strength("sigma", 55, estimated=False), DENOISER, True),
        (Strength("sigma", 56, estimated=True), DENOISER, False),
        (Strength("quality", 4, estimated=False), DEBLOCKER, False),
        (Strength("quality", 95, estimated=True), DEBLOCKER, False),
        (Strength("sigma", 200, estimated=False), msgspec.structs.replace(DENOISER, sigma_range=None), True),
    ],
)
def test_what_lies_outside_of_what_a_model_knows_is_told(strength, card, known):
    assert fits(card, strength) is known
    outside = f"outside of {'0 to 55' if card is DENOISER else '5 to 90'}, which model `{card.name}` was trained on"
    assert (outside in strength.describe(card)) is not known
