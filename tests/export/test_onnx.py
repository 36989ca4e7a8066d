"""ONNX written from the plan: the same function in ONNX Runtime at any size, borders included."""

from dataclasses import replace

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests import plans
from tests.conftest import template_matching_model
from tests.contract.test_parity import NETWORKS
from thinlens.errors import UnsupportedOpError
from thinlens.export.onnx import to_onnx
from thinlens.export.onnx_rules import RULES
from thinlens.model import ops
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.model.graph import fitting_size
from thinlens.model.ops import OPS
from thinlens.runtime.reference.rows import run_rows
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration

ODD_SIZES = [(1, 1), (1, 7), (9, 5), (33, 17), (21, 40)]


def model_of(name, pad_mode):
    configuration = find_configuration(name)
    torch.manual_seed(0)
    network = configuration.create()
    for module in network.modules():
        if hasattr(getattr(module, "op", None), "pad_mode"):
            fields = {field: getattr(module.op, field) for field in module.op.__struct_fields__}
            module.op = type(module.op)(**{**fields, "pad_mode": pad_mode})
    plan, tensors = lower(network, configuration.channels)
    training = Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0)
    counts = {"params": 1, "macs_per_pixel": 1.0, "licence": "Apache-2.0"}
    facts = {"scale": configuration.scale, "colour": "luma" if configuration.channels == 1 else "rgb"}
    card = ModelCard(name=name, task="sr", training=training, **facts, **counts)
    return Model({"main": plan}, tensors, card)


def session_of(data):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def test_every_op_has_a_rule():
    assert set(RULES) == set(OPS)


@pytest.mark.parametrize("pad_mode", ["edge", "zero"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith("line_")])
def test_onnx_runtime_agrees_at_odd_sizes(name, pad_mode):
    model = model_of(name, pad_mode)
    if any(isinstance(node.op, ops.BinaryConv2d) for node in model.plan.nodes):
        pytest.skip("float sums in another order change signs now and then; binary ops alone are compared below")
    session = session_of(to_onnx(model))
    for size in ODD_SIZES:
        height, width = fitting_size(model.plan, size)
        lq = np.random.default_rng(height).random((model.plan.input_channels, height, width), np.float32)
        (restored,) = session.run(["image"], {"input": lq[None]})
        rows = (0, height * model.card.scale)
        expected = run_rows(model.plan, model.tensors, (0, lq), (height, width), rows)
        assert restored.shape == (1, *expected.shape)
        assert np.abs(restored[0] - expected).max() < 1e-4


def test_sizes_are_free_and_facts_are_kept():
    proto = onnx.load_from_string(to_onnx(template_matching_model(3)))
    shape = proto.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["batch", 1, "height", "width"]
    assert {p.key: p.value for p in proto.metadata_props}["scale"] == "3"


def test_a_network_on_another_range_takes_pixels_in_0_to_1():
    model = template_matching_model(2)
    ranged = replace(model, card=msgspec.structs.replace(model.card, value_range=(0.0, 255.0)))
    lq = np.random.default_rng(0).random((1, 1, 9, 7), np.float32)
    (found,) = session_of(to_onnx(ranged)).run(["image"], {"input": lq})
    (stretched,) = session_of(to_onnx(model)).run(["image"], {"input": 255 * lq})
    assert np.abs(found - stretched / 255).max() < 1e-5


def test_the_same_model_gives_the_same_bytes():
    assert to_onnx(template_matching_model()) == to_onnx(template_matching_model())


def binary(channels, pad_value):
    sides = {"kernel": (3, 3), "padding": (1, 1), "pad_value": pad_value}
    return ops.BinaryConv2d(in_channels=channels[0], out_channels=channels[1], **sides)


# Name -> rows of a plan that ends at the image's own size or twice as large.
FAMILIES = {
    "affine": [
        ("head", plans.conv((1, 3)), "input"),
        ("both", ops.Affine(channels=3), "head"),
        ("bias", ops.Affine(channels=3, weight=False), "both"),
        ("scaled", ops.Affine(channels=3, bias=False), "bias"),
        ("max", ops.ChannelMax(), "scaled"),
    ],
    "activations": [
        ("a", ops.Add(a=4.0, b=-6.0), "input input"),
        ("relu", ops.Relu(), "a"),
        ("leaky", ops.LeakyRelu(slope=-0.5), "a"),
        ("clamp", ops.Clamp(low=-0.5, high=0.25), "a"),
        ("all", ops.Concat(count=3), "relu leaky clamp"),
        ("mix", plans.conv((3, 1)), "all"),
    ],
    "binary": [
        ("zero", binary((1, 5), 0), "input"),
        ("minus", binary((5, 5), -1), "zero"),
        ("plus", binary((5, 2), 1), "minus"),
        ("mix", plans.conv((2, 1)), "plus"),
    ],
    "low_precision": [
        ("byte", ops.Quantize(scale=0.013, zero=7), "input"),
        ("sum", plans.conv((1, 3)), "byte"),
        ("value", ops.Affine(channels=3), "sum"),
        ("half", ops.Bfloat16(), "value"),
        ("mix", plans.conv((3, 1)), "half"),
    ],
    "broadcast": [
        ("head", plans.conv((1, 3)), "input"),
        ("mean", ops.GlobalMean(), "head"),
        ("std", ops.GlobalStd(), "head"),
        ("a", ops.Multiply(), "head mean"),
        ("b", ops.Add(a=2.0), "std a"),
        ("c", ops.Multiply(), "b input"),
        ("d", ops.ChannelMax(), "c"),
    ],
    "channels": [
        ("head", plans.conv((1, 4)), "input"),
        ("gather", ops.ChannelGather(channels=(3, 3, 0, 2)), "head"),
        ("up", ops.PixelShuffle(scale=2), "gather"),
        ("conv", plans.conv((1, 2)), "up"),
        ("down", ops.PixelUnshuffle(scale=2), "conv"),
        ("gather2", ops.ChannelGather(channels=(1, 6, 0, 5)), "down"),
        ("image", ops.PixelShuffle(scale=2), "gather2"),
    ],
    "pool": [
        ("wide", ops.Pad(top=4, bottom=4, left=4, right=4), "input"),
        ("a", ops.MaxPool(kernel=(3, 5), stride=2, padding=(1, 2)), "wide"),
        ("up", ops.Resize(mode="nearest"), "a input"),
        ("b", ops.MaxPool(kernel=(3, 3), padding=(1, 1)), "up"),
    ],
    "pad_and_crop": [
        ("a", ops.Pad(top=1, right=3, mode="edge"), "input"),
        ("b", ops.Pad(bottom=2, left=1), "a"),
        ("c", ops.Crop(top=1, left=1), "b"),
        ("d", ops.Crop(bottom=2, right=3), "c"),
    ],
    "attention": [
        ("wide", ops.Pad(top=14, bottom=14, left=14, right=14), "input"),
        *plans.rows_of(plans.attention_plan(), "wide"),
        ("cut", ops.Crop(top=14, bottom=14, left=14, right=14), "tail"),
    ],
    **{
        f"resize_{mode}_{border}_x2": [
            ("up", ops.Resize(mode=mode, factor=2, coefficient=-0.5, border=border), "input")
        ]
        for mode in ("nearest", "bilinear", "bicubic")
        for border in ("edge", "symmetric")
    },
    **{
        f"resize_{mode}_to_a_size": [
            ("a", ops.Resize(mode="nearest", factor=3), "input"),
            ("b", plans.conv((1, 2)), "a"),
            ("c", ops.Crop(bottom=2, right=2), "b"),
            ("d", ops.Resize(mode=mode), "c input"),
            ("e", ops.ChannelMax(), "d"),
        ]
        for mode in ("nearest", "bilinear", "bicubic")
    },
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_op_agrees_at_odd_sizes(name):
    check_against_reference(plans.plan_of(*FAMILIES[name]), ODD_SIZES)


def test_mirrored_padding_agrees_wherever_onnx_defines_it():
    plan = plans.plan_of(
        ("a", plans.conv((1, 2), kernel=5, pad_mode="mirror"), "input"),
        ("b", ops.Pad(top=3, left=1, mode="mirror"), "a"),
        ("c", ops.Crop(bottom=3, right=1), "b"),
        ("d", ops.ChannelMax(), "c"),
    )
    check_against_reference(plan, [(4, 7), (9, 5), (33, 17), (21, 40), (5, 4)])


def check_against_reference(plan, sizes):
    model = plan_model(plan)
    session = session_of(to_onnx(model))
    for height, width in sizes:
        lq = np.random.default_rng(height).random((1, height, width), np.float32)
        (restored,) = session.run(["image"], {"input": lq[None]})
        rows = (0, plan.sizes((height, width))[plan.outputs["image"]][0])
        expected = run_rows(plan, model.tensors, (0, lq), (height, width), rows)
        assert restored.shape == (1, *expected.shape)
        assert np.abs(restored[0] - expected).max() < 1e-4


@pytest.mark.parametrize("pad_mode", ["zero", "edge"])
def test_convolutions_on_bytes_have_the_form_that_runtimes_know(pad_mode):
    """QuantizeLinear and DequantizeLinear by the true steps before it, int8 weights, and its bias inside."""
    plan = plans.plan_of(
        ("head", plans.conv((1, 4), bias=True), "input"),
        ("byte", ops.Quantize(scale=0.02, zero=100), "head"),
        ("sum", plans.conv((4, 6), pad_mode=pad_mode), "byte"),
        ("value", ops.Affine(channels=6), "sum"),
        ("relu", ops.Relu(), "value"),
        ("max", ops.ChannelMax(), "relu"),
    )
    model = plan_model(plan)
    step = model.tensors["value.weight"]
    step[:] = np.abs(step)
    graph = onnx.load_from_string(to_onnx(model)).graph
    nodes = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    conv = nodes["value"]
    assert conv.op_type == "Conv"
    read, weight = (nodes[name] for name in conv.input[:2])
    assert (read.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
    assert nodes[read.input[0]].op_type == "QuantizeLinear"
    assert constants[read.input[1]] == np.float32(0.02)
    assert constants[weight.input[0]].dtype == np.int8
    np.testing.assert_allclose(constants[weight.input[1]] * np.float32(0.02), step, rtol=1e-6)
    assert np.array_equal(constants[conv.input[2]], model.tensors["value.bias"])
    assert not {"byte", "sum"} & nodes.keys()  # said by the convolution
    session = session_of(to_onnx(model))
    for height, width in ODD_SIZES:
        lq = np.random.default_rng(height).random((1, height, width), np.float32)
        (found,) = session.run(["image"], {"input": lq[None]})
        expected = run_rows(plan, model.tensors, (0, lq), (height, width), (0, height))
        level = 127 * step.max()  # what one level of the input that is rounded the other way can change
        assert np.abs(found[0] - expected).max() <= level
        assert np.mean(np.abs(found[0] - expected) < 1e-4) > 0.95


def test_bytes_that_others_read_too_or_of_no_step_are_kept():
    plan = plans.plan_of(
        ("byte", ops.Quantize(scale=0.02), "input"),
        ("sum", plans.conv((1, 3)), "byte"),
        ("value", ops.Affine(channels=3), "sum"),
        ("both", ops.Add(a=0.01), "byte value"),
        ("max", ops.ChannelMax(), "both"),
    )
    model = plan_model(plan)
    model.tensors["value.weight"][:] = np.abs(model.tensors["value.weight"])
    for sign in (1, -1):  # a negative step cannot be said
        model.tensors["value.weight"][0] *= sign
        data = to_onnx(model)
        made = {output for node in onnx.load_from_string(data).graph.node for output in node.output}
        assert "byte" in made
        assert ("sum" in made) == (sign < 0)
        lq = np.random.default_rng(0).random((1, 9, 8), np.float32)
        (found,) = session_of(data).run(["image"], {"input": lq[None]})
        expected = run_rows(plan, model.tensors, (0, lq), (9, 8), (0, 9))
        assert np.abs(found[0] - expected).max() < 1e-4


def plan_model(plan):
    card = template_matching_model().card
    return Model({"main": plan}, plans.tensors_of(plan), card)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (plans.rows_of(plans.bands_plan()), r"node `bands` \(bands\): ONNX has no bands"),
        (
            [("x", ops.Resize(mode="bicubic", border="symmetric"), "input input")],
            r"node `x` \(resize\): ONNX has no symmetric border",
        ),
    ],
    ids=["bands", "symmetric"],
)
def test_what_onnx_cannot_say_is_refused_by_name(rows, message):
    with pytest.raises(UnsupportedOpError, match=message):
        to_onnx(plan_model(plans.plan_of(*rows)))


def test_every_op_is_tried():
    rows = [row for family in FAMILIES.values() for row in family]
    tried = {type(op) for _, op, _ in rows} | {ops.Bands, ops.LineMemory, ops.Unbands}
    in_networks = {ops.ConvTranspose2d, ops.PRelu, ops.Tanh, ops.ChannelSlice, ops.SoftmaxSum}
    assert tried | in_networks == set(OPS)
