"""Thaw a plan: the inverse of lowering. Any model file becomes a torch module that trains, prunes and lowers again."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from thinlens.model.plan import INPUT, Plan
from thinlens.train.ops import BODIES


class PlanModule(nn.Module):
    """A plan at work in torch: ``N C H W`` in; the output out, or a dict of outputs if there are several.

    Nodes that share a tensor share the parameter. Lowering gives the plan back.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        shared: dict[str, nn.Parameter] = {}
        for node in plan.nodes:
            path = node.name.split("#")[0].replace(".", "/")  # module names hold no dots; "#2" is a second call
            if path not in self._modules:
                self.add_module(path, BODIES[type(node.op)].of(node.op))
            module = self._modules[path]
            for role, name in node.tensors.items():
                parameter = shared.setdefault(name, module.get_parameter(role))  # type: ignore[union-attr]
                setattr(module, role, parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Run the ops in order."""
        values = {INPUT: x}
        for node in self.plan.nodes:
            module = self._modules[node.name.split("#")[0].replace(".", "/")]
            values[node.name] = module(*(values[name] for name in node.inputs))  # type: ignore[misc]
        outputs = {name: values[value] for name, value in self.plan.outputs.items()}
        return outputs if len(outputs) > 1 else outputs["image"]


def thaw(plan: Plan, tensors: Mapping[str, npt.NDArray[np.float32]]) -> PlanModule:
    """Make a torch module of a plan; same forward to 1e-6.

    Args:
        plan: a checked plan.
        tensors: name -> float32 array, copied.
    """
    module = PlanModule(plan)
    with torch.no_grad():
        for node in plan.nodes:
            body = module.get_submodule(node.name.split("#")[0].replace(".", "/"))
            for role, name in node.tensors.items():
                body.get_parameter(role).copy_(torch.from_numpy(np.array(tensors[name])))
    return module
