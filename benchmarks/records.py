"""Write `docs/results/bench.md` from the records in `docs/results/bench`.

    python benchmarks/records.py

The records are those that `thinlens bench speed` and `thinlens bench memory` write with `-o`; each part of the page
names the command that made its record, and `thinlens bench replay` measures it again.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from thinlens.bench.machine import NOISY
from thinlens.bench.records import MemoryRecord, Probe, Record, SpeedRecord, read_record

RESULTS = Path(__file__).parents[1] / "docs" / "results"
HEAD = """# Speed and memory beside other runtimes

`python benchmarks/records.py` writes this page from the records in [bench](bench); `thinlens bench replay RECORD`
measures one again. Speed: the engine takes and gives 8-bit pixels, the runtimes floats; the two take turns in one
process. *Ratio*: the median over the pairs of the peer's time over the engine's, so that above 1 the engine is faster;
*min/min*: shortest over shortest; *CPU*: the ratio of processor times; *of peak*: the model's arithmetic over the time,
as a share of what NumPy's matrix product (sgemm) reaches in one thread, which fast convolutions can pass. Every peer's
result was compared with the engine's before it was timed. Memory: peak of a fresh process over a bare interpreter with
NumPy; *at most* was told before; *ort_bands*: ONNX Runtime on 16 rows at a time, with the rows that they depend on.
"""


def command_of(record: Record) -> str:
    """The command that made a record, without where it was written."""
    settings = record.settings
    words = ["thinlens bench", "speed" if isinstance(record, SpeedRecord) else "memory"]
    for subject in record.models:
        words.append(subject.name if subject.seed is None else f"--random {subject.name}")
    words.append(f"--size {settings.width}x{settings.height}")
    if settings.against:
        words.append(f"--against {','.join(settings.against)}")
    if isinstance(record, SpeedRecord):
        words += [f"--threads {record.settings.threads}", f"--pairs {record.settings.pairs}"]
        words += [f"--isa {record.settings.isa}"] if record.settings.isa else []
    return " ".join(words)


def to_page(records: dict[str, Record]) -> str:
    """The page of records by the name of their file."""
    return HEAD + "".join(f"\n## {name}\n\n" + "\n".join(_lines(record)) + "\n" for name, record in records.items())


def _lines(record: Record) -> Iterator[str]:
    host = record.host
    yield f"`{command_of(record)}`"
    yield ""
    yield from _speed(record) if isinstance(record, SpeedRecord) else _memory(record)
    yield from (f"\n`{failure.model}` against `{failure.peer}`: {failure.error}" for failure in record.failures)
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    yield f"{host.processor}, {host.cpus} processors, {host.system}, Python {host.python}; {versions};"
    yield f"commit {host.commit or 'not known'}; {record.date[:10]}."


def _speed(record: SpeedRecord) -> Iterator[str]:
    yield "| model | peer | ms | peer ms | ratio | min/min | CPU | of peak | engine is |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|---|"
    for result in record.results:
        ratios = f"{result.ratio:.2f} | {result.min_ratio:.2f} | {result.cpu_ratio:.2f} | {record.share(result):.0%}"
        times = f"{median(result.ms):.2f} | {median(result.peer_ms):.2f}"
        yield f"| `{result.model}` | {result.peer} | {times} | {ratios} | {result.verdict} |"
    yield ""
    yield f"Instruction set {record.isa}. Before: {_probe(record.before)}. After: {_probe(record.after)}."


def _probe(probe: Probe) -> str:
    busy = ", a busy machine" if probe.add_spread > NOISY else ""
    adds = f"{probe.add_ns:.2f} ns an addition (spread {probe.add_spread:.2f}{busy})"
    return f"{adds}, {probe.memset_us:.0f} us for 2 MB, {probe.sgemm_gflops:.0f} GFLOP/s, load {probe.load}"


def _memory(record: MemoryRecord) -> Iterator[str]:
    yield f"| model | way | at most, MB | peak over bare ({record.bare / 1e6:.1f} MB), MB |"
    yield "|---|---|--:|--:|"
    for result in record.results:
        bound = "" if result.bound is None else f"{result.bound / 1e6:.1f}"
        yield f"| `{result.model}` | {result.way} | {bound} | {result.peak / 1e6:.1f} |"


def current() -> str:
    """The page of the records that there are."""
    return to_page({path.stem: read_record(path) for path in sorted((RESULTS / "bench").glob("*.json"))})


def main() -> None:
    """Write the page."""
    (RESULTS / "bench.md").write_text(current())


if __name__ == "__main__":
    main()
