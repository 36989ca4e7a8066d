"""Damaged and malicious model files: one clear line, exit code 1, no output. The reader itself: tests/model."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from tests.cli.fixtures import files, picture
from tests.conftest import template_matching_model
from thinlens.model.file import content_hash, to_bytes


def sound():
    return to_bytes(template_matching_model())


def rewritten(change, *, tensors=None):
    """A model file whose metadata went through ``change``, with a hash that fits again."""
    data = sound()
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    stored = tensors or safetensors.numpy.load(data)
    plans = json.loads(metadata["plans"])
    change(plans["main"], metadata)
    metadata["plans"] = json.dumps(plans)
    metadata["sha256"] = content_hash(metadata["plans"].encode(), stored)
    return safetensors.numpy.save(stored, metadata)


def unknown_op(plan, _):
    plan["nodes"][0]["op"]["kind"] = "shell"


def endless_input(plan, _):
    plan["nodes"][0]["inputs"] = ["sum"]


def wrong_channels(plan, _):
    plan["nodes"][0]["op"]["in_channels"] = 3


def huge_kernel(plan, _):
    plan["nodes"][0]["op"]["kernel"] = [1 << 40, 1 << 40]


def newer(_, metadata):
    metadata["version"] = "2"


def deep_json(plan, metadata):
    metadata["card"] = "[" * 100_000


def with_nan():
    tensors = safetensors.numpy.load(sound())
    tensors["filter.weight"] = np.full_like(tensors["filter.weight"], np.nan)
    return rewritten(lambda *_: None, tensors=tensors)


def flipped_bit():
    data = bytearray(sound())
    data[-3] ^= 1
    return bytes(data)


CASES = {
    "empty": (b"", "0 bytes are too few"),
    "text": (b"this is no model at all", "header of"),
    "truncated": (sound()[:-5], "not a sound safetensors file"),
    "truncated header": (sound()[:50], "inside the file"),
    "oversized header": (struct.pack("<Q", 1 << 60) + sound()[8:], "header of 1152921504606846976 bytes"),
    "flipped bit": (flipped_bit(), "do not match their sha256"),
    "not finite": (with_nan(), "not finite"),
    "unknown op": (rewritten(unknown_op), "shell"),
    "endless": (rewritten(endless_input), "no earlier op makes"),
    "wrong channels": (rewritten(wrong_channels), "filter"),
    "huge kernel": (rewritten(huge_kernel), "plan or card is not valid"),
    "newer": (rewritten(newer), "format version 2"),
    "deep json": (rewritten(deep_json), "plan or card is not valid"),
    "foreign": (safetensors.numpy.save({"w": np.zeros(3, np.float32)}), "not a thinlens model"),
}


@pytest.mark.parametrize("name", CASES)
def test_model_file(thinlens, bench, name):
    data, message = CASES[name]
    (bench / "bad.safetensors").write_bytes(data)
    picture("a.png")
    for arguments in (("restore", "a.png", "-o", "b.png", "--model"), ("inspect",)):
        done = thinlens(*arguments, "bad.safetensors")
        assert (done.code, done.out) == (1, "")
        assert "`bad.safetensors`" in done.line
        assert message in done.line
    assert files() == ["a.png"]


def test_missing_model_file(thinlens):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", "--model", "missing.safetensors")
    assert done.code == 1
    assert "`missing.safetensors`: cannot be read" in done.line


def test_a_folder_is_no_model(thinlens, bench):
    (bench / "folder.safetensors").mkdir()
    assert "`folder.safetensors`" in thinlens("inspect", "folder.safetensors").line


def test_escape_codes_in_a_card_do_not_reach_the_terminal(thinlens, bench):
    def coloured(_, metadata):
        card = json.loads(metadata["card"])
        metadata["card"] = json.dumps({**card, "name": "\x1b[31m[bold]red", "licence": "\x07"})

    (bench / "odd.safetensors").write_bytes(rewritten(coloured))
    done = thinlens("inspect", "odd.safetensors")
    assert done.code == 0
    assert "\\x1b[31m[bold]red" in done.out
    assert "\x1b" not in done.out
    assert "\x07" not in done.out
