"""OpenVINO computes what the reference does: signs are the same, so are the borders, and weights take a bit each."""

import numpy as np
import pytest

from tests.plans import conv, plan_of, tensors_of
from thinlens.errors import OutputError
from thinlens.model import ops
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.runtime.reference.rows import run_rows

openvino = pytest.importorskip("openvino")


def binary(channels, pad_value=0, **fields):
    sides = {"kernel": (3, 3), "padding": (1, 1), "pad_value": pad_value}
    return ops.BinaryConv2d(in_channels=channels[0], out_channels=channels[1], **sides | fields)


def model_of(*rows):
    plan = plan_of(*rows, input_channels=3)
    training = Training(recipe="", recipe_sha256="", schedule="none", steps=0, seed=0)
    facts = {"scale": 1, "colour": "rgb", "params": 1, "macs_per_pixel": 1.0, "licence": "Apache-2.0"}
    return Model({"main": plan}, tensors_of(plan), ModelCard(name="test", task="denoise", training=training, **facts))


def run(model, network, lq):
    network.reshape([1, *lq.shape])  # OpenVINO's binary convolution takes no free sizes
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(network, "CPU", settings)([lq[None]])[0][0]


def expected(model, lq):
    size = lq.shape[1:]
    return run_rows(model.plan, model.tensors, (0, lq), size, (0, size[0]))


CASES = {
    "few": [("image", binary((3, 3)), "input")],
    **{
        f"padded_{pad}": [
            ("head", conv((3, 40)), "input"),
            ("image", binary((40, 3), pad_value=pad, kernel=(5, 3), padding=(2, 1)), "head"),
        ]
        for pad in (-1, 0, 1)
    },
    "point": [
        ("head", conv((3, 24)), "input"),
        ("image", binary((24, 3), kernel=(1, 1), padding=(0, 0)), "head"),
    ],
    "unit": [
        ("sum", binary((3, 3)), "input"),
        ("in", ops.Affine(channels=3, weight=False), "sum"),
        ("act", ops.PRelu(slopes=3), "in"),
        ("image", ops.Add(), "act input"),
    ],
    "straight": [
        ("head", conv((3, 16)), "input"),
        ("a", binary((16, 16)), "head"),
        ("shift", ops.Affine(channels=16), "a"),
        ("image", binary((16, 3)), "shift"),
    ],
    "units": [
        ("head", conv((3, 64)), "input"),
        ("a", binary((64, 64)), "head"),
        ("sum", ops.Add(), "a head"),
        ("image", binary((64, 3)), "sum"),
    ],
    "plain": [("image", conv((3, 3)), "input")],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [(5, 7), (33, 20)], ids=str)
def test_it_agrees_with_the_reference(name, size):
    from thinlens.export.openvino import to_network

    model = model_of(*CASES[name])
    lq = np.random.default_rng(0).standard_normal((3, *size)).astype(np.float32)
    assert np.abs(run(model, to_network(model), lq) - expected(model, lq)).max() < 1e-5


def test_a_value_at_the_threshold_counts_as_positive():
    from thinlens.export.openvino import to_network

    many = ops.ChannelGather(channels=(0, 1, 2, 0, 1, 2, 0, 1))
    model = model_of(("many", many, "input"), ("image", binary((8, 3)), "many"))
    model.tensors["image.threshold"][:] = (0, 0.25, -0.5, 0, 0.25, -0.5, 0, 0.25)
    lq = np.empty((3, 6, 6), np.float32)
    lq[:] = np.array([0, -0.25, 0.5], np.float32)[:, None, None]
    assert np.abs(run(model, to_network(model), lq) - expected(model, lq)).max() < 1e-5


def test_files_hold_a_bit_a_weight_and_are_not_overwritten(tmp_path):
    from thinlens.export.openvino import write_openvino

    model = model_of(*CASES["units"])
    path = tmp_path / "model.xml"
    assert write_openvino(model, path) == sum(file.stat().st_size for file in tmp_path.iterdir())
    floats = 4 * 9 * 3 * 64  # of the head
    assert path.with_suffix(".bin").stat().st_size < floats + 9 * 64 * 67 / 8 + 4000
    with pytest.raises(OutputError):
        write_openvino(model, path)
    path.unlink()
    with pytest.raises(OutputError):  # the weights are there still
        write_openvino(model, path)
    with pytest.raises(OutputError, match=r"named `\.xml`"):
        write_openvino(model, tmp_path / "model.bin", overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["model.bin"]
    write_openvino(model, path, overwrite=True)
    lq = np.random.default_rng(0).standard_normal((3, 9, 8)).astype(np.float32)
    found = run(model, openvino.Core().read_model(path), lq)
    assert np.abs(found - expected(model, lq)).max() < 1e-5
