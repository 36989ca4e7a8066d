"""Every named network configuration. Names are those that `thinlens networks` prints.

A new network: one file here that holds its configuration (a frozen dataclass with ``name``, ``scale`` and
``create()``) and its module, and one line in `configurations`.
"""

import functools
import re
from dataclasses import fields, replace
from itertools import product
from typing import Any, Protocol

from torch import nn

from thinlens.errors import UnknownNameError
from thinlens.model.card import Task
from thinlens.train.blocks.binary_conv import FORMS
from thinlens.train.networks.bicubic import Bicubic
from thinlens.train.networks.binary_dncnn import BinaryDncnnConfig
from thinlens.train.networks.dncnn import DncnnConfig
from thinlens.train.networks.drn import find_drn, published
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.networks.fsrcnn import FsrcnnConfig
from thinlens.train.networks.idn import IdnConfig
from thinlens.train.networks.imdn import ImdnConfig
from thinlens.train.networks.line_dl import LineConfig
from thinlens.train.networks.rep_rfn import RepRfnConfig
from thinlens.train.networks.rfdn import RfdnConfig
from thinlens.train.networks.rfn import RfnConfig
from thinlens.train.networks.srresnet import LETTERS, SrResNetConfig
from thinlens.train.networks.unet import UnetConfig

LINE_SCALES: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (4,), (2, 3, 4))
LINE_FORMS: tuple[dict[str, Any], ...] = (  # compressed, as before compression, half way; and what the modules are for
    {},
    {"modules": 4, "wide": True},
    {"modules": 4},
    {"wide": True},
    {"modules": 0},
    {"transmission": "plain"},
    {"transmission": "naive"},
)

AT_X8 = EdgeSR, EdgeSRCNNConfig, EspcnConfig, RfnConfig, RepRfnConfig

DNCNN = r"dncnn_d([1-9]\d?)_w([1-9]\d{0,2})_(denoise(?=_gray$|$)|deblock$)(_gray)?"


class Configuration(Protocol):
    """What the table asks of a configuration."""

    @property
    def name(self) -> str:
        """The name that commands and recipes use."""

    @property
    def scale(self) -> int:
        """Output size over input size."""

    @property
    def channels(self) -> int:
        """Of the images it takes and gives: 1 (luma) or 3 (RGB)."""

    def create(self) -> nn.Module:
        """A freshly initialised network."""


def configurations() -> dict[str, Configuration]:
    """All configurations by name.

    At each scale the 395 of the published edge-SR pool, RepRFN with its line, SRResNet with its binary forms, LineDL;
    at x4 and x8 DRN and its compressed forms; for noise and JPEG DnCNN and its binary form.

    Source of the pool: edge-SR (WACV 2022), section 4 and its published measurements.
    """
    return dict(_known())


@functools.cache
def _known() -> dict[str, Configuration]:
    known: list[Configuration] = []
    for s in (2, 3, 4):
        known.append(Bicubic(s))
        known += [EdgeSR(kind, k, c, s) for kind, k, c in product(GROUPS, (3, 5, 7), range(1, 17))]
        known += [EdgeSRCNNConfig(c, d, w, s) for c, d, w in product((2, 4, 6, 8), range(1, 10, 2), range(3, 16, 3))]
        known += [EspcnConfig(d, w, s) for d, w in product((0, 1, 2, 3, 5, 6, 7, 9, 10, 11), range(3, 28, 6))]
        known += [EspcnConfig(d, w, s) for d, w in product((4, 8, 12, 16, 22, 28, 34, 40, 52, 64), (6, 12, 18, 24, 32))]
        known += [FsrcnnConfig(d, w, m, s) for d, w, m in product((6, 19, 32, 44, 56), (1, 3, 6, 9, 12), (1, 4))]
        known += [IdnConfig(s), ImdnConfig(s), RepRfnConfig(s)]
        known += [RfdnConfig(s), RfdnConfig(s, width=48), RfdnConfig(s, esa="reduced")]
        known += [RfnConfig(s, block=block) for block in ("plain", "rfb1", "rfb2", "rfb3")]
        known += [RfnConfig(s, block=block, skip="each") for block in ("rfb1", "rfb3")]
        known += [RfnConfig(s, mix=False), RfnConfig(s, esa="reduced"), RfnConfig(s, mix=False, esa="reduced")]
        known += [SrResNetConfig(s), SrResNetConfig(s, width=12)]
        known += [SrResNetConfig(s, parts=parts) for parts in LETTERS.values()]
        known += [SrResNetConfig(s, parts=("body",), unit=unit) for unit in FORMS if unit != "v4"]
        known += [SrResNetConfig(s, parts=("body",), gain=1.0)]
    known += published()
    known += [BinaryDncnnConfig("denoise"), BinaryDncnnConfig("deblock")]
    known += [LineConfig(scales, **form) for form in LINE_FORMS for scales in LINE_SCALES]
    known += [UnetConfig()]
    known += [kind for w in (12, 64) for kind in (DncnnConfig(20, w, "denoise"), DncnnConfig(20, w, "deblock"))]
    known += [DncnnConfig(17, 64, "denoise", gray=gray) for gray in (False, True)]
    return {configuration.name: configuration for configuration in known}


def find_configuration(name: str) -> Configuration:
    """The configuration of a name; some also in sizes that the table does not hold.

    One-layer networks, eSR-CNN, ESPCN, RFN and RepRFN also at x8. RFN, RepRFN, RFDN, IMDN, SRResNet and its binary
    forms, the binary DnCNN and LineDL in any width, such as ``rep_rfn_w16_x4`` and ``bbcu_denoise_w16``; DnCNN in any
    depth from 2 to 99 too, such as ``dncnn_d8_w12_denoise``, and DRN with any number of blocks, also at x2, such as
    ``drn_w4_b2_x4``.

    Raises:
        UnknownNameError: listing near matches.
    """
    known: dict[str, Any] = configurations()
    if name.endswith("_x8"):
        at_x4 = [each for each in known.values() if isinstance(each, AT_X8) and each.scale == 4]
        known |= {each.name: each for each in (replace(each, scale=8) for each in at_x4)}
    asked = re.fullmatch(r"(\w+)_w([1-9]\d{0,2})(_x\d|_joint)?", name, re.ASCII)
    published = known.get(f"{asked[1]}{asked[3] or ''}") if asked is not None else None
    if asked is not None and published is not None and "width" in (field.name for field in fields(published)):
        known.setdefault(name, replace(published, width=int(asked[2])))
    if name not in known and (size := re.fullmatch(DNCNN, name, re.ASCII)) and int(size[1]) >= 2:
        known[name] = DncnnConfig(int(size[1]), int(size[2]), size[3], gray=size[4] is not None)  # type: ignore[arg-type]
    if (drn := find_drn(name)) is not None:
        known[name] = drn
    if name not in known:
        raise UnknownNameError.of("network", name, known, "`thinlens networks` lists all")
    return known[name]  # type: ignore[no-any-return]


def task_of(configuration: Configuration) -> Task:
    """What a network does: the configuration's ``task``; one that has none is an upscaler."""
    task: Task = getattr(configuration, "task", "sr")
    return task


def create_network(name: str) -> nn.Module:
    """A freshly initialised network (seed torch before, if it should be the same each time).

    Args:
        name: such as ``edge_sr_tm_k7_c4_x2``.

    Raises:
        UnknownNameError: listing near matches.
    """
    return find_configuration(name).create()
