"""Every error that thinlens raises on purpose.

    ThinlensError
    ├── ImageError(ValueError)         an image file cannot be read or written as asked: damaged, too large, unsupported
    ├── VideoError(ValueError)         a video cannot be read or written as asked: damaged, no video track, no encoder
    ├── OutputError(OSError)           a file cannot be written: it exists, the folder is read-only, the disk is full
    ├── ShapeError(ValueError)         an array's shape, dtype or value range is not as documented
    ├── ModelError(ValueError)         a model file is damaged, oversized, newer, or does not match its own plan
    ├── PlanError(ValueError)          ops that do not fit together: unknown input, wrong channels, missing tensor
    ├── CompressionError(ValueError)   a model cannot be compressed as asked, or would lose more than is accepted
    ├── BudgetError(ValueError)        no model keeps a budget of time or memory on this machine
    ├── RecipeError(ValueError)        a bad key, type or range in a recipe or in ``--set``
    ├── RecordError(ValueError)        a record of measurements is damaged, newer, or cannot be measured again
    ├── UnknownNameError(ValueError)   no model, network or scale of that name; near matches are listed
    ├── UnsupportedOpError             a backend, or row mode, cannot run this op
    ├── ParityError                    another runtime computes something else
    └── MissingExtraError(ImportError) names the extra and the pip command

A message says where, what was found, what is accepted and what to do; names stand in backticks.
"""

import difflib
from collections.abc import Iterable


class ThinlensError(Exception):
    """Base of every error that thinlens raises on purpose."""


class ImageError(ThinlensError, ValueError):
    """An image file cannot be read or written as asked."""


class VideoError(ThinlensError, ValueError):
    """A video cannot be read or written as asked."""


class OutputError(ThinlensError, OSError):
    """A file cannot be written: it exists, the folder is read-only, the disk is full."""


class ShapeError(ThinlensError, ValueError):
    """An array's shape, dtype or value range is not as documented."""


class ModelError(ThinlensError, ValueError):
    """A model file is damaged, oversized, newer than this version, or does not match its own plan."""


class PlanError(ThinlensError, ValueError):
    """The ops of a plan do not fit together."""


class CompressionError(ThinlensError, ValueError):
    """A model cannot be compressed as asked, or would lose more than is accepted."""


class BudgetError(ThinlensError, ValueError):
    """No model keeps a budget of time or memory on this machine."""


class RecipeError(ThinlensError, ValueError):
    """A bad key, type or range in a recipe or in ``--set``."""


class RecordError(ThinlensError, ValueError):
    """A record of measurements is damaged, newer than this version, or cannot be measured again here."""


class UnknownNameError(ThinlensError, ValueError):
    """No model, network or scale of that name."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], advice: str) -> "UnknownNameError":
        """Build the message ``unknown KIND `NAME`; did you mean ...?; ADVICE``.

        Args:
            kind: what was asked for, such as ``model``.
            name: the name that is not known.
            known: all names that are.
            advice: how to see them all.
        """
        near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(f'`{n}`' for n in near)}?" if near else ";"
        return cls(f"unknown {kind} `{name}`{hint} {advice}")


class UnsupportedOpError(ThinlensError):
    """A backend, or row mode, cannot run this op."""


class ParityError(ThinlensError):
    """Another runtime gives another result than the engine."""


class MissingExtraError(ThinlensError, ImportError):
    """An optional part is not installed; the message names the extra and the pip command."""

    @classmethod
    def of(cls, what: str, extra: str) -> "MissingExtraError":
        """Build the message for ``what``, which needs ``extra``."""
        return cls(f"{what} needs the extra `{extra}`: pip install 'thinlens[{extra}]'")
