"""What all torch bodies share: a record, and its tensors as parameters."""

from typing import Any, ClassVar, Self

import torch
from torch import nn

from thinlens.model.ops import Op


class OpModule(nn.Module):
    """One op as a torch module: parameters are named after the roles of the record's tensors.

    Args:
        fields: the record's fields, by keyword; ranges as in `thinlens.model.ops`.

    Raises:
        PlanError: if the fields contradict each other.
    """

    record: ClassVar[type[Op]]
    weight: nn.Parameter  # of the ops that have one
    bias: nn.Parameter

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.op: Any = self.record(**fields)
        for role, shape in self.op.tensor_shapes().items():
            self.register_parameter(role, nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    @classmethod
    def of(cls, op: Op) -> Self:
        """The module of a record."""
        return cls(**{name: getattr(op, name) for name in op.__struct_fields__})

    def reset_parameters(self) -> None:
        """Fill weights as torch's own layers do: uniform within ``1 / sqrt(taps)``, biases alike."""
        if not self._parameters:
            return
        bound = self.weight[0].numel() ** -0.5
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)
