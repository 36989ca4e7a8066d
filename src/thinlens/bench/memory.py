"""Peak memory of models in fresh processes, beside ONNX Runtime and OpenVINO: bytes over a bare interpreter with NumPy.

Rows of a synthetic picture are made as they are needed and what comes of them is discarded, so that no image is held
that the way of working does not hold itself. What the engine may take at most is told before any of it is measured.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from thinlens.bench.fresh import BAND_ROWS
from thinlens.bench.machine import describe_host, list_versions
from thinlens.bench.peers import Peer, find_peer
from thinlens.bench.records import Failure, MemoryRecord, MemoryResult, MemorySettings
from thinlens.bench.subjects import Opened
from thinlens.errors import ParityError, ThinlensError, UnknownNameError, UnsupportedOpError
from thinlens.model.file import Model, write_model
from thinlens.model.graph import depends_on_height, receptive_rows
from thinlens.runtime.session import Session

PEERS = {
    "ort": "ONNX Runtime, whole image",
    "ort_bands": f"ONNX Runtime, bands of {BAND_ROWS} rows and their context",
    "openvino": "OpenVINO, whole image, its size known",
}
SLACK = 1 << 20  # rows on their way in and out, and what an allocator rounds up
Announce = Callable[[str, str, int], None]
Progress = Callable[[str, int, int], None]


def measure_memory(
    models: Sequence[Opened],
    settings: MemorySettings,
    announce: Announce = lambda name, way, bound: None,
    progress: Progress = lambda name, done, total: None,
) -> MemoryRecord:
    """Measure models, one thread, and peers; what a peer cannot run is in the record, and the others are done.

    Args:
        models: the models.
        settings: size and peers.
        announce: called with name, way and bound in bytes before the engine is measured.
        progress: called with what is measured, processes done and in all.

    Raises:
        UnknownNameError: if there is no such peer.
        UnsupportedOpError: if the system does not tell the peak of a process.
        ShapeError: if a model takes no image of the size.
        ImportError: if what a peer needs is not installed.
    """
    check_peers(settings.against)
    subjects = tuple(opened.describe(settings.width, settings.height) for opened in models)
    bare = measure_fresh("bare")["peak"]
    results, failures = [], []
    ways, done = 1 + len(settings.against), 0
    with tempfile.TemporaryDirectory() as folder:
        for index, opened in enumerate(models):
            name, model = opened.name, opened.model
            path = Path(folder) / f"{index}.safetensors"
            write_model(path, model)
            for way in ("", *settings.against):
                progress(f"{name} {way or 'thinlens'}", done, ways * len(models))
                done += 1
                try:
                    if way:
                        results.append(_peer(name, model, way, path, settings, bare))
                    else:
                        results.append(_engine(name, model, path, settings, bare, announce))
                except ThinlensError as error:
                    peer = way or "thinlens"
                    failures.append(Failure(model=name, peer=peer, error=f"model `{name}` in `{peer}`: {error}"))
    return MemoryRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        host=describe_host(),
        versions=list_versions(dict.fromkeys(p for name in settings.against for p in runtime_of(name).packages)),
        models=subjects,
        failures=tuple(failures),
        settings=settings,
        bare=bare,
        results=tuple(results),
    )


def check_peers(names: Sequence[str]) -> None:
    """Check that there are peers of these names, and import what they need.

    Raises:
        UnknownNameError: listing all.
        ImportError: if the peer, or what writes for it, is not installed.
    """
    for name in names:
        if name not in PEERS:
            raise UnknownNameError.of("peer", name, PEERS, f"`--against` accepts here: {', '.join(PEERS)}")
        runtime_of(name).load()


def runtime_of(name: str) -> Peer:
    """The runtime behind a way of running it; `UnknownNameError` if there is none."""
    return find_peer("ort" if name == "ort_bands" else name)


def measure_fresh(what: str, *arguments: object) -> dict[str, int]:
    """Have one thing of `thinlens.bench.fresh` done in a fresh process.

    Returns:
        ``peak``, bytes, and what else it told.

    Raises:
        UnsupportedOpError: if the system does not tell the peak, or the process failed, out of memory for one.
    """
    if not Path("/proc/self/status").exists():
        raise UnsupportedOpError("peak memory is read from /proc/self/status, which only Linux has")
    command = [sys.executable, "-m", "thinlens.bench.fresh", what, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["killed, perhaps for want of memory"])[-1]
        raise UnsupportedOpError(f"`{what}` ended with {done.returncode}: {said}")
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _engine(
    name: str, model: Model, path: Path, settings: MemorySettings, bare: int, announce: Announce
) -> MemoryResult:
    """Row by row where the model can do that, else the whole image."""
    session, channels = Session(model, threads=1), model.plan.input_channels
    try:
        way, needed = "rows", session.rows(settings.width, channels=channels).buffer_bytes
    except ThinlensError:
        way, needed = "whole", session.working_bytes(settings.height, settings.width, channels=channels)
    idle = measure_fresh(way, path, settings.width, 0)["peak"]
    bound = idle - bare + needed + SLACK
    announce(name, way, bound)
    return _result(name, way, measure_fresh(way, path, settings.width, settings.height), model, settings, bare, bound)


def _peer(name: str, model: Model, way: str, path: Path, settings: MemorySettings, bare: int) -> MemoryResult:
    from thinlens.export.onnx import to_onnx

    network = path.with_suffix(".onnx")
    network.write_bytes(to_onnx(model))
    context: tuple[int, ...] = ()
    if way == "ort_bands":
        if depends_on_height(model.plan):
            raise UnsupportedOpError(
                f"model `{name}`: how far its rows see depends on the height; it has no exact bands"
            )
        context = receptive_rows(model.plan, model.card.scale)
    found = measure_fresh(way, network, settings.width, settings.height, model.plan.input_channels, *context)
    return _result(name, way, found, model, settings, bare, None)


def _result(  # all that one result is made of
    name: str, way: str, found: dict[str, int], model: Model, settings: MemorySettings, bare: int, bound: int | None
) -> MemoryResult:
    if found["rows"] != settings.height * model.card.scale:
        raise ParityError(f"{found['rows']} rows came out of {settings.height}")
    return MemoryResult(model=name, way=way, bound=bound, peak=found["peak"] - bare)
