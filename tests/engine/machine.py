"""The row machine as the tests drive it: plans between raw float planes, whole images and rows in chunks."""

import itertools

import numpy as np

from thinlens.errors import PlanError
from thinlens.runtime.binary import Kind, PixelsIn, Program
from thinlens.runtime.compile import _Network as Network
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.fuse import find_one_layer, live_nodes
from thinlens.runtime.library import Request
from thinlens.runtime.reference.rows import run_rows

UNCLAMPED = 0  # how a plan gives planes of floats as they are


def binary_plan(plan, tensors, *, fuse=False):
    """Bytes of a plan from float planes to float planes, nothing cut off. ``fuse``: one-layer upscalers as such."""
    program = Program(plan.input_channels, "float32")
    nodes, image = live_nodes(plan), plan.outputs["image"]
    lq = program.add(Kind.PIXELS_IN, [0], [PixelsIn.PLANES])
    layer = find_one_layer(nodes, image) if fuse else None
    result = Network(nodes, image, tensors, layer).add(program, lq)
    program.add(Kind.PIXELS_OUT, [result], [UNCLAMPED, 0])
    return program.to_bytes()


def reference(plan, tensors, image):
    """What the NumPy reference makes of ``H W C``; None where the plan takes no image of that size."""
    size = image.shape[:2]
    try:
        height = plan.sizes(size)[plan.outputs["image"]][0]
    except PlanError:
        return None
    rows = np.ascontiguousarray(image.transpose(2, 0, 1))
    return run_rows(plan, tensors, (0, rows), size, (0, height)).transpose(1, 2, 0)


class Rows:
    """One image on its way through a plan: rows in, rows out.

    Args:
        plan: loaded.
        size: height (0: not known) and width.
        dtype: of what comes out.
        threads: that work.
    """

    def __init__(self, plan, size, dtype=np.float32, threads=1):
        self.plan, self.dtype = plan, dtype
        request = Request(size[1], size[0], 0, 0)
        self.schedule = plan.schedule(request, threads)
        self.native = plan.open(request, threads)

    def _room(self, count):
        return np.full((count, self.schedule.out_width, self.schedule.out_channels), 77, self.dtype)

    def push(self, rows):
        out = self._room(self.native.ready(len(rows)))
        assert self.native.push(np.ascontiguousarray(rows), out) == len(out)
        return out

    def flush(self):
        out = self._room(self.native.ready(0, flush=True))
        assert self.native.flush(out) == len(out)
        return out


def whole(plan, image, threads=1, dtype=None):
    """A whole image at once."""
    width, height = plan.out_size(image.shape[1], image.shape[0])
    channels = plan.schedule(Request(image.shape[1], image.shape[0], 0, 0)).out_channels
    out = np.full((height, width, channels), 77, dtype or image.dtype)
    plan.run(image, out, threads)
    return out


def streamed(rows, image, chunks):
    """Everything that comes out of pushing ``chunks`` rows at a time, again and again."""
    out, at = [], 0
    for count in itertools.cycle(chunks):
        if at >= len(image):
            break
        out.append(rows.push(image[at : at + count]))
        at += count
    return np.concatenate([*out, rows.flush()])


def load(plan, tensors, isa=None, **options):
    """Compile and load a plan between float planes."""
    return NativePlan(binary_plan(plan, tensors, **options), isa)
