"""A plan as an ONNX model: one small rule an op, batch, height and width free.

Input ``input`` and outputs (``image`` first) are ``N C H W`` float32; luma or RGB in 0..1. Needs the extra ``onnx``.
"""

import onnx
from msgspec.structs import replace
from onnx import TensorProto, helper

from thinlens.export.onnx_graph import Graph
from thinlens.export.onnx_rules import RULES
from thinlens.model.file import Model
from thinlens.model.plan import INPUT, Plan
from thinlens.model.value_range import to_unit_range

OPSET = 18  # the first in which ReduceMax takes its axes as an input; runtimes of 2023 and later read it
IR_VERSION = 9


def to_onnx(model: Model) -> bytes:
    """Write a model's main plan as ONNX.

    Args:
        model: checked.

    Returns:
        The bytes of an ``.onnx`` file: float32, batch, height and width free; the card's name, task, scale, colour and
        luma stand in its metadata.

    Raises:
        UnsupportedOpError: naming the op that ONNX cannot say.
        onnx.checker.ValidationError: if the result is no valid ONNX model, which would be a fault of this module.
    """
    model = to_unit_range(model)
    plan = without_clashes(model.plan)
    graph = Graph(plan, model.tensors)
    for node in plan.nodes:
        if node.name in graph.inside:
            continue
        RULES[type(node.op)](graph, node, node.op)
    for output, value in plan.outputs.items():
        graph.add("Identity", [value], output)
    channels = plan.channels()
    inputs = [_value(INPUT, channels[INPUT], "")]
    outputs = [_value(name, channels[value], f"{name}_") for name, value in plan.outputs.items()]
    body = helper.make_graph(graph.nodes, model.card.name, inputs, outputs, list(graph.constants.values()))
    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_model(body, producer_name="thinlens", opset_imports=[opset], ir_version=IR_VERSION)
    card = model.card
    facts = {"name": card.name, "task": card.task, "scale": str(card.scale), "colour": card.colour, "luma": card.luma}
    helper.set_model_props(proto, facts)
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def without_clashes(plan: Plan) -> Plan:
    """The plan with other names for values that are called like an output: in ONNX the two share their names."""
    names = {node.name: f"{node.name}:value" for node in plan.nodes if node.name in plan.outputs}
    nodes = tuple(
        replace(node, name=names.get(node.name, node.name), inputs=tuple(names.get(i, i) for i in node.inputs))
        for node in plan.nodes
    )
    return replace(plan, nodes=nodes, outputs={o: names.get(value, value) for o, value in plan.outputs.items()})


def _value(name: str, channels: int, prefix: str) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = ["batch", channels, f"{prefix}height", f"{prefix}width"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
