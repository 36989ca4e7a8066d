import numpy as np
import pytest

from tests.plans import conv, plan_of, tensors_of
from thinlens.errors import UnsupportedOpError
from thinlens.export.ncnn import to_ncnn
from thinlens.model import ops
from thinlens.model.file import Model
from thinlens.runtime.reference.rows import run_rows

SIZE = 13, 22
PLANS = {
    "edge": [("a", conv((1, 4), pad_mode="edge", bias=True), "input"), ("b", ops.Relu(), "a")],
    "stride": [("a", conv((1, 4), stride=2, pad_mode="mirror"), "input"), ("b", ops.LeakyRelu(slope=0.2), "a")],
    "groups": [
        ("a", conv((1, 4), kernel=5), "input"),
        ("b", conv((4, 8), groups=2, bias=True), "a"),
        ("c", conv((8, 8), groups=8), "b"),
    ],
    "deconvolution": [
        ("a", conv((1, 6)), "input"),
        ("b", ops.PRelu(slopes=6), "a"),
        ("c", ops.PRelu(), "b"),
        (
            "d",
            ops.ConvTranspose2d(
                in_channels=6,
                out_channels=1,
                kernel=(9, 9),
                stride=2,
                padding=(4, 4),
                output_padding=1,
                pad_mode="edge",
                bias=True,
            ),
            "c",
        ),
    ],
    "sums": [
        ("a", ops.Tanh(), "input"),
        ("b", ops.Add(b=-1.0), "input a"),
        ("c", ops.Concat(count=3), "a input b"),
        ("d", ops.Sigmoid(), "c"),
    ],
    "candidates": [
        ("a", conv((1, 16), kernel=5), "input"),
        ("up", ops.PixelShuffle(scale=2), "a"),
        ("values", ops.ChannelSlice(start=0, stop=2), "up"),
        ("keys", ops.ChannelSlice(start=2, stop=4), "up"),
        ("square", ops.Multiply(), "keys keys"),
        ("sum", ops.SoftmaxSum(), "values square"),
    ],
    "maximum": [("a", conv((1, 3)), "input"), ("b", ops.ChannelMax(), "a")],
}


@pytest.mark.parametrize("name", PLANS)
def test_ncnn_gives_what_the_reference_gives(name, tmp_path):
    ncnn = pytest.importorskip("ncnn")
    plan = plan_of(*PLANS[name])
    tensors = tensors_of(plan)
    text, weights = to_ncnn(Model({"main": plan}, tensors, None))
    (tmp_path / "a.bin").write_bytes(weights)
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param_mem(text) == net.load_model(str(tmp_path / "a.bin")) == 0
    lq = np.random.default_rng(1).random((1, *SIZE), np.float32)
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(lq).clone())
    made = extractor.extract("out0")[1]
    height, _ = plan.sizes(SIZE)[plan.outputs["image"]]
    expected = run_rows(plan, tensors, (0, lq), SIZE, (0, height))
    np.testing.assert_allclose(np.array(made).reshape(expected.shape), expected, atol=1e-5)


def test_layers_and_weights_are_written_in_order_and_a_value_read_twice_is_split():
    plan = plan_of(
        ("a", conv((1, 1), kernel=1, bias=True), "input"), ("b", ops.Relu(), "a"), ("c", ops.Add(a=0.5), "b input")
    )
    tensors = {"a.weight": np.full((1, 1, 1, 1), 2, np.float32), "a.bias": np.full(1, 3, np.float32)}
    text, weights = to_ncnn(Model({"main": plan}, tensors, None))
    assert text.splitlines() == [
        "7767517",
        "6 7",
        "Input in0 0 1 in0",
        "Split in0_0 1 2 in0 in0_0 in0_1",
        "Convolution b3 1 1 in0_1 b3 0=1 1=1 11=1 3=1 4=0 14=0 5=1 6=1",
        "ReLU b4 1 1 b3 b4",
        "Eltwise b5 2 1 b4 in0_0 b5 0=1 -23301=2,5.000000e-01,1.000000e+00",
        "Noop out0 1 1 b5 out0",
    ]
    assert weights == bytes(4) + np.array([2, 3], "<f4").tobytes()


def test_an_op_without_a_rule_is_named():
    plan = plan_of(("pool", ops.MaxPool(kernel=(3, 3)), "input"))
    with pytest.raises(UnsupportedOpError, match=r"node `pool` \(max_pool\): not written for ncnn; accepted: conv2d, "):
        to_ncnn(Model({"main": plan}, {}, None))
