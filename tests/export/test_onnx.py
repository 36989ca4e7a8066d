"""ONNX written from the plan: the same function in ONNX Runtime at any size, borders included."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.conftest import template_matching_model
from tests.contract.test_parity import NETWORKS
from thinlens.export.onnx import RULES, to_onnx
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.model.ops import OPS
from thinlens.runtime.reference.rows import run_rows
from thinlens.train.lower import lower
from thinlens.train.networks import configurations

ODD_SIZES = [(1, 1), (1, 7), (9, 5), (33, 17), (21, 40)]


def model_of(name, pad_mode):
    configuration = configurations()[name]
    torch.manual_seed(0)
    network = configuration.create()
    for module in network.modules():
        if hasattr(getattr(module, "op", None), "pad_mode"):
            fields = {field: getattr(module.op, field) for field in module.op.__struct_fields__}
            module.op = type(module.op)(**{**fields, "pad_mode": pad_mode})
    plan, tensors = lower(network)
    training = Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0)
    counts = {"params": 1, "macs_per_pixel": 1.0, "licence": "Apache-2.0"}
    card = ModelCard(name=name, task="sr", scale=configuration.scale, colour="luma", training=training, **counts)
    return Model({"main": plan}, tensors, card)


def session_of(data):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def test_every_op_has_a_rule():
    assert set(RULES) == set(OPS)


@pytest.mark.parametrize("pad_mode", ["edge", "zero"])
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_agrees_at_odd_sizes(name, pad_mode):
    model = model_of(name, pad_mode)
    session = session_of(to_onnx(model))
    for height, width in ODD_SIZES:
        lq = np.random.default_rng(height).random((1, height, width), np.float32)
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


def test_the_same_model_gives_the_same_bytes():
    assert to_onnx(template_matching_model()) == to_onnx(template_matching_model())
