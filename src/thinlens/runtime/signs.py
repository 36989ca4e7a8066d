"""Binary convolutions and what the engine computes at their end, in one go.

binary_conv2d [-> affine: bias alone] [-> activation] [-> affine: bias alone] [-> add: the shortcut]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from thinlens.model.graph import readers_of
from thinlens.model.ops import Add, Affine, BinaryConv2d, ChannelGather, Op
from thinlens.model.plan import Node


@dataclass(frozen=True)
class BinaryChain:
    """One binary convolution and what is computed at its end.

    Args:
        conv: the convolution.
        bias: the `affine` behind it, if there is one.
        activation: behind that.
        shift: the `affine` behind that.
        add: the sum with the shortcut.
        shortcut: the value that is added.
        repeat: channels of the result that share one of the shortcut's; 0: no shortcut.
        gather: the node that repeats the shortcut's channels, which then has no other reader.
    """

    conv: Node
    bias: Node | None = None
    activation: Node | None = None
    shift: Node | None = None
    add: Node | None = None
    shortcut: str = ""
    repeat: int = 0
    gather: Node | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that it stands for, the one that makes its result last."""
        parts = self.gather, self.conv, self.bias, self.activation, self.shift, self.add
        return tuple(node for node in parts if node is not None)


def find_binary(nodes: Sequence[Node], image: str, activations: tuple[type[Op], ...]) -> dict[str, BinaryChain]:
    """The binary convolutions, by the name of the node that makes the result of each.

    Args:
        nodes: live ones.
        image: the value that is the network's result.
        activations: the records that count as activations.
    """
    readers, made_by = readers_of(nodes), {node.name: node for node in nodes}

    def after(node: Node, accepted: tuple[type[Op], ...]) -> Node | None:
        """The only reader of a node, if it is of an accepted kind."""
        following = [] if node.name == image else readers.get(node.name, [])
        return following[0] if len(following) == 1 and isinstance(following[0].op, accepted) else None

    def shift_after(node: Node) -> Node | None:
        found = after(node, (Affine,))
        return found if found is not None and "weight" not in found.tensors else None

    chains = {}
    for node in nodes:
        if isinstance(node.op, BinaryConv2d):
            bias = shift_after(node)
            activation = after(bias or node, activations)
            shift = shift_after(activation) if activation is not None else None
            chain = BinaryChain(node, bias, activation, shift)
            add = after(chain.nodes[-1], (Add,))
            if add is not None:
                chain = _with_shortcut(chain, add, made_by, readers)
            chains[chain.nodes[-1].name] = chain
    return chains


def _with_shortcut(
    chain: BinaryChain, add: Node, made_by: dict[str, Node], readers: dict[str, list[Node]]
) -> BinaryChain:
    """The chain with the sum behind it, if what is added is the convolution's own input, as it is or repeated.

    Anything else might be of one channel or one pixel, and stays a sum of its own.
    """
    own = chain.nodes[-1].name
    conv: Any = chain.conv.op
    op: Any = add.op
    others = [name for name in add.inputs if name != own]
    keeps_size = all(k == 2 * p + 1 for k, p in zip(conv.kernel, conv.padding, strict=True))
    if len(others) != 1 or (op.a, op.b) != (1.0, 1.0) or not keeps_size:
        return chain
    source, (value,) = made_by.get(others[0]), chain.conv.inputs
    if others[0] == value and conv.in_channels == conv.out_channels:
        return replace(chain, add=add, shortcut=value, repeat=1)
    if source is None or not isinstance(source.op, ChannelGather) or readers[source.name] != [add]:
        return chain
    repeat = conv.out_channels // conv.in_channels
    if source.inputs == (value,) and source.op.channels == tuple(i // max(repeat, 1) for i in range(conv.out_channels)):
        return replace(chain, add=add, shortcut=value, repeat=repeat, gather=source)
    return chain
