"""Distillation: a network imitates a larger one that was trained before.

Of networks that both give ``features`` (what their last convolution to an image reads), the means over channels are
compared, so that their widths need not agree; the size does. Of others the images are.

Source: Guo et al., Towards Lightweight Super-Resolution with Dual Regression Learning, 2022: fine-tuning of compressed
networks.
"""

from collections.abc import Mapping

import torch
from torch import nn

from thinlens.errors import RecipeError
from thinlens.model.file import Model
from thinlens.model.value_range import to_unit_range
from thinlens.train.losses import Measure
from thinlens.train.losses.dual_regression import as_outputs, outputs_of
from thinlens.train.losses.pixel import l2
from thinlens.train.thaw import thaw

FEATURES = "features"


class Teacher:
    """The loss of not being like another network.

    Args:
        model: the larger network; it stays as it is.
        student: what is trained.
        measure: compares images where there are no features on both sides.
        scale: of the student.
        channels: of the student's images.

    Raises:
        RecipeError: if the two differ in scale or colour.
    """

    def __init__(self, model: Model, student: nn.Module, measure: Measure, scale: int, channels: int) -> None:
        model = to_unit_range(model)
        found = model.card.scale, model.plan.input_channels
        if found != (scale, channels):
            raise RecipeError(
                f"teacher: `{model.card.name}` has scale {found[0]} and {found[1]} channels; accepted: scale {scale} "
                f"and {channels}, as the network that is trained"
            )
        self._network = thaw(model.plan, model.tensors).requires_grad_(False).eval()
        self._by_features = FEATURES in outputs_of(student) and FEATURES in model.plan.outputs
        self._measure = measure

    def __call__(self, made: Mapping[str, torch.Tensor], lq: torch.Tensor) -> torch.Tensor:
        """The loss of what the student made of ``lq``, a scalar."""
        with torch.no_grad():
            wanted = as_outputs(self._network.to(lq.device)(lq))
        if self._by_features:
            return l2(made[FEATURES].mean(1), wanted[FEATURES].mean(1))
        return self._measure(made["image"], wanted["image"])
