"""Speed of models in the engine beside peers, by a protocol for machines that others use too.

Engine and peer run in turns in one process, in pairs; a ratio is the median over the pairs. Each peer's result is
compared with the engine's first, and one that computes something else is refused. The clock, the memory and the
arithmetic of the machine are probed before and after, so that a record tells whether the machine was quiet.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.bench.machine import describe_host, list_versions, probe
from thinlens.bench.peers import HALF_LEVEL, ByteImage, FloatImage, Run, find_peer
from thinlens.bench.records import Failure, SpeedRecord, SpeedResult, SpeedSettings, Subject
from thinlens.bench.subjects import Opened, make_picture
from thinlens.errors import ParityError, ThinlensError, UnknownNameError, UnsupportedOpError
from thinlens.model.file import Model
from thinlens.runtime.compile import ImageKind, compile_plan
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import isa_names, wanted_isa, why_missing

WARM_UP = 2  # pairs before those that count
FLAT = 5  # times the tolerance that a result must at least vary, or equal results say nothing
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Times:
    """Seconds of each run of a pair, wall time and processor time of all threads."""

    ours: list[float]
    peer: list[float]
    ours_cpu: list[float]
    peer_cpu: list[float]

    @property
    def ratio(self) -> float:
        """Median of the pairs' ratios, peer over ours."""
        return _median_ratio(self.ours, self.peer)

    @property
    def min_ratio(self) -> float:
        """Shortest over shortest."""
        return min(self.peer) / min(self.ours)

    @property
    def cpu_ratio(self) -> float:
        """As `ratio`, of processor time."""
        return _median_ratio(self.ours_cpu, self.peer_cpu)


def _median_ratio(ours: list[float], peer: list[float]) -> float:
    return statistics.median(b / max(a, 1e-9) for a, b in zip(ours, peer, strict=True))


def time_pairs(
    ours: Callable[[], object],
    peer: Callable[[], object],
    pairs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Times:
    """Run two things in turns, after two pairs that do not count.

    Args:
        ours: the one.
        peer: the other.
        pairs: that count.
        progress: called with pairs done and pairs in all.
    """
    times = Times([], [], [], [])
    columns = (ours, times.ours, times.ours_cpu), (peer, times.peer, times.peer_cpu)
    for done in range(-WARM_UP, pairs):
        for call, wall, cpu in columns:
            begun, begun_cpu = time.perf_counter(), time.process_time()
            call()
            seconds, seconds_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
            if done >= 0:
                wall.append(seconds)
                cpu.append(seconds_cpu)
        progress(done + 1 + WARM_UP, pairs + WARM_UP)
    return times


def measure_speed(
    models: Sequence[Opened], settings: SpeedSettings, progress: Progress = lambda name, done, total: None
) -> SpeedRecord:
    """Measure models against peers; what fails for one peer is in the record, and the others are done.

    Args:
        models: the models.
        settings: size, peers and so on.
        progress: called with what is measured, pairs done, and pairs in all.

    Raises:
        UnknownNameError: if there is no such peer or instruction set.
        UnsupportedOpError: if there is no native engine.
        ShapeError: if a model takes no image of the size.
        ImportError: if what a peer needs is not installed.
    """
    peers = {name: find_peer(name) for name in settings.against}
    for peer in peers.values():
        peer.load()
    subjects = [opened.describe(settings.width, settings.height) for opened in models]
    isa = choose_isa(settings.isa)
    results: list[SpeedResult] = []
    failures: list[Failure] = []
    before = probe()
    for opened, subject in zip(models, subjects, strict=True):
        for found in _measure_model(opened, subject, settings, isa, progress):
            if isinstance(found, Failure):
                failures.append(found)
            else:
                results.append(found)
    after = probe()
    return SpeedRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        host=describe_host(),
        versions=list_versions(package for peer in peers.values() for package in peer.packages),
        models=tuple(subjects),
        failures=tuple(failures),
        settings=settings,
        isa=isa,
        before=before,
        after=after,
        results=tuple(results),
    )


def _measure_model(
    opened: Opened, subject: Subject, settings: SpeedSettings, isa: str, progress: Progress
) -> Iterator[SpeedResult | Failure]:
    """One model against all peers, each of which is gone before the next one is timed."""
    image = make_picture(settings.height, settings.width, opened.model.plan.input_channels)
    try:
        engine = Engine(opened.model, image, settings.threads, isa)
    except ThinlensError as error:
        yield Failure(model=opened.name, peer="thinlens", error=f"model `{opened.name}`: {error}")
        return
    for name in settings.against:
        where = f"model `{opened.name}` in `{name}`"
        try:
            run = find_peer(name).prepare(opened.model, image, settings.threads, isa)
            difference = check_result(run, engine.floats)
        except ThinlensError as error:
            yield Failure(model=opened.name, peer=name, error=f"{where}: {error}")
        except Exception as error:  # noqa: BLE001  # whatever a runtime raises, the others are measured
            yield Failure(model=opened.name, peer=name, error=f"{where}: it fails: {type(error).__name__}: {error}")
        else:
            times = time_pairs(engine.call, run.call, settings.pairs, partial(progress, f"{opened.name} {name}"))
            yield _result(subject, name, run, difference, times)


def check_result(run: Run, ours: FloatImage) -> float:
    """Run a peer once and compare what it makes with what it should.

    Args:
        run: the peer.
        ours: what the engine makes of the same image, float32 in 0..1; ``run.expected`` stands before it.

    Returns:
        The largest difference.

    Raises:
        ParityError: if the peer computes something else, or if the result hardly varies, so that nothing can be told.
    """
    expected, edge = (ours if run.expected is None else run.expected), run.border
    made = run.to_image(run.call())
    if made.shape != expected.shape:
        raise ParityError(f"the result has shape {made.shape}; accepted: {expected.shape}; it is not timed")
    if edge:
        made, expected = made[edge:-edge, edge:-edge], expected[edge:-edge, edge:-edge]
    if not made.size or np.ptp(expected) < FLAT * run.tolerance:
        raise ParityError("the expected result hardly varies and tells nothing; give a larger `--size`")
    difference = float(np.abs(made.clip(0, 1) - expected.clip(0, 1)).max())
    if not difference <= run.tolerance:
        text = f"differs by {difference:.2g} from what is expected; accepted: {run.tolerance:.2g}"
        raise ParityError(f"{text}; it computes something else and is not timed")
    return difference


class Engine:
    """A model in the engine, ready to run on one image, 8 bits in and out.

    Args:
        model: the model.
        image: ``H W`` or ``H W 3``, as the network takes it.
        threads: that work.
        isa: the instruction set.

    Attributes:
        out: the result.
        floats: the result on floats, 0..1.

    Raises:
        ParityError: if the two are more than a level and a half apart.
    """

    def __init__(self, model: Model, image: ByteImage, threads: int, isa: str) -> None:
        self._image, self._threads = image, threads
        self._plan, self.out = self._load(model, image, isa)
        values = image / np.float32(255)
        plan, self.floats = self._load(model, values, isa)
        plan.call(values, self.floats, threads)
        self.call()
        if (apart := float(np.abs(self.out / np.float32(255) - self.floats).max())) > 3 * HALF_LEVEL:
            raise ParityError(f"8-bit and float results differ by {apart:.2g}; report it")

    def call(self) -> None:
        """Restore the image."""
        self._plan.call(self._image, self.out, self._threads)

    @staticmethod
    def _load(model: Model, image: npt.NDArray[Any], isa: str) -> tuple[NativePlan, npt.NDArray[Any]]:
        """The model, loaded for images of this kind, and room for a result."""
        scale, channels = model.card.scale, model.plan.input_channels
        compiled = compile_plan(model.plan, model.tensors, ImageKind(channels, image.dtype.name), scale)
        height, width = image.shape[0] * scale, image.shape[1] * scale
        return NativePlan(compiled.data, isa), np.empty((height, width, *image.shape[2:]), image.dtype)


def choose_isa(asked: str | None) -> str:
    """The instruction set that runs: what was asked for, or `THINLENS_ISA` says, or the best.

    Raises:
        UnsupportedOpError: if there is no native engine.
        UnknownNameError: if the engine has no such set here.
    """
    names = isa_names()
    if (missing := why_missing()) is not None:
        raise UnsupportedOpError(f"the engine is measured, and there is none: {missing}")
    name = asked or wanted_isa() or names[0]
    if name not in names:
        raise UnknownNameError.of("instruction set", name, names, f"the engine has here: {', '.join(names)}")
    return name


def _result(subject: Subject, peer: str, run: Run, difference: float, times: Times) -> SpeedResult:
    return SpeedResult(
        model=subject.name,
        peer=peer,
        note=run.note,
        difference=difference,
        tolerance=run.tolerance,
        ratio=round(times.ratio, 3),
        min_ratio=round(times.min_ratio, 3),
        cpu_ratio=round(times.cpu_ratio, 3),
        gflops=round(2 * subject.macs / statistics.median(times.ours) / 1e9, 1),
        ms=tuple(round(second * 1e3, 4) for second in times.ours),
        peer_ms=tuple(round(second * 1e3, 4) for second in times.peer),
    )
