"""Names of tensors in the published files of IMDN, RFDN and RepRFN, for ours.

Source: the files published with those networks.
"""

from thinlens.train.networks.imdn import BLOCKS as IMDN_BLOCKS
from thinlens.train.networks.imdn import ImdnConfig
from thinlens.train.networks.rep_rfn import RepRfnConfig
from thinlens.train.networks.rfdn import BLOCKS as RFDN_BLOCKS
from thinlens.train.networks.rfdn import RfdnConfig
from thinlens.train.networks.rfn import BLOCKS as RFN_BLOCKS

TRUNK = {"head": "fea_conv", "collect": "c.0", "tail": "LR_conv", "upsampler": "upsampler.0"}
ATTENTION = {"reduce": "conv1", "keep": "conv_f", "shrink": "conv2", "expand": "conv4"}


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
