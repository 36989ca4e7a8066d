"""Binary plans: what is compiled is what stands in the bytes."""

import numpy as np
import pytest

from tests import plans
from tests.conftest import template_matching_plan
from tests.runtime.binary_plans import read_binary
from thinlens.errors import UnsupportedOpError
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
    Op,
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
from thinlens.runtime.binary import Kind
from thinlens.runtime.compile import ACTIVATIONS, CONVOLUTIONS, OTHERS, ImageKind, compile_plan

GRAY, COLOUR = ImageKind(1, "float32"), ImageKind(3, "uint8")
CONV = Conv2d(in_channels=1, out_channels=4, kernel=(3, 3), padding=(1, 1), pad_mode="edge", bias=True)
RGB_CONV = Conv2d(in_channels=3, out_channels=3, kernel=(1, 1))


def bits(number):
    """A float as the word that holds its bits."""
    return int(np.float32(number).view(np.int32))


def chain(*ops, channels=1):
    """A plan of ops one after the other, and random tensors."""
    nodes = []
    for index, op in enumerate(ops):
        name, before = f"n{index}", f"n{index - 1}" if index else "input"
        nodes.append(Node(name=name, op=op, inputs=(before,), tensors={r: f"{name}.{r}" for r in op.tensor_shapes()}))
    return with_tensors(Plan(input_channels=channels, nodes=tuple(nodes), outputs={"image": nodes[-1].name}))


def with_tensors(plan):
    """A plan and random tensors for it."""
    rng = np.random.default_rng(0)
    shapes = {name: node.op.tensor_shapes()[role] for node in plan.nodes for role, name in node.tensors.items()}
    return plan, {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def compiled(plan, tensors, kind=GRAY, scale=1):
    return read_binary(compile_plan(plan, tensors, kind, scale).data)


def network(*ops, channels=1):
    """The nodes of a chain, without pixels in and out."""
    return compiled(*chain(*ops, channels=channels), ImageKind(channels, "float32"))[1][1:-1]


@pytest.mark.parametrize(("dtype", "number"), [("uint8", 0), ("uint16", 1), ("float32", 2)])
def test_header_tells_the_kind_of_image(dtype, number):
    header, _ = compiled(*chain(Tanh()), ImageKind(4, dtype))
    assert header == {"channels": 4, "type": number, "out_type": number}


def test_a_convolution_with_its_tensors():
    plan, tensors = chain(CONV)
    _, (_, conv, _) = compiled(plan, tensors)
    assert (conv.kind, conv.inputs) == (Kind.CONV2D, (1,))
    assert conv.params == (1, 4, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0)
    for stored, name in zip(conv.tensors, ("n0.weight", "n0.bias"), strict=True):
        np.testing.assert_array_equal(stored, tensors[name].ravel())


def test_a_transposed_convolution():
    op = ConvTranspose2d(in_channels=1, out_channels=2, kernel=(9, 7), stride=3, padding=(4, 3), output_padding=1)
    (found,) = network(op)
    assert (found.kind, found.params) == (Kind.CONV_TRANSPOSE2D, (1, 2, 9, 7, 3, 4, 3, 1, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("op", "kind", "params"),
    [
        (ChannelSlice(start=1, stop=3), Kind.GATHER, (1, 2)),
        (ChannelGather(channels=(3, 0, 0)), Kind.GATHER, (3, 0, 0)),
        (ChannelMax(), Kind.CHANNEL_MAX, ()),
        (PixelShuffle(scale=2), Kind.PIXEL_SHUFFLE, (2,)),
        (PixelUnshuffle(scale=3), Kind.PIXEL_UNSHUFFLE, (3,)),
        (Relu(), Kind.ACTIVATION, (1, 0)),
        (LeakyRelu(slope=1), Kind.ACTIVATION, (2, bits(1))),
        (PRelu(slopes=4), Kind.ACTIVATION, (3, 0)),
        (Tanh(), Kind.ACTIVATION, (4, 0)),
        (Sigmoid(), Kind.ACTIVATION, (5, 0)),
        (Affine(channels=4), Kind.AFFINE, (4, 1, 1)),
        (Affine(channels=4, weight=False), Kind.AFFINE, (4, 0, 1)),
        (Clamp(low=-1, high=0.5), Kind.CLAMP, (bits(-1), bits(0.5))),
        (MaxPool(kernel=(7, 5), stride=3, padding=(2, 1)), Kind.MAX_POOL, (7, 5, 3, 2, 1)),
        (Resize(mode="nearest", factor=3), Kind.RESIZE, (0, 3, bits(-0.75), 0)),
        (Resize(mode="bicubic", factor=2, coefficient=-0.5, border="symmetric"), Kind.RESIZE, (2, 2, bits(-0.5), 1)),
        (Pad(top=1, bottom=2, left=3, right=4, mode="mirror"), Kind.PAD, (1, 2, 3, 4, 2)),
        (Crop(top=1, bottom=2, left=3, right=4), Kind.CROP, (1, 2, 3, 4)),
        (GlobalMean(), Kind.GLOBAL_MEAN, ()),
        (GlobalStd(), Kind.GLOBAL_STD, ()),
        (Bands(rows=3, warm_up=2), Kind.BANDS, (3, 2)),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_ops(op, kind, params):
    *_, found = network(CONV, ChannelGather(channels=(3, 2, 1, 0)), op)
    assert (found.kind, found.inputs, found.params) == (kind, (3,), params)
    assert [t.size for t in found.tensors] == [int(np.prod(shape)) for shape in op.tensor_shapes().values()]


@pytest.mark.parametrize(
    ("op", "kind", "params"),
    [
        (Add(a=2, b=-1), Kind.ADD, (bits(2), bits(-1))),
        (Multiply(), Kind.MULTIPLY, ()),
        (Concat(count=2), Kind.CONCAT, ()),
        (SoftmaxSum(), Kind.SOFTMAX_SUM, ()),
        (Resize(mode="bilinear"), Kind.RESIZE, (1, 0, bits(-0.75), 0)),
        (Unbands(rows=3, warm_up=2, scale=4), Kind.UNBANDS, (3, 2, 4)),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_ops_of_two_inputs(op, kind, params):
    plan, tensors = chain(CONV, ChannelGather(channels=(3, 2, 1, 0)))
    both = Node(name="both", op=op, inputs=("n1", "n0"))
    plan = Plan(input_channels=1, nodes=(*plan.nodes, both), outputs={"image": "both"})
    *_, found, _ = compiled(plan, tensors)[1]
    assert (found.kind, found.inputs, found.params) == (kind, (3, 2), params)


def test_there_is_a_rule_for_every_op():
    assert {*ACTIVATIONS, *CONVOLUTIONS, *OTHERS, Bfloat16, BinaryConv2d, LineMemory, Quantize} == set(OPS)


def test_a_memory_reads_what_it_makes_one_band_late():
    plan = plans.memory_plan(2, 0, 5, align="flip")
    found = compiled(plan, plans.tensors_of(plan))[1]
    kinds = [node.kind for node in found]
    first = kinds.index(Kind.LINE_DELAY)
    assert kinds[first : first + 5] == [Kind.LINE_DELAY, Kind.CONV2D, Kind.LINE_DELAY, Kind.LSTM_CELL, Kind.LSTM_CELL]
    hidden, recalled, cell, state, output = found[first : first + 5]
    head = found[first - 4].inputs[0]
    assert (hidden.inputs, hidden.params) == ((head,), (5, 1, first + 5))
    assert (cell.inputs, cell.params) == ((head,), (5, 1, first + 4))
    assert (recalled.inputs, recalled.params[:2]) == ((first + 1,), (5, 20))
    assert state.inputs == (first - 3, first - 2, first, first + 2, first + 3)
    assert output.inputs == (first - 1, first + 2, first + 4)


def test_a_sum_over_bands_is_a_delay_and_an_addition():
    plan = plans.memory_plan(2, 0, 5, cell="sum", align="last")
    found = compiled(plan, plans.tensors_of(plan))[1]
    first = [node.kind for node in found].index(Kind.LINE_DELAY)
    assert found[first].params == (5, 2, first + 2)
    assert (found[first + 1].kind, found[first + 1].inputs) == (Kind.ADD, (first, first + 1))


@pytest.mark.parametrize(
    ("op", "number"), [(Relu(), 1), (Tanh(), 4), (Sigmoid(), 5), (PRelu(), 3), (PRelu(slopes=4), 3)]
)
def test_an_activation_goes_into_the_convolution_before_it(op, number):
    found = network(CONV, op, PixelShuffle(scale=2))
    assert [node.kind for node in found] == [Kind.CONV2D, Kind.PIXEL_SHUFFLE]
    assert (found[0].params[-2:], found[1].inputs) == ((number, 0), (2,))
    assert len(found[0].tensors) == 2 + len(op.tensor_shapes())


def test_a_second_reader_keeps_the_activation_apart():
    plan, tensors = chain(CONV, Tanh())
    both = Node(name="both", op=Multiply(), inputs=("n0", "n1"))
    plan = Plan(input_channels=1, nodes=(*plan.nodes, both), outputs={"image": "both"})
    found = compiled(plan, tensors)[1][1:-1]
    assert [node.kind for node in found] == [Kind.CONV2D, Kind.ACTIVATION, Kind.MULTIPLY]
    assert found[-1].inputs == (2, 3)


def test_a_convolution_that_is_the_result_keeps_the_activation_apart():
    plan, tensors = chain(CONV, Tanh())
    found = compiled(Plan(input_channels=1, nodes=plan.nodes, outputs={"image": "n0", "other": "n1"}), tensors)[1]
    assert [node.kind for node in found] == [Kind.PIXELS_IN, Kind.CONV2D, Kind.PIXELS_OUT]


def test_tensors_that_nodes_share_are_stored_once():
    plan, tensors = chain(RGB_CONV, RGB_CONV, channels=3)
    second = Node(name="n1", op=RGB_CONV, inputs=("n0",), tensors={"weight": "n0.weight"})
    plan = Plan(input_channels=3, nodes=(plan.nodes[0], second), outputs={"image": "n1"})
    data = compile_plan(plan, tensors, COLOUR, 1).data
    assert len(data) < 64 + 4 * 32 + 16 + 4 * 40 + 4 * 9 + 16
    _, first, again, _ = read_binary(data)[1]
    np.testing.assert_array_equal(first.tensors[0], again.tensors[0])


# What stands around a network: (kind, inputs, parameters); 99 is the network.
CUBIC = bits(-0.5)
AROUND = {
    (1, 1): [(1, (0,), (0,)), 99, (2, (2,), (1, 0))],
    (1, 2): [(1, (0,), (0,)), (11, (1,), (0,)), 99, (11, (1,), (1,)), "resize 4", (10, (3, 5), ()), (2, (6,), (1, 0))],
    (1, 3): [
        (1, (0,), (1,)),
        (11, (1,), (0,)),
        99,
        (11, (1,), (1, 2)),
        "resize 4",
        (10, (3, 5), ()),
        (2, (6,), (2, 0)),
    ],
    (1, 4): [
        *[(1, (0,), (1,)), (11, (1,), (0,)), 99, (11, (1,), (1, 2, 3)), "resize 4"],
        *[(10, (3, 5), ()), (2, (6,), (2, 0))],
    ],
    (3, 1): [(1, (0,), (0,)), (11, (1,), (0, 0, 0)), 99, (2, (3,), (3, 0))],
    (3, 2): [
        *[(1, (0,), (0,)), (11, (1,), (0, 0, 0)), 99, (11, (1,), (1,)), "resize 4"],
        *[(10, (3, 5), ()), (2, (6,), (3, 0))],
    ],
    (3, 3): [(1, (0,), (0,)), 99, (2, (2,), (1, 0))],
    (3, 4): [
        *[(1, (0,), (0,)), (11, (1,), (0, 1, 2)), 99, (11, (1,), (3,)), "resize 4"],
        *[(10, (3, 5), ()), (2, (6,), (1, 0))],
    ],
}


def around(case, resized):
    """The expected nodes of a case; without the resize, later values have one number less."""
    for entry in case:
        if isinstance(entry, str):
            if resized:
                yield 17, (4,), (2, 2, CUBIC, 1)
        elif entry == 99 or resized or entry[1] not in ((3, 5), (6,)):
            yield entry
        else:
            yield entry[0], {(3, 5): (3, 4), (6,): (5,)}[entry[1]], entry[2]


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("channels", "image"), AROUND)
def test_what_stands_around_the_network(channels, image, scale):
    plan, tensors = chain(Tanh(), channels=channels)
    _, nodes = compiled(plan, tensors, ImageKind(image, "uint8"), scale)
    found = [99 if n.kind == Kind.ACTIVATION else (int(n.kind), n.inputs, n.params) for n in nodes]
    assert found == list(around(AROUND[channels, image], scale != 1))


def test_dead_nodes_are_dropped():
    plan, tensors = chain(CONV, Tanh(), PixelShuffle(scale=2))
    shorter = Plan(input_channels=1, nodes=plan.nodes, outputs={"image": "n0", "dual": "n2"})
    assert len(compiled(shorter, tensors)[1]) == 3


def edge_sr(family, candidates, scale=2, kernel=5, swap=False):
    """A one-layer upscaler of one of the three families."""
    c, groups = candidates, {"max": 1, "tm": 2, "tr": 3}[family]
    side = kernel // 2
    conv = Conv2d(
        in_channels=1,
        out_channels=groups * c * scale**2,
        kernel=(kernel, kernel),
        padding=(side, side),
        pad_mode="edge",
    )
    nodes = [
        Node(name="filter", op=conv, inputs=("input",), tensors={"weight": "w"}),
        Node(name="shuffle", op=PixelShuffle(scale=scale), inputs=("filter",)),
    ]
    parts = [
        Node(name=f"part{i}", op=ChannelSlice(start=i * c, stop=(i + 1) * c), inputs=("shuffle",))
        for i in range(groups)
    ]
    if family == "max":
        nodes.append(Node(name="out", op=ChannelMax(), inputs=("shuffle",)))
    elif family == "tm":
        nodes += [*parts, Node(name="out", op=SoftmaxSum(), inputs=("part0", "part1"))]
    else:
        factors = ("part2", "part1") if swap else ("part1", "part2")
        product = Node(name="product", op=Multiply(), inputs=factors)
        nodes += [*parts, product, Node(name="out", op=SoftmaxSum(), inputs=("part0", "product"))]
    return with_tensors(Plan(input_channels=1, nodes=tuple(nodes), outputs={"image": "out"}))


@pytest.mark.parametrize(("family", "number"), [("max", 0), ("tm", 1), ("tr", 2)])
@pytest.mark.parametrize("candidates", [1, 4])
def test_one_layer_upscalers_are_one_node(family, number, candidates):
    plan, tensors = edge_sr(family, candidates, scale=3)
    _, (levels, found) = compiled(plan, tensors, ImageKind(1, "uint8"), 3)
    assert (levels.kind, levels.params) == (Kind.PIXELS_IN, (2,))
    assert (found.kind, found.inputs, found.params) == (Kind.EDGE_SR, (1,), (number, 5, candidates, 3, 1, 1))
    np.testing.assert_array_equal(found.tensors[0], tensors["w"].ravel())
    _, (_, _, found, *_) = compiled(plan, tensors, COLOUR, 3)
    assert (found.kind, found.params) == (Kind.EDGE_SR, (number, 5, candidates, 3, 1, 0))


def test_factors_may_stand_in_either_order():
    plan, tensors = edge_sr("tr", 3, swap=True)
    assert compiled(plan, tensors)[1][1].kind == Kind.EDGE_SR


def test_one_candidate_needs_no_competition():
    plan, tensors = chain(Conv2d(in_channels=1, out_channels=4, kernel=(3, 3), padding=(1, 1)), PixelShuffle(scale=2))
    assert compiled(plan, tensors)[1][1].params == (0, 3, 1, 2, 0, 0)


def test_weights_that_may_overflow_are_not_fused():
    plan, tensors = edge_sr("tm", 2)
    tensors["w"][3, 0, 1, 1] = 1e15
    assert Kind.EDGE_SR not in [node.kind for node in compiled(plan, tensors)[1]]


def changed(plan, **fields):
    """The same plan with a field of one of its ops, `node__field`, changed."""
    from msgspec.structs import replace

    for where, value in fields.items():
        name, field = where.split("__")
        nodes = (n if n.name != name else replace(n, op=replace(n.op, **{field: value})) for n in plan.nodes)
        plan = replace(plan, nodes=tuple(nodes))
    return plan


@pytest.mark.parametrize(
    "change",
    [
        {"filter__padding": (1, 2)},
        {"filter__stride": 2},
        {"filter__kernel": (5, 3)},
        {"part0__start": 1, "part0__stop": 3},
    ],
)
def test_what_only_looks_like_one_layer_is_not_fused(change):
    plan, _ = edge_sr("tm", 2)
    _, nodes = compiled(*with_tensors(changed(plan, **change)))
    assert Kind.EDGE_SR not in [node.kind for node in nodes]


def test_several_channels_after_the_shuffle_are_no_result_of_one_layer():
    plan, tensors = chain(Conv2d(in_channels=1, out_channels=8, kernel=(3, 3), padding=(1, 1)), PixelShuffle(scale=2))
    assert Kind.EDGE_SR not in [node.kind for node in compiled(plan, tensors)[1]]


def test_nodes_are_named_for_messages():
    plan = template_matching_plan(2)
    found = compile_plan(*with_tensors(plan), COLOUR, 2).nodes
    assert found[:3] == ("`pixels` (pixels_in)", "`pixels` (gather)", "`filter` (edge_sr)")


def test_an_op_that_the_engine_lacks_is_named():
    class Wavelet(Op, frozen=True, kw_only=True, tag="wavelet"):
        """No such op."""

    with pytest.raises(UnsupportedOpError, match="node `n0`: the native engine has no op `wavelet`"):
        compile_plan(*chain(Wavelet()), GRAY, 1)
