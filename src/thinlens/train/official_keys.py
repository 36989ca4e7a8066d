"""Names of tensors in the published files of IMDN, RFDN, RepRFN and BBCU, for ours.

Source: the files published with those networks; of BBCU the names that its published classes give them.
"""

import re
from collections.abc import Iterable

from thinlens.train.networks.binary_dncnn import UNITS, BinaryDncnnConfig
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
