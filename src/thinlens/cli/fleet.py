"""Restoring on a Ray cluster: Ray Data hands files to actors, each with a session, and does again what is lost.

Inputs and output are local paths, which all nodes must see under the same name, or URLs of any file system that fsspec
knows. A file of a URL is copied to the node, restored there like any other, and its output copied back.

Ray repeats whatever a lost node did, so that a job may come twice: one whose output is there is done, as outputs appear
whole and none was there at the start.
"""

import contextlib
import glob
import json
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, cast

from thinlens.atomic import PREFIX
from thinlens.cli.batch import Hand, Orders, Way
from thinlens.cli.checks import Step
from thinlens.cli.jobs import Job, check_targets, renamed
from thinlens.cli.journal import Line, LocalLog, Log
from thinlens.cli.output import clean
from thinlens.cli.progress import Meter
from thinlens.cli.remote import RemoteLog, fetched, is_local, place, put
from thinlens.cli.restore import Record, located, restore_step
from thinlens.cli.verb import UsageError, needing_extra
from thinlens.errors import ImageError, OutputError, ThinlensError
from thinlens.image.formats import format_of_suffix
from thinlens.runtime.restore import Restorer
from thinlens.runtime.session import usable_cpus

# Files that an actor is given at a time: few enough that the records come as a stream.
BLOCK_FILES = 16
TASK_RETRIES = 3

# Ray sends its makers nothing and keeps its log out of stderr; on a busy machine its parts take longer to start than
# the half minute that it gives them.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_agent_register_timeout_ms": "180000",
    "RAY_raylet_start_wait_time_s": "180",
}
STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


class Apart:
    """Standard output for this thread alone: what others print there, as Ray's do, goes to standard error.

    Args:
        out: the stream.
    """

    def __init__(self, out: TextIO) -> None:
        self._out, self._thread = out, threading.get_ident()

    def write(self, text: str) -> int:
        """Write text to where this thread's goes."""
        return (self._out if threading.get_ident() == self._thread else sys.stderr).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


class Fleet(Way):
    """Restores on a Ray cluster; records come as blocks of files are done."""

    def __init__(self, orders: Orders, restorer: Restorer) -> None:
        super().__init__(orders, restorer)
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        with needing_extra("`--on ray`", "fleet"):
            import ray.data
            import upath  # noqa: F401
        self._ray: Any = ray
        self._address = _address(orders.on or "")
        self._infos: dict[str, Line] = {}  # what listings told of files, by URL

    def __enter__(self) -> "Fleet":
        self._exits = contextlib.ExitStack()
        self._exits.enter_context(contextlib.redirect_stdout(cast("TextIO", Apart(sys.stdout))))
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; one that was started for this run ends, with its actors."""
        with contextlib.redirect_stdout(sys.stderr):  # where Ray says what it held back
            self._ray.shutdown()
        self._exits.close()

    def place(self, name: Path) -> Path:
        """See `Way`."""
        return place(name)

    def plan(self, inputs: Sequence[str], output: Path, *, recursive: bool) -> list[Job]:
        """See `Way`."""
        places = {text: place(text) for text in inputs}
        if is_local(output):
            local = [str(path) for path in places.values() if is_local(path)]
            if len(local) == len(inputs):
                return super().plan(local, output, recursive=recursive)
        jobs = [job for path in places.values() for job in self._jobs(path, output, recursive=recursive)]
        if len(jobs) == 1 and len(inputs) == 1 and format_of_suffix(output) and not _is_folder(places[inputs[0]]):
            jobs = [replace(jobs[0], target=output)]
        jobs = list({(job.source, job.target): job for job in jobs}.values())
        check_targets([job for job in jobs if job.error is None], overwrite=self.orders.settings.overwrite)
        if not is_local(output):
            self._list(output, recursive=True)
        return jobs

    def _jobs(self, path: Path, output: Path, *, recursive: bool) -> Iterator[Job]:
        """The jobs of one input."""
        settings = self.orders.settings
        if is_local(path):
            stand_in = Path("/thinlens-output")
            for job in super().plan([str(path)], stand_in, recursive=recursive):
                inside = job.target.relative_to(stand_in)
                yield replace(job, target=output / inside if inside.parts else output)
            return
        names = self._list(path, recursive=recursive)
        if not names:
            yield Job(path, output, ImageError(f"`{path}`: no such file, or no image in this folder"))
        for name, source in names:
            yield Job(source, output / renamed(Path(name), settings.format))

    def _list(self, path: Path, *, recursive: bool) -> list[tuple[str, Path]]:
        """Names below a URL, or what its pattern matches, and where they are; hidden ones and others are left out."""
        fs, root = cast("Any", path).fs, cast("Any", path).path
        try:
            if glob.has_magic(root):
                found = fs.glob(root, detail=True)
            else:
                found = fs.find(root, maxdepth=None if recursive else 1, detail=True)
        except FileNotFoundError:
            found = {}
        except Exception as error:  # whatever a file system raises: no credentials, no connection, ...
            raise OutputError(f"`{path}`: cannot be listed: {clean(str(error)) or type(error).__name__}") from error
        names = []
        for full, info in sorted(found.items()):
            url = place(fs.unstrip_protocol(full))
            self._infos[str(url)] = info
            inside = full.removeprefix(root).strip("/")
            name = url.name if glob.has_magic(root) or not inside else inside
            if format_of_suffix(Path(name)) and not any(part.startswith(".") for part in Path(name).parts):
                names.append((name, url))
        return names

    def log(self, output: Path) -> Log:
        """See `Way`."""
        return LocalLog(output) if is_local(output) else RemoteLog(output)

    def stamp(self, path: Path) -> list[object] | None:
        """See `Way`: for a URL, what the listing told."""
        if is_local(path):
            return super().stamp(path)
        info = self._infos.get(str(path))
        if info is None:
            return None
        return [info.get("size"), next((str(info[name]) for name in STAMPS if name in info), None)]

    def check(self, job: Job) -> Step:
        """See `Way`; what is in a URL's file is not looked at."""
        settings = self.orders.settings
        if is_local(job.source) and is_local(job.target):
            return super().check(job)
        if job.error is not None:
            return Step(job, "failed", error=job.error)
        if job.past == "done":
            return Step(job, "skipped")
        if self.stamp(job.target) is not None and not job.overwrites(settings.overwrite):
            if settings.skip_existing:
                return Step(job, "skipped")
            told = f"`{job.target}` exists; `--overwrite` replaces it, `--skip-existing` leaves it"
            return Step(job, "failed", error=OutputError(told))
        return Step(job, "planned")

    def clear(self, folders: set[Path]) -> None:
        """See `Way`."""
        super().clear({folder for folder in folders if is_local(folder)})

    def restore(self, steps: Sequence[Step], meter: Meter) -> Iterator[tuple[int, Record]]:
        """See `Way`: first what needs no work, then as blocks of files are done."""
        left = {number: step for number, step in enumerate(steps) if step.status == "planned"}
        if self.orders.settings.dry_run:
            left = {}
        for number, step in enumerate(steps):
            if number not in left:
                yield number, restore_step(step, self.restorer, self.orders.settings, meter)
        if not left:
            return
        self._connect()
        for block in (BLOCK_FILES, 1):  # one that ends its actor takes its block with it: then each has its own
            for number, record, told in self._stream(left, block):
                if number in left:
                    for line in told.splitlines():
                        meter.say(line)
                    del left[number]
                    yield number, record
        for number, step in left.items():
            name = clean(str(step.job.source))
            yield (
                number,
                {"status": "failed", "error": f"`{name}`: its actor ended each time it was tried; see Ray's logs"},
            )

    def _connect(self) -> None:
        """Join the cluster, or start one of this machine."""
        before = signal.getsignal(signal.SIGTERM)
        names = {name: value for name, value in os.environ.items() if name.startswith("THINLENS_")}
        local = {"num_cpus": usable_cpus(), "include_dashboard": False} if self._address == "local" else {}
        try:
            self._ray.init(
                self._address,
                log_to_driver=self.orders.debug,
                logging_level=logging.INFO if self.orders.debug else logging.ERROR,
                runtime_env={"env_vars": names} if names else None,
                **local,
            )
        except Exception as error:  # Ray raises of every kind, plain ones too
            raise ThinlensError(f"`--on {self.orders.on}`: no Ray cluster answers: {clean(str(error))}") from error
        signal.signal(signal.SIGTERM, before)  # Ray's own would leave temporary files

    def _stream(self, steps: Mapping[int, Step], block: int) -> Iterator[tuple[int, Record, str]]:
        """Restore by Ray Data; what an actor's death swallowed is not among what comes."""
        if not steps:
            return
        data, orders = self._ray.data, self.orders
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        logging.getLogger("ray.data").setLevel(logging.INFO if orders.debug else logging.CRITICAL)
        threads = orders.threads or 1
        room = int(self._ray.cluster_resources().get("CPU", 1) // threads)
        actors = min(orders.workers or max(1, room), len(steps))
        block = min(block, -(-len(steps) // (4 * actors)))
        items = [{"job": _packed(number, step.job)} for number, step in steps.items()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray 2.64 will want `ray_remote_args_fn` elsewhere
            results = data.from_items(items, override_num_blocks=-(-len(items) // block)).map(
                Actor,
                fn_constructor_args=(orders, _model_of(orders)),
                compute=data.ActorPoolStrategy(min_size=1, max_size=actors),
                num_cpus=threads,
                ray_remote_args_fn=lambda: {"max_task_retries": TASK_RETRIES},
            )
        for row in results.iter_rows():
            number, record, told = json.loads(row["result"])
            yield number, *_as_given(steps[number].job, record, told)


class Actor:
    """Restores jobs on a node of the cluster.

    Args:
        orders: of the command.
        model: bytes of the model file, if the command names one.
    """

    def __init__(self, orders: Orders, model: bytes | None) -> None:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            if model is not None:
                path = Path(folder, "model.safetensors")
                path.write_bytes(model)
                orders = replace(orders, wish=replace(orders.wish, model=str(path)))
            self._hand = Hand(orders)  # which reads it at once

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Restore the job of a row; give a row of its record."""
        number, job = _unpacked(row["job"])
        try:
            record, told = self._restore(job)
        except Exception as error:  # noqa: BLE001  # whatever a file system raises, the others are done
            record, told = {"status": "failed", "error": located(error, job.source)}, ""
        return {"result": json.dumps([number, record, told])}

    def _restore(self, job: Job) -> tuple[Record, str]:
        settings = self._hand.settings
        if job.past == "new":
            if job.target.exists() and not settings.overwrite and settings.certify is None:
                return self._describe(job)
            job = replace(job, past="begun")
        if is_local(job.source) and is_local(job.target):
            return self._hand.restore(job)
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            return self._by_copies(job, Path(folder))

    def _describe(self, job: Job) -> tuple[Record, str]:
        """The record of a job that was done before Ray lost its record."""
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            copy = fetched(job.source, Path(folder))
            record, told = self._hand.restore(
                replace(job, source=copy, target=Path(folder, "none", job.target.name)), dry=True
            )
        return record | {"status": "restored"}, told

    def _by_copies(self, job: Job, folder: Path) -> tuple[Record, str]:
        copy = fetched(job.source, folder)
        target = job.target if is_local(job.target) else folder / "out" / job.target.name
        record, told = self._hand.restore(replace(job, source=copy, target=target))
        if record["status"] == "restored" and not is_local(job.target):
            for made in target.parent.iterdir():
                put(made, job.target.with_name(made.name))
        text = json.dumps([record, told]).replace(
            json.dumps(str(target.parent))[1:-1], json.dumps(str(job.target.parent))[1:-1]
        )
        return tuple(json.loads(text.replace(json.dumps(str(copy))[1:-1], json.dumps(str(job.source))[1:-1])))


def _address(on: str) -> str:
    """What Ray calls the cluster."""
    if on == "ray":
        return "local"
    if not re.fullmatch(r"ray://[^/]+", on):
        raise UsageError(
            f"`--on {on}`: accepted: `ray`, which starts a cluster here, or `ray://HOST:PORT`, which joins one"
        )
    return on.removeprefix("ray://")


def _is_folder(path: Path) -> bool:
    return glob.has_magic(str(path)) or path.is_dir()


def _model_of(orders: Orders) -> bytes | None:
    model = orders.wish.model
    return Path(model).read_bytes() if model is not None and Path(model).is_file() else None


def _packed(number: int, job: Job) -> str:
    """A job as text, for a node that works in another folder."""
    names = [str(path.absolute()) if is_local(path) else str(path) for path in (job.source, job.target)]
    return json.dumps([number, *names, job.past])


def _unpacked(text: str) -> tuple[int, Job]:
    number, source, target, past = json.loads(text)
    return number, Job(place(source), place(target), past=past)


def _as_given(job: Job, record: Record, told: str) -> tuple[Record, str]:
    """A record that names files as the command did."""
    text = json.dumps([record, told])
    for path in (job.source, job.target.parent):
        if is_local(path):
            text = text.replace(json.dumps(str(path.absolute()))[1:-1], json.dumps(str(path))[1:-1])
    record, told = json.loads(text)
    return record, told
