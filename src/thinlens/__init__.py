"""thinlens: image restoration small enough for the edge.

    image -> degrade -> [ train: datasets -> networks -> loop -> lower <-> thaw ] -> model file -> runtime -> bench

Each word is a place, each arrow an allowed direction of imports; the bracket is ``train``, the only folder with torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinlens.models import list_models
    from thinlens.runtime.restore import restore
    from thinlens.runtime.session import Session, open_model

__version__: str
__all__ = ["Session", "__version__", "errors", "list_models", "open_model", "restore"]


def __getattr__(name: str) -> Any:
    """Load the public surface on first use, so that `thinlens --version` need not wait for NumPy."""
    from importlib.metadata import version

    if name == "__version__":
        return version("thinlens")
    if name == "errors":
        import thinlens.errors as errors

        return errors
    if name == "list_models":
        from thinlens.models import list_models

        return list_models
    if name == "restore":
        from thinlens.runtime.restore import restore

        return restore
    if name in ("open_model", "Session"):
        from thinlens.runtime import session

        return getattr(session, name)
    raise AttributeError(f"module 'thinlens' has no attribute '{name}'")
