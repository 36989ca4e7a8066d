"""Mutated model files: read, and run on two small pictures."""

import json
import struct
from functools import cache

import msgspec
import numpy as np
import safetensors.numpy

from tests.conftest import template_matching_model
from tests.fuzz import mutate, tree
from tests.plans import tensors_of
from thinlens.model.card import ModelCard
from thinlens.model.file import Model, content_hash, read_model, to_bytes
from thinlens.model.ops import (
    OPS,
    Add,
    Affine,
    Bands,
    Bfloat16,
    BinaryConv2d,
    ChannelGather,
    ChannelMax,
    ChannelSlice,
    Clamp,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    GlobalMean,
    GlobalStd,
    LeakyRelu,
    LineMemory,
    MaxPool,
    Multiply,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    PRelu,
    Quantize,
    Relu,
    Resize,
    Sigmoid,
    SoftmaxSum,
    Tanh,
    Unbands,
)
from thinlens.model.plan import Node, Plan
from thinlens.runtime.session import Session

PICTURES = (
    np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8),
    np.random.default_rng(1).random((5, 1)).astype(np.float32),
)
VALUES = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20, 1e-45, 0.0)
MAX_SCALE = 16


@cache
def seeds() -> list[bytes]:
    """Sound model files that between them have every op."""
    models = [template_matching_model(2), template_matching_model(3), every_op_model(), linear_model()]
    return [to_bytes(model, half=half) for model in models for half in (False, True)]


def linear_model() -> Model:
    """Two convolutions and nothing between them: large weights reach infinity, and infinities cancel."""
    ops = (
        ("a", Conv2d(in_channels=1, out_channels=2, kernel=(3, 3), padding=(1, 1), pad_mode="zero"), ("input",)),
        ("b", Conv2d(in_channels=2, out_channels=4, kernel=(3, 3), padding=(1, 1), pad_mode="edge"), ("a",)),
        ("c", PixelShuffle(scale=2), ("b",)),
    )
    return _model("linear", ops)


def every_op_model() -> Model:
    """A network of no use that has every op; it takes images of one pixel and more."""
    ops = (
        ("a", Conv2d(in_channels=1, out_channels=4, kernel=(3, 3), padding=(1, 1), pad_mode="zero"), ("input",)),
        ("b", PRelu(slopes=4), ("a",)),
        ("c", Sigmoid(), ("b",)),
        ("d", Tanh(), ("b",)),
        ("e", Multiply(), ("c", "d")),
        ("f", PixelShuffle(scale=2), ("e",)),
        (
            "g",
            ConvTranspose2d(in_channels=4, out_channels=2, kernel=(4, 4), stride=2, padding=(1, 1), output_padding=0),
            ("b",),
        ),
        ("h", ChannelMax(), ("g",)),
        ("i", ChannelSlice(start=1, stop=2), ("g",)),
        ("j", SoftmaxSum(), ("h", "i")),
        ("k", Multiply(), ("j", "f")),
        ("l", PixelUnshuffle(scale=2), ("k",)),
        ("m", Affine(channels=4), ("l",)),
        ("n", LeakyRelu(slope=0.1), ("m",)),
        ("na", Quantize(scale=0.05, zero=100), ("n",)),
        ("nb", Conv2d(in_channels=4, out_channels=4, kernel=(3, 3), padding=(1, 1)), ("na",)),
        ("nc", Affine(channels=4), ("nb",)),
        ("nd", Bfloat16(), ("nc",)),
        ("ne", Conv2d(in_channels=4, out_channels=4, kernel=(1, 1), bias=True), ("nd",)),
        ("nf", BinaryConv2d(in_channels=4, out_channels=4, kernel=(3, 3), padding=(1, 1)), ("ne",)),
        ("o", MaxPool(kernel=(3, 3), stride=2, padding=(1, 1)), ("nf",)),
        ("p", Resize(mode="bilinear"), ("o", "input")),
        ("q", GlobalMean(), ("n",)),
        ("r", GlobalStd(), ("n",)),
        ("s", Add(a=0.5), ("q", "r")),
        ("t", Multiply(), ("p", "s")),
        ("u", Concat(count=2), ("t", "n")),
        ("v", ChannelGather(channels=(7, 0, 0, 5)), ("u",)),
        ("w", Pad(top=1, left=2, mode="mirror"), ("v",)),
        ("x", Crop(top=1, left=2), ("w",)),
        ("y", Bands(rows=4, warm_up=1), ("x",)),
        ("z", Relu(), ("y",)),
        ("zm", LineMemory(channels=4), ("z", "y", "z", "y", "x")),
        ("za", PixelShuffle(scale=2), ("zm",)),
        ("zb", Unbands(rows=4, warm_up=1, scale=2), ("za", "input")),
        ("zc", Resize(mode="bicubic", factor=2, border="symmetric"), ("input",)),
        ("zd", Add(), ("zb", "zc")),
        ("ze", Clamp(low=-1.0, high=2.0), ("zd",)),
    )
    assert {type(op) for _, op, _ in ops} == set(OPS)
    return _model("every_op", ops)


def _model(name: str, ops) -> Model:
    """An x2 network of named ops with random weights; the last one makes the image."""
    nodes = tuple(
        Node(name=node, op=op, inputs=inputs, tensors={role: f"{node}.{role}" for role in op.tensor_shapes()})
        for node, op, inputs in ops
    )
    plan = Plan(input_channels=1, nodes=nodes, outputs={"image": ops[-1][0]})
    card = msgspec.structs.replace(template_matching_model().card, name=name)
    return Model({"main": plan}, tensors_of(plan), card)


def make(rng) -> bytes:
    """A broken file: its bytes, or its plan, card or tensors, the hash then made to fit again."""
    files = seeds()
    data, other = (files[int(rng.integers(len(files)))] for _ in range(2))
    if rng.random() < 0.3:
        return mutate.mutated(data, rng, other)
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    stored = safetensors.numpy.load(data)
    plans, card = json.loads(metadata["plans"]), json.loads(metadata["card"])
    choice = rng.random()
    if choice < 0.5:
        plans = tree.mutated(plans, rng)
    elif choice < 0.6:
        card = tree.mutated(card, rng)
    elif choice < 0.9:
        stored = _broken_tensors(stored, rng)
    else:
        plans, stored = tree.mutated(plans, rng), _broken_tensors(stored, rng)
    metadata |= {"plans": json.dumps(plans), "card": json.dumps(card)}
    if rng.random() < 0.05:
        metadata = {key: str(value) for key, value in tree.mutated(metadata, rng).items()}
    metadata["sha256"] = content_hash(metadata.get("plans", "").encode(), stored)
    return _in_order(safetensors.numpy.save(stored, metadata))


def _in_order(data: bytes) -> bytes:
    """The same file, whose header the library writes in a random order, in a fixed one."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _broken_tensors(stored, rng):
    name = sorted(stored)[int(rng.integers(len(stored)))]
    array = stored[name].copy()
    change = int(rng.integers(5))
    if change == 0:
        place, value = int(rng.integers(array.size)), VALUES[int(rng.integers(len(VALUES)))]
        with np.errstate(invalid="ignore", over="ignore"):  # bytes hold few of them
            array.reshape(-1)[place] = np.float64(value).astype(array.dtype)
    elif change == 1:
        array = array.reshape(-1)
    elif change == 2:
        array = array[..., :-1].copy()
    elif change == 3:
        array = array.astype((np.float64, np.int8, np.uint16)[int(rng.integers(3))])
    else:
        with np.errstate(over="ignore"):
            array = (array * array.dtype.type(10.0 ** rng.integers(0, 38))).astype(array.dtype)
    return {key: array if key == name else value for key, value in stored.items()}


def put_through(data: bytes, folder, rng) -> None:
    """Run a file as `thinlens restore` does; raises ThinlensError, or AssertionError if a result is wrong."""
    path = folder / "x.safetensors"
    path.write_bytes(data)
    model = read_model(path)
    assert isinstance(model.card, ModelCard)
    session = Session(model, threads=1)
    json.dumps(session.describe())
    for picture in PICTURES:
        restored = session.run(picture)
        scale = session.card.scale
        assert restored.shape == (scale * picture.shape[0], scale * picture.shape[1], *picture.shape[2:])
        assert restored.dtype == picture.dtype
        assert np.isfinite(restored).all(), "not finite"
        assert session.working_bytes(100, 100) > 0
    again = Model(model.plans, model.tensors, model.card)
    assert to_bytes(again) == to_bytes(model)
