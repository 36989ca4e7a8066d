"""The model file: what goes in comes out, and what is wrong is refused with one clear message."""

import dataclasses
import json
import struct

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from tests.conftest import template_matching_model
from tests.plans import conv, plan_of, tensors_of
from thinlens.errors import ModelError, OutputError, PlanError
from thinlens.model import ops
from thinlens.model.file import Model, content_hash, from_bytes, read_model, to_bytes, write_model


def parts(data):
    """Header (as a dict) and the bytes after it."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, rest):
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + rest


def with_metadata(data, **changes):
    header, rest = parts(data)
    header["__metadata__"].update(changes)
    return joined(header, rest)


def with_plan(model, edit):
    """A file whose plan was edited and hashed again: sound, but wrong."""
    plans = json.loads(msgspec.json.encode(model.plans))
    edit(plans)
    text = json.dumps(plans)
    return with_metadata(to_bytes(model), plans=text, sha256=content_hash(text.encode(), model.tensors))


def test_roundtrip(model, tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(path, model)
    back = read_model(path)
    assert back.plans == model.plans
    assert back.card == model.card
    assert np.array_equal(back.tensors["filter.weight"], model.tensors["filter.weight"])
    assert to_bytes(back) == path.read_bytes()


def test_half_storage_rounds_to_float16(model):
    back = from_bytes(to_bytes(model, half=True))
    expected = model.tensors["filter.weight"].astype(np.float16).astype(np.float32)
    assert back.tensors["filter.weight"].dtype == np.float32
    assert np.array_equal(back.tensors["filter.weight"], expected)


@pytest.mark.parametrize(("rounding", "dtype"), [(ops.Quantize(scale=0.01), "I8"), (ops.Bfloat16(), "F16")])
@pytest.mark.parametrize("exact", [True, False])
def test_weights_in_low_precision_are_stored_so_if_nothing_is_lost(model, rounding, dtype, exact):
    plan = plan_of(("low", rounding, "input"), ("sum", conv((1, 4)), "low"), ("image", ops.ChannelMax(), "sum"))
    tensors = tensors_of(plan)
    if not exact:
        tensors["sum.weight"][0, 0, 0, 0] = 0.1
    card = msgspec.structs.replace(model.card, scale=1, task="denoise", params=36)
    data = to_bytes(Model({"main": plan}, tensors, card), half=False)
    assert parts(data)[0]["sum.weight"]["dtype"] == (dtype if exact else "F32")
    assert np.array_equal(from_bytes(data).tensors["sum.weight"], tensors["sum.weight"])


@pytest.mark.parametrize(("number", "dtype"), [(0.5, "F16"), (0.1, "F32"), (1e-20, "F32"), (1e6, "F32")])
def test_two_bytes_a_number_wherever_nothing_is_lost(model, number, dtype):
    tensors = {"filter.weight": np.full_like(model.tensors["filter.weight"], number)}
    data = to_bytes(Model(model.plans, tensors, model.card))
    assert parts(data)[0]["filter.weight"]["dtype"] == dtype
    assert np.array_equal(from_bytes(data).tensors["filter.weight"], tensors["filter.weight"])


def test_nothing_is_overwritten_unless_told(model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        write_model(path, model)
    assert path.read_bytes() == b"precious"
    write_model(path, model, overwrite=True)
    assert read_model(path).card == model.card
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("cut", [0, 7, 8, 100, -1])
def test_truncated(model, cut):
    with pytest.raises(ModelError, match=r"too few|header|sound"):
        from_bytes(to_bytes(model)[:cut])


def test_every_flipped_byte_is_noticed(model):
    data = to_bytes(model)
    for at in range(0, len(data), 97):
        broken = bytearray(data)
        broken[at] ^= 0x10
        try:
            back = from_bytes(bytes(broken))
        except (ModelError, PlanError):
            continue
        assert back.plans == model.plans  # a byte of the card, which the hash leaves out
        assert np.array_equal(back.tensors["filter.weight"], model.tensors["filter.weight"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<Q", 1 << 60) + b"{}", "header of 1152921504606846976 bytes"),
        (struct.pack("<Q", 2) + b"[]", "not a safetensors header"),
        (struct.pack("<Q", 2) + b"{}", "not a thinlens model"),
        (safetensors.numpy.save({"a": np.zeros(3, np.float32)}), "not a thinlens model"),
        (safetensors.numpy.save({"a": np.zeros(3, np.int64)}), "tensor `a` is I64; accepted: F32, F16, I8"),
    ],
)
def test_not_a_model_file(data, message):
    with pytest.raises(ModelError, match=message):
        from_bytes(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "999"}, "format version 999; this thinlens reads 1; update it"),
        ({"sha256": "0" * 64}, "damaged"),
        ({"plans": "{}"}, "damaged"),
        ({"card": "{}"}, "plan or card is not valid"),
        ({"card": "[" * 100_000}, "plan or card is not valid"),
    ],
)
def test_metadata(model, changes, message):
    with pytest.raises(ModelError, match=message):
        from_bytes(with_metadata(to_bytes(model), **changes))


def edit_op(kind):
    return lambda plans: plans["main"]["nodes"][0]["op"].update(kind=kind)


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (edit_op("shell"), ModelError, "plan or card is not valid"),
        (lambda p: p.update(other=p.pop("main")), ModelError, "`main` must be among them"),
        (lambda p: p["main"]["nodes"][0]["op"].update(kernel=[3, 3], padding=[1, 1]), PlanError, "has shape"),
        (lambda p: p["main"]["nodes"][0]["op"].update(stride=2), PlanError, "card says scale 2"),
        (lambda p: p["main"]["nodes"].pop(), PlanError, "no op makes"),
        (lambda p: p["main"]["outputs"].update(image="values"), PlanError, "card says luma"),
    ],
)
def test_plans_that_lie(model, edit, error, message):
    with pytest.raises((error, ModelError), match=message):
        from_bytes(with_plan(model, edit))


def test_weights_must_be_finite_and_used(model):
    broken = template_matching_model()
    broken.tensors["filter.weight"][3] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        from_bytes(to_bytes(broken))
    extra = dataclasses.replace(model, tensors={**model.tensors, "spare": np.zeros(2, np.float32)})
    with pytest.raises(ModelError, match=r"no plan uses the tensors \['spare'\]"):
        extra.check()


def test_a_missing_or_huge_file_is_one_line(tmp_path, monkeypatch, model):
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        read_model(tmp_path / "none.safetensors")
    monkeypatch.setattr("thinlens.model.file.MAX_FILE_BYTES", 10)
    path = tmp_path / "big.safetensors"
    path.write_bytes(to_bytes(model))
    with pytest.raises(ModelError, match="accepted: up to 10"):
        read_model(path)
