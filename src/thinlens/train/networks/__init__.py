"""Every named network configuration. Names are those that `thinlens networks` prints.

A new network: one file here that holds its configuration (a frozen dataclass with ``name``, ``scale`` and
``create()``) and its module, and one line in `configurations`.
"""

from itertools import product
from typing import Protocol

from torch import nn

from thinlens.errors import UnknownNameError
from thinlens.train.networks.bicubic import Bicubic
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR


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
    """All configurations by name, cheap ones first within a family."""
    scales = (2, 3, 4)
    known: list[Configuration] = [Bicubic(s) for s in scales]
    known += [EdgeSR(kind, k, c, s) for kind, k, c, s in product(GROUPS, (3, 5, 7), range(1, 17), scales)]
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
