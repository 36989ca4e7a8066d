"""One step of compression: small loss, the same bits in engine and reference, and a card that tells."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from tests.compress.models import small_model, small_plan, write_pictures
from tests.conftest import template_matching_model
from tests.plans import conv, plan_of, tensors_of
from thinlens.bench.quality import evaluate
from thinlens.compress.compress import Settings, choose, compress, deal
from thinlens.errors import CompressionError, UnknownNameError
from thinlens.model import ops
from thinlens.model.card import Measurement
from thinlens.model.file import Model, from_bytes, to_bytes
from thinlens.model.ops import Bfloat16, Quantize
from thinlens.runtime.reference.rows import run_rows
from thinlens.runtime.session import Session

SETTINGS = Settings({"scale": 2}, crop=24, threads=1)


@pytest.fixture
def paths(tmp_path):
    return write_pictures(tmp_path / "pictures")


@pytest.mark.parametrize(("method", "accepted"), [("int8", 0.05), ("bf16", 0.02)])
def test_little_is_lost_and_engine_and_reference_agree(paths, native, method, accepted):
    model = small_model()
    result = from_bytes(to_bytes(compress(model, method, paths, SETTINGS)))
    step = result.card.history[-1]
    held_out = deal(paths)[1]
    before, after = (evaluate(Session(m).run, held_out, scale=2, colour=False).psnr_y_db for m in (model, result))
    assert (step.psnr_y_db_before, step.psnr_y_db_after) == (round(before, 4), round(after, 4))
    assert abs(step.loss_db) < accepted
    assert step.bytes_after < step.bytes_before
    assert any(isinstance(node.op, Quantize | Bfloat16) for node in result.plan.nodes)
    lq = np.random.default_rng(0).random((21, 30), np.float32)
    by_engine = Session(result).run(lq)
    by_reference = np.clip(run_rows(result.plan, result.tensors, (0, lq[None]), lq.shape, (0, 42))[0], 0, 1)
    assert np.abs(by_engine - by_reference).max() < 1 / 255


def test_a_denoiser_of_colour_pictures(paths):
    plan = plan_of(
        ("head", conv((3, 6)), "input"),
        ("relu", ops.Relu(), "head"),
        ("body", conv((6, 6)), "relu"),
        ("relu2", ops.Relu(), "body"),
        ("tail", conv((6, 3)), "relu2"),
        input_channels=3,
    )
    tensors = {name: tensor * np.float32(0.02) for name, tensor in tensors_of(plan).items()}
    for weight in tensors.values():
        for channel in range(3):
            weight[channel, channel, 1, 1] += 1
    card = msgspec.structs.replace(small_model().card, task="denoise", scale=1, colour="rgb")
    settings = Settings({"sigma": 10.0, "seed": 2}, crop=24, threads=1)
    result = compress(Model({"main": plan}, tensors, card), "int8", paths, settings)
    result.check()
    (step,) = result.card.history
    assert abs(step.loss_db) < 0.05
    assert step.convolutions >= 1
    assert "Gaussian noise of sigma 10" in step.protocol


def test_a_network_on_other_pixels(paths):
    """Its pixels are stretched inside the plan; what it gives does not change."""
    model = small_model()
    tensors = {**model.tensors, "head.weight": model.tensors["head.weight"] / 255}
    for name in ("tail.weight", "tail.bias"):
        tensors[name] = model.tensors[name] * 255
    card = msgspec.structs.replace(model.card, value_range=(0.0, 255.0))
    result = compress(Model(model.plans, tensors, card), "int8", paths, SETTINGS)
    result.check()
    assert result.card.value_range == (0.0, 1.0)
    assert abs(result.card.history[-1].loss_db) < 0.05


def test_the_card_tells_what_was_done(paths):
    model = small_model()
    quality = Measurement(data="x", count=1, psnr_y_db=1.0, ssim_y=1.0, protocol="p")
    model = replace(model, card=msgspec.structs.replace(model.card, quality=(quality,)))
    card = compress(model, "int8", paths, SETTINGS).card
    (step,) = card.history
    assert (card.name, card.quality) == ("small_int8", ())
    assert (step.method, step.data, step.count) == ("int8", "pictures", 2)
    assert 3 <= step.convolutions <= 4
    assert card.params == sum(t.size for t in compress(model, "int8", paths, SETTINGS).tensors.values())


def test_a_card_without_history_is_read(model):
    assert b"history" not in msgspec.json.encode(model.card) or model.card.history == ()
    fields = msgspec.to_builtins(model.card)
    del fields["history"]
    assert msgspec.convert(fields, type(model.card)) == model.card


def test_the_same_arguments_give_the_same_model(paths):
    first, second = (to_bytes(compress(small_model(), "int8", paths, SETTINGS)) for _ in range(2))
    assert first == second


def test_too_much_loss_is_refused_with_how_much(paths):
    with pytest.raises(
        CompressionError, match=r"`small`: `int8` loses .* dB on 2 images of `pictures` .* more than the"
    ):
        compress(small_model(), "int8", paths, replace(SETTINGS, max_loss_db=-1.0))


def test_ends_stay_on_floats_unless_they_cost_little():
    losses = {"a": 0.02, "b": 0.3, "c": 0.001}

    def psnr_of(chosen):
        return 30 - sum(losses[name] for name in chosen)

    assert choose(["a", "b", "c"], ("a", "c"), psnr_of, 0.01) == ["b", "c"]
    assert choose(["b", "c"], ("first", "last"), psnr_of, 0.01) == ["b", "c"]
    assert choose(["a"], ("a", "a"), psnr_of, 0.01) == []


def test_images_are_dealt_out_in_turn(paths):
    assert deal(paths) == (paths[::2], paths[1::2])
    assert deal(paths[:1]) == (paths[:1], paths[:1])
    many = [paths[0].with_name(f"{i:03}.png") for i in range(100)]
    calibration, held_out = deal(many)
    assert (len(calibration), len(held_out)) == (16, 16)
    assert not set(calibration) & set(held_out)


def test_what_cannot_be_compressed_is_refused(paths):
    with pytest.raises(CompressionError, match="is a one-layer upscaler"):
        compress(template_matching_model(), "int8", paths, SETTINGS)
    plan = plan_of(("a", conv((1, 4)), "input"), ("up", small_plan().nodes[-1].op, "a"), ("b", conv((1, 1)), "up"))
    with pytest.raises(CompressionError, match="has no convolution for `bf16`"):
        compress(Model({"main": plan}, tensors_of(plan), small_model().card), "bf16", paths, SETTINGS)
    absurd = small_model()
    absurd.tensors["left.weight"][:] = absurd.tensors["body.weight"][:] = 3e38
    for method in ("int8", "bf16"):
        with pytest.raises(CompressionError, match=r"value `.*`: is not finite, as the weights overflow"):
            compress(absurd, method, paths, SETTINGS)
    with pytest.raises(UnknownNameError, match=r"unknown method `int4`.*accepted: int8, bf16"):
        compress(small_model(), "int4", paths, SETTINGS)
