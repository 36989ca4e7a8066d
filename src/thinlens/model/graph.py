"""What follows from a plan's graph alone: rows that an output row depends on, and channels that are cut together."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

from thinlens.errors import PlanError
from thinlens.model.ops import NO_ROWS, Op, Resize, Rows, Size, image_rows
from thinlens.model.plan import INPUT, Extent, Node, Plan

ENDLESS = 720720 * 16  # rows and columns of an image that counts as endless: a multiple of every scale in use
MAX_PHASES = 1024
MORE = 256  # pixels that an image may be made larger by on a side, to fit
WORK = 1 << 17  # ops that `receptive_rows` and `fitting_size` follow: a second or two


def readers_of(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """Name of each value that is read -> the nodes that read it, each once, in order."""
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers[name].append(node)
    return dict(readers)


class Piece(NamedTuple):
    """What one image, or one band of it, contributes to rows of an op's output. All rows count from its own first.

    Args:
        rows: of the output.
        sizes: of each input's image or band.
        reads: rows of each input that are needed, all of them inside; may be empty.
        begins: row of each input's whole value at which its image or band begins.
    """

    rows: Rows
    sizes: tuple[Size, ...]
    reads: tuple[Rows, ...]
    begins: tuple[int, ...]


def iter_pieces(op: Op, rows: Rows, inputs: tuple[Extent, ...], output: Extent) -> Iterator[Piece]:
    """Cut rows ``[start, stop)`` of an op's output into its bands; an image is one piece.

    Args:
        op: the record.
        rows: of the whole output.
        inputs: extents of its inputs.
        output: extent of its output.
    """
    if op.recurrent:
        yield _memory_piece(op, rows, inputs, output)
        return
    if op.reframes or output.band is None:
        yield _piece(op, rows, tuple(extent.size for extent in inputs), 0)
        return
    for band in _bands(rows, output.band):
        yield _band_piece(op, rows, inputs, output.band, band)


def _bands(rows: Rows, height: int) -> range:
    """The bands of ``height`` rows that rows ``[start, stop)`` lie in."""
    return range(rows[0] // height, -(-rows[1] // height))


def _band_piece(op: Op, rows: Rows, inputs: tuple[Extent, ...], height: int, band: int) -> Piece:
    first = band * height
    inside = max(rows[0] - first, 0), min(rows[1] - first, height)
    return _piece(op, inside, tuple(extent.frame for extent in inputs), band)


def _piece(op: Op, rows: Rows, sizes: tuple[Size, ...], band: int) -> Piece:
    wanted = op.in_rows(rows, sizes)
    reads = tuple(image_rows(w, size[0], op.row_padding()) for w, size in zip(wanted, sizes, strict=True))
    return Piece(rows, sizes, reads, tuple(band * size[0] for size in sizes))


def _memory_piece(op: Op, rows: Rows, inputs: tuple[Extent, ...], output: Extent) -> Piece:
    """All bands down to that of the last row asked for, which are made one after the other."""
    height = output.band or output.height
    stop = -(-rows[1] // height) * height
    sizes = tuple(extent.frame for extent in inputs)
    return Piece(rows, sizes, op.in_rows((rows[0], stop), sizes), (0,) * len(inputs))


def _outer_pieces(op: Op, rows: Rows, inputs: tuple[Extent, ...], output: Extent) -> Iterator[Piece]:
    """Of the pieces those that reach furthest: bands between the second and the last but one are all alike."""
    if op.reframes or op.recurrent or output.band is None:
        yield from iter_pieces(op, rows, inputs, output)
        return
    bands = _bands(rows, output.band)
    for band in sorted({*bands[:2], *bands[-2:]}):
        yield _band_piece(op, rows, inputs, output.band, band)


def rows_needed(plan: Plan, extents: Mapping[str, Extent], value: str, rows: Rows) -> dict[str, Rows]:
    """Rows of each value that rows ``[start, stop)`` of one value depend on.

    Args:
        plan: the plan.
        extents: of every value (`Plan.extents`).
        value: name of the value asked for.
        rows: its rows.

    Returns:
        Name -> rows, for the values of which any are needed, and for ``input``.
    """
    needed = {value: rows}
    for node in reversed(plan.nodes):
        if node.name not in needed:
            continue
        inputs = tuple(extents[name] for name in node.inputs)
        for piece in _outer_pieces(node.op, needed[node.name], inputs, extents[node.name]):
            for name, (first, last), begin in zip(node.inputs, piece.reads, piece.begins, strict=True):
                if first < last:
                    have = needed.get(name, (first + begin, last + begin))
                    needed[name] = min(have[0], first + begin), max(have[1], last + begin)
    needed.setdefault(INPUT, NO_ROWS)
    return needed


def fitting_size(plan: Plan, size: Size) -> Size:
    """The smallest height and width, neither below ``size``, of an image that the plan takes.

    Spatial attention needs 15 pixels a side, a pixel unshuffle multiples of its scale.

    Raises:
        PlanError: if there is none within `MORE` pixels a side (fewer for plans of very many nodes); what it says of
            ``size`` itself.
    """
    try:
        plan.extents(size)
    except PlanError:
        more = min(MORE, WORK // len(plan.nodes))
        for height in range(size[0], size[0] + more):
            if _takes(plan, (height, ENDLESS)):
                for width in range(size[1], size[1] + more):
                    if _takes(plan, (height, width)):
                        return height, width
                break
        raise
    return size


def _takes(plan: Plan, size: Size) -> bool:
    try:
        plan.extents(size)
    except PlanError:
        return False
    return True


def depends_on_height(plan: Plan) -> bool:
    """True if how far an output row sees depends on the image's height.

    So it does where an op needs the whole image, or a resize fits one value to another, whose ratio is not the same at
    every height.
    """
    return any(node.op.whole_image or (isinstance(node.op, Resize) and node.op.factor is None) for node in plan.nodes)


def remembers(plan: Plan) -> bool:
    """True if an output row depends on all rows above it: a memory carries them from band to band."""
    return any(node.op.recurrent for node in plan.nodes)


def receptive_rows(plan: Plan, scale: int, height: int | None = None) -> tuple[int, int]:
    """Input rows above and below the input row that an output row lies in, the farthest of all output rows.

    Args:
        plan: the plan of a network that multiplies the size by ``scale``.
        scale: output rows for one input row.
        height: of the image; needed only if `depends_on_height`. Of a tall image and many ops the answer is a bound,
            too large by a small part of the height.

    Returns:
        The rows above, and those below; above, where the plan `remembers` all of them, about half of `ENDLESS`.

    Raises:
        PlanError: if the answer depends on a height that is not given, or the plan takes no image of that height.
    """
    local = not depends_on_height(plan)
    if height is None and not local:
        raise PlanError("how far an output row sees depends on the image's height; give the height")
    total = ENDLESS if local or height is None else height
    extents = plan.extents((total, ENDLESS))
    begin, end = (total // 2, total // 2 + _phases(plan)) if local else (0, total)
    step = -(-(end - begin) // max(1, WORK // len(plan.nodes)))  # rows that are looked at together
    above = below = 0
    for start in range(begin, end, step):
        stop = min(start + step, end)
        rows = start * scale, stop * scale
        first, last = rows_needed(plan, extents, plan.outputs["image"], rows)[INPUT]
        if first < last:
            above, below = max(above, stop - 1 - first), max(below, last - start - 1)
    return above, below


def _phases(plan: Plan) -> int:
    """Input rows after which what the output rows read repeats: the strides on the way."""
    steps = {INPUT: 1}
    for node in plan.nodes:
        step = 1
        for name in node.inputs:
            step = step * steps[name] // gcd(step, steps[name])
        steps[node.name] = min(step * node.op.row_step, MAX_PHASES)
    return steps[plan.outputs["image"]]


@dataclass(frozen=True)
class Tie:
    """Channels that must be cut together.

    Args:
        made: (node, output channel) of the convolutions that make them.
        read: (node, input channel) of the convolutions that read them.
        passed: (node, channel) of the ops with a number for each channel that passes through (affine, prelu).
        fixed: True if the input or an output of the plan is among them, so that they cannot be cut.
    """

    made: tuple[tuple[str, int], ...]
    read: tuple[tuple[str, int], ...]
    passed: tuple[tuple[str, int], ...]
    fixed: bool


class _Joined:
    """Numbers that stand for ties, some of them found to be one."""

    def __init__(self) -> None:
        self._same: list[int] = []

    def fresh(self) -> int:
        self._same.append(len(self._same))
        return self._same[-1]

    def find(self, tie: int) -> int:
        while self._same[tie] != tie:
            self._same[tie] = self._same[self._same[tie]]
            tie = self._same[tie]
        return tie

    def union(self, a: int, b: int) -> int:
        self._same[self.find(b)] = self.find(a)
        return self.find(a)


def value_ties(plan: Plan) -> dict[str, list[int]]:
    """For each channel of each value, the number of the tie that it belongs to: equal numbers are cut together."""
    joined = _Joined()
    values = {INPUT: [joined.fresh() for _ in range(plan.input_channels)]}
    for node in plan.nodes:
        values[node.name] = node.op.tie(tuple(values[i] for i in node.inputs), joined.union, joined.fresh)
    return {name: [joined.find(tie) for tie in ties] for name, ties in values.items()}


def channel_ties(plan: Plan) -> list[Tie]:
    """Derive the channel ties of a plan: which channels of which tensors go together.

    Every channel of every value belongs to one tie; ops without tensors pass ties on or join them (a pixel shuffle
    joins the phases of a channel, a product its two factors), convolutions begin new ones.
    """
    values = value_ties(plan)
    made: dict[int, list[tuple[str, int]]] = defaultdict(list)
    read: dict[int, list[tuple[str, int]]] = defaultdict(list)
    passed: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for node in plan.nodes:
        tables = []
        if node.op.per_channel:
            tables = [(passed, node.name)]
        elif any(len(shape) > 1 for shape in node.op.tensor_shapes().values()):  # a matrix: it mixes channels
            tables = [(made, node.name), (read, node.inputs[0])]
        for table, value in tables:
            for channel, tie in enumerate(values[value]):
                table[tie].append((node.name, channel))
    fixed = {t for name in (INPUT, *plan.outputs.values()) for t in values[name]}
    return [Tie(tuple(made[t]), tuple(read[t]), tuple(passed[t]), t in fixed) for t in sorted(made)]
