"""Outputs of a network with several; one as a model of its own: one scale of a joint upscaler."""

from dataclasses import replace

import msgspec

from thinlens.errors import PlanError
from thinlens.model.file import Model
from thinlens.model.plan import Plan

PROBE = (48, 48)  # rows and columns of an image on which sizes are told


def is_image(output: str) -> bool:
    """Whether an output is an image, by its name: ``image``, or ``scale`` and a number; others are for training."""
    return output == "image" or (output.startswith("scale") and output.removeprefix("scale").isdecimal())


def plan_of_output(plan: Plan, output: str) -> Plan:
    """The nodes that one output depends on; it becomes the ``image``. Tensors keep their names: plans share them.

    Raises:
        PlanError: if there is no such output.
    """
    if output not in plan.outputs:
        raise PlanError(f"output `{output}`: unknown; accepted: {', '.join(plan.outputs)}")
    value = plan.outputs[output]
    needed = {value}
    for node in reversed(plan.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    nodes = tuple(node for node in plan.nodes if node.name in needed)
    return msgspec.structs.replace(plan, nodes=nodes, outputs={"image": value})


def model_of_output(model: Model, output: str) -> Model:
    """A model of one output of another's main plan, with the tensors that it needs and no more.

    Its card has the output's own scale and costs, and its name ends in ``_x`` and that scale instead of ``_joint``.

    Raises:
        PlanError: if there is no such output.
    """
    plan = plan_of_output(model.plan, output)
    height, width = plan.sizes(PROBE)[plan.outputs["image"]]
    tensors = {name: model.tensors[name] for name in sorted(plan.tensor_names())}
    scale = height // PROBE[0]
    card = msgspec.structs.replace(
        model.card,
        name=f"{model.card.name.removesuffix('_joint')}_x{scale}",
        scale=scale,
        params=sum(tensor.size for tensor in tensors.values()),
        macs_per_pixel=plan.macs(PROBE) / (height * width),
        quality=(),
    )
    return replace(model, plans={"main": plan}, tensors=tensors, card=card)
