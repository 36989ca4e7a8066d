"""Every named network configuration. Names are those that `thinlens networks` prints.

A new network: one file here that holds its configuration (a frozen dataclass with ``name``, ``scale`` and
``create()``) and its module, and one line in `configurations`.
"""

from itertools import product
from typing import Protocol

from torch import nn

from thinlens.errors import UnknownNameError
from thinlens.train.networks.bicubic import Bicubic
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.networks.fsrcnn import FsrcnnConfig


class Configuration(Protocol):
    """What the table asks of a configuration."""

    @property
    def name(self) -> str:
        """The name that commands and recipes use."""

    @property
    def scale(self) -> int:
        """Output size over input size."""

    def create(self) -> nn.Module:
        """A freshly initialised network."""


def configurations() -> dict[str, Configuration]:
    """All configurations by name: at each scale the 395 of the published edge-SR pool.

    Source: edge-SR (WACV 2022), section 4 and its published measurements.
    """
    known: list[Configuration] = []
    for s in (2, 3, 4):
        known.append(Bicubic(s))
        known += [EdgeSR(kind, k, c, s) for kind, k, c in product(GROUPS, (3, 5, 7), range(1, 17))]
        known += [EdgeSRCNNConfig(c, d, w, s) for c, d, w in product((2, 4, 6, 8), range(1, 10, 2), range(3, 16, 3))]
        known += [EspcnConfig(d, w, s) for d, w in product((0, 1, 2, 3, 5, 6, 7, 9, 10, 11), range(3, 28, 6))]
        known += [EspcnConfig(d, w, s) for d, w in product((4, 8, 12, 16, 22, 28, 34, 40, 52, 64), (6, 12, 18, 24, 32))]
        known += [FsrcnnConfig(d, w, m, s) for d, w, m in product((6, 19, 32, 44, 56), (1, 3, 6, 9, 12), (1, 4))]
    return {configuration.name: configuration for configuration in known}


def find_configuration(name: str) -> Configuration:
    """The configuration of a name.

    Raises:
        UnknownNameError: listing near matches.
    """
    known = configurations()
    if name not in known:
        raise UnknownNameError.of("network", name, known, "`thinlens networks` lists all")
    return known[name]


def create_network(name: str) -> nn.Module:
    """A freshly initialised network (seed torch before, if it should be the same each time).

    Args:
        name: such as ``edge_sr_tm_k7_c4_x2``.

    Raises:
        UnknownNameError: listing near matches.
    """
    return find_configuration(name).create()
