"""Take over other people's weights: official files become model files.

Known are edge-SR, ESPCN, FSRCNN and bicubic of the edge-SR pool, IMDN, RFDN, RepRFN, BBCU and DRN. A file is read with
``weights_only=True`` and must hold exactly the tensors of one known network, in their shapes. Where several networks
have those (an eSR-MAX x4 K5 C2 looks like an eSR-TM x2 K5 C4, an FSRCNN is the same at every scale), the official file
name decides, and ``name`` overrules it.

Source: the weight files published with edge-SR (WACV 2022), IMDN (ACM MM 2019), RFDN (ECCVW 2020) and RepRFN (CVPRW
2023), and the published classes of BBCU (ICLR 2023) and DRN (CVPR 2020), of which no file was at hand; their networks
pad with zeros. A DRN may have any channels inside (it is read off the tensors); its dual maps lie in files of their own
and are left there.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from thinlens.errors import ModelError, UnknownNameError
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model
from thinlens.train.blocks.binary_conv import BinaryUnit
from thinlens.train.compress.fuse import fuse
from thinlens.train.lower import lower
from thinlens.train.networks import Configuration, configurations, task_of
from thinlens.train.networks.bicubic import Bicubic
from thinlens.train.networks.binary_dncnn import BinaryDncnnConfig
from thinlens.train.networks.drn import DrnConfig
from thinlens.train.networks.edge_sr import EdgeSR, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.networks.fsrcnn import FsrcnnConfig
from thinlens.train.networks.imdn import ImdnConfig
from thinlens.train.networks.rep_rfn import RepRfnConfig
from thinlens.train.networks.rfdn import RfdnConfig
from thinlens.train.networks.srresnet import SrResNetConfig
from thinlens.train.official_keys import IMAGE_LIKE, drn_of, drn_prefixes, trunk_prefixes, unit_keys
from thinlens.train.ops import ConvTranspose2d

Family = Literal["bicubic", "edge_sr", "espcn", "fsrcnn", "imdn", "rfdn", "rep_rfn", "bbcu", "drn"]
MAX_FILE_BYTES = 64 << 20
NESTED = "params"  # holds the tensors in the files of some trainers
PARALLEL = "module."  # begins every name in a file that was saved from a network on several GPUs
BYTES = (0.0, 255.0)
FAMILIES = "edge-SR, ESPCN, FSRCNN, bicubic, IMDN, RFDN, RepRFN, BBCU, DRN"
State = Mapping[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Imported:
    """What came of a file.

    Args:
        model: ready to be written.
        notes: what its user should know, one sentence each.
    """

    model: Model
    notes: tuple[str, ...]


def import_weights(path: Path, *, family: Family | None = None, name: str | None = None) -> Imported:
    """Turn an official weight file into a model.

    Args:
        path: the file.
        family: only networks of this family are considered; None: all.
        name: the configuration it holds, as `thinlens networks` prints it; None: told from shapes and file name.

    Raises:
        ModelError: if the file is damaged, too large, or holds no known network; or several, and nothing tells which.
        UnknownNameError: if there is no configuration ``name``, or the file does not hold it.
    """
    state = _unwrapped(_read(path))
    shapes: Shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    drn = drn_of(state)
    candidates = configurations().values() if drn is None else [drn]
    known = [c for c in candidates if kind_of(state) is type(c) and _is_asked_for(c, family)]
    fitting = {c.name: c for c in known if official_shapes(c) == shapes}
    configuration = _choose(fitting, path, name)
    network = create(configuration, state)
    plan, tensors = lower(network, configuration.channels)
    size = (60, 60)
    out = plan.sizes(size)[plan.outputs["image"]]
    card = ModelCard(
        name=configuration.name,
        task=task_of(configuration),
        scale=configuration.scale,
        colour="luma" if configuration.channels == 1 else "rgb",
        value_range=BYTES if isinstance(configuration, RfdnConfig | DrnConfig) else (0.0, 1.0),
        params=sum(array.size for array in tensors.values()),
        macs_per_pixel=plan.macs(size) / (out[0] * out[1]),
        licence="that of the imported file",
        training=Training(recipe=path.name, recipe_sha256="", schedule="imported", steps=0, seed=0),
    )
    return Imported(Model({"main": plan}, tensors, card), (*_notes(configuration), *_zeros(network)))


def _is_asked_for(configuration: Configuration, family: Family | None) -> bool:
    own = family_of(configuration)
    return own is not None and family in (None, own)


def family_of(configuration: Configuration) -> Family | None:
    """The family that a configuration belongs to; None: there are no files of it."""
    if isinstance(configuration, SrResNetConfig | BinaryDncnnConfig):
        published = configuration.name.startswith(("bbcu_l_x", "bbcu_m_x", "bbcu_de"))
        return "bbcu" if published else None
    kinds: dict[type, Family] = {
        Bicubic: "bicubic",
        EdgeSR: "edge_sr",
        EdgeSRCNNConfig: "edge_sr",
        EspcnConfig: "espcn",
        FsrcnnConfig: "fsrcnn",
        ImdnConfig: "imdn",
        RfdnConfig: "rfdn",
        RepRfnConfig: "rep_rfn",
        DrnConfig: "drn",
    }
    return kinds.get(type(configuration))


def kind_of(state: State) -> type[Configuration] | None:
    """The kind of network that tensors of these names belong to."""
    marks = {
        "filter.weight": EdgeSR,
        "filter.0.weight": EdgeSRCNNConfig,
        "net.weight": Bicubic,
        "net.1.weight": FsrcnnConfig,
        "net.0.weight": EspcnConfig,
        "IMDB1.c1.weight": ImdnConfig,
        "B1.c1_d.weight": RfdnConfig,
        "reprfb1.conv3.weight": RepRfnConfig,
        "body.0.body.0.move0.bias": SrResNetConfig,
        "model.2.move0.bias": BinaryDncnnConfig,
        "down.0.dual_module.1.weight": DrnConfig,
    }
    return next((kind for mark, kind in marks.items() if mark in state), None)


def official_name(configuration: Configuration) -> str:
    """The stem of a configuration's published file, such as ``eSR-TM_s2_K5_C4``."""
    match configuration:
        case EdgeSR(kind=kind, kernel_size=k, candidates=c, scale=s):
            return f"eSR-{kind.upper()}_s{s}_K{k}_C{c}"
        case EdgeSRCNNConfig(candidates=c, width=d, shrink=w, scale=s):
            return f"eSR-CNN_s{s}_C{c}_D{d}_S{w}"
        case EspcnConfig(width=d, shrink=w, scale=s):
            return f"ESPCN_s{s}_D{d}_S{w}"
        case FsrcnnConfig(width=d, shrink=w, depth=m, scale=s):
            return f"FSRCNN_s{s}_D{d}_S{w}_M{m}"
        case ImdnConfig(scale=s):
            return f"IMDN_x{s}"
        case RfdnConfig():
            return "RFDN_AIM"
        case RepRfnConfig(scale=s):
            return f"reprfn_ntire_x{s}"
        case SrResNetConfig() | BinaryDncnnConfig():
            return configuration.name
        case DrnConfig(scale=s):
            return f"{configuration.name.removesuffix(f'_x{s}').upper().replace('_', '-')}{s}x"
        case _:
            return f"Bicubic_s{configuration.scale}"


def official_keys(configuration: Configuration, names: list[str]) -> dict[str, str]:
    """Our parameter names -> those of the published file."""
    match configuration:
        case SrResNetConfig() | BinaryDncnnConfig():
            return unit_keys(configuration, names)
        case EdgeSRCNNConfig():
            renamed = {"first.": "filter.0.", "second.": "filter.2.", "third.": "filter.4."}
        case FsrcnnConfig(depth=depth):
            renamed = {"body.": "net.", "tail.": f"net.{2 * (depth + 3)}."}
        case EspcnConfig():
            renamed = {"body.": "net."}
        case ImdnConfig() | RfdnConfig() | RepRfnConfig():
            renamed = trunk_prefixes(configuration)
        case DrnConfig():
            renamed = drn_prefixes(configuration)
        case _:
            renamed = {}
    prefix = re.compile("|".join(map(re.escape, renamed)) or "$^")
    return {name: prefix.sub(lambda found: renamed[found[0]], name, count=1) for name in names}


def official_shapes(configuration: Configuration) -> Shapes:
    """Names and shapes of the tensors in a configuration's published file."""
    if isinstance(configuration, Bicubic):
        side = 4 * configuration.scale + 3
        return {"net.weight": (1, 1, side, side)}
    with torch.device("meta"):
        parameters = dict(_as_published(configuration).named_parameters())
    keys = official_keys(configuration, list(parameters))
    shapes: Shapes = {keys[name]: tuple(parameter.shape) for name, parameter in parameters.items()}
    return {key: (1, *shape, 1, 1) if key.endswith(IMAGE_LIKE) else shape for key, shape in shapes.items()}


def _as_published(configuration: Configuration) -> nn.Module:
    """The network in the form of the published files: the inference form, but of binary networks the train form."""
    network = configuration.create()
    return network if family_of(configuration) == "bbcu" else fuse(network)


def create(configuration: Configuration, state: State) -> nn.Module:
    """The network with the weights of a published file; it pads with zeros."""
    if isinstance(configuration, Bicubic):
        return PublishedBicubic(configuration.scale, state["net.weight"])
    network = _as_published(replace(configuration, pad_mode="zero"))  # type: ignore[type-var]  # all are dataclasses
    parameters = dict(network.named_parameters())
    keys = official_keys(configuration, list(parameters))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[keys[name]].reshape(parameter.shape))
    return network


class PublishedBicubic(nn.Module):
    """Bicubic as published with edge-SR: one transposed convolution with a kernel of side 4s + 3.

    Its x3 kernel is misaligned: it lies half an output pixel off, and costs about 1.3 dB on Set5.
    """

    def __init__(self, scale: int, weight: torch.Tensor) -> None:
        super().__init__()
        self.scale = scale
        side = 4 * scale + 3
        padding, extra = divmod(side - scale + 1, 2)
        self.filter = ConvTranspose2d(
            in_channels=1,
            out_channels=1,
            kernel=(side, side),
            stride=scale,
            padding=(padding, padding),
            output_padding=1 - extra,
        )
        with torch.no_grad():
            self.filter.weight.copy_(weight)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        return self.filter(lq)  # type: ignore[no-any-return]


def _read(path: Path) -> State:
    """Read a weight file: plain floating-point tensors by name, and nothing else."""
    if path.suffix == ".safetensors":
        raise ModelError(
            f"`{path}`: a safetensors file; accepted: torch weight files; a thinlens model needs no import"
        )
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"`{path}`: {path.stat().st_size} bytes; accepted: up to {MAX_FILE_BYTES}")
        data = io.BytesIO(path.read_bytes())  # from memory: a claim to hold more than the file does allocates nothing
        state: Any = torch.load(data, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"`{path}`: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch and its unpickler raise whatever a damaged file leads them to
        raise ModelError(f"`{path}`: not a weight file that can be read safely ({type(error).__name__})") from error
    if isinstance(state, dict) and isinstance(state.get(NESTED), dict):
        state = state[NESTED]
    if not isinstance(state, dict) or not all(_is_weight(key, value) for key, value in state.items()):
        raise ModelError(f"`{path}`: does not hold named, finite floating-point tensors, and nothing else")
    return state


def _is_weight(key: object, value: object) -> bool:
    if not isinstance(key, str) or not isinstance(value, torch.Tensor):
        return False
    plain = value.is_floating_point() and value.layout == torch.strided and value.device.type == "cpu"
    if not plain or value.is_nested or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return False
    return bool(value.isfinite().all())


def _unwrapped(state: State) -> State:
    """Names without what a network on several GPUs puts before them."""
    if state and all(key.startswith(PARALLEL) for key in state):
        return {key.removeprefix(PARALLEL): tensor for key, tensor in state.items()}
    return state


def _choose(fitting: dict[str, Configuration], path: Path, name: str | None) -> Configuration:
    """The one configuration that the file holds."""
    if name is not None:
        if name not in configurations():
            raise UnknownNameError.of("network", name, configurations(), "`thinlens networks` lists all")
        if name not in fitting:
            raise ModelError(f"`{path}`: its tensors are not those of `{name}`; they fit: {_listed(fitting)}")
        return fitting[name]
    by_file = [c for c in fitting.values() if official_name(c) == path.stem]
    if by_file:
        return by_file[0]
    if len(fitting) != 1:
        advice = "say which with `--name`" if fitting else f"accepted: official files of {FAMILIES}"
        raise ModelError(f"`{path}`: its tensors fit {_listed(fitting)}; {advice}")
    return next(iter(fitting.values()))


def _listed(fitting: dict[str, Configuration]) -> str:
    return ", ".join(f"`{name}`" for name in fitting) or "no known network"


def _notes(configuration: Configuration) -> tuple[str, ...]:
    if isinstance(configuration, Bicubic) and configuration.scale == 3:
        return ("the published x3 bicubic is misaligned by half an output pixel; `bicubic_x3` of thinlens is not",)
    if isinstance(configuration, RfdnConfig | DrnConfig):
        kind = "RFDN" if isinstance(configuration, RfdnConfig) else "DRN"
        return (
            f"official {kind} weights work on 0..255; the card says so, and whatever runs the model stretches pixels",
        )
    return ()


def _zeros(network: nn.Module) -> tuple[str, ...]:
    """What is exactly zero where signs are taken: +1 here, and 0 in the network that the file was published with."""
    units = [part for part in network.modules() if isinstance(part, BinaryUnit)]
    weights = sum(int((unit.weight == 0).sum()) for unit in units)
    thresholds = sum(int((unit.threshold == 0).sum()) for unit in units if unit.threshold is not None)
    notes = []
    if weights:
        notes.append(f"{weights} binary weights are exactly 0; they become +1, and count as 0 where they come from")
    if thresholds:
        notes.append(
            f"{thresholds} channels have a threshold of exactly 0; a pixel that is 0 there becomes +1, and counts as 0 "
            "where the file comes from"
        )
    return tuple(notes)
