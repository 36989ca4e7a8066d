"""Writing files so that a reader sees the old file or the whole new one, never a half, whatever happens on the way.

What a killed process leaves behind is a hidden ``.thinlens-*.part`` file. Its maker held a lock on it, which the system
releases with the process, so `remove_abandoned` can tell it from the file of a process at work.
"""

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from thinlens.errors import OutputError

if sys.platform != "win32":
    import fcntl

PREFIX, SUFFIX = ".thinlens-", ".part"
DAY_SECONDS = 86_400


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary file beside ``path``; when the block ends well, it is flushed to disk and becomes ``path``.

    If the block raises (Ctrl-C included) the temporary file is removed and ``path`` is as it was.

    Args:
        path: the file to make; its folder must exist.
        overwrite: replace an existing file; else that is an error, before and after the block.

    Raises:
        OutputError: if the file exists, or cannot be written.
    """
    temporary = path.parent / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    try:
        check_target(path, overwrite=overwrite)
        with temporary.open("xb") as file:
            _lock(file)
            yield temporary
            os.fsync(file.fileno())
            check_target(path, overwrite=overwrite)
            if sys.platform == "win32":
                file.close()  # open files cannot be renamed there
            temporary.replace(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"`{path}`: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write ``data`` to ``path`` atomically; errors as in `replacing`."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; what cannot be removed stays.

    A file is abandoned if it is older than a day, or if it holds something and nobody holds its lock (an empty one may
    be about to be locked).
    """
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(OSError):
            if _is_abandoned(path):
                path.unlink()


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` if ``path`` may not be written: it exists, say, or its folder does not."""
    if path.is_dir():
        raise OutputError(f"`{path}`: is a folder; give a file name")
    if not path.parent.is_dir():
        raise OutputError(f"`{path}`: the folder `{path.parent}` does not exist; make it first")
    if not overwrite and os.path.lexists(path):
        raise OutputError(f"`{path}` exists; nothing is overwritten unless `--overwrite` is given")


def _lock(file: BinaryIO) -> None:
    """Mark a file as being written, until it is closed; where the file system has no locks, its age must do."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_abandoned(path: Path) -> bool:
    """See `remove_abandoned`; raises OSError if somebody holds the lock."""
    found = path.stat()
    if time.time() - found.st_mtime > DAY_SECONDS:
        return True
    if sys.platform == "win32" or found.st_size == 0:
        return False
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
