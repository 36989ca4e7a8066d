"""Records of speed and memory: JSON that says what was measured, how, where, and with what result.

This module alone reads and writes them. `thinlens bench replay` measures again what a record says.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from thinlens.atomic import write_bytes
from thinlens.errors import RecordError

VERSION = 1
MAX_SIDE = 1 << 20  # of an image
Side = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that was measured.

    Args:
        name: as it was given: a shipped model's name, a file, or the name of a network with random weights.
        seed: of the random weights; None: the weights are the model's own.
        sha256: of plan and weights.
        params: numbers in its tensors.
        macs: multiply-accumulates for one image of the record's size.
    """

    name: str
    seed: int | None
    sha256: str
    params: int
    macs: int


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A peer that was not measured on a model, and why."""

    model: str
    peer: str
    error: str


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine, and the commit of the sources where thinlens runs from a checkout."""

    processor: str
    cpus: int
    system: str
    python: str
    commit: str | None


class Probe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the machine does before or after a measurement, to tell a quiet one from a busy one.

    Args:
        add_ns: nanoseconds a step of a chain of dependent additions (`numpy.cumsum`): the clock; median.
        add_spread: 90th over 10th percentile of the same.
        memset_us: microseconds to fill 2 MB; median.
        sgemm_gflops: of NumPy's float32 matrix product in one thread, 10^9 floating-point operations a second; the
            best of several. The peak of fused multiply-add is not below it.
        load: processes that want to run, the mean of the last minute; None where the system does not tell.
    """

    add_ns: float
    add_spread: float
    memset_us: float
    sgemm_gflops: float
    load: float | None


class SpeedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `thinlens bench speed` was asked for.

    Args:
        width: of the image that goes in, pixels.
        height: likewise.
        against: the peers.
        threads: of the engine and of each peer.
        pairs: timed runs of engine and peer in turns.
        isa: instruction set that was asked for; None: the best.
    """

    width: Side
    height: Side
    against: tuple[str, ...]
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    pairs: Annotated[int, msgspec.Meta(ge=9, le=10_000)] = 9
    isa: str | None = None


class SpeedResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model in the engine and in one peer.

    Args:
        model: its name.
        peer: its name.
        note: what the peer was and did.
        difference: largest difference of the two results, values in 0..1.
        tolerance: that was accepted.
        ratio: median over the pairs of the peer's time over the engine's: above 1 the engine is faster.
        min_ratio: shortest time of the peer over the engine's.
        cpu_ratio: as ``ratio``, of the processor time of all threads.
        gflops: 10^9 floating-point operations a second of the engine, two for each multiply-accumulate of the model, in
            its median time.
        ms: wall time of the engine, run by run.
        peer_ms: of the peer.
    """

    model: str
    peer: str
    note: str
    difference: float
    tolerance: float
    ratio: float
    min_ratio: float
    cpu_ratio: float
    gflops: float
    ms: tuple[float, ...]
    peer_ms: tuple[float, ...]

    @property
    def won(self) -> float:
        """Share of the pairs in which the engine was faster."""
        return sum(peer > ours for ours, peer in zip(self.ms, self.peer_ms, strict=True)) / len(self.ms)

    @property
    def verdict(self) -> str:
        """``faster`` or ``slower`` where both ratios and four of five pairs say so; else ``even``."""
        if min(self.ratio, self.min_ratio) > 1 and self.won >= 0.8:
            return "faster"
        return "slower" if max(self.ratio, self.min_ratio) < 1 and self.won <= 0.2 else "even"


class MemorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `thinlens bench memory` was asked for: the image that goes in, and the peers."""

    width: Side
    height: Side
    against: tuple[str, ...] = ()


class MemoryResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Peak memory of one model in fresh processes, bytes over a bare interpreter with NumPy.

    Args:
        model: its name.
        way: ``rows`` (the engine, row by row), ``whole`` (the engine, where the model cannot do that), or a peer.
        bound: that the engine's peak was said to stay below, before it was measured; None for peers.
        peak: that was measured.
    """

    model: str
    way: str
    bound: int | None
    peak: int


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    version: Annotated[int, msgspec.Meta(ge=1, le=VERSION)] = VERSION
    date: str
    host: Host
    versions: dict[str, str]
    models: tuple[Subject, ...]
    failures: tuple[Failure, ...]


class SpeedRecord(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="speed"):
    """Speed beside peers; ``isa`` is the instruction set that ran."""

    settings: SpeedSettings
    isa: str
    before: Probe
    after: Probe
    results: tuple[SpeedResult, ...]

    def share(self, result: SpeedResult) -> float:
        """What a result's arithmetic is of the machine's peak, as NumPy's matrix product reaches it, times threads.

        Above 1 is possible: fast convolutions save multiplications, and 8-bit ones do more at a time.
        """
        peak = max(self.before.sgemm_gflops, self.after.sgemm_gflops)
        return result.gflops / (peak * self.settings.threads)


class MemoryRecord(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="memory"):
    """Peak memory beside peers; ``bare`` are the bytes of the interpreter with NumPy that all others are over."""

    settings: MemorySettings
    bare: int
    results: tuple[MemoryResult, ...]


Record = SpeedRecord | MemoryRecord


def to_json(record: Record) -> bytes:
    """A record as the text of its file."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def write_record(path: Path, record: Record, *, overwrite: bool = False) -> None:
    """Write a record, atomically.

    Raises:
        OutputError: if the file exists or the folder cannot be written.
    """
    write_bytes(path, to_json(record), overwrite=overwrite)


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        RecordError: if it is missing, damaged, or newer than this version.
    """
    try:
        record: Record = msgspec.json.decode(path.read_bytes(), type=Record)
    except OSError as error:
        raise RecordError(f"`{path}`: cannot be read: {error.strerror}; give a file that `-o` wrote") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        text = f"not a record of version {VERSION} or older: {error}; give a file that `thinlens bench` wrote with `-o`"
        raise RecordError(f"`{path}`: {text}") from error
    return record
