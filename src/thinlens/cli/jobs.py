"""Which files a run reads and where each result goes, settled before any work starts."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thinlens.cli.verb import UsageError
from thinlens.errors import ImageError, OutputError
from thinlens.image.formats import FORMATS, format_of_suffix

# What earlier tries came to. `new`: there was none, or it left nothing. `done`: all is done. `begun`: what it left is
# to be replaced. `changed`: it was done, but the input has changed since, so that the same holds.
Past = Literal["new", "done", "begun", "changed"]


@dataclass(frozen=True)
class Job:
    """One image to restore.

    Args:
        source: the file to read.
        target: the file to write.
        error: why there is nothing to do: the input was not found, or holds no image.
        past: what earlier tries came to.
    """

    source: Path
    target: Path
    error: ImageError | None = None
    past: Past = "new"

    def overwrites(self, told: bool) -> bool:
        """Whether an existing output is replaced: if the user has told so, or it is of an earlier try."""
        return told or self.past in ("begun", "changed")


def plan_jobs(
    inputs: Sequence[str],
    output: Path,
    *,
    recursive: bool = False,
    format: str | None = None,
    overwrite: bool = False,
) -> list[Job]:
    """Expand inputs and name their outputs.

    One input file and an output with an image suffix: the output is that file. Else the output is a folder; files go
    there by name, files of an input folder by their path inside it. The suffix changes only with the format.

    Args:
        inputs: files, globs and folders.
        output: file or folder.
        recursive: go into subfolders.
        format: a key of `FORMATS` to convert to; None keeps each file's own.
        overwrite: an output may replace its own input.

    Returns:
        Jobs in the order of the inputs, each file once; an input that gives none is a job with an error.

    Raises:
        UsageError: if two inputs would write the same output, or an output would replace an input.
    """
    paths = [path for text in inputs for path in _expanded(text)]
    if len(paths) == 1 and not paths[0].is_dir() and format_of_suffix(output) and not output.is_dir():
        jobs = [_job(paths[0], _checked_suffix(output, format))]
    else:
        if output.exists() and not output.is_dir():
            raise UsageError(f"`{output}` is a file; several inputs, or a folder, need an output folder")
        jobs = list(_folder_jobs(paths, output, recursive=recursive, format_name=format))
    jobs = list({(job.source.resolve(), job.target): job for job in jobs}.values())
    check_targets([job for job in jobs if job.error is None], overwrite=overwrite)
    return jobs


def _expanded(text: str) -> list[Path]:
    """The paths that a glob matches, sorted; anything else as it is."""
    if not Path(text).exists() and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
        return [Path(match) for match in matches] or [Path(text)]
    return [Path(text)]


def _folder_jobs(paths: Iterable[Path], output: Path, *, recursive: bool, format_name: str | None) -> Iterator[Job]:
    for path in paths:
        if not path.is_dir():
            yield _job(path, output / renamed(Path(path.name), format_name))
            continue
        found = sorted(_images(path, output.resolve(), recursive=recursive))
        if not found:
            hint = "" if recursive else "; `-r` goes into subfolders"
            yield Job(path, output, ImageError(f"`{path}`: no image in this folder{hint}"))
        for file in found:
            yield _job(file, output / renamed(file.relative_to(path), format_name))


def _images(folder: Path, output: Path, *, recursive: bool) -> Iterator[Path]:
    """Images of a folder by their suffix, without hidden ones and without those of the output folder."""
    for root, folders, files in os.walk(folder):
        folders[:] = [
            f for f in folders if recursive and not f.startswith(".") and (Path(root) / f).resolve() != output
        ]
        for name in files:
            if not name.startswith(".") and format_of_suffix(Path(name)):
                yield Path(root) / name


def _job(source: Path, target: Path) -> Job:
    missing = not source.exists()
    return Job(source, target, ImageError(f"`{source}`: no such file or folder") if missing else None)


def renamed(name: Path, format_name: str | None) -> Path:
    """The name with the usual suffix of a format, unless it already has one of its suffixes."""
    if format_name is None or format_of_suffix(name) == format_name:
        return name
    return name.with_suffix(FORMATS[format_name].suffixes[0])


def _checked_suffix(output: Path, format_name: str | None) -> Path:
    if format_name is not None and format_of_suffix(output) != format_name:
        raise UsageError(f"`{output}` does not end as `--format {format_name}` does; change one of them")
    return output


def check_targets(jobs: Sequence[Job], *, overwrite: bool) -> None:
    """Refuse what would lose an input or an output, before anything is written."""
    sources = {job.source.resolve(): job for job in jobs}
    targets: dict[Path, Job] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in targets:
            raise UsageError(
                f"`{targets[target].source}` and `{job.source}` would both write `{job.target}`; "
                "rename one, or restore them into different folders"
            )
        targets[target] = job
        if target in sources and not (overwrite and sources[target] is job):
            hint = ", or pass `--overwrite`" if sources[target] is job else ""
            raise UsageError(
                f"`{job.source}`: its output would replace the input `{job.target}`; give another output{hint}"
            )


def make_folder(folder: Path) -> None:
    """Make the output folder, before the work whose result it is to take.

    Raises:
        OutputError: if it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"`{folder}`: the folder cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"`{folder}`: the folder cannot be written to; give another output")
