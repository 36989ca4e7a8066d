"""What of a plan the engine computes in one go: whole one-layer upscalers, and activations inside convolutions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thinlens.model.graph import readers_of
from thinlens.model.ops import ChannelMax, ChannelSlice, Conv2d, ConvTranspose2d, Multiply, PixelShuffle, SoftmaxSum
from thinlens.model.plan import INPUT, Node, Plan
from thinlens.runtime.binary import Family

MAX_KERNEL, MAX_CANDIDATES, MAX_SCALE = 15, 16, 8  # of what the engine's fused kernels take


@dataclass(frozen=True)
class OneLayer:
    """A plan that is nothing but a one-layer upscaler.

    Args:
        name: of the convolution's node.
        op: the convolution.
        weight: the name of its tensor.
        family: how the candidates of a pixel compete.
        candidates: how many there are.
        scale: of the upscaler.
    """

    name: str
    op: Conv2d
    weight: str
    family: Family
    candidates: int
    scale: int


def live_nodes(plan: Plan) -> tuple[Node, ...]:
    """The nodes that the output `image` depends on, in order."""
    needed = {plan.outputs["image"]}
    for node in reversed(plan.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(node for node in plan.nodes if node.name in needed)


def find_one_layer(nodes: Sequence[Node], image: str) -> OneLayer | None:
    """Recognise a one-layer upscaler: convolution of one channel, shuffle, competition, and nothing else.

    Args:
        nodes: live ones.
        image: the value that is the network's result.
    """
    by_name = {node.name: node for node in nodes}
    found = _competition(by_name, image)
    if found is None:
        return None
    family, used, shuffled = found
    shuffle = by_name.get(shuffled)
    if shuffle is None or not isinstance(shuffle.op, PixelShuffle):
        return None
    conv = by_name.get(shuffle.inputs[0])
    if conv is None or not isinstance(conv.op, Conv2d) or conv.inputs != (INPUT,) or not _is_plain(conv.op):
        return None
    scale, groups = shuffle.op.scale, family + 1
    candidates, left = divmod(conv.op.out_channels, groups * scale**2)
    if left or candidates > MAX_CANDIDATES or scale > MAX_SCALE or len(nodes) != len(used) + 2:
        return None
    slices = [_channels(by_name[name]) for name in used if isinstance(by_name[name].op, ChannelSlice)]
    wanted = [(shuffled, i * candidates, (i + 1) * candidates) for i in range(groups)] if family else []
    alone = family or isinstance(by_name[image].op, ChannelMax) or candidates == 1
    if slices != wanted or not alone:
        return None
    return OneLayer(conv.name, conv.op, conv.tensors["weight"], family, candidates, scale)


def _competition(by_name: Mapping[str, Node], image: str) -> tuple[Family, list[str], str] | None:
    """Family, names of the nodes after the shuffle (slices in the order values, queries, keys), and what they read."""
    last = by_name.get(image)
    if last is None:
        return None
    if isinstance(last.op, PixelShuffle):
        return Family.MAX, [], image
    if isinstance(last.op, ChannelMax):
        return Family.MAX, [image], last.inputs[0]
    if not isinstance(last.op, SoftmaxSum):
        return None
    values, logits = (by_name.get(name) for name in last.inputs)
    if values is None or logits is None or not isinstance(values.op, ChannelSlice):
        return None
    if isinstance(logits.op, ChannelSlice):
        return Family.TM, [image, values.name, logits.name], values.inputs[0]
    if not isinstance(logits.op, Multiply):
        return None
    factors = [by_name[name] for name in logits.inputs if name in by_name]
    if len(factors) != 2 or not all(isinstance(factor.op, ChannelSlice) for factor in factors):
        return None
    factors.sort(key=lambda factor: _channels(factor)[1])
    return Family.TR, [image, values.name, *(factor.name for factor in factors), logits.name], values.inputs[0]


def _channels(node: Node) -> tuple[str, int, int]:
    """What a slice reads, and which channels."""
    op = node.op
    return (node.inputs[0], op.start, op.stop) if isinstance(op, ChannelSlice) else ("", 0, 0)


def _is_plain(op: Conv2d) -> bool:
    """Whether a convolution is one that the fused kernels compute."""
    side = op.kernel[0]
    square = op.kernel == (side, side) and side % 2 == 1 and side <= MAX_KERNEL and op.padding == (side // 2, side // 2)
    return square and op.in_channels == 1 and op.stride == 1 and not op.bias


def absorbed(nodes: Sequence[Node], image: str, activations: tuple[type, ...]) -> dict[str, Node]:
    """Activations that a convolution computes at its end.

    Args:
        nodes: live ones.
        image: the value that is the network's result.
        activations: the records that count as activations.

    Returns:
        Name of the convolution -> the node of its activation, which is the only one that reads it.
    """
    readers, found = readers_of(nodes), {}
    for node in nodes:
        if isinstance(node.op, Conv2d | ConvTranspose2d) and node.name != image:
            after = readers.get(node.name, [])
            if len(after) == 1 and isinstance(after[0].op, activations):
                found[node.name] = after[0]
    return found
