"""Networks that work on other pixels than 0..1, such as an official RFDN on 0..255."""

from dataclasses import replace

import msgspec
import numpy as np

from thinlens.model.file import Model, Tensors
from thinlens.model.ops import Affine
from thinlens.model.outputs import is_image
from thinlens.model.plan import INPUT, Node

UNIT = (0.0, 1.0)


def to_unit_range(model: Model) -> Model:
    """The same network on pixels in 0..1, whatever range its card says.

    Whoever runs, exports or trains a model asks for this one. The pixels are stretched to the card's range before the
    network and back after every output that is an image, by an ``affine`` each; the model itself is returned if its
    range is 0..1.

    Args:
        model: checked; further plans than ``main`` are left as they are: a dual map has no biases and works on any
            range that begins at 0.
    """
    low, high = model.card.value_range
    if (low, high) == UNIT:
        return model
    plan, channels = model.plan, model.plan.input_channels
    taken = {INPUT, *(node.name for node in plan.nodes), *model.tensors}
    op = Affine(channels=channels)
    tensors: Tensors = {}

    def affine(name: str, source: str, weight: float, bias: float) -> Node:
        name = _free_name(name, taken)
        taken.add(name)
        for role, value in (("weight", weight), ("bias", bias)):
            tensors[f"{name}.{role}"] = np.full(channels, value, np.float32)
        return Node(name=name, op=op, inputs=(source,), tensors={role: f"{name}.{role}" for role in ("weight", "bias")})

    first = affine("stretch", INPUT, high - low, low)
    images = {name: value for name, value in plan.outputs.items() if is_image(name)}
    last = {name: affine("shrink", value, 1 / (high - low), -low / (high - low)) for name, value in images.items()}
    nodes = (
        msgspec.structs.replace(node, inputs=tuple(first.name if name == INPUT else name for name in node.inputs))
        for node in plan.nodes
    )
    outputs = plan.outputs | {name: node.name for name, node in last.items()}
    stretched = msgspec.structs.replace(plan, nodes=(first, *nodes, *last.values()), outputs=outputs)
    card = msgspec.structs.replace(model.card, value_range=UNIT)
    return replace(model, plans={**model.plans, "main": stretched}, tensors={**model.tensors, **tensors}, card=card)


def _free_name(name: str, taken: set[str]) -> str:
    """A name that nothing bears, and of which no tensor's name begins."""
    while any(other.split(".")[0] == name for other in taken):
        name += "_"
    return name
