"""Thaw a plan: the inverse of lowering. Any model file becomes a torch module that trains, prunes and lowers again."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from thinlens.model.file import Tensors
from thinlens.model.ops import Op
from thinlens.model.plan import INPUT, Plan
from thinlens.train.ops import BODIES


class PlanModule(nn.Module):
    """A plan at work in torch: ``N C H W`` in; the output out, or a dict of outputs if there are several.

    Nodes that share a tensor share the parameter. Lowering gives the plan back. Its modules bear the names of the
    nodes, so functions of this file stand in for methods that a node's name might hide.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self._paths: dict[str, str] = {}
        shared: dict[str, nn.Parameter] = {}
        made: dict[str, tuple[Op, dict[str, str]]] = {}
        for node in plan.nodes:
            path = node.name.split("#")[0].replace(".", "/")  # module names hold no dots; "#2" is a second call
            if made.get(path, (node.op, node.tensors)) != (node.op, node.tensors):  # or was one, before a part was cut
                path = node.name.replace(".", "/")
            if path not in made:
                made[path] = node.op, node.tensors
                self.add_module(path, BODIES[type(node.op)].of(node.op))
            self._paths[node.name] = path
            module = self._modules[path]
            for role, name in node.tensors.items():
                parameter = shared.setdefault(name, module.get_parameter(role))  # type: ignore[union-attr]
                setattr(module, role, parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Run the ops in order."""
        return outputs_of(self, values_of(self, x))


def body_of(module: PlanModule, name: str) -> nn.Module:
    """The module that makes the value of a name."""
    return module._modules[body_path(module, name)]  # type: ignore[return-value]  # none of them is None


def body_path(module: PlanModule, name: str) -> str:
    """What the names of parameters begin with that belong to the value of a name."""
    return module._paths[name]


def replace_body(module: PlanModule, name: str, body: nn.Module) -> None:
    """Let another module, of the same inputs, make the value of a name, and all that the old one made."""
    module.add_module(body_path(module, name), body)


def values_of(module: PlanModule, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every value of a plan by its name, ``N C H W`` each."""
    values = {INPUT: x}
    for node in module.plan.nodes:
        values[node.name] = body_of(module, node.name)(*(values[name] for name in node.inputs))
    return values


def outputs_of(module: PlanModule, values: Mapping[str, torch.Tensor]) -> torch.Tensor | dict[str, torch.Tensor]:
    """What a module's forward gives, of all values."""
    outputs = {name: values[value] for name, value in module.plan.outputs.items()}
    return outputs if len(outputs) > 1 else outputs["image"]


def tensors_of(module: PlanModule) -> Tensors:
    """Copies of the plan's tensors as they are now, by name."""
    made: Tensors = {}
    for node in module.plan.nodes:
        for role, name in node.tensors.items():
            made[name] = body_of(module, node.name).get_parameter(role).detach().cpu().numpy().copy()
    return made


def thaw(plan: Plan, tensors: Mapping[str, npt.NDArray[np.float32]]) -> PlanModule:
    """Make a torch module of a plan; same forward to 1e-6.

    Args:
        plan: a checked plan.
        tensors: name -> float32 array, copied.
    """
    module = PlanModule(plan)
    with torch.no_grad():
        for node in plan.nodes:
            for role, name in node.tensors.items():
                body_of(module, node.name).get_parameter(role).copy_(torch.from_numpy(np.array(tensors[name])))
    return module
