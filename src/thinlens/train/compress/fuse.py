"""From train form to inference form and back: fuse a network's blocks, or train its convolutions through paths."""

import copy
from collections import Counter
from collections.abc import Sequence

from torch import nn

from thinlens.errors import RecipeError
from thinlens.train.blocks.rep_conv import BRANCHES, Branch, RepConv, Space
from thinlens.train.blocks.two_forms import TwoForms
from thinlens.train.ops import Conv2d


def fuse(network: nn.Module, kind: type[TwoForms] = TwoForms) -> nn.Module:
    """The inference form: every block of two forms replaced by what computes the same.

    Args:
        network: of ops and blocks.
        kind: which blocks; the others stay in their train form.

    Returns:
        A copy; the network itself if there is nothing to fuse.
    """
    blocks = [name for name, module in network.named_modules() if isinstance(module, kind)]
    if not blocks:
        return network
    if isinstance(network, kind):
        return network.fuse()
    fused = copy.deepcopy(network)
    for name in blocks:
        fused.set_submodule(name, fused.get_submodule(name).fuse())  # type: ignore[operator]
    return fused


def expand(network: nn.Module, branches: Sequence[Branch] = BRANCHES, space: Space = "image") -> nn.Module:
    """A train form of any network: its 3x3 convolutions as sums of paths; it computes the same until it is trained.

    Blocks of paths that are there already are fused before. A convolution that shares its weights with another stays
    as it is, and so does what belongs to another block of two forms.

    Args:
        network: of ops and blocks, or a thawed plan.
        branches: the paths, with ``3x3`` among them.
        space: where a step adds the paths up.

    Returns:
        A copy, with new paths from torch's random numbers.

    Raises:
        RecipeError: if ``3x3`` is not among the branches.
    """
    expanded = copy.deepcopy(fuse(network, RepConv))
    uses = Counter(id(parameter) for _, parameter in expanded.named_parameters(remove_duplicate=False))
    for name, module in list(expanded.named_modules()):
        alone = all(uses[id(parameter)] == 1 for parameter in module.parameters())
        if isinstance(module, Conv2d) and module.op.kernel == (3, 3) and alone:
            expanded.set_submodule(name, RepConv.of(module, branches, space))
    return expanded


def train_form(network: nn.Module, branches: Sequence[Branch] | None, space: Space) -> nn.Module:
    """The train form that a recipe asks for.

    Args:
        network: freshly made.
        branches: the paths of the network's own blocks of two forms, which then begin anew; of a network without such
            blocks, those of every 3x3 convolution, which then computes the same as before. None: as the network is.
        space: where a step adds the paths up.

    Returns:
        The network itself, with other blocks if asked for, or a copy.

    Raises:
        RecipeError: if the network has no 3x3 convolution, or none of the branches can take its weights over.
    """
    blocks = [(name, module) for name, module in network.named_modules() if isinstance(module, RepConv)]
    if not blocks and branches is not None:
        expanded = expand(network, branches, space)
        if not any(isinstance(module, RepConv) for module in expanded.modules()):
            raise RecipeError("branches: the network has no 3x3 convolution that is its own; leave them out")
        return expanded
    for name, block in blocks:
        block.space = space
        if branches is not None:
            network.set_submodule(name, RepConv(block.op, branches, space))
    return network
