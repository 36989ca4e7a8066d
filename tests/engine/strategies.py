"""Random networks for Hypothesis: graphs of ops that fit together, with weights that keep values near 1.

`THINLENS_EXAMPLES` in the environment: how many networks each test tries, instead of the small number that suits every
run; they are then new ones each time.
"""

import math
import os
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.engine.cases import tensors_for
from tests.plans import plan_of
from thinlens.errors import PlanError
from thinlens.model import ops
from thinlens.model.plan import INPUT, Plan
from thinlens.runtime import library

WANTED = int(os.environ.get("THINLENS_EXAMPLES", "0"))
ISAS = st.sampled_from(library.isa_names())
WIDE = (63, 65, 128, 200)  # rows of more than one tile
FAR = (96, 192)  # values are of one size if they are for the image's own size and for sizes that much larger
MAX_AREA, MAX_CHANNELS, MAX_PERIOD = 8000, 40, 24
PAD_MODES = st.sampled_from(("zero", "edge", "mirror"))
BACK = (0, 0, 0, 0, 0, 1, 1, 2, 3, 5)  # how far back an op looks
RESIZES = st.sampled_from(("nearest", "bilinear", "bicubic"))


def trying(count):
    """Settings of a test of so many examples, the same ones in every run, whatever else the machine does."""
    return settings(
        max_examples=WANTED or count,
        derandomize=not WANTED,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


class Network(NamedTuple):
    """A random network, and the size of an image that it takes."""

    plan: Plan
    size: tuple[int, int]
    seed: int

    @property
    def tensors(self):
        return tensors_for("n" * (self.seed % 50), self.plan)

    @property
    def rounds(self):
        """Whether values are rounded on the way: results of another order of sums may then differ by more than that."""
        return any(isinstance(node.op, ops.Quantize | ops.Bfloat16 | ops.BinaryConv2d) for node in self.plan.nodes)

    @property
    def needs_height(self):
        """Whether it streams only where the height is known before: some op asks for it, or most heights are none."""
        if any(isinstance(node.op, ops.Resize) and node.op.factor is None for node in self.plan.nodes):
            return True
        try:
            self.plan.sizes((1000 * math.prod(node.op.row_step for node in self.plan.nodes), self.size[1]))
        except PlanError:
            return True
        return False

    def image(self, seed=0):
        shape = (*self.size, self.plan.input_channels)
        return np.random.default_rng((self.seed, seed)).standard_normal(shape, np.float32)


class Value(NamedTuple):
    name: str
    channels: int
    extents: tuple  # for each of the sizes
    bands: int  # which `bands` it stands behind; 0: it is an image

    @property
    def frame(self):
        return self.extents[0].frame


class Builder:
    """A graph that grows by ops that fit; what does not fit is not added."""

    def __init__(self, draw, whole_image):
        self.draw, self.whole_image = draw, whole_image
        self.size = draw(st.tuples(st.integers(1, 26), st.one_of(st.integers(1, 26), st.sampled_from(WIDE))))
        channels = draw(st.integers(1, 4))
        self.sizes = [self.size, *((self.size[0] + far, self.size[1] + far) for far in FAR)]
        self.rows, self.period, self.opened = [], 1, 0
        self.channels = channels
        extents = tuple(Plan.extents(plan_of(("any", ops.Relu(), INPUT)), size)[INPUT] for size in self.sizes)
        self.values = [Value(INPUT, channels, extents, 0)]

    def add(self, op, *inputs, bands=None):
        """Add an op if it fits; return its value, or None."""
        name = f"v{len(self.rows)}"
        row = (name, op, " ".join(value.name for value in inputs))
        period = self.period * op.row_step
        plan = plan_of(*self.rows, row, input_channels=self.channels)
        try:
            channels = op.channels_out(tuple(value.channels for value in inputs))
            extents = tuple(plan.extents(size)[name] for size in self.sizes)
        except PlanError:
            return None
        if extents[0].height * extents[0].width > MAX_AREA or channels > MAX_CHANNELS or period > MAX_PERIOD:
            return None
        self.rows.append(row)
        self.period = period
        value = Value(name, channels, extents, inputs[0].bands if bands is None else bands)
        self.values.append(value)
        return value

    def some(self, values):
        """One of the values, the last one rather than an earlier one."""
        return values[-1 - min(self.draw(st.sampled_from(BACK)), len(values) - 1)]

    def alike(self, value, channels=True):
        """Values of its size, and of as many channels or of one."""
        return [
            other
            for other in self.values
            if other.bands == value.bands
            and other.extents == value.extents
            and (not channels or other.channels in (1, value.channels) or value.channels == 1)
        ]

    def grow(self, bands):
        """Try to add one op (or a few that belong together) behind some value that stands behind `bands`."""
        value = self.some([value for value in self.values if value.bands == bands])
        kinds = [*[convolve] * 6, transpose, *[pointwise] * 3, *[join] * 4, channelwise, shuffle, unshuffle]
        kinds += [pool, enlarge, resize_to, frame, low, low, binary, binary]
        if bands:
            kinds += [remember] * 3
        else:
            kinds += [in_bands] + ([statistics] if self.whole_image else [])
        self.draw(st.sampled_from(kinds))(self, value)


def convolve(build, value):
    draw = build.draw
    kernel = draw(st.one_of(st.just((3, 3)), st.tuples(st.integers(1, 7), st.integers(1, 7))))
    same = (kernel[0] // 2, kernel[1] // 2)
    padding = draw(st.one_of(st.just(same), st.tuples(st.integers(0, kernel[0] - 1), st.integers(0, kernel[1] - 1))))
    groups = draw(st.sampled_from([g for g in range(1, value.channels + 1) if value.channels % g == 0][:8]))
    op = ops.Conv2d(
        in_channels=value.channels,
        out_channels=groups * draw(st.sampled_from((1, 2, 3, 4, 6, 7, 13, 16, 17, 32))),
        kernel=kernel,
        stride=draw(st.sampled_from((1, 1, 1, 2, 3))),
        padding=padding,
        pad_mode=draw(PAD_MODES),
        groups=groups,
        bias=draw(st.booleans()),
    )
    build.add(op, value)


def low(build, value):
    """A convolution on bytes or on bfloat16, most often one more behind it."""
    draw, channels = build.draw, value.channels
    for _ in range(draw(st.integers(1, 2))):
        byte = draw(st.booleans())
        zero = draw(st.sampled_from((0, 3, 128, 255)))
        value = build.add(ops.Quantize(scale=draw(st.floats(0.01, 1)), zero=zero) if byte else ops.Bfloat16(), value)
        side = draw(st.sampled_from((1, 3, 5)))
        fields = {"padding": (draw(st.integers(0, side - 1)), side // 2), "pad_mode": draw(PAD_MODES)}
        wide = draw(st.sampled_from((1, 2, 3, 7, 16, 33)))
        bias = not byte and draw(st.booleans())
        conv = ops.Conv2d(in_channels=channels, out_channels=wide, kernel=(side, side), bias=bias, **fields)
        value, channels = value and build.add(conv, value), wide
        if value and byte and draw(st.booleans()):
            value = build.add(ops.Affine(channels=wide, bias=draw(st.booleans())), value)
        if value and draw(st.booleans()):
            value = build.add(draw(st.sampled_from((ops.Relu(), ops.PRelu(slopes=wide)))), value)
        if not value:
            return


def binary(build, value):
    """A binary convolution, and often what the engine computes at its end: shifts, slopes, a shortcut."""
    draw, shortcut = build.draw, value
    sides = draw(st.tuples(st.sampled_from((1, 3, 5)), st.sampled_from((1, 3, 4))))
    keeps = draw(st.booleans())
    wide = value.channels * draw(st.sampled_from((1, 2, 4))) if keeps else draw(st.sampled_from((1, 2, 5, 31, 33)))
    padding = tuple(side // 2 if keeps else draw(st.integers(0, side - 1)) for side in sides)
    fields = {"padding": padding, "pad_value": draw(st.sampled_from((-1, 0, 1)))}
    value = build.add(ops.BinaryConv2d(in_channels=value.channels, out_channels=wide, kernel=sides, **fields), value)
    shift = ops.Affine(channels=wide, weight=False)
    for op in (shift, draw(st.sampled_from((ops.Relu(), ops.PRelu(slopes=wide), ops.Tanh()))), shift):
        if value and draw(st.booleans()):
            value = build.add(op, value)
    if value and keeps and sides[1] != 4 and draw(st.booleans()):
        repeat = wide // shortcut.channels
        if repeat > 1:
            shortcut = build.add(ops.ChannelGather(channels=tuple(i // repeat for i in range(wide))), shortcut)
        if shortcut:
            build.add(ops.Add(), value, shortcut)


def transpose(build, value):
    draw = build.draw
    stride = draw(st.integers(1, 3))
    op = ops.ConvTranspose2d(
        in_channels=value.channels,
        out_channels=draw(st.integers(1, 9)),
        kernel=draw(st.tuples(st.integers(1, 6), st.integers(1, 6))),
        stride=stride,
        padding=draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
        output_padding=draw(st.integers(0, stride - 1)),
        pad_mode=draw(st.sampled_from(("zero", "edge"))),
        bias=draw(st.booleans()),
    )
    build.add(op, value)


def pointwise(build, value):
    choices = (
        ops.Relu(),
        ops.LeakyRelu(slope=0.2),
        ops.PRelu(),
        ops.PRelu(slopes=value.channels),
        ops.Tanh(),
        ops.Sigmoid(),
        ops.Clamp(low=-0.5, high=1.0),
        ops.Affine(channels=value.channels),
        ops.Affine(channels=value.channels, weight=False),
    )
    build.add(build.draw(st.sampled_from(choices)), value)


def join(build, value):
    """A sum, a product, or channels side by side, of values of one size."""
    op = build.draw(st.sampled_from((ops.Add(), ops.Add(a=0.5, b=-0.75), ops.Multiply(), ops.Concat(count=2))))
    other = build.some(build.alike(value, channels=not isinstance(op, ops.Concat)))
    pair = (value, other) if build.draw(st.booleans()) else (other, value)
    build.add(op, *pair)


def channelwise(build, value):
    draw, channels = build.draw, value.channels
    kind = draw(st.sampled_from(("slice", "gather", "max", "softmax")))
    if kind == "slice":
        start = draw(st.integers(0, channels - 1))
        build.add(ops.ChannelSlice(start=start, stop=draw(st.integers(start + 1, channels))), value)
    elif kind == "gather":
        chosen = draw(st.lists(st.integers(0, channels - 1), min_size=1, max_size=9))
        build.add(ops.ChannelGather(channels=tuple(chosen)), value)
    elif kind == "max":
        build.add(ops.ChannelMax(), value)
    else:
        others = [other for other in build.alike(value) if other.channels == channels]
        build.add(ops.SoftmaxSum(), value, build.some(others))


def shuffle(build, value):
    scale = build.draw(st.integers(2, 3))
    wanted = scale**2 * build.draw(st.integers(1, 2))
    if value.channels % scale**2:
        value = build.add(ops.ChannelGather(channels=tuple(i % value.channels for i in range(wanted))), value)
    if value:
        build.add(ops.PixelShuffle(scale=scale), value)


def unshuffle(build, value):
    """Where the size is no multiple, pixels are added first: for the far sizes they are as many."""
    scale = build.draw(st.integers(2, 3))
    bottom, right = (-side % scale for side in value.frame)
    if value and (bottom or right):
        value = build.add(ops.Pad(bottom=bottom, right=right, mode=build.draw(PAD_MODES)), value)
    if value:
        build.add(ops.PixelUnshuffle(scale=scale), value)


def pool(build, value):
    draw = build.draw
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    padding = draw(st.tuples(st.integers(0, kernel[0] // 2), st.integers(0, kernel[1] // 2)))
    build.add(ops.MaxPool(kernel=kernel, stride=draw(st.integers(1, 3)), padding=padding), value)


def resizing(draw, **fields):
    return ops.Resize(
        mode=draw(RESIZES),
        coefficient=draw(st.sampled_from((-0.5, -0.75))),
        border=draw(st.sampled_from(("edge", "symmetric"))),
        **fields,
    )


def enlarge(build, value):
    build.add(resizing(build.draw, factor=build.draw(st.integers(1, 3))), value)


def resize_to(build, value):
    """To the size of any other value; often from a pooled one, as attention does."""
    others = [other for other in build.values if other.bands == value.bands]
    if build.draw(st.booleans()):
        small = build.add(ops.MaxPool(kernel=(2, 2), stride=2), value)
        value = small or value
    build.add(resizing(build.draw), value, build.some(others))


def frame(build, value):
    draw, margin = build.draw, st.integers(0, 4)
    sides = {name: draw(margin) for name in ("top", "bottom", "left", "right")}
    op = ops.Pad(mode=draw(PAD_MODES), **sides) if draw(st.booleans()) else ops.Crop(**sides)
    build.add(op, value)


def statistics(build, value):
    """A number a channel, that all pixels meet."""
    op = build.draw(st.sampled_from((ops.GlobalMean(), ops.GlobalStd())))
    number = build.add(op, value)
    if number:
        build.add(build.draw(st.sampled_from((ops.Multiply(), ops.Add(b=-1.0)))), value, number)


def remember(build, value):
    """A memory whose gates are that value and others alike, in bands of the same image."""
    draw = build.draw
    op = ops.LineMemory(
        channels=value.channels,
        cell=draw(st.sampled_from(("lstm", "lstm", "sum"))),
        kernel=draw(st.sampled_from(((1, 1), (3, 3), (1, 5), (5, 3)))),
        align=draw(st.sampled_from(("same", "flip", "last"))),
    )
    others = [other for other in build.alike(value) if other.channels == value.channels]
    build.add(op, *(build.some(others) for _ in range(op.gates)), build.values[0])


def in_bands(build, value):
    """Bands, some ops on them, and the image put together again from the last value that can be."""
    draw = build.draw
    rows, warm_up = draw(st.integers(1, 6)), draw(st.integers(0, 3))
    build.opened += 1
    mark = build.opened
    if not build.add(ops.Bands(rows=rows, warm_up=warm_up), value, bands=mark):
        return
    for _ in range(draw(st.integers(1, 4))):
        build.grow(mark)
    for last in [value for value in reversed(build.values) if value.bands == mark]:
        scale, left = divmod(last.frame[0], rows)
        if not left and 1 <= scale <= 4:
            build.add(ops.Unbands(rows=rows, warm_up=warm_up, scale=scale), last, value, bands=0)
            return


@st.composite
def networks(draw, *, whole_image=False, most=14):
    """Networks of up to some twenty ops, with the size of an image that they take.

    Args:
        draw: Hypothesis's.
        whole_image: whether ops that need the whole image may be among them.
        most: ops that are tried.
    """
    build = Builder(draw, whole_image)
    for _ in range(draw(st.integers(2, most))):
        build.grow(0)
    if not build.rows:
        build.add(ops.Relu(), build.values[0])
    images = [value for value in build.values if value.bands == 0 and value.name != INPUT]
    if not images:
        images = [build.add(ops.Relu(), build.values[0])]
    plan = plan_of(*build.rows, input_channels=build.channels)
    plan = Plan(input_channels=plan.input_channels, nodes=plan.nodes, outputs={"image": images[-1].name})
    return Network(trimmed(plan), build.size, draw(st.integers(0, 999)))


def trimmed(plan):
    """The plan without nodes that its result does not depend on."""
    needed = set(plan.outputs.values())
    for node in reversed(plan.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    nodes = tuple(node for node in plan.nodes if node.name in needed)
    return Plan(input_channels=plan.input_channels, nodes=nodes, outputs=plan.outputs)


def chunks():
    """How many rows come at a time, again and again."""
    return st.lists(st.integers(1, 9), min_size=1, max_size=4)
