"""Dual maps in a model file: further plans that bring a result back down; see `thinlens.train.losses.dual_regression`.

``dual`` goes the whole way; or ``dual1`` leads from the x2 image to the input's size, ``dual2`` from x4 to x2, and so
on.
"""

from collections.abc import Iterable

PREFIX = "dual"


def is_dual(name: str) -> bool:
    """Whether a plan of a model file is a dual map."""
    return name == PREFIX or (name.startswith(PREFIX) and name.removeprefix(PREFIX).isdecimal())


def downward(names: Iterable[str]) -> list[str]:
    """The dual maps among some plans, in the order in which they lead down: the one that reads the result first."""
    return sorted((name for name in names if is_dual(name)), key=lambda name: int("0" + name[4:]), reverse=True)


def source_of(name: str, scale: int) -> int:
    """The scale of the image that a map reads; ``scale`` is that of the network."""
    return scale if name == PREFIX else 2 ** int(name.removeprefix(PREFIX))


def target_of(name: str) -> int:
    """The scale of the image that a map makes."""
    return 1 if name == PREFIX else 2 ** (int(name.removeprefix(PREFIX)) - 1)
