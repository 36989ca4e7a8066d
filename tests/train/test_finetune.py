"""Training that goes on from a model file: the same plan, other weights, everything else kept."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from thinlens.compress.low_precision import Quantize
from thinlens.errors import ModelError, RecipeError
from thinlens.model.card import Compression
from thinlens.model.file import Model, from_bytes, to_bytes
from thinlens.model.plan import INPUT, Node
from thinlens.runtime.session import Session
from thinlens.train.datasets.pairs import Pair, create_pair
from thinlens.train.finetune import finetune_model
from thinlens.train.loop import Watch
from thinlens.train.networks import find_configuration
from thinlens.train.pipeline import to_model
from thinlens.train.recipe import Plain, to_recipe

LOOP = Plain(steps=6, batch=2, crop=12, lr=1e-3, warmup=0, ema=0.0, loss="l1", checkpoint_every=4)
DUAL = msgspec.structs.replace(LOOP, dual=0.1, dual_width=5)


def pairs(scale: int = 2, channels: int = 1, side: int = 48) -> list[Pair]:
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (2, side // 4, side // 4, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    return [create_pair(image, scale, channels) for image in smooth]


def model_of(name: str) -> Model:
    recipe = to_recipe({"network": name, "data": {"train": ["a"], "val": ["a"]}, "loop": {"kind": "plain", "steps": 1}})
    step = Compression(
        method="uniform",
        convolutions=1,
        bytes_before=2,
        bytes_after=1,
        data="val",
        count=1,
        psnr_y_db_before=30.0,
        psnr_y_db_after=29.0,
        protocol="Y",
    )
    model = to_model(find_configuration(name).create(), recipe, (), None)
    return replace(model, card=msgspec.structs.replace(model.card, name="pruned", history=(step,)))


def same(one: Model, other: Model) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


@pytest.mark.parametrize("loop", [LOOP, DUAL], ids=["plain", "dual"])
def test_a_model_that_no_configuration_makes_is_trained_further(loop: Plain) -> None:
    model = model_of("espcn_d4_s6_x2")
    trained = finetune_model(model, loop, pairs(), 3, Watch())
    assert trained.plan == model.plan
    assert set(trained.plans) == ({"main", "dual"} if loop.dual else {"main"})
    assert all((trained.tensors[name] != model.tensors[name]).any() for name in model.tensors)
    assert (trained.card.name, trained.card.history) == ("pruned", model.card.history)
    assert trained.card.params == model.card.params  # the dual map is none of the network's
    assert same(trained, finetune_model(model, loop, pairs(), 3, Watch()))
    assert same(trained, from_bytes(to_bytes(trained)))


def test_dual_maps_go_on_and_stay_where_they_are_not_trained() -> None:
    once = finetune_model(model_of("espcn_d4_s6_x2"), DUAL, pairs(), 3, Watch())
    slow = msgspec.structs.replace(DUAL, lr=1e-9)
    again = finetune_model(once, slow, pairs(), 4, Watch())  # a fresh map of another seed would be far off
    assert np.abs(again.tensors["dual.mix.weight"] - once.tensors["dual.mix.weight"]).max() < 1e-6
    kept = finetune_model(once, LOOP, pairs(), 3, Watch())
    assert np.array_equal(kept.tensors["dual.mix.weight"], once.tensors["dual.mix.weight"])
    assert (kept.tensors["body.0.weight"] != once.tensors["body.0.weight"]).any()


def test_a_killed_training_goes_on_bit_for_bit_dual_maps_included(tmp_path: Path) -> None:
    model = model_of("espcn_d4_s6_x2")
    whole = finetune_model(model, DUAL, pairs(), 3, Watch(folder=tmp_path))
    newest = max(tmp_path.rglob("step_*.pt"))
    newest.unlink()  # as if it had been killed after the one before
    assert len(list(tmp_path.rglob("step_*.pt"))) == 1
    assert same(whole, finetune_model(model, DUAL, pairs(), 3, Watch(folder=tmp_path)))


def test_a_teacher_draws_the_student_to_itself() -> None:
    student, teacher = model_of("espcn_d4_s6_x2"), model_of("espcn_d8_s6_x2")
    loop = msgspec.structs.replace(LOOP, steps=60, lr=1e-2, distil=100.0)
    noise = np.random.default_rng(5).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    seen = [create_pair(image, 2) for image in noise]
    alone, taught = (finetune_model(student, loop, seen, 3, Watch(), given) for given in (None, teacher))

    def distance(model: Model) -> float:
        lq = seen[0].lq
        return float(np.abs(Session(model).run(lq).astype(float) - Session(teacher).run(lq)).mean())

    assert distance(taught) < 0.5 * distance(alone)


def test_what_does_not_fit_is_refused() -> None:
    model = model_of("espcn_d4_s6_x2")
    with pytest.raises(RecipeError, match=r"pairs: got scale 3 and 1 channels for `pruned`; accepted: scale 2 and 1"):
        finetune_model(model, LOOP, pairs(3), 0, Watch())
    with pytest.raises(RecipeError, match=r"teacher: `pruned` has scale 3 and 1 channels; accepted: scale 2"):
        finetune_model(model, LOOP, pairs(), 0, Watch(), model_of("espcn_d4_s6_x3"))
    low = msgspec.structs.replace(
        model.plan, nodes=(Node(name="low", op=Quantize(scale=1.0, zero=0), inputs=(INPUT,)), *model.plan.nodes)
    )
    with pytest.raises(ModelError, match=r"node `low` rounds to low precision"):
        finetune_model(replace(model, plans={"main": low}), LOOP, pairs(), 0, Watch())
    with pytest.raises(ModelError, match=r"has the plans \['scale3'\]"):
        finetune_model(replace(model, plans={"main": model.plan, "scale3": model.plan}), LOOP, pairs(), 0, Watch())
