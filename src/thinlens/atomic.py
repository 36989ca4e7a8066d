"""Writing files so that a reader sees the old file or the whole new one, never a half, whatever happens on the way."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thinlens.errors import OutputError


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, it is flushed to disk and becomes ``path``.

    If the block raises (Ctrl-C included) the temporary file is removed and ``path`` is as it was.

    Args:
        path: the file to make.
        overwrite: replace an existing file; else that is an error, before and after the block.

    Raises:
        OutputError: if the file exists, or cannot be written.
    """
    temporary = _temporary(path, overwrite=overwrite)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        _publish(temporary, path, overwrite=overwrite)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"`{path}`: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write ``data`` to ``path`` atomically; errors as in `replacing`."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)


def _temporary(path: Path, *, overwrite: bool) -> Path:
    if path.is_dir():
        raise OutputError(f"`{path}` is a folder; give a file name")
    if path.exists() and not overwrite:
        raise OutputError(f"`{path}` exists; nothing is overwritten unless `--overwrite` is given")
    try:
        handle, name = tempfile.mkstemp(prefix=".thinlens-", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OutputError(f"`{path.parent}`: cannot be written to: {error.strerror}") from error
    os.close(handle)
    Path(name).chmod(0o666 & ~_umask())  # mkstemp makes private files; the result should be as any other
    return Path(name)


def _publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename; without ``overwrite`` a file that appeared meanwhile is kept."""
    if not overwrite and path.exists():
        raise OutputError(
            f"`{path}` was made by someone else meanwhile; nothing is overwritten unless `--overwrite` is given"
        )
    temporary.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
