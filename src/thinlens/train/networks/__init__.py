"""Every named network configuration. Names are those that `thinlens networks` prints.

A new network: one file here that holds its configuration (a frozen dataclass with ``name``, ``scale`` and
``create()``) and its module, and one line in `configurations`.
"""

import re
from dataclasses import fields, replace
from itertools import product
from typing import Any, Protocol

from torch import nn

from thinlens.errors import UnknownNameError
from thinlens.model.card import Task
from thinlens.train.networks.bicubic import Bicubic
from thinlens.train.networks.dncnn import DncnnConfig
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.networks.fsrcnn import FsrcnnConfig
from thinlens.train.networks.idn import IdnConfig
from thinlens.train.networks.imdn import ImdnConfig
from thinlens.train.networks.rep_rfn import RepRfnConfig
from thinlens.train.networks.rfdn import RfdnConfig
from thinlens.train.networks.rfn import RfnConfig

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
    """All configurations by name: at each scale the 395 of the published edge-SR pool, and RepRFN with its line; DnCNN.

    Source of the pool: edge-SR (WACV 2022), section 4 and its published measurements.
    """
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
    known += [kind for w in (12, 64) for kind in (DncnnConfig(20, w, "denoise"), DncnnConfig(20, w, "deblock"))]
    known += [DncnnConfig(17, 64, "denoise", gray=gray) for gray in (False, True)]
    return {configuration.name: configuration for configuration in known}


def find_configuration(name: str) -> Configuration:
    """The configuration of a name; some also in sizes that the table does not hold.

    RFN, RepRFN, RFDN and IMDN in any width, such as ``rep_rfn_w16_x4``; DnCNN in any depth from 2 to 99 and any width,
    such as ``dncnn_d8_w12_denoise``.

    Raises:
        UnknownNameError: listing near matches.
    """
    known: dict[str, Any] = configurations()
    asked = re.fullmatch(r"(\w+)_w([1-9]\d{0,2})_(x\d)", name, re.ASCII)
    if name not in known and asked is not None and f"{asked[1]}_{asked[3]}" in known:
        published = known[f"{asked[1]}_{asked[3]}"]
        if published.channels == 3 and "width" in (field.name for field in fields(published)):
            known[name] = replace(published, width=int(asked[2]))
    if name not in known and (size := re.fullmatch(DNCNN, name, re.ASCII)) and int(size[1]) >= 2:
        known[name] = DncnnConfig(int(size[1]), int(size[2]), size[3], gray=size[4] is not None)  # type: ignore[arg-type]
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
