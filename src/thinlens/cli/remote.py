"""Files behind URLs, of any file system that fsspec knows: where they are, and how they are copied."""

import contextlib
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any, cast

from thinlens.atomic import PREFIX, SUFFIX
from thinlens.cli.output import clean
from thinlens.cli.verb import UsageError
from thinlens.errors import ImageError

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(?=[^/])")


# Where a file that is put appears whole or not at all.
ATOMIC = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"}


def place(name: str | Path) -> Path:
    """A path for a local name or ``file://`` URL; for other URLs an object that behaves like one.

    Raises:
        UsageError: if there is no file system of that name, or its package is not installed.
    """
    from upath import UPath

    found = URL.match(str(name))
    if found is None or Path(name).exists():
        return Path(name)
    rest = str(name)[found.end() :]
    if found[1] in ("file", "local"):
        return Path("/", rest)
    try:
        url = UPath(f"{found[1]}://{rest}")
        url.fs  # noqa: B018  # opens the file system
    except (ValueError, ImportError) as error:
        raise UsageError(f"`{name}`: {clean(str(error))}") from error
    return cast("Path", url)


def is_local(path: Path) -> bool:
    """Whether `place` found a local one."""
    return isinstance(path, Path)


def fetched(source: Path, folder: Path) -> Path:
    """A local copy of a file; itself, if it is local."""
    if is_local(source):
        return source
    copy = folder / "in" / source.name
    copy.parent.mkdir()
    try:
        cast("Any", source).fs.get_file(cast("Any", source).path, str(copy))
    except FileNotFoundError as error:
        raise ImageError(f"`{source}`: no such file or folder") from error
    return copy


def put(made: Path, target: Path) -> None:
    """Copy a file to a URL, where it appears whole or not at all."""
    remote = cast("Any", target)
    fs = remote.fs
    if remote.protocol in ATOMIC:
        fs.put_file(str(made), remote.path)
        return
    fs.makedirs(remote.parent.path, exist_ok=True)
    part = remote.with_name(f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}").path
    try:
        fs.put_file(str(made), part)
        fs.mv(part, remote.path)
    except BaseException:
        with contextlib.suppress(Exception):
            fs.rm(part)
        raise


class RemoteLog:
    """A folder of objects beside the outputs, each of some lines: object stores cannot append.

    Args:
        folder: of the outputs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".thinlens-journal"
        self.name = str(self._folder)
        self._waiting = b""
        self._count = 0

    def read(self) -> bytes:
        """See `Log`."""
        parts = sorted(self._folder.iterdir(), key=lambda part: part.name) if self._folder.exists() else []
        self._count = max((int(part.stem) for part in parts), default=-1) + 1
        return b"".join(part.read_bytes() for part in parts)

    def open(self, *, keep: int) -> None:
        """See `Log`."""
        if not keep:
            self.close(remove=True)

    def write(self, data: bytes, *, sync: bool) -> None:
        """See `Log`; without ``sync`` lines wait for the next that has it."""
        self._waiting += data
        if sync and self._waiting:
            with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
                made = Path(folder, "lines")
                made.write_bytes(self._waiting)
                put(made, self._folder / f"{self._count:09}.jsonl")
            self._count, self._waiting = self._count + 1, b""

    def close(self, *, remove: bool) -> None:
        """See `Log`."""
        if remove and self._folder.exists():
            cast("Any", self._folder).fs.rm(cast("Any", self._folder).path, recursive=True)
            self._count = 0
