"""Reading a file whose own numbers may lie about how much there is to read."""

import io
import os
from pathlib import Path

SMALL_BYTES = 1 << 16


class BoundedReader(io.BufferedReader):
    """A file open for reading that never allocates more for a read than the file has left.

    Python makes room for all bytes asked for before it reads the first: a chunk that claims 4 GiB would take them.

    Args:
        path: an existing file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._end = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most ``size`` bytes; all that are left if it is negative or None."""
        if size is not None and size > SMALL_BYTES:
            size = min(size, max(SMALL_BYTES, self._end - self.tell()))
        return super().read(size)
