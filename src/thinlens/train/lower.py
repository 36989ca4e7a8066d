"""Lower a network to a plan: walk its forward with `torch.fx`, op modules as leaves."""

from typing import Any

import numpy as np
import torch
from torch import fx, nn

from thinlens.errors import UnsupportedOpError
from thinlens.model.file import Tensors
from thinlens.model.plan import INPUT, Node, Plan
from thinlens.train.compress.fuse import fuse
from thinlens.train.ops import OpModule


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, OpModule) or super().is_leaf_module(m, module_qualified_name)  # torch's own: refused


def lower(network: nn.Module, input_channels: int = 1) -> tuple[Plan, Tensors]:
    """Turn a network into ops in order with their tensors.

    The network must be made of op modules (`thinlens.train.ops`) and of blocks that fuse into them. Its forward takes
    one tensor and returns one, or a dict of outputs whose first key is ``image``.

    Args:
        network: a module; its parameters are copied, and every one must belong to an op.
        input_channels: channels of the input.

    Returns:
        The plan, checked, and its tensors as float32 arrays by name.

    Raises:
        UnsupportedOpError: naming the call that no op stands for.
        PlanError: if the ops do not fit together.
    """
    network = fuse(network)
    graph = _Tracer().trace(network)
    names = {id(p): name.replace("/", ".") for name, p in network.named_parameters()}  # a shared one has one name
    nodes: list[Node] = []
    values: dict[fx.Node, str] = {}
    outputs: dict[str, str] = {}
    for step in graph.nodes:
        if step.op == "placeholder":
            values[step] = INPUT
        elif step.op == "output":
            outputs = _outputs(step.args[0], values)
        else:
            module = _op_module(network, step)
            inputs = tuple(values[argument] for argument in step.args if isinstance(argument, fx.Node))
            nodes.append(Node(name=_name(step, nodes), op=module.op, inputs=inputs, tensors=_roles(module, names)))
            values[step] = nodes[-1].name
    plan = Plan(input_channels=input_channels, nodes=tuple(nodes), outputs=outputs)
    tensors = _tensors(network)
    plan.channels()
    plan.check_tensors({name: array.shape for name, array in tensors.items()})
    return plan, tensors


def _op_module(network: nn.Module, step: fx.Node) -> OpModule:
    """The op module that a step calls."""
    called = getattr(step.target, "__name__", str(step.target))
    if step.op == "call_module":
        module = network.get_submodule(str(step.target))
        if isinstance(module, OpModule):
            return module
        called = f"{step.target}: {type(module).__name__}"
    raise UnsupportedOpError(f"`{type(network).__name__}` calls `{called}`, no op; build it from thinlens.train.ops")


def _name(step: fx.Node, done: list[Node]) -> str:
    """A node is named after its module's path; a module that is called again gets ``#2`` and so on."""
    path = str(step.target).replace("/", ".")
    calls = sum(node.name.split("#")[0] == path for node in done)
    return path if not calls else f"{path}#{calls + 1}"


def _roles(module: OpModule, names: dict[int, str]) -> dict[str, str]:
    return {role: names[id(module.get_parameter(role))] for role in module.op.tensor_shapes()}


def _outputs(returned: Any, values: dict[fx.Node, str]) -> dict[str, str]:
    if isinstance(returned, fx.Node):
        return {"image": values[returned]}
    return {str(name): values[value] for name, value in returned.items()}


def _tensors(network: nn.Module) -> Tensors:
    """Copies of the parameters, as float32."""
    return {
        name.replace("/", "."): np.array(value.detach().to("cpu", torch.float32).numpy())
        for name, value in network.named_parameters()
    }
