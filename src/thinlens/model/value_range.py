"""Networks that work on other pixels than 0..1, such as an official RFDN on 0..255."""

from dataclasses import replace

import msgspec
import numpy as np

from thinlens.model.file import Model
from thinlens.model.ops import Affine
from thinlens.model.plan import INPUT, Node

UNIT = (0.0, 1.0)


def to_unit_range(model: Model) -> Model:
    """The same network on pixels in 0..1, whatever range its card says.

    Whoever runs, exports or trains a model asks for this one. The pixels are stretched to the card's range before the
    network and back after it, by an ``affine`` each; the model itself is returned if its range is 0..1.

    Args:
        model: checked; further plans than ``main`` are left as they are.
    """
    low, high = model.card.value_range
    if (low, high) == UNIT:
        return model
    plan, channels = model.plan, model.plan.input_channels
    taken = {INPUT, *(node.name for node in plan.nodes), *model.tensors}
    before, after = (_free_name(name, taken) for name in ("stretch", "shrink"))
    op = Affine(channels=channels)
    values = {
        before: (high - low, low),
        after: (1 / (high - low), -low / (high - low)),
    }
    tensors = {
        f"{name}.{role}": np.full(channels, value, np.float32)
        for name, pair in values.items()
        for role, value in zip(("weight", "bias"), pair, strict=True)
    }
    first, last = (
        Node(name=name, op=op, inputs=(source,), tensors={role: f"{name}.{role}" for role in ("weight", "bias")})
        for name, source in ((before, INPUT), (after, plan.outputs["image"]))
    )
    nodes = (
        msgspec.structs.replace(node, inputs=tuple(before if name == INPUT else name for name in node.inputs))
        for node in plan.nodes
    )
    stretched = msgspec.structs.replace(plan, nodes=(first, *nodes, last), outputs={**plan.outputs, "image": last.name})
    card = msgspec.structs.replace(model.card, value_range=UNIT)
    return replace(model, plans={**model.plans, "main": stretched}, tensors={**model.tensors, **tensors}, card=card)


def _free_name(name: str, taken: set[str]) -> str:
    """A name that nothing bears, and of which no tensor's name begins."""
    while any(other.split(".")[0] == name for other in taken):
        name += "_"
    return name
