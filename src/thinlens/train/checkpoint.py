"""Training checkpoints: torch files, written atomically, the newest sound one read. Never an exchange format."""

import io
import logging
from pathlib import Path
from typing import Any

import torch

from thinlens.atomic import remove_abandoned, write_bytes

KEPT = 2
_log = logging.getLogger(__name__)


def write_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write the checkpoint of ``step`` steps done and drop all but the newest ones.

    Args:
        folder: made if missing.
        step: optimiser steps done.
        state: tensors, numbers, and dicts and lists of them.

    Raises:
        OutputError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    data = io.BytesIO()
    torch.save(state, data)
    write_bytes(folder / f"step_{step:08d}.pt", data.getvalue(), overwrite=True)
    for path in checkpoints(folder)[KEPT:]:
        path.unlink()


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest sound checkpoint of a folder; a damaged one is passed over with a warning.

    Returns:
        What `write_checkpoint` was given, or None if there is none.
    """
    for path in checkpoints(folder):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - torch raises whatever the damage leads to
            _log.warning("checkpoint `%s` is damaged (%s) and passed over", path, error)
        else:
            return state
    return None


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files of a folder, newest first."""
    return sorted(folder.glob("step_*.pt"), reverse=True)
