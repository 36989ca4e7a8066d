"""Names of tensors in the published files of IMDN, RFDN, RepRFN, BBCU and DRN, for ours.

Source: the files published with those networks; of BBCU and DRN the names that their published classes give them.
"""

import re
from collections.abc import Iterable, Mapping

import torch

from thinlens.train.networks.binary_dncnn import UNITS, BinaryDncnnConfig
from thinlens.train.networks.drn import DrnConfig
from thinlens.train.networks.imdn import BLOCKS as IMDN_BLOCKS
from thinlens.train.networks.imdn import ImdnConfig
from thinlens.train.networks.rep_rfn import RepRfnConfig
from thinlens.train.networks.rfdn import BLOCKS as RFDN_BLOCKS
from thinlens.train.networks.rfdn import RfdnConfig
from thinlens.train.networks.rfn import BLOCKS as RFN_BLOCKS
from thinlens.train.networks.srresnet import SrResNetConfig

TRUNK = {"head": "fea_conv", "collect": "c.0", "tail": "LR_conv", "upsampler": "upsampler.0"}
ATTENTION = {"reduce": "conv1", "keep": "conv_f", "shrink": "conv2", "expand": "conv4"}
UNIT = {
    "threshold": "move0.bias",
    "weight": "binary_conv.weight",
    "bias": "binary_conv.bias",
    "shift": "relu.pr_bias0.bias",
    "slopes": "relu.pr_prelu.weight",
    "last": "relu.pr_bias1.bias",
}
IMAGE_LIKE = (UNIT["threshold"], UNIT["shift"], UNIT["last"])  # stored as 1 C 1 1


def trunk_prefixes(configuration: ImdnConfig | RfdnConfig | RepRfnConfig) -> dict[str, str]:
    """Beginnings of our parameter names -> beginnings of the published ones."""
    match configuration:
        case ImdnConfig():
            count, block, trunk = IMDN_BLOCKS, "IMDB", TRUNK
            body = {f"convs.{i}": f"c{i + 1}" for i in range(4)} | {"mix": "c5"}
            body |= {"attention.reduce": "cca.conv_du.0", "attention.expand": "cca.conv_du.2"}
        case RfdnConfig():
            count, block, trunk = RFDN_BLOCKS, "B", TRUNK
            body = {f"distil.{i}": f"c{i + 1}_d" for i in range(3)} | {f"refine.{i}": f"c{i + 1}_r" for i in range(3)}
            body |= {"last": "c4", "mix": "c5"} | _attention("conv_max", "conv3", "conv3_")
        case RepRfnConfig():
            count, block = RFN_BLOCKS, "reprfb"
            trunk = TRUNK | {"tail": "lr_conv", "upsampler": "upsampler.conv"}
            body = {f"convs.{i}": f"repblock{i + 1}.rbr_reparam" for i in range(3)} | {"convs.3": "conv3"}
            body |= _attention("conv3")
    blocks = {f"body.{b}.{ours}": f"{block}{b + 1}.{theirs}" for b in range(count) for ours, theirs in body.items()}
    return {f"{ours}.": f"{theirs}." for ours, theirs in (trunk | blocks).items()}


def _attention(*convs: str) -> dict[str, str]:
    names = ATTENTION | {f"convs.{i}": conv for i, conv in enumerate(convs)}
    return {f"attention.{ours}": f"esa.{theirs}" for ours, theirs in names.items()}


MAX_WIDTH = 1024  # of a DRN, whose sizes are read off a file
DRN_DOWN = {"shrink": "dual_module.0.0", "widen": "dual_module.1"}
DRN_BLOCK = {
    "first": "body.0",
    "second": "body.2",
    "attention.reduce": "body.3.conv_du.0",
    "attention.expand": "body.3.conv_du.2",
}


def drn_prefixes(configuration: DrnConfig) -> dict[str, str]:
    """As `trunk_prefixes`, of a DRN."""
    found, blocks = {"centre": "sub_mean", "restore": "add_mean"}, configuration.blocks
    for p in range(configuration.steps):
        found |= {f"down.{p}.{ours}": f"down.{p}.{theirs}" for ours, theirs in DRN_DOWN.items()}
        ours, theirs = f"stages.{p}", f"up_blocks.{p}"
        for b in range(blocks):
            found |= {f"{ours}.blocks.{b}.{role}": f"{theirs}.{b}.{key}" for role, key in DRN_BLOCK.items()}
        found |= {f"{ours}.enlarge": f"{theirs}.{blocks}.0", f"{ours}.mix": f"{theirs}.{blocks + 1}"}
    found |= {f"tails.{k}": f"tail.{k}" for k in range(configuration.steps + 1)}
    return {f"{ours}.": f"{theirs}." for ours, theirs in found.items()}


def drn_of(state: Mapping[str, torch.Tensor]) -> DrnConfig | None:
    """The DRN whose published names and channels inside a file has, whatever its sizes; None: it is none."""
    steps = sum(re.fullmatch(r"down\.\d+\.dual_module\.1\.weight", key) is not None for key in state)
    blocks = sum(re.fullmatch(r"up_blocks\.0\.\d+\.body\.0\.weight", key) is not None for key in state)
    inputs = [f"down.{p}.dual_module.1" for p in range(steps)]
    for p in range(steps):
        inputs += [f"up_blocks.{p}.{b}.body.2" for b in range(blocks)] + [f"up_blocks.{p}.{blocks + 1}"]
    weights = [state.get(f"{name}.weight") for name in ("head", *inputs)]
    if not 1 <= steps <= 3 or not blocks or any(weight is None or weight.ndim != 4 for weight in weights):
        return None
    (width, *_), *shapes = [tuple(weight.shape) for weight in weights if weight is not None]
    inner = tuple(shape[1] for shape in shapes)
    if not all(1 <= size <= MAX_WIDTH for size in (width, *inner)):
        return None
    full = DrnConfig(2**steps, width, blocks)
    return full if inner == full.widths() else DrnConfig(2**steps, width, blocks, inner)


def unit_keys(configuration: SrResNetConfig | BinaryDncnnConfig, names: Iterable[str]) -> dict[str, str]:
    """Our parameter names -> the published ones, of networks whose parts are convolutions and binary units."""
    names = list(names)
    units = {name.removesuffix(".threshold") for name in names if name.endswith(".threshold")}
    keys = {}
    for name in names:
        layer, _, role = name.rpartition(".")
        theirs = UNIT[role] if layer in units else role
        layer = layer.removesuffix(".unit")
        if isinstance(configuration, BinaryDncnnConfig):
            place = {"head": "model.0", "tail": f"model.{UNITS + 2}"}.get(layer) or f"model.{int(layer[5:]) + 2}"
        else:
            place = _srresnet_place(layer, 2 if configuration.scale == 4 else 1)
        keys[name] = f"{place}.{theirs}"
    return keys


def _srresnet_place(layer: str, steps: int) -> str:
    """Of ``body.3.1``, ``upsampler.0.0`` (after ``steps`` the convolution at full size), ``head.0`` and ``tail``."""
    if body := re.fullmatch(r"body\.(\d+)\.(\d+)", layer):
        return f"body.{body[1]}.body.{body[2]}"
    if stage := re.fullmatch(r"upsampler\.(\d+)\.0", layer):
        return "conv_hr" if int(stage[1]) == steps else f"upconv{int(stage[1]) + 1}"
    return {"head.0": "conv_first", "tail": "conv_last"}.get(layer, layer)
